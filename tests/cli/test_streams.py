"""``coseg-predict - … --out -``: one picture through a pipe."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from facts import mentions
from PIL import Image
from red_network import picture, written

from coseg.cli import streams

Predict = Callable[..., Any]
Piped = Callable[..., tuple[int, bytes, str]]


def given(monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))


@pytest.fixture
def piped(predict: Predict, monkeypatch: pytest.MonkeyPatch) -> Piped:
    """The exit code, what came out of the pipe, and the messages."""

    def call(data: bytes, *arguments: str) -> tuple[int, bytes, str]:
        given(monkeypatch, data)
        # The output that pytest captures is text; the command writes bytes below it.
        pipe = io.TextIOWrapper(io.BytesIO())
        with monkeypatch.context() as patch:
            patch.setattr(streams, "sys", SimpleNamespace(stdin=sys.stdin, stdout=pipe))
            outcome = predict(*arguments)
        assert outcome.out == ""
        return outcome.code, pipe.buffer.getvalue(), outcome.err  # type: ignore[attr-defined]

    return call


def red(columns: int, suffix: str = "png") -> bytes:
    path = picture(f"source.{suffix}", columns)
    data = path.read_bytes()
    path.unlink()
    return data


@pytest.mark.parametrize("suffix", ["png", "bmp"])
def test_a_cutout_through_a_pipe(piped: Piped, suffix: str) -> None:
    picture("b.png", 30)
    code, data, messages = piped(red(16, suffix), "b.png", "-", "--out", "-")
    assert code == 0
    cutout = Image.open(io.BytesIO(data))
    assert (cutout.format, cutout.size) == ("PNG", (64, 40))
    alpha = np.asarray(cutout)[..., 3]
    assert (alpha[:, :16] == 255).all() and (alpha[:, 16:] == 0).all()
    assert "Segmenting" in messages
    assert [path.name for path in Path().iterdir()] == ["b.png"]


def test_another_picture_in_another_format(piped: Piped) -> None:
    picture("a.png", 16)
    picture("b.png", 30)
    options = ("--only", "cutout", "--format", "jpg", "--background", "lime", "--crop", "--margin", "0")
    code, data, _ = piped(b"", "a.png", "b.png", "--out", "-", *options)
    image = Image.open(io.BytesIO(data))
    assert (code, image.format, image.size) == (0, "JPEG", (16, 40))
    code, data, _ = piped(b"", "b.png", "a.png", "--out", "-", "--only", "mask", "--quiet")
    assert (code, (np.asarray(Image.open(io.BytesIO(data))) == 255).mean()) == (0, 30 / 64)


def test_standard_input_into_a_folder(predict: Predict, monkeypatch: pytest.MonkeyPatch) -> None:
    picture("b.png", 30)
    given(monkeypatch, red(16))
    outcome = predict("-", "b.png", "--only", "mask", "--json", "s.json")
    assert outcome.code == 0
    assert written() == ["b_mask.png", "stdin_mask.png"]
    assert '"file": "standard input"' in Path("s.json").read_text()


@pytest.mark.parametrize(
    ("data", "arguments", "word"),
    [
        (b"no picture", ["-", "b.png", "--out", "-"], "standard input"),
        (b"", ["-", "b.png", "--out", "-"], "empty"),
        (b"x", ["-", "-", "b.png"], "twice"),
        (b"x", ["-"], "standard input"),
        (b"", ["b.png", "c.png", "--out", "-", "--pairs"], "--pairs"),
        (b"", ["b.png", "c.png", "--out", "-", "--json"], "--json"),
        (b"", ["b.png", "c.png", "--out", "-", "--only", "mask,cutout"], "--only"),
        (b"", ["b.png", "c.png", "--out", "-", "--only", "sheet"], "--only"),
        (b"", ["b.png", "--out", "-", "--exemplar", "x=c.png:1,2", "--exemplar", "y=c.png:9,9"], "label map"),
        (b"", ["gone.png", "b.png", "c.png", "--out", "-"], "gone.png"),
    ],
)
def test_what_does_not_go(piped: Piped, data: bytes, arguments: list[str], word: str) -> None:
    picture("b.png", 30)
    picture("c.png", 20)
    code, written_bytes, messages = piped(data, *arguments)
    assert (code, written_bytes) == (2, b"")
    assert mentions(messages, word)
    assert "Traceback" not in messages and "coseg-predict." not in messages
    assert sorted(path.name for path in Path().iterdir()) == ["b.png", "c.png"]
