from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from coseg.page.visitors import ResultQuota, Visitors


def result(size: int) -> Any:
    return SimpleNamespace(
        previews=(np.zeros(size, np.uint8),), encoded=(), cosegmentation=SimpleNamespace(segments=()), showing=None
    )


def uploaded(folder: Path, name: str) -> Path:
    path = folder / name / "photograph.png"
    path.parent.mkdir()
    path.write_bytes(b"content")
    return path


def test_results_in_memory_are_bounded_and_go_with_the_page(tmp_path: Path) -> None:
    visitors = Visitors(tmp_path, result_quota=ResultQuota(tabs=3, bytes=1000))
    for k in range(50):
        visitors.keep_result(f"{k}", result(100))
    assert visitors.counts()["results"] == 3
    visitors.keep_result("large", result(900))
    assert visitors.counts()["result_bytes"] == 1000 and visitors.result("47") is None
    visitors.close_tab("large", "visitor")
    assert visitors.result("large") is None


def test_a_result_that_was_cleared_does_not_come_back(tmp_path: Path) -> None:
    visitors = Visitors(tmp_path)
    first, second = result(5), result(6)
    visitors.keep_result("1", first)
    assert visitors.exchange_result("1", first, second) and visitors.result("1") is second
    assert not visitors.exchange_result("1", first, result(7))
    assert visitors.counts()["result_bytes"] == 6
    visitors.keep_result("1", None)
    assert not visitors.exchange_result("1", second, first) and visitors.result("1") is None


def test_uploads_go_with_the_last_page_of_their_visitor(tmp_path: Path) -> None:
    visitors = Visitors(tmp_path)
    visitors.open_tab("1", "a")
    visitors.open_tab("2", "a")
    path = uploaded(tmp_path, "x")
    visitors.finish_upload("a", 0, [path])
    visitors.close_tab("1", "a")
    assert path.exists()
    visitors.open_tab("3", "b")
    visitors.finish_upload("b", 0, [path])  # an equal file
    visitors.close_tab("2", "a")
    assert path.exists()
    visitors.close_tab("3", "b")
    assert not path.exists()


def test_what_is_idle_goes(tmp_path: Path) -> None:
    now = [0.0]
    visitors = Visitors(tmp_path, age=10, clock=lambda: now[0])
    path = uploaded(tmp_path, "x")
    assert visitors.start_upload("a", 7) is None
    visitors.finish_upload("a", 7, [path])
    visitors.keep_result("1", result(5))
    now[0] = 11
    visitors.remove_idle()
    assert visitors.counts() == {"results": 0, "result_bytes": 0, "files": 0, "bytes": 0} and not path.exists()


def test_only_the_last_drawing_of_a_result_counts(tmp_path: Path) -> None:
    visitors = Visitors(tmp_path)
    first = result(5)
    visitors.keep_result("1", first)
    early, late, other = visitors.start_drawing("1"), visitors.start_drawing("1"), visitors.start_drawing("2")
    assert not visitors.is_last_drawing("1", early) and visitors.is_last_drawing("1", late)
    assert not visitors.is_last_drawing("2", other)  # which has no result
    visitors.exchange_result("1", first, result(6))
    assert visitors.is_last_drawing("1", late)
    visitors.keep_result("1", result(5))
    assert not visitors.is_last_drawing("1", late)
