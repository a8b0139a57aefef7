"""Wrong plugins of every kind, as pip would install them."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

CODE = """
from torch import nn
from zoo import hookimpl

@hookimpl
def zoo_register(register):
    register.block("{name}-block", nn.Identity)
"""
MANIFEST = """
requires_core: ">=0.1"
parts: {{block: [{name}-block]}}
cards:
  {name}:
    summary: A model of {name}
    task: nothing
    recipe: {name}
    paper: {{title: Nothing, authors: [Nobody]}}
    licence: {{code: MIT, weights: MIT, data: none}}
"""
RECIPE = "extends: cyclegan-small\nsummary: A recipe of {name}\n"


@dataclass(frozen=True)
class Wrong:
    """How a plugin differs from a right one, and what must be said of it. ``None`` leaves a file out."""

    why: str
    code: str = CODE
    manifest: str | bytes | None = MANIFEST
    recipe: str = RECIPE
    entries: tuple[str, ...] = ("zoo_{name}.plugin",)
    package: bool = True
    files: dict[str, str] = field(default_factory=dict)


OUTSIDE = {  # what shows without an import
    "nopackage": Wrong("zoo_nopackage is not an importable package", package=False),
    "nomanifest": Wrong("zoo_nomanifest has no zoo.yaml", manifest=None),
    "badyaml": Wrong("cannot read zoo.yaml: line ", manifest="cards: {}\nparts: {block: [one"),
    "latin": Wrong("cannot read zoo.yaml: it is not UTF-8 text", manifest="# é\n".encode("latin-1")),
    "twicekey": Wrong("cannot read zoo.yaml: line 2: 'parts' is there twice", manifest="parts: {}\nparts: {}\n"),
    "list": Wrong("valid dictionary", manifest="- 1"),
    "unknownkind": Wrong("unknown kind of part 'blok': did you mean block?", manifest="parts: {blok: [one]}"),
    "unknownkey": Wrong("part: Extra inputs are not permitted", manifest="part: {block: [one]}"),
    "twicepart": Wrong("block 'one' is declared twice", manifest="parts: {block: [one, one]}"),
    "badname": Wrong("parts.block.0: String should match pattern", manifest="parts: {block: ['a b']}"),
    "norange": Wrong("requires_core: 'new' is not a version range", manifest="requires_core: new"),
    "newer": Wrong("needs zoo-core >=9, but", manifest=MANIFEST.replace(">=0.1", ">=9")),
    "newest": Wrong("needs zoo-core >=9, but", manifest=MANIFEST.replace(">=0.1", ">=9") + "\nunheard: of\n"),
    "twoentries": Wrong("it has 2 entry points in the group 'zoo'", entries=("zoo_{name}.plugin", "zoo_{name}.more")),
    "corepackage": Wrong("names the package zoo, and so does that of zoo-core", entries=("zoo.parts",)),
}  # fmt: skip
IMPORTED = {  # what an import shows
    "importerror": Wrong("ModuleNotFoundError: No module named 'nobody_has_this' (plugin.py, line 1)", "import nobody_has_this"),
    "deeper": Wrong("ZeroDivisionError: division by zero (inner.py, line 2)", "import zoo_deeper.inner", files={"inner.py": "\n1 / 0"}),
    "syntax": Wrong("SyntaxError: invalid syntax (plugin.py, line 1)", "def broken(:"),
    "exits": Wrong("SystemExit: 3 (plugin.py, line 1)", "import sys; sys.exit(3)"),
    "panics": Wrong("Panic: oh (plugin.py, line 2)", "class Panic(BaseException): pass\nraise Panic('oh')"),
    "asks": Wrong("EOFError", "input('Licence accepted? ')"),
    "halfway": Wrong("ZeroDivisionError: division by zero (plugin.py, line 8)", CODE + "    1 / 0"),
    "notcallable": Wrong("block 'more' is not a class or function (plugin.py, line 8)", CODE + "    register.block('more', 5)"),
    "registerstwice": Wrong("block 'registerstwice-block' is registered twice", CODE + CODE.splitlines()[-1]),
    "unregistered": Wrong("block 'more' is declared in zoo.yaml but not registered", manifest=MANIFEST.replace("-block]", "-block, more]")),
    "undeclared": Wrong("loss 'more' is not in zoo.yaml", CODE + "    register.loss('more', list)"),
    "unknownmethod": Wrong("AttributeError: 'Registrar' object has no attribute 'blok'", CODE + "    register.blok('more', list)"),
    "misspelthook": Wrong("unknown hook 'zoo_registr'", CODE.replace("zoo_register", "zoo_registr")),
    "nohookimpl": Wrong("has no hook zoo_register; is @zoo.hookimpl missing", CODE.replace("@hookimpl", "")),
    "wrongargument": Wrong("Argument(s) {{'regster'}} are declared in the hookimpl", CODE.replace("(register)", "(regster)")),
    "noattribute": Wrong("AttributeError: module 'zoo_noattribute.plugin' has no attribute 'nope'", entries=("zoo_{name}.plugin:nope",)),
}  # fmt: skip
LETHAL = {  # what only a process of its own survives
    "interrupts": Wrong("KeyboardInterrupt", "raise KeyboardInterrupt"),
    "leaves": Wrong("it ends Python with exit code 7", "import os; os._exit(7)"),
    "crashes": Wrong("it crashes Python with SIGSEGV", "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)"),
    "hangs": Wrong("it hangs", "import time\nwhile True: time.sleep(1)"),
}
CONTENT = {  # parts work, other things do not
    "badrecipe": Wrong("badrecipe.yaml: line ", recipe="generator: {name: resnet"),
    "strangerecipe": Wrong("generatr: Extra inputs are not permitted", recipe=RECIPE + "generatr: {{}}"),
    "foreignrecipe": Wrong("no installed plugin brings the loss 'of-nobody'", recipe=RECIPE + "losses: {{generator: {{of-nobody: {{}}}}}}"),
    "badcard": Wrong("card badcard: summary: Field required", manifest=MANIFEST.replace("summary:", "summery:")),
    "norecipe": Wrong("card norecipe: no installed plugin brings the recipe 'of-nobody'", manifest=MANIFEST.replace("recipe: {name}", "recipe: of-nobody")),
    "noweights": Wrong(
        "card noweights: the bundled n.safetensors is not in the plugin's folder weights",
        manifest=MANIFEST + "    weights: {{v1: {{file: n.safetensors, sha256: '" + 64 * "0" + "', bytes: 9, bundled: true}}}}",
    ),
}  # fmt: skip


def install(site: Path, name: str, wrong: Wrong) -> None:
    """``zoo-<name>`` with the package ``zoo_<name>``, the block ``<name>-block``, a card and a recipe ``<name>``."""
    package, facts = site / f"zoo_{name}", site / f"zoo_{name}-1.0.dist-info"
    files = {"plugin.py": wrong.code, "recipes/" + name + ".yaml": wrong.recipe, **wrong.files, "__init__.py": ""}
    for path, text in files.items() if wrong.package else ():
        (package / path).parent.mkdir(parents=True, exist_ok=True)
        (package / path).write_text(text.format(name=name) if "{name}" in text or "{{" in text else text)
    if wrong.package and wrong.manifest is not None:
        raw = wrong.manifest
        text = raw.format(name=name).encode() if isinstance(raw, str) and "{name}" in raw else raw
        (package / "zoo.yaml").write_bytes(text.encode() if isinstance(text, str) else text)
    facts.mkdir(parents=True)
    (facts / "METADATA").write_text(f"Metadata-Version: 2.1\nName: zoo-{name}\nVersion: 1.0\n")
    entries = "".join(f"{name}{i or ''} = {entry.format(name=name)}\n" for i, entry in enumerate(wrong.entries))
    (facts / "entry_points.txt").write_text("[zoo]\n" + entries)
