"""``coseg-predict --watch``: photographs that arrive, and how it ends."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from facts import mentions
from PIL import Image
from red_network import picture, written

from coseg.cli import watch as watch_module

Predict = Callable[..., Any]


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[Callable[[], object]]:
    """What happens between two looks into the folder; in the end a signal to this process."""
    jobs: list[Callable[[], object]] = []

    def sleep(seconds: float) -> None:
        jobs.pop(0)() if jobs else os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(watch_module.time, "sleep", sleep)
    return jobs


def nothing() -> None:
    pass


def test_photographs_that_arrive(predict: Predict, steps: list[Callable[[], object]]) -> None:
    picture("album/a.png", 16)
    picture("album/b.png", 20)
    steps += [lambda: picture("album/c.png", 32), nothing, lambda: picture("album/c.bmp", 16), nothing, nothing]
    outcome = predict("album", "--watch", "--only", "cutout,sheet", "--format", "webp")
    assert outcome.code == 130
    assert written() == ["a_cutout.webp", "b_cutout.webp", "c-2_cutout.webp", "c_cutout.webp", "sheet.png"]
    assert Image.open("coseg-output/c_cutout.webp").getchannel("A").histogram()[255] == 32 * 40
    assert mentions(outcome.err, "c.bmp", "c-2")
    assert mentions(outcome.out, "c.png", "50.0%")


def test_it_may_begin_with_an_empty_folder_and_be_resumed(predict: Predict, steps: list[Callable[[], object]]) -> None:
    Path("album").mkdir()
    steps += [lambda: picture("album/a.png"), lambda: picture("album/b.png", 30), nothing, nothing]
    assert predict("album", "--watch", "--only", "mask").code == 130
    assert written() == ["a_mask.png", "b_mask.png"]
    before = Path("coseg-output/a_mask.png").stat().st_mtime_ns
    picture("album/c.png", 8)
    steps += [nothing]
    outcome = predict("album", "--watch", "--only", "mask")
    assert written() == ["a_mask.png", "b_mask.png", "c_mask.png"]
    assert Path("coseg-output/a_mask.png").stat().st_mtime_ns == before
    assert not mentions(outcome.err, "a_mask.png")


def test_a_half_copied_one_at_the_start_does_not_end_it(predict: Predict, steps: list[Callable[[], object]]) -> None:
    picture("album/a.png")
    Path("album/b.png").write_bytes(b"no picture yet")
    steps += [lambda: picture("album/b.png", 30), nothing, nothing, nothing]
    assert predict("album", "--watch", "--only", "mask").code == 130
    assert written() == ["a_mask.png", "b_mask.png"]


@pytest.mark.parametrize(
    "arguments", [["album", "--pairs"], ["album", "--json"], ["album", "--out", "-"], ["album/a.png"], ["gone"]]
)
def test_what_does_not_go_with_it(predict: Predict, arguments: list[str]) -> None:
    picture("album/a.png")
    picture("album/b.png")
    outcome = predict(*arguments, "--watch")
    assert outcome.code == 2
    assert mentions(outcome.err, "--watch")
    assert not Path("coseg-output").exists()
