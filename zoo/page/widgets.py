"""From a control to the widget of its type, and from what was turned there to the values of a call."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import gradio as gr
from gradio.components import Component

from zoo.control import Choice, Control, Flag, Image, Integer, Number, Numbers, Text
from zoo.errors import ControlError

FEW = 6
"""So many choices are all shown; more are a list to open."""

STEPS = 1000
"""A range of more whole numbers than this is no slider, but a number to type."""

SOURCES: list[Literal["upload", "webcam", "clipboard"]] = ["upload", "webcam", "clipboard"]


def pictures(label: str, **settings: Any) -> gr.Gallery:
    """Where one or several pictures are dropped, pasted or photographed."""
    return gr.Gallery(
        label=label, type="filepath", file_types=["image"], sources=SOURCES, interactive=True, columns=4,
        fit_columns=False, object_fit="cover", height="auto", allow_preview=False, buttons=[], **settings,
    )  # fmt: skip


def widget(control: Control) -> Component:
    """The widget of a control's type, range and default."""
    label = control.name.replace("_", " ")
    told: dict[str, Any] = {"label": label[:1].upper() + label[1:], "info": control.help or None, "interactive": True}
    value: Any = control.default_value()
    if isinstance(control, Image):
        return pictures(f"{told['label']}: {control.help}" if control.help else told["label"])
    if isinstance(control, Flag):
        return gr.Checkbox(value, **told)
    if isinstance(control, Choice):
        kind = gr.Radio if len(control.choices) <= FEW else gr.Dropdown
        return kind(list(control.choices), value=value, **told)
    if isinstance(control, Numbers):
        return gr.Textbox(written(control, value), placeholder=_pattern(control), **told)
    if isinstance(control, Text):
        return gr.Textbox(value or "", **told)
    if _slides(control):
        low = control.minimum if value is None else value
        return gr.Slider(control.minimum, control.maximum, value=low, step=_step(control), **told)
    if value is None:  # gr.Number takes nothing for 0
        return gr.Textbox("", placeholder="as the model says", **told)
    return gr.Number(value, precision=0 if isinstance(control, Integer) else None, **told)


def _slides(control: Control) -> bool:
    if isinstance(control, Integer):
        return control.maximum - control.minimum <= STEPS
    return isinstance(control, Number) and math.isfinite(control.maximum - control.minimum)


def _step(control: Number | Integer) -> float:
    """A hundredth of the range or less, as a power of ten."""
    if isinstance(control, Integer):
        return 1
    return 10.0 ** math.floor(math.log10(max(control.maximum - control.minimum, 1e-9) / 100))


def _pattern(control: Numbers) -> str:
    few = ", ".join(["0"] * min(control.length or 3, 5))
    return f"numbers with commas between them, as {few}"


def written(control: Control, value: Any) -> str:
    """A value as `zoo translate` reads it after the control's option."""
    if value is None:
        return ""
    if isinstance(control, Numbers):
        return ",".join(f"{number:.12g}" for number in value)
    return f"{value:.12g}" if isinstance(value, float) else str(value)


@dataclass
class Panel:
    """The widgets of a model's controls, in the order of their groups.

    Sliders cannot say "as the model has it": those of numbers without a default come when they are picked. ``picked`` is
    where; None where there is nothing to pick.
    """

    controls: list[Control]
    widgets: list[Component]
    picked: Component | None

    @property
    def inputs(self) -> list[Component]:
        return [*self.widgets, *([self.picked] if self.picked else [])]


def panel(controls: Sequence[Control]) -> Panel:
    """Lay out the widgets: pictures that are needed, what always counts, what may be set besides, and what is left."""
    groups = grouped(controls)
    made = {control.name: widget(control) for control in groups["needed"]}
    made |= {control.name: widget(control) for control in groups["always"]}
    picked: gr.CheckboxGroup | gr.Dropdown | None = None
    if optional := groups["picked"]:
        choices = [(_told(control), control.name) for control in optional]
        asked: dict[str, Any] = {"choices": choices, "value": [], "interactive": True, "elem_id": "picked"}
        if len(choices) <= FEW:
            picked = gr.CheckboxGroup(label="Set one by one", **asked)
        else:
            picked = gr.Dropdown(
                label="Set one by one", multiselect=True, info=f"{len(choices)} more: choose or search", **asked
            )
        sliders: dict[str, gr.Column] = {}
        for control in optional:
            with gr.Column(visible=False, min_width=0) as place:
                made[control.name] = widget(control)
            sliders[control.name] = place
        picked.change(
            lambda chosen: {place: gr.Column(visible=name in chosen) for name, place in sliders.items()},
            picked, [*sliders.values()], show_progress="hidden", api_visibility="private",
        )  # fmt: skip
    if rest := groups["rest"]:
        with gr.Accordion("More", open=False):
            made |= {control.name: widget(control) for control in rest}
    return Panel(list(controls), [made[control.name] for control in controls], picked)


def grouped(controls: Sequence[Control]) -> dict[str, list[Control]]:
    """Controls by where they stand on the page, in each place in the order of their declaration."""
    groups: dict[str, list[Control]] = {"needed": [], "always": [], "picked": [], "rest": []}
    for control in controls:
        if isinstance(control, Image):
            place = "needed" if control.required else "rest"
        elif _slides(control) and control.default_value() is None:
            place = "picked"
        elif control.default_value() is None:
            place = "rest"
        else:
            place = "always"
        groups[place].append(control)
    return groups


def _told(control: Control) -> str:
    about = control.help.partition(",")[0].partition(";")[0].removeprefix("intensity of the ")
    return f"{control.name.replace('_', ' ')} · {about}" if about else control.name


def given(controls: Sequence[Control], values: Sequence[Any]) -> dict[str, Any]:
    """What was turned: the values that differ from the defaults, as `Translator.translate` takes them.

    ``values`` are those of a panel's inputs. ControlError for what a control does not take."""
    return dict(_given(controls, values))


def _given(controls: Sequence[Control], values: Sequence[Any]) -> Iterator[tuple[str, Any]]:
    optional = {control.name for control in grouped(controls)["picked"]}
    picked = set(values[len(controls)] or ()) if optional else set()
    for control, value in zip(controls, values):
        if control.name in optional and control.name not in picked:
            continue
        if isinstance(control, Image):
            value = _chosen(control, value)
        elif isinstance(value, str) and not isinstance(control, Choice):
            value = _typed(control, value.strip())
        if value is None:
            if isinstance(control, Image) and control.required:
                control.accept(None)
            continue
        value = control.accept(value)
        if value != control.default_value():
            yield control.name, value


def _typed(control: Control, text: str) -> Any:
    if isinstance(control, Text) and any(_names_a_file(word.strip()) for word in text.split(",")):
        raise ControlError(f"{control.name} = {text[:60]!r} is a file, and a page reads only pictures that it was given",
                           "give a name, or use zoo translate on this machine")  # fmt: skip
    return control.text(text) if text else None


def _names_a_file(word: str) -> bool:
    """Could it be a path? A control of words may take one, and visitors are not to look around with it."""
    return any(sign in word for sign in "/\\\0") or word.startswith(("~", ".")) or bool(Path(word).suffix)


def _chosen(control: Image, value: Any) -> Any:
    """The paths of a gallery's pictures, or the one of them."""
    paths = paths_of(value)
    if not control.many and len(paths) > 1:
        raise ControlError(f"{control.name} takes one picture, not {len(paths)}", "remove the others")
    return None if not paths else paths if control.many else paths[0]


def paths_of(value: Any) -> list[Path]:
    """The files of a gallery."""
    return [Path(path) for path, _ in value or ()]
