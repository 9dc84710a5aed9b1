"""What each widget of the page starts: find the common object, show another, draw the gallery, write the zip file."""

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
from coseg.page.calls import COOKIE, visitor_of
from coseg.page.layout import CHANGED, LIKELIEST, Widgets, lay_out
from coseg.page.pictures import MATCHED, VIEWS, chosen_picture, gallery
from coseg.page.results import OnProgress, PageResult, cosegment_files, write_archive
from coseg.page.visitors import AGE, Visitors
from coseg.page.words import notice, verdict

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
    on_network: dict[str, Any] = {"concurrency_limit": 1, "concurrency_id": "network", "api_visibility": "private"}
    beside: dict[str, Any] = {"concurrency_limit": 4, "api_visibility": "private", "show_progress": "hidden"}
    w, look = widgets, widgets.look
    all_of_it = [*w.results, *w.shown]

    runs = [w.press.click(events.find_common, [w.files, *look], all_of_it, show_progress_on=w.verdict, **on_network)]
    w.press.click(None, js=_LOOK_AT_THE_ANSWER)
    for name, button in w.examples.items():
        run = events.find_common_in(examples[name])
        outputs = [w.files, *all_of_it]
        runs.append(button.click(run, look, outputs, show_progress_on=w.verdict, **on_network))
        button.click(None, js=_LOOK_AT_THE_ANSWER)
    for run in runs:  # the photographs may have changed while the network worked
        run.then(events.clear_if_changed, [w.files], all_of_it, **beside)
    gr.on([w.files.upload, w.files.clear, w.files.delete], events.clear, None, all_of_it, **beside)
    for widget in look:
        widget.input(events.redraw, look, [w.gallery], trigger_mode="always_last", **beside)

    w.chooser.select(events.choose, None, w.shown, **beside)
    shown = {"outputs": [*w.results, *w.shown], "show_progress_on": [w.verdict, w.chosen], **on_network}
    w.chosen.select(events.click, [w.tool, *look], trigger_mode="multiple", **shown)
    w.take_back.click(events.take_back, look, **shown)
    w.take_all_back.click(events.take_all_back, look, **shown)

    written = w.download.click(
        events.pack, [w.threshold], [w.archive], show_progress_on=w.download, concurrency_limit=1,
        api_visibility="private",
    )  # fmt: skip
    written.success(None, js=_PRESS_DOWNLOAD)


@dataclass
class _Events:
    """What the widgets do; see `connect`."""

    widgets: Widgets
    segmenter: CoSegmenter
    model: str
    folder: Path
    visitors: Visitors

    def find_common(
        self,
        paths: list[str] | None,
        view: str,
        order: str,
        level: float,
        request: gr.Request,
        progress: gr.Progress = PROGRESS,
    ) -> Values:
        tab = str(request.session_hash)
        self.visitors.open_tab(tab, _visitor(request))
        self.visitors.keep_result(tab, None)
        try:
            result, messages = cosegment_files(self.segmenter, paths or [], _bar(progress))
        except CosegError as error:
            return self._nothing([str(error)])
        self.visitors.keep_result(tab, result)
        thumbnails = [Image.fromarray(preview) for preview in result.previews]
        for thumbnail in thumbnails:
            thumbnail.thumbnail((_THUMBNAIL, _THUMBNAIL))
        w = self.widgets
        return self._values(result, view, order, self.segmenter.threshold) | {
            w.notice: notice(messages),
            w.threshold: self.segmenter.threshold,
            w.outcome: gr.Column(visible=True),
            w.chooser: gr.Gallery(value=thumbnails, selected_index=0),
        }

    def find_common_in(self, paths: Sequence[Path]) -> Callable[..., Values]:
        """`find_common` for an example set."""

        def find_common_in_example(
            view: str, order: str, level: float, request: gr.Request, progress: gr.Progress = PROGRESS
        ) -> Values:
            names = [str(path) for path in paths]
            return {self.widgets.files: names} | self.find_common(names, view, order, level, request, progress)

        return find_common_in_example

    def clear(self, request: gr.Request) -> Values:
        """The results are of photographs that are no longer the given ones."""
        self.visitors.keep_result(str(request.session_hash), None)
        return self._nothing([]) | {self.widgets.verdict: CHANGED}

    def clear_if_changed(self, paths: list[str] | None, request: gr.Request) -> Values:
        result = self.visitors.result(request.session_hash)
        return self._unchanged() if result is None or result.is_of(paths or []) else self.clear(request)

    def redraw(self, view: str, order: str, level: float, request: gr.Request) -> Any:
        result = self.visitors.result(request.session_hash)
        return gr.skip() if result is None else _drawn(result, view, order, level)

    def choose(self, event: gr.SelectData, request: gr.Request) -> Values:
        result = self.visitors.result(request.session_hash)
        if result is None or not 0 <= event.index < len(result.names):
            return self._unchanged()
        chosen = showing.choose(result, event.index)
        if not self.visitors.exchange_result(str(request.session_hash), result, chosen):
            return self.choose(event, request)  # a search has ended in between
        return self._shown(chosen)

    def click(
        self,
        tool: str,
        view: str,
        order: str,
        level: float,
        event: gr.SelectData,
        request: gr.Request,
        progress: gr.Progress = PROGRESS,
    ) -> Values:
        x, y = event.index
        return self._change(
            lambda result: showing.click(self.segmenter, result, x, y, tool, _bar(progress)),
            view,
            order,
            level,
            request,
        )

    def take_back(
        self, view: str, order: str, level: float, request: gr.Request, progress: gr.Progress = PROGRESS
    ) -> Values:
        return self._change(
            lambda result: showing.take_back(self.segmenter, result, False, _bar(progress)), view, order, level, request
        )

    def take_all_back(
        self, view: str, order: str, level: float, request: gr.Request, progress: gr.Progress = PROGRESS
    ) -> Values:
        return self._change(
            lambda result: showing.take_back(self.segmenter, result, True, _bar(progress)), view, order, level, request
        )

    def pack(self, level: float, request: gr.Request, progress: gr.Progress = PROGRESS) -> str:
        result = self.visitors.result(request.session_hash)
        if result is None:
            raise gr.Error("There is nothing to download: press the button first.", print_exception=False)
        try:
            return str(write_archive(self.segmenter, result, level, self.model, self.folder, _bar(progress)))
        except CosegError as error:
            raise gr.Error(str(error), print_exception=False) from error

    def _change(
        self, change: Callable[[PageResult], PageResult], view: str, order: str, level: float, request: gr.Request
    ) -> Values:
        """The values after what is shown has changed, and all photographs were searched for it."""
        tab, w = str(request.session_hash), self.widgets
        before = self.visitors.result(tab)
        if before is None:
            return self._unchanged() | {
                w.notice: notice(["These results were removed in the meantime: press the button again."])
            }
        try:
            after = change(before)
        except CosegError as error:
            return {w.notice: notice([str(error)])}
        exchanged = self._exchanged(tab, before, after)
        if exchanged is None:
            return self._unchanged()
        after = exchanged
        values: Values = {w.notice: ""}
        if bool(before.current.exemplars) != bool(after.current.exemplars):  # each has a threshold of its own
            level = after.current[0].threshold
            values[w.threshold] = level
        if after.showing.exemplars and not can_search(self.segmenter.network):
            view = values[w.view] = MATCHED
        return self._values(after, view, order, level) | values

    def _exchanged(self, tab: str, before: PageResult, after: PageResult) -> PageResult | None:
        """`after`, kept in place of `before`, with the photograph that the visitor has chosen while it was made.

        None: the visitor has cleared or replaced `before` in the meantime.
        """
        kept = before
        while not self.visitors.exchange_result(tab, kept, after):
            now = self.visitors.result(tab)
            if (
                now is None
                or now.encoded is not before.encoded
                or now.showing.exemplars is not before.showing.exemplars
            ):
                return None
            kept, after = now, showing.choose(after, now.showing.photograph)
        return after

    def _values(self, result: PageResult, view: str, order: str, level: float) -> Values:
        w = self.widgets
        return self._shown(result) | {
            w.verdict: verdict(result.current, self.segmenter.calibration),
            w.gallery: _drawn(result, view, order, level),
            w.order: gr.Radio(visible=bool(result.current.order)),
        }

    def _shown(self, result: PageResult) -> Values:
        """The values of the widgets that show an object."""
        w, shown = self.widgets, result.showing
        return {
            w.chosen: gr.Image(value=chosen_picture(result), label=result.names[shown.photograph]),
            w.instructions: showing.instructions(self.segmenter, result),
            w.take_back: gr.Button(interactive=bool(shown.exemplars or shown.corner)),
            w.take_all_back: gr.Button(interactive=bool(shown.exemplars)),
        }

    def _unchanged(self) -> Values:
        return {self.widgets.chosen: gr.skip()}

    def _nothing(self, messages: Sequence[str]) -> Values:
        w = self.widgets
        return {w.notice: notice(messages), w.verdict: "", w.outcome: gr.Column(visible=False), w.gallery: []}


def _drawn(result: PageResult, view: str, order: str, level: float) -> gr.Gallery:
    pictures = gallery(result, view, level, order == LIKELIEST)
    return gr.Gallery(value=pictures, format=VIEWS[view], selected_index=None)


def _visitor(request: gr.Request) -> str:
    cookie = request.cookies.get(COOKIE)
    return visitor_of(f"{COOKIE}={cookie}" if cookie else "", request.client.host if request.client else None)


def _bar(progress: gr.Progress) -> OnProgress:
    return lambda done, total, sentence: progress((done, total), desc=sentence)
