"""The widgets of the page and what each of them sets off."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr

from coseg.errors import CosegError
from coseg.page import actions, words
from coseg.page.archive import write_archive
from coseg.page.calls import COOKIE, visitor_of
from coseg.page.look import Progress
from coseg.page.visitors import AGE, Visits

if TYPE_CHECKING:
    from coseg.inference.segmenter import CoSegmenter

SWEEP = 60
"""Seconds between two removals."""

WAITING = 20
"""Requests that may wait for the network; more are told to come back."""

_PRESS_DOWNLOAD = "() => document.querySelector('#archive').click()"
"""The archive is written first, then the hidden button that holds it is pressed."""

PROGRESS = gr.Progress()
"""gradio takes a default of this kind as the wish for a bar, and puts the request's own in its place."""


def build(
    segmenter: CoSegmenter, model: str, examples: Mapping[str, Sequence[Path]], folder: Path, visits: Visits
) -> gr.Blocks:
    """The page.

    Args:
        segmenter: what co-segments.
        model: where its network came from.
        examples: name and files of each example set.
        folder: where archives are written until they are removed.
        visits: where the results of each visitor are kept.
    """
    on_network: dict[str, Any] = {"concurrency_limit": 1, "concurrency_id": "network", "api_visibility": "private"}
    beside: dict[str, Any] = {"concurrency_limit": 4, "api_visibility": "private", "show_progress": "hidden"}

    with gr.Blocks(title=words.TITLE, analytics_enabled=False, delete_cache=(SWEEP, AGE), fill_width=True) as page:
        point = gr.State(None, time_to_live=AGE)
        gr.HTML(words.heading(segmenter, model), elem_id="heading", padding=False)
        with gr.Row(equal_height=False):
            with gr.Column(scale=1, min_width=280):
                files = gr.File(label="Photographs", file_count="multiple", height=230, elem_id="files")
                press = gr.Button("Find what they share", variant="primary", elem_id="press")
                gr.HTML(words.NO_PHOTOGRAPHS, padding=False)
                with gr.Column(elem_id="examples"):
                    tries = {name: gr.Button(name, size="sm") for name in examples}
            with gr.Column(scale=3):
                notice = gr.HTML(elem_id="notice", padding=False)
                verdict = gr.HTML(words.WELCOME, elem_id="verdict", padding=False)
                with gr.Row(equal_height=True):
                    threshold = gr.Slider(
                        0.02,
                        0.98,
                        segmenter.threshold,
                        step=0.02,
                        label="Threshold",
                        info="Probability from which a pixel counts as common: lower marks more.",
                        elem_id="threshold",
                        scale=3,
                    )
                    with gr.Column(scale=1, min_width=160):
                        download = gr.Button("Download all (zip)", interactive=False, elem_id="download")
                        archive = gr.DownloadButton(visible="hidden", elem_id="archive")
                with gr.Row(equal_height=True):
                    kind: dict[str, Any] = {"object_fit": "contain", "buttons": ["fullscreen"], "min_width": 200}
                    kind |= {"columns": 1, "height": "auto", "elem_classes": "results"}
                    masks = gr.Gallery(label="Masks", format="png", elem_id="masks", **kind)
                    overlays = gr.Gallery(label="Overlays", format="jpeg", elem_id="overlays", **kind)
                    cutouts = gr.Gallery(label="Cut-outs", format="webp", elem_id="cutouts", **kind)
                with gr.Column(visible=False) as panel:
                    said = gr.HTML(words.ASK_FOR_A_POINT, elem_id="said", padding=False)
                    with gr.Row():
                        name_a = gr.Dropdown(label="A", type="index", elem_id="name-a")
                        name_b = gr.Dropdown(label="B", type="index", elem_id="name-b")
                    with gr.Row():
                        picture: dict[str, Any] = {"interactive": False, "buttons": [], "format": "png", "height": 360}
                        a = gr.Image(label="A: click a point", elem_id="point-a", **picture)
                        b = gr.Image(label="B: its response", elem_id="response-b", **picture)

        found = [point, notice, verdict, masks, overlays, cutouts, download, panel, name_a, name_b, a, b, said]
        matching = [name_a, name_b, point]

        def look_at(
            given: list[str] | None, level: float, request: gr.Request, progress: gr.Progress = PROGRESS
        ) -> list[Any]:
            session = str(request.session_hash)
            visits.begin(session, _visitor(request))
            shown = actions.look_at(segmenter, given, level, _telling(progress, "Reading"))
            visits.keep(session, shown.look)
            return _found(shown)

        def look_at_example(name: str) -> Callable[..., list[Any]]:
            def run(level: float, request: gr.Request, progress: gr.Progress = PROGRESS) -> list[Any]:
                given = [str(path) for path in examples[name]]
                return [given, *look_at(given, level, request, progress)]

            return run

        def rethreshold(level: float, request: gr.Request) -> list[Any]:
            seen = visits.look(request.session_hash)
            return [gr.skip()] * 3 if seen is None else list(actions.galleries(seen, level))

        def match(i: int | None, j: int | None, at: tuple[float, float] | None, request: gr.Request) -> list[Any]:
            seen = visits.look(request.session_hash)
            if seen is None or i is None or j is None:
                return [gr.skip()] * 3
            return list(actions.match(segmenter, seen, i, j, at))

        def click(i: int | None, event: gr.SelectData, request: gr.Request) -> Any:
            seen = visits.look(request.session_hash)
            return gr.skip() if seen is None or i is None else seen.place(i, *event.index)

        def pack(level: float, request: gr.Request, progress: gr.Progress = PROGRESS) -> str:
            seen = visits.look(request.session_hash)
            if seen is None:
                raise gr.Error("There is nothing to download: press the button first.", print_exception=False)
            try:
                return str(write_archive(segmenter, seen, level, model, folder, _telling(progress, "Writing")))
            except CosegError as error:
                raise gr.Error(str(error), print_exception=False) from error

        press.click(look_at, [files, threshold], found, show_progress_on=overlays, **on_network)
        for name, button in tries.items():
            button.click(look_at_example(name), [threshold], [files, *found], show_progress_on=overlays, **on_network)
        threshold.change(rethreshold, [threshold], [masks, overlays, cutouts], trigger_mode="always_last", **beside)
        a.select(click, [name_a], [point], **beside).then(match, matching, [a, b, said], **on_network)
        name_a.input(lambda: None, None, [point], **beside).then(match, matching, [a, b, said], **on_network)
        name_b.input(match, matching, [a, b, said], **on_network)
        written = download.click(
            pack, [threshold], [archive], show_progress_on=download, concurrency_limit=1, api_visibility="private"
        )
        written.success(None, js=_PRESS_DOWNLOAD)
    return page.queue(max_size=WAITING)


def _visitor(request: gr.Request) -> str:
    cookie = request.cookies.get(COOKIE)
    return visitor_of(f"{COOKIE}={cookie}" if cookie else "", request.client.host if request.client else None)


def _found(shown: actions.Shown) -> list[Any]:
    """The values of everything that a press of the button changes."""
    look = shown.look
    columns = 1 if look is None or len(look.names) < 4 else 2
    results = [gr.Gallery(value=value, columns=columns, selected_index=None) for value in shown.galleries]
    values: list[Any] = [None, shown.notice, shown.verdict, *results]
    if look is None:
        return [*values, gr.Button(interactive=False), gr.Group(visible=False), *[gr.skip()] * 4, words.ASK_FOR_A_POINT]
    names = list(look.names)
    return [
        *values,
        gr.Button(interactive=True),
        gr.Group(visible=True),
        gr.Dropdown(choices=names, value=names[0]),
        gr.Dropdown(choices=names, value=names[1]),
        look.previews[0],
        look.previews[1],
        words.ASK_FOR_A_POINT,
    ]


def _telling(progress: gr.Progress, doing: str) -> Progress:
    return lambda done, of, name: progress((done, of), desc=f"{doing} {name}")
