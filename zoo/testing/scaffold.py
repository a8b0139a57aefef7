"""A new plugin from the template beside this file, which is a whole plugin itself: zoo-example. No torch here.

What a plugin shall bring may be less: then the files, lines and keys of the rest are left out.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Collection, Iterator
from pathlib import Path

from zoo.catalogue.host import host
from zoo.catalogue.manifest import CORE
from zoo.errors import UsageError, close_match
from zoo.helpers.files import place

TEMPLATE = Path(__file__).parent / "template"
ONLY = "only"  # the folder in it of what no model needs
NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
LONGEST = 40  # characters
MODULES = {
    "block": ("blocks", "GatedBlock", "example-gate"),
    "loss": ("losses", "EdgesLoss", "example-edges"),
    "provider": ("providers", "LinesProvider", "example-lines"),
    "generator": ("networks", "DrawingGenerator", "example"),
    "trainer": ("trainer", "DrawingTrainer", "example"),
}
"""What may be brought: where it stands, its class, and the name that it is registered under."""

MODEL = "model"
WHOLE = frozenset({"block", "loss", "generator", "trainer"})


def make(name: str, out: Path | None = None, brings: Collection[str] = (MODEL,)) -> Path:
    """Write the plugin ``zoo-NAME`` into the new folder ``out``, by default of that name, and give its path. ``brings`` are
    some of ``MODULES``, or a whole model.

    The folder is whole or not there. UsageError: a name that cannot be a package's or is taken, a folder that exists."""
    kinds = _kinds(brings)
    short = name.removeprefix("zoo-")
    if not NAME.fullmatch(short) or len(short) > LONGEST:
        raise UsageError(
            f"{name!r} cannot be a plugin's name",
            f"lower-case letters, digits and hyphens, beginning with a letter, up to {LONGEST} characters: my-plugin",
        )
    _check_free(short)
    folder = out or Path(f"zoo-{short}")
    if folder.exists() or folder.is_symlink():
        raise UsageError(f"{folder} exists already", "give --out a folder that does not exist, or another name")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".zoo-new-") as temporary:
        plugin = Path(temporary) / "plugin"
        for path, text in _files(kinds):
            target = plugin / _renamed(path, short)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(_renamed(text, short), encoding="utf-8")
        place(plugin, folder)
    return folder


def _kinds(brings: Collection[str]) -> frozenset[str]:
    for kind in brings:
        if kind not in (*MODULES, MODEL):
            raise UsageError(f"a plugin cannot bring a {kind!r}", close_match(kind, (*MODULES, MODEL)))
    if not brings:
        raise UsageError("the plugin brings nothing", f"give some of {', '.join((*MODULES, MODEL))}")
    return frozenset(brings) - {MODEL} | (WHOLE if MODEL in brings else frozenset())


def _files(kinds: frozenset[str]) -> Iterator[tuple[str, str]]:
    """The files of a plugin that brings these, by their paths in it."""
    left_out = {f"src/zoo_example/{module}.py" for kind, (module, _, _) in MODULES.items() if kind not in kinds}
    if not kinds & {"generator", "trainer"}:  # there is no model
        left_out |= {"REPRODUCTION.md", "src/zoo_example/recipes/example.yaml"}
    changed = {
        "README.md": _readme,
        "pyproject.toml": _project,
        "src/zoo_example/plugin.py": _plugin,
        "src/zoo_example/zoo.yaml": _manifest,
        "src/zoo_example/recipes/example.yaml": _recipe,
    }
    for path in sorted(TEMPLATE.rglob("*")):
        where = path.relative_to(TEMPLATE).as_posix().removeprefix(f"{ONLY}/")
        if path.is_file() and "__pycache__" not in path.parts and where not in left_out:
            text = path.read_text(encoding="utf-8")
            yield where, changed[where](text, kinds) if where in changed else text


def _plugin(text: str, kinds: frozenset[str]) -> str:
    head, _, rest = text.partition("from zoo_example.")
    hook = rest[rest.index("\n\n\n") : rest.index("    register.")]
    brought = [(kind, *MODULES[kind]) for kind in MODULES if kind in kinds]
    imports = sorted(f"from zoo_example.{module} import {part}" for _, module, part, _ in brought)
    lines = [f'    register.{kind}("{name}", {part})' for kind, _, part, name in brought]
    return head + "\n".join(imports) + hook + "\n".join(lines) + "\n"


def _manifest(text: str, kinds: frozenset[str]) -> str:
    head, _, _ = text.partition("  block:")
    return head + "".join(f"  {kind}: [{name}]\n" for kind, (_, _, name) in MODULES.items() if kind in kinds)


def _project(text: str, kinds: frozenset[str]) -> str:
    """A trainer needs a generator; without its own it trains CycleGAN's."""
    needs = ', "zoo-cycleda>=0.1,<1"' if "trainer" in kinds and "generator" not in kinds else ""
    return text.replace('["zoo-core>=0.1,<1"]', f'["zoo-core>=0.1,<1"{needs}]')


def _recipe(text: str, kinds: frozenset[str]) -> str:
    if "block" not in kinds:
        text = text.replace("gated residual blocks", "residual blocks").replace(", block: example-gate", "")
    if "loss" not in kinds:
        text = re.sub(r"    example-edges:.*\n", "", text)
    if "generator" not in kinds:
        text = re.sub(r"controls:\n.*\n", "", text.replace("{name: example, width", "{name: resnet, width"))
    if "trainer" not in kinds:
        text = re.sub(r"discriminator: \{name(?s:.*?)data:", "data:", text)
        text = text.replace(" discriminator: {width: 4, layers: 2},", "")
    return text


def _readme(text: str, kinds: frozenset[str]) -> str:
    rows = [f"src/zoo_example/{module}.py" for kind, (module, _, _) in MODULES.items() if kind not in kinds]
    if not kinds & {"generator", "trainer"}:
        rows.append("src/zoo_example/recipes/")
    kept = [line for line in text.splitlines(keepends=True) if not any(row in line for row in rows)]
    text = "".join(kept)
    if "provider" in kinds:
        row = "| `src/zoo_example/providers.py` | what its losses read of a step, computed for every trainer |\n"
        text = text.replace("| `src/zoo_example/plugin.py`", f"{row}| `src/zoo_example/plugin.py`")
    if kinds >= WHOLE:
        return text
    first, rest = text.index("zoo train"), text.index("```\n\n`python")
    return text[:first] + "\n".join(_tried(kinds)) + "\n" + text[rest:]


def _tried(kinds: frozenset[str]) -> Iterator[str]:
    """How to see the parts at work."""
    train, folders = "zoo train", "--photos photos --drawings drawings"
    if "block" in kinds:
        yield f"{train} cyclegan-small {folders} --set generator.block=example-gate"
    if "loss" in kinds:
        yield f"{train} cyclegan-small {folders} --set losses.generator.example-edges.weight=0.5"
    if "trainer" in kinds:
        yield f"{train} example {folders}"
    elif "generator" in kinds:
        yield f"{train} cyclegan-small {folders} --set generator.name=example --set generator.upsample=null"
    if kinds == {"provider"}:
        yield "zoo parts provider"


def _check_free(short: str) -> None:
    if f"zoo-{short}" in (CORE, *host().plugins):
        raise UsageError(f"zoo-{short} is installed already", "give another name")
    wanted = {_renamed(name, short) for _, _, name in MODULES.values()}
    if taken := next((part for part in host().parts() if part.name in wanted), None):
        raise UsageError(f"the {taken.kind} {taken.name!r} is of {taken.owner} already", "give another name")


def _renamed(text: str, short: str) -> str:
    """The template's name in each of its spellings."""
    words = short.split("-")
    text = text.replace("zoo_example", f"zoo_{'_'.join(words)}")
    return text.replace("Example", "".join(map(str.capitalize, words))).replace("example", short)
