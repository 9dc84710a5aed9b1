"""The widgets of the page, its style and texts; `coseg.page.events` says what each widget starts."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

import gradio as gr

from coseg.imaging.draw import colour_code
from coseg.inference.exemplar import can_search
from coseg.page.pictures import ALL, OVERLAY, VIEWS
from coseg.page.showing import MOST_OBJECTS, POINT, TOOLS
from coseg.page.words import instructions, object_label

if TYPE_CHECKING:
    from coseg.inference.segmenter import CoSegmenter
    from coseg.page.results import PageResult

WELCOME = '<div class="verdict">The results will be here.</div>'
CHANGED = '<div class="verdict">The photographs have changed: press the button for new results.</div>'
NO_PHOTOGRAPHS = '<p class="quiet">No photographs at hand? Try drawn pictures:</p>'

GIVEN, LIKELIEST = "As added", "Likeliest first"
ORDERS = (GIVEN, LIKELIEST)
"""Orders of the photographs in the gallery."""

NUMBERS = range(1, MOST_OBJECTS + 1)
"""Of objects."""


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
        which: whether the gallery shows all objects or one of them.
        chooser: the photographs, small, to choose one of them to click in.
        chosen: that photograph.
        seen: hidden, `coseg.page.showing.Seen` of the results that the browser shows: events have it as argument.
        objects: the list of objects; clicks are of the selected one.
        naming: the name of that object, and a button to remove it.
    """

    files: gr.File
    press: gr.Button
    examples: dict[str, gr.Button]
    notice: gr.HTML
    verdict: gr.HTML
    outcome: gr.Column
    view: gr.Radio
    order: gr.Radio
    which: gr.Radio
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
    seen: gr.Textbox
    objects: gr.Radio
    naming: gr.Row
    name: gr.Textbox
    remove: gr.Button
    add: gr.Button

    @property
    def look(self) -> list[Any]:
        """What the gallery is drawn by."""
        return [self.view, self.order, self.threshold, self.which]

    @property
    def drawn(self) -> list[Any]:
        """What is drawn by `look`."""
        return [self.gallery, self.order, self.which]

    @property
    def results(self) -> list[Any]:
        """What changes with the photographs and the masks, beside `shown`."""
        return [self.outcome, self.view, self.threshold, self.gallery, self.chooser]

    @property
    def shown(self) -> list[Any]:
        """What changes with the objects that are shown."""
        return [
            self.notice, self.verdict, self.which, self.seen, self.chosen, self.instructions, self.objects, self.naming,
            self.name, self.remove, self.take_back, self.take_all_back,
        ]  # fmt: skip


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
        which = gr.Radio(which_choices(None), value=ALL, label="Object", elem_id="which", min_width=300, visible=False)
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
    return {
        "view": view,
        "order": order,
        "which": which,
        "threshold": threshold,
        "download": download,
        "archive": archive,
    }


def which_choices(result: PageResult | None) -> list[tuple[str, int]]:
    """Labels and numbers of what the gallery may show: all objects, or one of them.

    There is always a choice for each number, so that none that a request has is refused because an object was removed
    meanwhile; those without a label are not displayed.
    """
    shown = {} if result is None else {item.number: item.title for item in result.showing.searched}
    return [("All objects", ALL), *((shown.get(number, ""), number) for number in NUMBERS)]


def object_choices(result: PageResult | None) -> list[tuple[str, int]]:
    """Labels and numbers of the list of objects, see `which_choices`."""
    shown = {} if result is None else {item.number: object_label(item) for item in result.showing.objects}
    return [(shown.get(number, ""), number) for number in NUMBERS]


def _widgets_of_showing(segmenter: CoSegmenter) -> dict[str, Any]:
    """The list of objects, a photograph to click in, and what was shown in it.

    What a new name changes is below the name and the buttons: a button that moves while it is pressed is not pressed.
    """
    searches = can_search(segmenter.network)
    widgets: dict[str, Any] = {}
    small: dict[str, Any] = {"size": "sm", "min_width": 100}
    with (
        gr.Accordion("Another object, or several? Click on them in a photograph", open=False, elem_id="showing"),
        gr.Row(equal_height=False),
    ):
        with gr.Column(scale=2, min_width=260):
            widgets["instructions"] = gr.HTML(instructions(None, searches), elem_id="shown", padding=False)
            with gr.Row(visible=False, elem_id="naming") as widgets["naming"]:
                widgets["name"] = gr.Textbox(
                    label="Name (optional)", placeholder="horse, for example", max_length=60,
                    elem_id="name", scale=3, min_width=150,
                )  # fmt: skip
                widgets["remove"] = gr.Button("Remove it", visible=False, elem_id="remove", scale=1, **small)
            widgets["add"] = gr.Button("Add another object", elem_id="add", visible=searches, **small)
            widgets["objects"] = gr.Radio(
                object_choices(None), value=1, label="Objects", info="A click shows the one that is chosen here.",
                elem_id="objects", visible=False,
            )  # fmt: skip
        with gr.Column(scale=3, min_width=320):
            widgets["chooser"] = gr.Gallery(
                show_label=False, elem_id="chooser", columns=4, height="auto", object_fit="cover",
                allow_preview=False, format="jpeg", buttons=[],
            )  # fmt: skip
            widgets["tool"] = gr.Radio(TOOLS, value=POINT, label="Click", elem_id="tool", visible=searches)
            widgets["chosen"] = gr.Image(elem_id="chosen", interactive=False, buttons=[], format="webp")
            with gr.Row():
                widgets["take_back"] = gr.Button("Take back the last", interactive=False, elem_id="take-back", **small)
                widgets["take_all_back"] = gr.Button(
                    "Take all back", interactive=False, elem_id="take-all-back", **small
                )
            widgets["seen"] = gr.Textbox(visible="hidden", elem_id="seen")
    return widgets


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
#archive, #seen { display: none !important; }
#objects label:has(span:empty), #which label:has(span:empty) { display: none; }
#naming { align-items: end; }
#chooser .grid-wrap { min-height: 0; max-height: 190px; padding: 0; overflow-y: auto; }
#chooser .grid-container { grid-template-columns: repeat(auto-fill, minmax(70px, 1fr)) !important;
  grid-auto-rows: min-content !important; grid-template-rows: none !important; }
#chosen .image-frame, #chosen img { width: 100%; height: auto; }
#chosen img { cursor: crosshair; object-fit: contain; }
#showing > button, #showing > button span { text-align: left; font-weight: 600; }
#verdict:has([data-testid=status-tracker]:not(.hide) .progress-text) .verdict {
  visibility: hidden; min-height: 5.5rem; }
#verdict .progress-text { display: none; }
#gallery .preview { position: fixed; inset: 0; width: 100vw; height: 100vh; z-index: 1000; }
#gallery .preview .caption { white-space: pre-line; overflow: visible; }
#gallery .preview { padding-bottom: 4.5rem; }
#gallery .preview .thumbnails { bottom: 0.3rem; }
#files .filename { display: block; font-size: 0; white-space: normal; overflow-wrap: anywhere; max-width: none; }
#files .filename * { display: inline; font-size: var(--text-sm); white-space: normal; overflow-wrap: anywhere; }
.chip { display: inline-block; width: 0.85em; height: 0.85em; margin-right: 0.45em; border-radius: 50%; }
.verdict.objects .answer { font-size: 1.05rem; }
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
""" + "\n".join(
    f':is(#objects, #which) label:has(input[value="{number}"])::before {{ content: ""; width: 0.85em; height: 0.85em; '
    f"border-radius: 50%; margin-right: 0.2em; background: {colour_code(number)}; }}"
    for number in NUMBERS
)

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
