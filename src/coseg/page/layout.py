"""The widgets of the page, its style and texts; `coseg.page.events` says what each widget starts."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

import gradio as gr

from coseg.page.pictures import OVERLAY, VIEWS
from coseg.page.showing import POINT, TOOLS, instructions

if TYPE_CHECKING:
    from coseg.inference.segmenter import CoSegmenter


WELCOME = '<div class="verdict">The results will be here.</div>'
CHANGED = '<div class="verdict">The photographs have changed: press the button for new results.</div>'
NO_PHOTOGRAPHS = '<p class="quiet">No photographs at hand? Try drawn pictures:</p>'

GIVEN, LIKELIEST = "As added", "Likeliest first"
ORDERS = (GIVEN, LIKELIEST)
"""Orders of the photographs in the gallery."""


def heading(segmenter: CoSegmenter, model: str) -> str:
    """The HTML at the top of the page; `model` is the source of the network."""
    size = "" if segmenter.size is None else f" at {segmenter.size} pixels"
    note = "" if segmenter.size_note is None else f" {escape(segmenter.size_note)}"
    return (
        "<h1>Cut out what photographs have in common</h1>"
        "<p>Drop two photographs or more, and press the button. Is it the wrong object? Click on the right one.</p>"
        f'<p class="quiet">Model: {escape(model)}{size} on {segmenter.device}.{note} Photographs stay on the '
        "machine that serves this page, and are removed after half an hour.</p>"
    )


@dataclass
class Widgets:
    """The widgets of the page that change, or start something.

    Attributes:
        examples: the button of each example set.
        outcome: all that is shown once there is a result.
        archive: the hidden button that downloads the zip file.
        chooser: the photographs, small, to choose one of them to click in.
        chosen: that photograph.
    """

    files: gr.File
    press: gr.Button
    examples: dict[str, gr.Button]
    notice: gr.HTML
    verdict: gr.HTML
    outcome: gr.Column
    view: gr.Radio
    order: gr.Radio
    threshold: gr.Slider
    download: gr.Button
    archive: gr.DownloadButton
    gallery: gr.Gallery
    chooser: gr.Gallery
    tool: gr.Radio
    instructions: gr.HTML
    take_back: gr.Button
    take_all_back: gr.Button
    chosen: gr.Image

    @property
    def look(self) -> list[Any]:
        """What the gallery is drawn by."""
        return [self.view, self.order, self.threshold]

    @property
    def results(self) -> list[Any]:
        """What changes with the masks."""
        return [self.notice, self.verdict, self.outcome, *self.look, self.gallery, self.chooser]

    @property
    def shown(self) -> list[Any]:
        """What changes with the object that is shown."""
        return [self.chosen, self.instructions, self.take_back, self.take_all_back]


def lay_out(segmenter: CoSegmenter, model: str, examples: Iterable[str]) -> Widgets:
    """The widgets of the page, made within it.

    Args:
        segmenter: of the photographs.
        model: the source of its network, shown on the page.
        examples: names of the example sets.
    """
    gr.HTML(heading(segmenter, model), elem_id="heading", padding=False)
    with gr.Row(equal_height=False):
        with gr.Column(scale=1, min_width=300):
            files = gr.File(label="Photographs", file_count="multiple", height=230, elem_id="files")
            press = gr.Button("Find what they share", variant="primary", elem_id="press")
            gr.HTML(NO_PHOTOGRAPHS, padding=False)
            with gr.Column(elem_id="examples"):
                tries = {name: gr.Button(name, size="sm") for name in examples}
        with gr.Column(scale=3, min_width=320, elem_id="answer"):
            notice = gr.HTML(elem_id="notice", padding=False)
            verdict = gr.HTML(WELCOME, elem_id="verdict", padding=False)
            with gr.Column(visible=False, elem_id="outcome") as outcome:
                shown = _widgets_of_showing(segmenter)
                look = _widgets_of_look(segmenter)
                gallery = gr.Gallery(
                    show_label=False,
                    elem_id="gallery",
                    columns=2,
                    height="auto",
                    object_fit="contain",
                    buttons=["fullscreen"],
                )
    parts = {"notice": notice, "verdict": verdict, "outcome": outcome, "gallery": gallery}
    return Widgets(files=files, press=press, examples=tries, **parts, **look, **shown)


def _widgets_of_look(segmenter: CoSegmenter) -> dict[str, Any]:
    """What the gallery shows and in which order, the threshold, and the download."""
    with gr.Row(equal_height=False, elem_id="look"):
        view = gr.Radio(list(VIEWS), value=OVERLAY, label="Show", elem_id="view", min_width=300, scale=2)
        order = gr.Radio(ORDERS, value=GIVEN, label="Order", elem_id="order", min_width=220, visible=False)
    with gr.Row(equal_height=True):
        threshold = gr.Slider(
            0.02,
            0.98,
            segmenter.threshold,
            step=0.02,
            label="Threshold",
            info="Lower cuts out more, higher less.",
            elem_id="threshold",
            scale=3,
            min_width=280,
        )
        with gr.Column(scale=1, min_width=160):
            download = gr.Button("Download all (zip)", elem_id="download")
            archive = gr.DownloadButton(visible="hidden", elem_id="archive")
    return {"view": view, "order": order, "threshold": threshold, "download": download, "archive": archive}


def _widgets_of_showing(segmenter: CoSegmenter) -> dict[str, Any]:
    """A photograph to click in, and what was shown in it."""
    with (
        gr.Accordion("Another object? Click on it in one photograph", open=False, elem_id="showing"),
        gr.Row(equal_height=False),
    ):
        with gr.Column(scale=2, min_width=260):
            text = gr.HTML(instructions(segmenter, None), elem_id="shown", padding=False)
            chooser = gr.Gallery(
                show_label=False, elem_id="chooser", columns=4, height="auto", object_fit="cover",
                allow_preview=False, format="jpeg", buttons=[],
            )  # fmt: skip
            tool = gr.Radio(TOOLS, value=POINT, label="Click", elem_id="tool")
            with gr.Row():
                take_back = gr.Button(
                    "Take back the last", size="sm", interactive=False, elem_id="take-back", min_width=100
                )
                take_all_back = gr.Button(
                    "Take all back", size="sm", interactive=False, elem_id="take-all-back", min_width=100
                )
        with gr.Column(scale=3, min_width=320):
            chosen = gr.Image(elem_id="chosen", interactive=False, buttons=[], format="webp")
    return {
        "instructions": text, "chooser": chooser, "tool": tool, "take_back": take_back, "take_all_back": take_all_back,
        "chosen": chosen,
    }  # fmt: skip


CSS = """
#heading h1 { font-size: 1.7rem; font-weight: 650; margin: 0.4rem 0 0.3rem; }
#heading p { margin: 0.1rem 0; }
#heading { padding: 0; }
#notice:not(:has(.notice)) { display: none; }
#examples { gap: 0.4rem; }
#gallery { border: 0; }
#gallery .grid-wrap { max-height: none; min-height: 0; overflow: visible; padding: 0; }
#gallery .grid-container { grid-template-columns: repeat(auto-fill, minmax(min(400px, 100%), 1fr)) !important;
  grid-auto-rows: min-content !important; grid-template-rows: none !important; align-items: start; }
#gallery .thumbnail-lg { display: flex; flex-direction: column; aspect-ratio: auto; height: auto; }
#gallery .thumbnail-lg > img { height: auto; max-height: 85vh; }
#gallery .caption-label { position: static; max-width: 100%; width: 100%; border: 0; background: none;
  padding: 0.35rem 0.6rem 0.5rem; text-align: left; white-space: pre-line; overflow: visible; overflow-wrap: anywhere;
  color: var(--neutral-600); line-height: 1.45; font-size: 0.92rem; opacity: 1 !important; }
#gallery .caption-label::first-line { font-weight: 600; color: var(--body-text-color); }
#archive { display: none !important; }
#chooser .grid-wrap { min-height: 0; max-height: 190px; padding: 0; overflow-y: auto; }
#chooser .grid-container { grid-template-columns: repeat(auto-fill, minmax(70px, 1fr)) !important;
  grid-auto-rows: min-content !important; grid-template-rows: none !important; }
#chosen .image-frame, #chosen img { width: 100%; height: auto; }
#chosen img { cursor: crosshair; object-fit: contain; }
#showing > button, #showing > button span { text-align: left; font-weight: 600; }
#verdict:has(.progress-text) .verdict { visibility: hidden; min-height: 5.5rem; }
#verdict .progress-text { display: none; }
#gallery .preview { position: fixed; inset: 0; width: 100vw; height: 100vh; z-index: 1000; }
#gallery .preview .caption { white-space: pre-line; overflow: visible; }
#gallery .preview { padding-bottom: 4.5rem; }
#gallery .preview .thumbnails { bottom: 0.3rem; }
#files .filename { display: block; font-size: 0; white-space: normal; overflow-wrap: anywhere; max-width: none; }
#files .filename * { display: inline; font-size: var(--text-sm); white-space: normal; overflow-wrap: anywhere; }
.quiet { color: var(--neutral-500); font-size: 0.9rem; }
.shown p, .shown ul { margin: 0.2rem 0; padding: 0; list-style: none; }
.verdict { border-left: 4px solid var(--neutral-400); padding: 0.6rem 1rem; background: var(--neutral-50);
  border-radius: 4px; color: var(--neutral-800); }
.verdict .answer { font-size: 1.15rem; font-weight: 600; margin: 0; color: inherit; }
.verdict details { margin-top: 0.3rem; font-size: 0.92rem; }
.verdict summary { cursor: pointer; color: var(--neutral-600); }
.verdict.yes { border-color: #16a34a; background: #f0fdf4; }
.verdict.no { border-color: #d97706; background: #fffbeb; }
.notice { border: 1px solid #fca5a5; background: #fef2f2; color: #7f1d1d; border-radius: 6px; padding: 0.5rem 0.9rem; }
.notice p { margin: 0.2rem 0; color: inherit; }
#gallery .thumbnail-lg img {
  background: repeating-conic-gradient(#e5e7eb 0% 25%, #ffffff 0% 50%) 50% / 16px 16px; }
@media (max-width: 760px) { #heading h1 { font-size: 1.4rem; } }
"""

HEAD = """<style>
.gradio-container { max-width: 1800px !important; width: 100%; margin: 0 auto; }
.gradio-container > .main { width: 100%; }
@media (max-width: 760px) { .gradio-container > .main { padding: 0.5rem !important; } }
footer { display: none !important; }
</style>"""
"""The style of what is around the widgets, where gradio does not apply `CSS`."""


def theme() -> Any:
    """A light theme with fonts of the visitor's machine: nothing is fetched from elsewhere."""
    return gr.themes.Default(
        primary_hue="teal",
        secondary_hue="teal",
        neutral_hue="slate",
        font=("system-ui", "Segoe UI", "Helvetica", "Arial", "sans-serif"),
        font_mono=("ui-monospace", "Menlo", "Consolas", "monospace"),
    )
