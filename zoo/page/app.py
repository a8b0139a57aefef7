"""The page: the model, the pictures and the controls on one side, what becomes of them on the other."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.components import Component

from zoo.control import Image as ImageControl
from zoo.page import words
from zoo.page.desk import PLAIN, QUIET, Desk, desk_of, pair
from zoo.page.look import Example
from zoo.page.shown import Shown
from zoo.page.visits import Visits
from zoo.page.widgets import Panel, panel, pictures


def build(models: Sequence[Shown], folder: Path, pixels: float, here: bool) -> gr.Blocks:
    """The page of these models; one of them alone needs no choice. ``folder`` is where results may be put, ``pixels``
    what an upload may have, ``here`` whether nobody visits from another machine."""
    visits = Visits({shown.name: shown for shown in models}, folder, pixels)
    first, alone = models[0], len(models) == 1
    with gr.Blocks(
        title=first.title if alone else "The zoo", analytics_enabled=False, delete_cache=(3600, 86400)
    ) as page:
        gr.Markdown(words.head(first if alone else None, here), elem_id="head", **PLAIN)
        model = _choice(models)
        with gr.Row(elem_id="desk", equal_height=False):
            with gr.Column(elem_id="asked", scale=2, min_width=300):
                photographs = pictures("Your pictures", elem_id="pictures")
                with gr.Column(elem_id="controls"):
                    all_controls = {
                        shown.name: _controls(visits, shown, photographs, shown is first) for shown in models
                    }
                with gr.Column(elem_id="buttons"):
                    status = gr.Markdown(elem_id="status", **PLAIN)
                    go = gr.Button("Draw", variant="primary", elem_id="go")
                    stop = gr.Button("Stop", variant="stop", visible=False, elem_id="stop")
            with gr.Column(elem_id="shown", scale=3, min_width=300):
                desk = desk_of(status, go, stop)
                about = gr.Markdown(words.about(first), elem_id="about", **PLAIN)

        def choose(name: str) -> dict[Any, Any]:
            shown = visits.models[name]
            places = {one.place: gr.Column(visible=other == name) for other, one in all_controls.items()}
            return places | {about: words.about(shown)} | _shown(visits, shown, desk)

        async def draw(request: gr.Request, name: str, sources: Any, *values: Any) -> AsyncIterator[Any]:
            shown, rest = visits.models[name], iter(values)
            turned = {other: [next(rest) for _ in one.inputs] for other, one in all_controls.items()}[name]
            *widgets, filmed, steps = turned
            frames = int(steps) if filmed else 0
            async for update in visits.drawn(shown, desk, str(request.session_hash), sources, frames, widgets):
                yield update

        places = [one.place for one in all_controls.values()]
        for event in (page.load, model.change):
            event(choose, model, [*places, about, *desk.results], **QUIET)
        inputs = [component for one in all_controls.values() for component in one.inputs]
        go.click(draw, [model, photographs, *inputs], desk.outputs, concurrency_limit=None, **QUIET)
        stop.click(visits.leave, **QUIET)
        page.unload(visits.leave)
    return page


def _choice(models: Sequence[Shown]) -> gr.Radio:
    """Tasks, and the models of the one that is chosen."""
    by_task: dict[str, list[tuple[str, str]]] = {}
    for shown in models:
        by_task.setdefault(shown.task, []).append((shown.title, shown.name))
    with gr.Column(visible=len(models) > 1, elem_id="choice"):
        task = gr.Radio(
            [(task.replace("-", " ").capitalize(), task) for task in by_task], value=models[0].task, label="Task",
            show_label=False, container=False, elem_id="tasks", visible=len(by_task) > 1,
        )  # fmt: skip
        model = gr.Radio(
            by_task[models[0].task], value=models[0].name, label="Model", show_label=False, container=False,
            elem_id="models",
        )  # fmt: skip
    task.change(lambda chosen: gr.Radio(choices=by_task[chosen], value=by_task[chosen][0][1]), task, model, **QUIET)
    return model


@dataclass
class _Controls:
    """The widgets of one model, in a place that is shown while the model is chosen. All of them are made at the start:
    what the browser has of a page never lags behind what is there."""

    place: gr.Column
    inputs: list[Component]


def _controls(visits: Visits, shown: Shown, photographs: gr.Gallery, visible: bool) -> _Controls:
    with gr.Column(visible=visible) as place:
        example = visits.example(shown)
        if example:
            use = gr.Button("Use the example", size="sm", variant="secondary", elem_id="example")
        widgets = panel(shown.controls)
        film = gr.Checkbox(False, label="As a film", info="from the photograph to the result", visible=shown.goes)
        steps = gr.Slider(2, 60, value=16, step=1, label="Pictures of the film", visible=False, interactive=True)
        if shown.goes:
            film.change(lambda wanted: gr.Slider(visible=wanted), film, steps, **QUIET)
        if example:
            _use(use, example, shown, widgets, photographs)
    return _Controls(place, [*widgets.inputs, film, steps])


def _use(button: gr.Button, example: Example, shown: Shown, widgets: Panel, photographs: gr.Gallery) -> None:
    """The button that puts the example's photograph, and other pictures that the model needs, where they belong."""
    brought = [
        (component, path)
        for control, component in zip(widgets.controls, widgets.widgets)
        if isinstance(control, ImageControl) and (path := shown.example(control))
    ]
    pictures = [[str(example.before)], *([str(path)] for _, path in brought)]
    button.click(
        lambda: pictures if brought else pictures[0], outputs=[photographs, *(one for one, _ in brought)], **QUIET
    )


def _shown(visits: Visits, shown: Shown, desk: Desk) -> dict[Any, Any]:
    """A model that was just chosen: what it makes of the photograph that its plugin brings."""
    example = visits.example(shown)
    return desk.cleared() | {
        desk.pair: pair(example.before, example.after) if example else gr.ImageSlider(None, visible=True),
        desk.caption: words.caption(f"An example. {example.credit}" if example else "What is drawn appears here."),
    }
