"""The same call without the page: in Python, and on the command line."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from zoo.control import Control, Flag, Image
from zoo.page.widgets import written


def result_name(source: Path, model: str) -> str:
    """How a result is called: as the picture, in its format where that can be written."""
    suffix = source.suffix.lower() if source.suffix.lower() in (".jpg", ".jpeg", ".png", ".webp") else ".png"
    return f"{source.stem}-{Path(model).stem}{suffix}"


def in_python(model: str, sources: Sequence[Path], given: Mapping[str, Any], steps: int = 0) -> str:
    """``steps``: a film of so many pictures, on the way to the result of the first."""
    names = [source.name for source in sources]
    options = [f"{name}={_python(value)}" for name, value in given.items()]
    head = f"import zoo\n\nmodel = zoo.load({_python(_bare(model))})\n"
    if steps:
        call = f"model.morph({', '.join([_python(names[0]), f'steps={steps}', *options])})"
        return f"{head}{call}.save({_python(Path(names[0]).stem + '.gif')})"
    if len(names) == 1:
        call = f"model.translate({', '.join([_python(names[0]), *options])})"
        return f"{head}{call}.save({_python(result_name(sources[0], model))})"
    call = f"model.translate({', '.join(['names', *options])})"
    results = f'for name, result in zip(names, {call}):\n    result.save(f"results/{{name}}")'
    return f"{head}names = {_python(names)}\n{results}"


def on_the_command_line(
    controls: Sequence[Control], model: str, sources: Sequence[Path], given: Mapping[str, Any], steps: int = 0
) -> str:
    if steps:  # the verb is a command of its plugin, by a name of its own
        lines = in_python(model, sources, given, steps).replace("\n\n", "\n").split("\n")
        return f"python -c {shlex.quote('; '.join(lines))}"
    out = result_name(sources[0], model) if len(sources) == 1 else "results/"
    words = ["zoo", "translate", _bare(model), *(source.name for source in sources), "-o", out]
    for control in controls:
        if control.name in given:
            words += _options(control, given[control.name])
    return shlex.join(words)


def _options(control: Control, value: Any) -> list[str]:
    if isinstance(control, Flag):
        return [control.option if value else f"--no-{control.option.removeprefix('--')}"]
    if isinstance(control, Image):
        return [word for path in (value if control.many else [value]) for word in (control.option, Path(path).name)]
    return [control.option, written(control, value)]


def _bare(model: str) -> str:
    """A file of one's own by its name: where it lies on this machine is nobody's business."""
    return Path(model).name if model.endswith(".safetensors") and not model.startswith("hub:") else model


def _python(value: Any) -> str:
    if isinstance(value, Path):
        return _python(value.name)
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_python, value))}]"
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return f"{value:.12g}" if isinstance(value, float) else repr(value)
