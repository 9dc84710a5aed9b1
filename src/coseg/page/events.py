"""What each widget of the page starts: find the common object, show another, draw the gallery, write the zip file.

A request may wait while the page changes, and its answer is then of an earlier state. So requests on what is shown
carry `coseg.page.showing.Seen`; the gallery is drawn after a change, by what is chosen then; and where two changes do
not depend on each other, their order does not matter.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr
from PIL import Image

from coseg.errors import CosegError
from coseg.inference.exemplar import can_search
from coseg.page import showing
from coseg.page.archive import write_archive
from coseg.page.calls import COOKIE, visitor_of
from coseg.page.layout import CHANGED, LIKELIEST, Widgets, lay_out, object_choices, which_choices
from coseg.page.pictures import ALL, MATCHED, VIEWS, chosen_picture, gallery, order_of
from coseg.page.results import OnProgress, PageResult, cosegment_files
from coseg.page.showing import Change, Seen
from coseg.page.visitors import AGE, Visitors
from coseg.page.words import instructions, notice, verdict, verdict_of_objects

if TYPE_CHECKING:
    from coseg.inference.segmenter import CoSegmenter

SWEEP = 60
"""Seconds between two removals of old files by gradio."""

WAITING = 20
"""Largest number of requests that wait for the network; further ones are refused."""

PROGRESS = gr.Progress()
"""A parameter with this default gets from gradio the progress bar of its request."""

_PRESS_DOWNLOAD = "() => document.querySelector('#archive').click()"
"""JavaScript after the archive is written: press the hidden button that downloads it."""

_LOOK_AT_THE_ANSWER = "() => { if (innerWidth < 760) document.querySelector('#answer').scrollIntoView(); }"
"""JavaScript when the button is pressed: on a phone the answer is below the photographs."""

_REMOVED = "These results were removed in the meantime: press the button again."
_OTHER_RESULTS = "There are new results since that click, so it was left out: click again."

_THUMBNAIL = 160
"""Longest side of the photographs to choose from, in pixels."""

Values = dict[Any, Any]
"""Widgets and their new values."""


def build(
    segmenter: CoSegmenter, model: str, examples: Mapping[str, Sequence[Path]], folder: Path, visitors: Visitors
) -> gr.Blocks:
    """The page, its widgets connected with what they do.

    Args:
        segmenter: of the photographs.
        model: the source of its network, shown on the page.
        examples: name of each example set to its files.
        folder: of archives, until they are removed.
        visitors: keeps the results.
    """
    with gr.Blocks(title="coseg", analytics_enabled=False, delete_cache=(SWEEP, AGE), fill_width=True) as page:
        widgets = lay_out(segmenter, model, examples)
        _connect(widgets, _Events(widgets, segmenter, model, folder, visitors), examples)
    return page.queue(max_size=WAITING)


def _connect(widgets: Widgets, events: _Events, examples: Mapping[str, Sequence[Path]]) -> None:
    private: dict[str, Any] = {"api_visibility": "private"}
    on_network: dict[str, Any] = {"concurrency_limit": 1, "concurrency_id": "network", **private}
    quick: dict[str, Any] = {"concurrency_limit": 1, "concurrency_id": "quick", "show_progress": "hidden", **private}
    beside: dict[str, Any] = {"concurrency_limit": 4, "show_progress": "hidden", **private}
    drawing: dict[str, Any] = {"concurrency_id": "drawing", "trigger_mode": "always_last", **beside}
    w, look = widgets, widgets.look
    all_of_it = [*w.results, *w.shown]

    on_verdict = {"show_progress_on": w.verdict, **on_network}
    runs = [w.press.click(events.find_common, [w.files], all_of_it, **on_verdict)]
    w.press.click(None, js=_LOOK_AT_THE_ANSWER)
    for name, button in w.examples.items():
        run = events.find_common_in(examples[name])
        runs.append(button.click(run, None, [w.files, *all_of_it], **on_verdict))
        button.click(None, js=_LOOK_AT_THE_ANSWER)
    checked = [run.then(events.clear_if_changed, [w.files], all_of_it, **beside) for run in runs]
    gr.on([w.files.upload, w.files.clear, w.files.delete], events.clear, [w.files], all_of_it, **beside)

    searches = {"outputs": all_of_it, "show_progress_on": [w.verdict, w.chosen], **on_network}
    changes = [
        w.chosen.select(events.click, [w.seen, w.tool], trigger_mode="multiple", **searches),
        w.take_back.click(events.take_back, [w.seen], **searches),
        w.remove.click(events.remove, [w.seen], **searches),
        w.take_all_back.click(events.take_all_back, [w.seen], **searches),
        w.add.click(events.add, [w.seen], all_of_it, **quick),
        w.objects.input(events.select, [w.seen, w.objects], all_of_it, trigger_mode="always_last", **quick),
        gr.on([w.name.blur, w.name.submit], events.rename, [w.seen, w.name], all_of_it, **quick),
    ]
    w.chooser.select(events.choose, [w.seen], all_of_it, trigger_mode="always_last", **quick)
    for change in (*checked, *changes):
        change.then(events.draw, look, w.drawn, **drawing)
    gr.on([widget.input for widget in look], events.draw, look, w.drawn, **drawing)

    written = w.download.click(
        events.pack, [w.seen, w.threshold], [w.archive], show_progress_on=w.download, concurrency_limit=1, **private
    )
    written.success(None, js=_PRESS_DOWNLOAD)


@dataclass
class _Events:
    """What the widgets do; see `connect`."""

    widgets: Widgets
    segmenter: CoSegmenter
    model: str
    folder: Path
    visitors: Visitors

    def find_common(self, paths: list[str] | None, request: gr.Request, progress: gr.Progress = PROGRESS) -> Values:
        tab, w = str(request.session_hash), self.widgets
        self.visitors.open_tab(tab, _visitor(request))
        self.visitors.keep_result(tab, None)
        try:
            result = cosegment_files(self.segmenter, paths or [], _bar(progress))
        except CosegError as error:
            return self._nothing([str(error)])
        self.visitors.keep_result(tab, result)
        thumbnails = [Image.fromarray(preview) for preview in result.previews]
        for thumbnail in thumbnails:
            thumbnail.thumbnail((_THUMBNAIL, _THUMBNAIL))
        return self._shown(result, True) | {
            w.threshold: self.segmenter.threshold,
            w.outcome: gr.Column(visible=True),
            w.chooser: gr.Gallery(value=thumbnails, selected_index=0),
            w.gallery: [],
        }

    def find_common_in(self, paths: Sequence[Path]) -> Callable[..., Values]:
        """`find_common` for an example set."""

        def find_common_in_example(request: gr.Request, progress: gr.Progress = PROGRESS) -> Values:
            names = [str(path) for path in paths]
            return {self.widgets.files: names} | self.find_common(names, request, progress)

        return find_common_in_example

    def clear(self, paths: list[str] | None, request: gr.Request) -> Values:
        """The photographs have changed; results that are of the new ones already stay."""
        tab = str(request.session_hash)
        result = self.visitors.result(tab)
        if result is not None and result.is_of(paths or []):
            return self._unchanged()
        self.visitors.keep_result(tab, None)
        return self._nothing([]) | {self.widgets.verdict: CHANGED}

    def clear_if_changed(self, paths: list[str] | None, request: gr.Request) -> Values:
        """The network has ended, and the photographs may have changed while it worked."""
        has_result = self.visitors.result(request.session_hash) is not None
        return self.clear(paths, request) if has_result else self._unchanged()

    def draw(self, view: str, order: str, level: float, number: int, request: gr.Request) -> Values:
        """The gallery of the latest result, unless it was cleared or is being drawn anew before this ends."""
        tab, w = str(request.session_hash), self.widgets
        drawing, result = self.visitors.start_drawing(tab), self.visitors.result(tab)
        if result is None:
            return {w.gallery: gr.skip()}
        pictures = gallery(result, view, level, order == LIKELIEST, number)
        if not self.visitors.is_last_drawing(tab, drawing):
            return {w.gallery: gr.skip()}
        values: Values = {
            w.gallery: gr.Gallery(value=pictures, format=VIEWS[view], selected_index=None),
            w.order: gr.Radio(visible=bool(order_of(result, number))),
        }
        is_there = number in (ALL, *_numbers(result))
        return values if is_there else values | {w.which: ALL}

    def choose(self, seen: str, event: gr.SelectData, request: gr.Request) -> Values:
        return self._change(seen, lambda result, _: showing.choose(result, event.index), request)

    def select(self, seen: str, number: int, request: gr.Request) -> Values:
        return self._change(seen, lambda result, _: showing.select(result, number), request)

    def add(self, seen: str, request: gr.Request) -> Values:
        return self._change(seen, lambda result, _: showing.add(result), request)

    def rename(self, seen: str, name: str, request: gr.Request) -> Values:
        return self._change(seen, lambda result, shown: showing.rename(result, shown.number, name), request)

    def click(
        self, seen: str, tool: str, event: gr.SelectData, request: gr.Request, progress: gr.Progress = PROGRESS
    ) -> Values:
        def change(result: PageResult, shown: Seen) -> PageResult:
            x, y = event.index
            return showing.click(self.segmenter, result, shown, x, y, tool, _bar(progress))

        return self._change(seen, change, request, True)

    def take_back(self, seen: str, request: gr.Request, progress: gr.Progress = PROGRESS) -> Values:
        return self._change(
            seen, lambda result, shown: showing.take_back(self.segmenter, result, shown, _bar(progress)), request, True
        )

    def remove(self, seen: str, request: gr.Request, progress: gr.Progress = PROGRESS) -> Values:
        return self._change(
            seen, lambda result, shown: showing.remove(self.segmenter, result, shown, _bar(progress)), request, True
        )

    def take_all_back(self, seen: str, request: gr.Request) -> Values:
        return self._change(seen, lambda result, _: showing.take_all_back(result), request)

    def pack(self, seen: str, level: float, request: gr.Request, progress: gr.Progress = PROGRESS) -> str:
        result, shown = self.visitors.result(request.session_hash), Seen.read(seen)
        if result is None or shown is None:
            raise gr.Error("There is nothing to download: press the button first.", print_exception=False)
        if shown[:2] != Seen.of(result)[:2]:
            raise gr.Error("The masks changed while the download waited: press it again.", print_exception=False)
        try:
            return str(write_archive(self.segmenter, result, level, self.model, self.folder, _bar(progress)))
        except CosegError as error:
            raise gr.Error(str(error), print_exception=False) from error

    def _change(self, seen: str, change: Change, request: gr.Request, searches: bool = False) -> Values:
        """The values after what is shown has changed.

        Args:
            seen: what the visitor saw.
            change: made to the result.
            request: of the visitor.
            searches: the change takes a while; it is not made again if the visitor changes something else meanwhile.
        """
        tab, w = str(request.session_hash), self.widgets
        before, shown = self.visitors.result(tab), Seen.read(seen)
        if before is None or shown is None:
            return {w.notice: notice([_REMOVED])}
        if shown.serial != before.serial:
            return {w.notice: notice([_OTHER_RESULTS, *before.messages])}
        try:
            after = self._exchanged(tab, before, shown, change, searches)
        except CosegError as error:
            values: Values = {w.notice: notice([str(error), *before.messages])}
            return values if searches else values | {w.name: before.showing.current.name}
        if after is None:
            return self._unchanged()
        values = self._shown(after, _numbers(before) != _numbers(after))
        if searches and after.showing.current.number == shown.number:
            del values[w.name]  # which the visitor may be writing
        if bool(before.current.exemplars) != bool(after.current.exemplars):  # each has a threshold of its own
            values[w.threshold] = after.current[0].threshold
        if after.showing.exemplars and not can_search(self.segmenter.network):
            values[w.view] = MATCHED
        return values

    def _exchanged(
        self, tab: str, before: PageResult, shown: Seen, change: Change, searches: bool
    ) -> PageResult | None:
        """The changed result, kept in place of `before`, with what the visitor has chosen while it was made.

        None: the visitor has cleared or replaced `before` in the meantime.
        """
        after = change(before, shown)
        kept, changed = before, after
        while not self.visitors.exchange_result(tab, kept, changed):
            now = self.visitors.result(tab)
            if now is None or now.serial != before.serial:
                return None
            kept, changed = now, showing.merged(before, after, now) if searches else change(now, shown)
        return changed

    def _shown(self, result: PageResult, shows_all: bool) -> Values:
        """The values of the widgets that show objects, and the answer; `shows_all`: the gallery shows all objects."""
        w, shown = self.widgets, result.showing
        current, several = shown.current, len(shown.objects) > 1
        corner = shown.corner is not None and shown.corner.number == current.number
        which: dict[str, Any] = {"choices": which_choices(result), "visible": len(shown.searched) > 1}
        if shows_all:
            which["value"] = ALL
        answer = verdict_of_objects(shown.searched) if result.is_of_objects else None
        return {
            w.notice: notice(result.messages),
            w.verdict: answer or verdict(result.current, self.segmenter.calibration),
            w.which: gr.Radio(**which),
            w.seen: str(Seen.of(result)),
            w.chosen: gr.Image(value=chosen_picture(result), label=result.names[shown.photograph]),
            w.instructions: instructions(result, can_search(self.segmenter.network)),
            w.objects: gr.Radio(choices=object_choices(result), value=current.number, visible=shown.is_named),
            w.naming: gr.Row(visible=bool(shown.searched) or shown.is_named),
            w.name: current.name,
            w.remove: gr.Button(visible=several),
            w.take_back: gr.Button(interactive=bool(current.exemplars or corner)),
            w.take_all_back: gr.Button(interactive=bool(shown.exemplars) or shown.is_named),
        }

    def _unchanged(self) -> Values:
        return {self.widgets.chosen: gr.skip()}

    def _nothing(self, messages: Sequence[str]) -> Values:
        w = self.widgets
        return {w.notice: notice(messages), w.verdict: "", w.outcome: gr.Column(visible=False), w.gallery: []}


def _numbers(result: PageResult) -> list[int]:
    """Of the objects that were searched for."""
    return [shown.number for shown in result.showing.searched]


def _visitor(request: gr.Request) -> str:
    cookie = request.cookies.get(COOKIE)
    return visitor_of(f"{COOKIE}={cookie}" if cookie else "", request.client.host if request.client else None)


def _bar(progress: gr.Progress) -> OnProgress:
    return lambda done, total, sentence: progress((done, total), desc=sentence)
