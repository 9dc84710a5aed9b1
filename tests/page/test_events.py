"""What the widgets start, without a browser: the functions are called as gradio calls them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from facts import mentions

from coseg.page.showing import POINT, RECTANGLE
from coseg.page.visitors import Visitors

REQUEST = SimpleNamespace(session_hash="tab", cookies={}, client=None)


pytestmark = pytest.mark.usefixtures("gradio_environment")


@pytest.fixture
def functions(segmenter: Any, tmp_path: Path) -> dict[str, Any]:
    from coseg.page.events import build

    page = build(segmenter, "a model", {"A pair": [tmp_path / "a.png"]}, tmp_path, Visitors(tmp_path))
    return {function.name: function for function in page.fns.values() if function.fn is not None}


def test_every_function_of_the_page_is_private_and_the_network_runs_one_at_a_time(functions: dict[str, Any]) -> None:
    names = {"find_common", "find_common_in_example", "click", "take_back", "remove", "take_all_back"}
    assert {*names, "draw", "clear", "clear_if_changed", "choose", "select", "add", "rename", "pack"} <= set(functions)
    assert {function.api_visibility for function in functions.values()} == {"private"}
    on_network = [functions[name] for name in names]
    assert {(function.concurrency_limit, function.concurrency_id) for function in on_network} == {(1, "network")}


class Page:
    """The page of one visitor: `call` starts a function, `values` are what the browser shows."""

    def __init__(self, functions: dict[str, Any]) -> None:
        self._functions = functions
        self.values: dict[str, Any] = {"seen": ""}

    def call(self, name: str, *arguments: Any, seen: str | None = None, bar: bool = False) -> dict[str, Any]:
        """Of a function that gets what the visitor sees; `seen`: what was seen when the event was made."""
        seen = self.values["seen"] if seen is None else seen
        return self.plain(name, seen, *arguments, bar=bar)

    def plain(self, name: str, *arguments: Any, bar: bool = False) -> dict[str, Any]:
        values = self._functions[name].fn(*arguments, REQUEST, *([_no_bar] if bar else []))
        new = {widget.elem_id: value for widget, value in values.items()}
        self.values |= new
        return new

    def click(self, x: int, y: int, seen: str | None = None, tool: str = POINT) -> dict[str, Any]:
        return self.call("click", tool, _at(x, y), seen=seen, bar=True)

    def draw(self, number: int = 0, view: str = "Mask") -> dict[str, Any]:
        return self.plain("draw", view, "As added", 0.4, number)

    def pictures(self, number: int = 0, view: str = "Mask") -> list[tuple[np.ndarray, str]]:
        """The pictures of the gallery, and their captions."""
        pictures = self.draw(number, view)["gallery"].constructor_args["value"]
        return [(np.asarray(picture), caption) for picture, caption in pictures]


@pytest.fixture
def files(tmp_path: Path, half_red: Callable[..., Path]) -> list[str]:
    return [str(half_red(tmp_path / name)) for name in ("a.png", "b.png", "c.png")]


@pytest.fixture
def page(functions: dict[str, Any], files: list[str]) -> Page:
    """Three photographs, their left half red, the right blue: clicks at (100, y) and (900, y)."""
    page = Page(functions)
    page.plain("find_common", files, bar=True)
    return page


def test_from_a_press_to_what_is_taken_back(functions: dict[str, Any], files: list[str]) -> None:
    page = Page(functions)
    assert mentions(page.click(1, 1)["notice"], "removed")
    assert mentions(page.plain("find_common", files[:1], bar=True)["notice"], "two photographs")
    result = page.plain("find_common", files, bar=True)
    assert mentions(result["verdict"], "All three photographs") and len(result["chooser"].value) == 3
    assert page.draw()["gallery"].format == "png"
    assert mentions(page.call("choose", _at(1))["chosen"].label, "b.png")
    assert mentions(page.call("choose", _at(7))["chosen"].label, "b.png")
    shown = page.click(900, 340)
    assert mentions(shown["verdict"], "you showed", "all three") and shown["threshold"] == 0.4
    assert mentions(shown["shown"], "a point in <b>b.png")
    assert mentions(page.click(5000, 3)["notice"], "outside")
    back = page.call("take_all_back")
    assert mentions(back["verdict"], "All three photographs") and back["threshold"] == 0.5
    assert page.plain("clear", files).keys() == page.plain("clear_if_changed", files).keys() == {"chosen"}
    assert mentions(page.plain("clear_if_changed", files[:2])["verdict"], "changed")
    assert page.plain("clear_if_changed", files[:2]).keys() == {"chosen"}  # messages stay
    assert mentions(page.plain("clear", files)["verdict"], "changed")
    assert page.draw().keys() == {"gallery"} and mentions(page.click(900, 340)["notice"], "removed")


def test_several_objects_have_names_colours_and_masks(page: Page) -> None:
    page.click(100, 340)
    assert not page.values["objects"].visible and not page.values["which"].visible and page.values["naming"].visible
    page.call("rename", "  red   part ")
    assert mentions(page.values["verdict"], "“red part” seems to be in all three")
    page.call("add")
    labels = [label for label, _ in page.values["objects"].choices[:3]]
    assert labels == ["red part · 1 click", "Object 2 · not shown yet", ""]
    assert page.values["objects"].value == 2 and mentions(page.values["shown"], "Click on <b>Object 2")
    page.click(900, 340)
    assert page.values["which"].visible and mentions(page.values["verdict"], "red part", "Object 2", "#1e78ff")
    assert page.values["which"].constructor_args["value"] == 0  # a new object is shown with the others
    assert "value" not in page.click(950, 340)["which"].constructor_args  # what the visitor has chosen stays
    page.call("take_back", bar=True)
    both, text = page.pictures(view="Overlay")[0]
    assert mentions(text, "a.png\nred part: 47", "\nObject 2: 47")
    blue, orange = (both[30, x].astype(int) for x in (80, 10))
    assert blue[2] > blue[0] + 50 and orange[0] > orange[2] + 50
    masks = [page.pictures(number)[0][0] > 0 for number in (1, 2)]
    assert masks[0][:, :40].all() and masks[1][:, 50:].all() and not (masks[0] & masks[1]).any()
    assert page.draw(7)["which"] == 0  # was removed: all objects again
    assert mentions(page.call("rename", "Red part")["notice"], "Red part", "another object")
    assert mentions(page.call("rename", "a/b")["notice"], "a/b") and page.values["name"] == ""
    page.call("select", 1)
    assert page.values["name"] == "red part" and page.values["objects"].value == 1
    page.call("remove", bar=True)
    assert mentions(page.values["verdict"], "“Object 2” seems to be in all three", "#1e78ff")  # keeps its colour
    assert page.values["objects"].visible and not page.values["remove"].visible
    text = page.pictures()[0][1]
    assert text.startswith("a.png\nObject 2: 47")
    page.call("take_all_back")
    assert not page.values["objects"].visible
    assert mentions(page.values["verdict"], "All three photographs seem")


@pytest.mark.parametrize("first", [("choose", lambda: _at(2)), ("select", lambda: 1)])
def test_a_click_counts_for_what_was_seen_when_it_was_made(page: Page, first: Any) -> None:
    page.click(100, 340)
    page.call("add")
    seen = page.values["seen"]
    page.call(first[0], first[1]())  # while the click waits
    assert page.values["seen"] != seen
    page.click(900, 340, seen=seen)
    page.call("choose", _at(0))
    page.call("select", 2)
    assert mentions(page.values["shown"], "1. a point in <b>a.png") and "c.png" not in page.values["shown"]


def test_the_corners_of_a_rectangle_are_of_one_photograph(page: Page) -> None:
    in_a = page.values["seen"]
    page.call("choose", _at(1))
    page.click(600, 50, seen=in_a, tool=RECTANGLE)
    assert mentions(page.values["chosen"].label, "b.png") and "opposite" not in page.values["shown"]
    page.click(1000, 600, seen=in_a, tool=RECTANGLE)
    assert mentions(page.values["shown"], "a rectangle in <b>a.png")
    page.click(600, 50, seen=in_a, tool=RECTANGLE)
    page.click(1000, 600, tool=RECTANGLE)  # in b.png: a first corner there
    assert page.values["shown"].count("a rectangle in") == 1 and "opposite" in page.values["shown"]


def test_what_was_left_out_stays_on_the_page(functions: dict[str, Any], files: list[str], tmp_path: Path) -> None:
    page = Page(functions)
    (tmp_path / "notes.jpg").write_text("no image")
    page.plain("find_common", [*files, str(tmp_path / "notes.jpg")], bar=True)
    for change in (
        lambda: page.call("choose", _at(1)),
        lambda: page.click(900, 340),
        lambda: page.call("rename", "blue"),
        lambda: page.call("add"),
        lambda: page.call("take_all_back"),
    ):
        assert mentions(change()["notice"], "notes.jpg")
    assert mentions(page.click(5000, 3)["notice"], "outside", "notes.jpg")
    assert mentions(page.call("rename", "a/b")["notice"], "a/b", "notes.jpg")
    assert page.plain("find_common", files, bar=True)["notice"] == ""


def test_events_of_earlier_photographs_are_left_out(page: Page, files: list[str]) -> None:
    seen = page.values["seen"]
    page.plain("find_common", files[:2], bar=True)
    for name, argument in (("choose", _at(1)), ("rename", "horse"), ("select", 1)):
        assert mentions(page.call(name, argument, seen=seen)["notice"], "new results")
    assert mentions(page.click(900, 340, seen=seen)["notice"], "new results")
    for name in ("take_back", "remove"):
        assert mentions(page.call(name, seen=seen, bar=True)["notice"], "new results")
    now = page.call("choose", _at(0))
    assert mentions(now["verdict"], "Both photographs") and not now["naming"].visible


def test_a_download_that_waited_is_of_the_masks_that_were_seen(page: Page) -> None:
    from gradio import Error

    seen = page.values["seen"]
    page.click(900, 340)
    with pytest.raises(Error, match="masks changed"):
        page._functions["pack"].fn(seen, 0.4, REQUEST, _no_bar)
    assert Path(page._functions["pack"].fn(page.values["seen"], 0.4, REQUEST, _no_bar)).is_file()


def test_what_is_chosen_or_named_during_a_search_is_kept(page: Page, segmenter: Any) -> None:
    search = segmenter.exemplars

    def meanwhile(name: str, *arguments: Any, with_seen: bool = True) -> dict[str, Any]:
        seen = page.values["seen"]

        def interrupted(objects: Any) -> Any:
            segmenter.exemplars = search
            page._functions[name].fn(*([seen] if with_seen else []), *arguments, REQUEST)
            return search(objects)

        segmenter.exemplars = interrupted
        return page.click(900, 340)

    shown = meanwhile("choose", _at(2))
    assert mentions(shown["verdict"], "you showed", "all three") and "name" not in shown
    assert mentions(shown["shown"], "a point in <b>a.png") and mentions(shown["chosen"].label, "c.png")
    assert mentions(meanwhile("rename", "blue")["verdict"], "“blue”")
    assert meanwhile("add")["objects"].value == 2
    assert page.pictures()[0][1].startswith("a.png\nblue: 47")
    assert meanwhile("clear_if_changed", [], with_seen=False).keys() == {"chosen"}


def test_a_gallery_that_is_drawn_anew_meanwhile_is_not_shown(
    page: Page, functions: dict[str, Any], monkeypatch
) -> None:
    from coseg.page import events

    draw, inner = events.gallery, []

    def interrupted(*arguments: Any) -> Any:
        if not inner:
            inner.append(True)
            assert page.draw(view="Overlay")["gallery"].format == "jpeg"
        return draw(*arguments)

    monkeypatch.setattr(events, "gallery", interrupted)
    assert page.draw().keys() == {"gallery"} and not hasattr(page.values["gallery"], "format")
    monkeypatch.setattr(events, "gallery", lambda *arguments: page.plain("clear_if_changed", []) and draw(*arguments))
    assert page.draw().keys() == {"gallery"}


def _no_bar(*_: Any, **__: Any) -> None:
    """Gradio's progress bar."""


def _at(*index: int) -> SimpleNamespace:
    return SimpleNamespace(index=list(index) if len(index) > 1 else index[0])
