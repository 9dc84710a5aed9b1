"""The widgets of the page, its style and texts, and what each widget starts: `coseg.page.actions` does the work."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr

from coseg.errors import CosegError
from coseg.page import actions
from coseg.page.actions import ASK_FOR_A_POINT
from coseg.page.calls import COOKIE, visitor_of
from coseg.page.results import OnProgress, write_archive
from coseg.page.visitors import AGE, Visitors

if TYPE_CHECKING:
    from coseg.inference.segmenter import CoSegmenter


SWEEP = 60
"""Seconds between two removals of old files by gradio."""

WAITING = 20
"""Largest number of requests that wait for the network; further ones are refused."""

_PRESS_DOWNLOAD = "() => document.querySelector('#archive').click()"
"""JavaScript after the archive is written: press the hidden button that downloads it."""

PROGRESS = gr.Progress()
"""A parameter with this default gets from gradio the progress bar of its request."""


TITLE = "coseg"
WELCOME = '<div class="verdict">The results will be here.</div>'
CHANGED = '<div class="verdict">The photographs have changed: press the button for new results.</div>'
NO_PHOTOGRAPHS = '<p class="quiet">No photographs at hand? Try drawn pictures:</p>'


def heading(segmenter: CoSegmenter, model: str) -> str:
    """The HTML at the top of the page; `model` is the source of the network."""
    size = "" if segmenter.size is None else f" at {segmenter.size} pixels"
    note = "" if segmenter.size_note is None else f" {escape(segmenter.size_note)}"
    return (
        "<h1>Cut out what photographs have in common</h1>"
        "<p>Drop two photographs or more, press the button, move the threshold, and take the result with you.</p>"
        f'<p class="quiet">Model: {escape(model)}{size} on {segmenter.device}.{note} Photographs stay on the '
        "machine that serves this page, and are removed after half an hour.</p>"
    )


def build(
    segmenter: CoSegmenter, model: str, examples: Mapping[str, Sequence[Path]], folder: Path, visitors: Visitors
) -> gr.Blocks:
    """The page, its widgets connected to `coseg.page.actions`.

    Args:
        segmenter: of the photographs.
        model: the source of its network, shown on the page.
        examples: name of each example set to its files.
        folder: of archives, until they are removed.
        visitors: keeps the results.
    """
    on_network: dict[str, Any] = {"concurrency_limit": 1, "concurrency_id": "network", "api_visibility": "private"}
    beside: dict[str, Any] = {"concurrency_limit": 4, "api_visibility": "private", "show_progress": "hidden"}

    with gr.Blocks(title=TITLE, analytics_enabled=False, delete_cache=(SWEEP, AGE), fill_width=True) as page:
        point = gr.State(None, time_to_live=AGE)
        gr.HTML(heading(segmenter, model), elem_id="heading", padding=False)
        with gr.Row(equal_height=False):
            with gr.Column(scale=1, min_width=280):
                files = gr.File(label="Photographs", file_count="multiple", height=230, elem_id="files")
                press = gr.Button("Find what they share", variant="primary", elem_id="press")
                gr.HTML(NO_PHOTOGRAPHS, padding=False)
                with gr.Column(elem_id="examples"):
                    tries = {name: gr.Button(name, size="sm") for name in examples}
            with gr.Column(scale=3):
                notice = gr.HTML(elem_id="notice", padding=False)
                verdict = gr.HTML(WELCOME, elem_id="verdict", padding=False)
                with gr.Row(equal_height=True):
                    threshold = gr.Slider(
                        0.02,
                        0.98,
                        segmenter.threshold,
                        step=0.02,
                        label="Threshold",
                        info="Probability from which a pixel counts as common: lower gives more foreground.",
                        elem_id="threshold",
                        scale=3,
                    )
                    with gr.Column(scale=1, min_width=160):
                        download = gr.Button("Download all (zip)", interactive=False, elem_id="download")
                        archive = gr.DownloadButton(visible="hidden", elem_id="archive")
                with gr.Row(equal_height=True):
                    gallery: dict[str, Any] = {"object_fit": "contain", "buttons": ["fullscreen"], "min_width": 200}
                    gallery |= {"columns": 1, "height": "auto", "elem_classes": "results"}
                    cutouts = gr.Gallery(label="Cut-outs", format="webp", elem_id="cutouts", **gallery)
                    overlays = gr.Gallery(label="Overlays", format="jpeg", elem_id="overlays", **gallery)
                    masks = gr.Gallery(label="Masks", format="png", elem_id="masks", **gallery)
                with gr.Column(visible=False) as panel:
                    explanation = gr.HTML(ASK_FOR_A_POINT, elem_id="matched", padding=False)
                    with gr.Row():
                        name_a = gr.Dropdown(label="A", type="index", elem_id="name-a")
                        name_b = gr.Dropdown(label="B", type="index", elem_id="name-b")
                    with gr.Row():
                        picture: dict[str, Any] = {"interactive": False, "buttons": [], "format": "png", "height": 360}
                        a = gr.Image(label="A: click a point", elem_id="point-a", **picture)
                        b = gr.Image(label="B: its response", elem_id="response-b", **picture)

        outputs = [point, notice, verdict, cutouts, overlays, masks, download, panel, name_a, name_b, a, b, explanation]
        matching = [name_a, name_b, point]

        def find_common(
            paths: list[str] | None, level: float, request: gr.Request, progress: gr.Progress = PROGRESS
        ) -> list[Any]:
            tab = str(request.session_hash)
            visitors.open_tab(tab, _visitor(request))
            shown = actions.find_common(segmenter, paths, level, _bar(progress, "Reading"))
            visitors.keep_result(tab, shown.result)
            return _values(shown)

        def find_common_in_example(name: str) -> Callable[..., list[Any]]:
            def run(level: float, request: gr.Request, progress: gr.Progress = PROGRESS) -> list[Any]:
                paths = [str(path) for path in examples[name]]
                return [paths, *find_common(paths, level, request, progress)]

            return run

        def rethreshold(level: float, request: gr.Request) -> list[Any]:
            result = visitors.result(request.session_hash)
            return [gr.skip()] * 3 if result is None else list(actions.galleries(result, level))

        def clear(request: gr.Request) -> list[Any]:
            """The results are of photographs that are no longer the given ones."""
            visitors.keep_result(str(request.session_hash), None)
            return _values(actions.Shown(None, "", CHANGED, actions.Galleries([], [], [])))

        def clear_if_changed(paths: list[str] | None, request: gr.Request) -> list[Any]:
            result = visitors.result(request.session_hash)
            if result is None or result.is_of(paths or []):
                return [gr.skip()] * len(outputs)
            return clear(request)

        def match(i: int | None, j: int | None, at: tuple[float, float] | None, request: gr.Request) -> list[Any]:
            result = visitors.result(request.session_hash)
            if result is None or i is None or j is None:
                return [gr.skip()] * 3
            return list(actions.match(segmenter, result, i, j, at))

        def click(i: int | None, event: gr.SelectData, request: gr.Request) -> Any:
            result = visitors.result(request.session_hash)
            return gr.skip() if result is None or i is None else result.place(i, *event.index)

        def pack(level: float, request: gr.Request, progress: gr.Progress = PROGRESS) -> str:
            result = visitors.result(request.session_hash)
            if result is None:
                raise gr.Error("There is nothing to download: press the button first.", print_exception=False)
            try:
                return str(write_archive(segmenter, result, level, model, folder, _bar(progress, "Writing")))
            except CosegError as error:
                raise gr.Error(str(error), print_exception=False) from error

        runs = [press.click(find_common, [files, threshold], outputs, show_progress_on=cutouts, **on_network)]
        for name, button in tries.items():
            example = find_common_in_example(name)
            runs.append(button.click(example, [threshold], [files, *outputs], show_progress_on=cutouts, **on_network))
        for run in runs:  # the photographs may have changed while the network worked
            run.then(clear_if_changed, [files], outputs, **beside)
        gr.on([files.upload, files.clear, files.delete], clear, None, outputs, **beside)
        threshold.change(rethreshold, [threshold], [cutouts, overlays, masks], trigger_mode="always_last", **beside)
        a.select(click, [name_a], [point], **beside).then(match, matching, [a, b, explanation], **on_network)
        name_a.input(lambda: None, None, [point], **beside).then(match, matching, [a, b, explanation], **on_network)
        name_b.input(match, matching, [a, b, explanation], **on_network)
        written = download.click(
            pack, [threshold], [archive], show_progress_on=download, concurrency_limit=1, api_visibility="private"
        )
        written.success(None, js=_PRESS_DOWNLOAD)
    return page.queue(max_size=WAITING)


def _visitor(request: gr.Request) -> str:
    cookie = request.cookies.get(COOKIE)
    return visitor_of(f"{COOKIE}={cookie}" if cookie else "", request.client.host if request.client else None)


def _values(shown: actions.Shown) -> list[Any]:
    """The values of all widgets that a press of the button changes."""
    result = shown.result
    columns = 1 if result is None or len(result.names) < 4 else 2
    results = [gr.Gallery(value=value, columns=columns, selected_index=None) for value in shown.galleries]
    values: list[Any] = [None, shown.notice, shown.verdict, *results]
    if result is None:
        return [
            *values,
            gr.Button(interactive=False),
            gr.Group(visible=False),
            *[gr.skip()] * 4,
            ASK_FOR_A_POINT,
        ]
    names = list(result.names)
    return [
        *values,
        gr.Button(interactive=True),
        gr.Group(visible=True),
        gr.Dropdown(choices=names, value=names[0]),
        gr.Dropdown(choices=names, value=names[1]),
        result.previews[0],
        result.previews[1],
        ASK_FOR_A_POINT,
    ]


def _bar(progress: gr.Progress, doing: str) -> OnProgress:
    return lambda done, of, name: progress((done, of), desc=f"{doing} {name}")


CSS = """
.gradio-container { max-width: 1320px !important; margin: 0 auto; }
#heading h1 { font-size: 1.7rem; font-weight: 650; margin: 0.4rem 0 0.3rem; }
#heading p { margin: 0.1rem 0; }
#heading { padding: 0; }
#notice:not(:has(.notice)) { display: none; }
#examples { gap: 0.4rem; }
.results .grid-wrap { max-height: 640px; }
.results .grid-wrap { overflow-y: auto; }
.matched { margin: 0.8rem 0 0; }
#point-a img, #response-b img { width: 100%; height: 100%; object-fit: contain; }
.results .grid-container { grid-auto-rows: min-content !important; grid-template-rows: none !important;
  align-items: start; }
.results .thumbnail-lg { aspect-ratio: auto; height: auto; }
.results .thumbnail-lg img { max-height: 420px; }
.results .grid-wrap { padding-top: 1.9rem; }
.results .thumbnail-lg { display: flex; flex-direction: column; height: auto; }
.results .caption-label { position: static; max-width: 100%; width: 100%; border: 0; background: none;
  padding: 0.2rem 0.4rem 0.3rem; text-align: left; white-space: normal; overflow: visible; overflow-wrap: anywhere; }
#point-a .image-container, #response-b .image-container { padding-top: 1.9rem; }
#files .filename { display: block; font-size: 0; white-space: normal; overflow-wrap: anywhere; max-width: none; }
#files .filename * { display: inline; font-size: var(--text-md); white-space: normal; overflow-wrap: anywhere; }
.quiet { color: var(--body-text-color-subdued); font-size: 0.9rem; }
.verdict { border-left: 4px solid var(--neutral-400); padding: 0.5rem 0.9rem; background: var(--neutral-50);
  border-radius: 4px; color: var(--neutral-800); }
.verdict span { color: var(--neutral-500); margin-right: 0.4rem; }
.verdict.yes { border-color: #16a34a; background: #f0fdf4; }
.verdict.no { border-color: #d97706; background: #fffbeb; }
.notice { border: 1px solid #fca5a5; background: #fef2f2; color: #7f1d1d; border-radius: 6px; padding: 0.5rem 0.9rem; }
.notice p { margin: 0.2rem 0; color: inherit; }
#cutouts .thumbnail-item img, #cutouts .media-button img, #cutouts .preview img {
  background: repeating-conic-gradient(#e5e7eb 0% 25%, #ffffff 0% 50%) 50% / 16px 16px; }
#point-a img { cursor: crosshair; }
footer { display: none !important; }
"""


def theme() -> Any:
    """A light theme with fonts of the visitor's machine: nothing is fetched from elsewhere."""
    import gradio as gr

    return gr.themes.Default(
        primary_hue="teal",
        secondary_hue="teal",
        neutral_hue="slate",
        font=("system-ui", "Segoe UI", "Helvetica", "Arial", "sans-serif"),
        font_mono=("ui-monospace", "Menlo", "Consolas", "monospace"),
    )
