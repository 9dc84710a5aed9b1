"""What the widgets start, without a browser: the functions are called as gradio calls them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from facts import mentions

from coseg.page.server import prepare_gradio
from coseg.page.visitors import Visitors

REQUEST = SimpleNamespace(session_hash="tab", cookies={}, client=None)


@pytest.fixture(autouse=True)
def _environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("gradio")
    for name in ("GRADIO_TEMP_DIR", "GRADIO_ANALYTICS_ENABLED", "HF_HUB_DISABLE_TELEMETRY", "no_proxy", "NO_PROXY"):
        monkeypatch.setenv(name, "")
    prepare_gradio(tmp_path)


@pytest.fixture
def functions(segmenter: Any, tmp_path: Path) -> dict[str, Any]:
    from coseg.page.events import build

    page = build(segmenter, "a model", {"A pair": [tmp_path / "a.png"]}, tmp_path, Visitors(tmp_path))
    return {function.name: function for function in page.fns.values() if function.fn is not None}


def test_every_function_of_the_page_is_private_and_the_network_runs_one_at_a_time(functions: dict[str, Any]) -> None:
    names = {"find_common", "find_common_in_example", "click", "take_back", "take_all_back"}
    assert {*names, "redraw", "clear", "choose", "pack"} <= set(functions)
    assert {function.api_visibility for function in functions.values()} == {"private"}
    on_network = [functions[name] for name in names]
    assert {(function.concurrency_limit, function.concurrency_id) for function in on_network} == {(1, "network")}


def test_from_a_press_to_what_is_taken_back(
    functions: dict[str, Any], tmp_path: Path, half_red: Callable[..., Path]
) -> None:
    look = ("Mask", "As added", 0.5, REQUEST)
    files = [str(half_red(tmp_path / name)) for name in ("a.png", "b.png", "c.png")]

    def call(name: str, *arguments: Any) -> dict[str, Any]:
        values = functions[name].fn(*arguments)
        return {widget.elem_id: value for widget, value in values.items()}

    def progress(*_: Any, **__: Any) -> None:
        """Gradio's bar."""

    assert mentions(call("click", "A point on it", *look[:3], _at(1, 1), REQUEST, progress)["notice"], "removed")
    assert mentions(call("find_common", files[:1], *look, progress)["notice"], "two photographs")
    found = call("find_common", files, *look, progress)
    assert mentions(found["verdict"], "All three photographs") and len(found["chooser"].value) == 3
    assert mentions(call("choose", _at(1), REQUEST)["chosen"].label, "b.png")
    assert call("choose", _at(7), REQUEST).keys() == {"chosen"}
    shown = call("click", "A point on it", *look[:3], _at(900, 340), REQUEST, progress)
    assert mentions(shown["verdict"], "you showed", "all three") and shown["threshold"] == 0.4
    assert mentions(shown["shown"], "a point in <b>b.png")
    assert mentions(call("click", "A point on it", *look[:3], _at(5000, 3), REQUEST, progress)["notice"], "outside")
    back = call("take_all_back", *look, progress)
    assert mentions(back["verdict"], "All three photographs") and back["threshold"] == 0.5
    assert functions["redraw"].fn(*look).format == "png"
    assert mentions(call("clear", REQUEST)["verdict"], "changed")


def test_a_click_counts_if_another_photograph_is_chosen_while_it_is_searched(
    functions: dict[str, Any], segmenter: Any, tmp_path: Path, half_red: Callable[..., Path]
) -> None:
    look = ("Mask", "As added", 0.5)
    files = [str(half_red(tmp_path / name)) for name in ("a.png", "b.png", "c.png")]
    functions["find_common"].fn(files, *look, REQUEST, _no_bar)
    search = segmenter.exemplar

    def meanwhile(name: str, *arguments: Any) -> dict[str, Any]:
        def interrupted(shown: Any) -> Any:
            functions[name].fn(*arguments)
            return search(shown)

        segmenter.exemplar = interrupted
        values = functions["click"].fn("A point on it", *look, _at(900, 340), REQUEST, _no_bar)
        return {widget.elem_id: value for widget, value in values.items()}

    shown = meanwhile("choose", _at(2), REQUEST)
    assert mentions(shown["verdict"], "you showed", "all three")
    assert mentions(shown["shown"], "a point in <b>a.png") and mentions(shown["chosen"].label, "c.png")
    assert mentions(meanwhile("choose", _at(1), REQUEST)["shown"], "a point in <b>a.png", "a point in <b>c.png")
    assert meanwhile("clear", REQUEST).keys() == {"chosen"}


def _no_bar(*_: Any, **__: Any) -> None:
    """Gradio's progress bar."""


def _at(*index: int) -> SimpleNamespace:
    return SimpleNamespace(index=list(index) if len(index) > 1 else index[0])
