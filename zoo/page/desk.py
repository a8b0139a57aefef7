"""Where results are shown: before and after, all of several, the film, the download, and the same call elsewhere."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from zoo.page import calls, words
from zoo.page.shown import Shown
from zoo.page.work import Made, Task

QUIET: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
PLAIN: dict[str, Any] = {"latex_delimiters": [], "container": False}
"""For HTML of `zoo.page.words`; gr.HTML would have to evaluate scripts, which the page's policy forbids."""


_CODE: dict[str, Any] = {
    "interactive": False,
    "wrap_lines": True,
    "show_line_numbers": False,
    "lines": 1,
    "buttons": ["copy"],
}


@dataclass
class Desk:
    """The components that work changes."""

    status: gr.Markdown
    becoming: gr.Markdown
    pair: gr.ImageSlider
    caption: gr.Markdown
    film: gr.Video
    several: gr.Gallery
    take: gr.DownloadButton
    call: gr.Accordion
    python: gr.Code
    shell: gr.Code
    views: gr.State
    go: gr.Button
    stop: gr.Button

    @property
    def outputs(self) -> list[Any]:
        return [*vars(self).values()]

    @property
    def results(self) -> list[Any]:
        """All but the buttons, which belong to who works."""
        return self.outputs[:-2]

    def cleared(self) -> dict[Any, Any]:
        """No result yet."""
        return {
            self.status: "",
            self.becoming: gr.Markdown("", visible=False),
            self.film: gr.Video(None, visible=False),
            self.several: gr.Gallery(None, visible=False),
            self.take: gr.DownloadButton(visible=False),
            self.call: gr.Accordion(visible=False),
            self.views: [],
        }

    def finished(self, shown: Shown, task: Task, made: Sequence[Made], said: str) -> dict[Any, Any]:
        """All is over; without a result what was there before stays."""
        update: dict[Any, Any] = {
            self.status: said,
            self.go: gr.Button(visible=True),
            self.stop: gr.Button(visible=False),
            self.becoming: gr.Markdown("", visible=False),
            self.pair: gr.ImageSlider(visible=True),
        }
        if not made:
            return update
        film = made[0].film
        files = [*([film] if film else []), *(one.file for one in made)]
        sources = task.sources[:1] if film else task.sources
        several = len(made) > 1
        return update | {
            self.pair: pair(made[0].before, made[0].after),
            self.caption: words.caption(made[0].name) if several else "",
            self.film: gr.Video(str(film) if film else None, visible=bool(film)),
            self.several: gr.Gallery([str(one.after) for one in made] if several else None, visible=several),
            self.take: gr.DownloadButton(
                "Download" if len(files) == 1 else f"Download all {len(files)}", value=str(_parcel(files)), visible=True
            ),
            self.call: gr.Accordion(visible=True),
            self.python: calls.in_python(shown.name, sources, task.given, task.steps),
            self.shell: calls.on_the_command_line(shown.controls, shown.name, sources, task.given, task.steps),
            self.views: [(str(one.before), str(one.after), one.name) for one in made],
        }


def desk_of(status: gr.Markdown, go: gr.Button, stop: gr.Button) -> Desk:
    """Make the components where we are on the page; these three stand beside it."""
    becoming = gr.Markdown(visible=False, elem_id="becoming", **PLAIN)
    slider = gr.ImageSlider(
        label="Before and after", show_label=False, interactive=False, buttons=["fullscreen"], max_height=540,
        type="filepath", image_mode=None, elem_id="pair",
    )  # fmt: skip
    view = gr.Radio(
        [("Before", 100), ("Half and half", 50), ("After", 0)], value=50, label="What is shown", show_label=False,
        container=False, elem_id="view",
    )  # fmt: skip
    view.input(lambda share: gr.ImageSlider(slider_position=share), view, slider, **QUIET)
    caption = gr.Markdown(elem_id="caption", **PLAIN)
    film = gr.Video(visible=False, label="Film", show_label=False, autoplay=True, loop=True, buttons=[], elem_id="film")
    several = gr.Gallery(
        visible=False, label="Results", show_label=False, columns=6, height="auto", allow_preview=False,
        object_fit="cover", buttons=[], interactive=False, elem_id="several",
    )  # fmt: skip
    take = gr.DownloadButton("Download", visible=False, elem_id="take")
    with gr.Accordion("The same in Python and on the command line", open=True, visible=False, elem_id="call") as call:
        python = gr.Code(language="python", label="Python", **_CODE)
        shell = gr.Code(language="shell", label="Command line", **_CODE)
    desk = Desk(status, becoming, slider, caption, film, several, take, call, python, shell, gr.State([]), go, stop)
    several.select(_picked, desk.views, [slider, caption], **QUIET)
    return desk


def pair(before: Path, after: Path) -> gr.ImageSlider:
    return gr.ImageSlider((str(before), str(after)), visible=True)


def _picked(views: Sequence[tuple[str, str, str]], event: gr.SelectData) -> tuple[gr.ImageSlider, str]:
    """One of several results, large."""
    before, after, name = views[int(event.index)]
    return pair(Path(before), Path(after)), words.caption(name)


def _parcel(files: Sequence[Path]) -> Path:
    """The one file, or all of them in a ZIP."""
    if len(files) == 1:
        return files[0]
    names = [file.name for file in files]
    parcel = files[0].parent / "results.zip"
    with zipfile.ZipFile(parcel, "w") as archive:
        for number, (file, name) in enumerate(zip(files, names), 1):
            archive.write(file, name if names.count(name) == 1 else f"{number}-{name}")
    return parcel
