"""What an export refuses, with a sentence, leaving nothing behind; and what it leaves alone."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path

import pytest
from facts import mentions

Refused = Callable[..., str]


@pytest.mark.parametrize(
    ("words", "facts"),
    [
        (["nowhere.ckpt", "--out", "new"], ("nowhere.ckpt",)),
        (["--format", "tflite", "--out", "new"], ("'tflite'",)),
        (["RUN", "--out", "new", "--int8"], ("both", "--int8", "--calibrate")),
        (["RUN", "--out", "new", "--format", "torch", "--int8", "--calibrate", "PHOTOGRAPHS"], ("onnx", "--format")),
        (["RUN", "--out", "new", "--int8", "--calibrate", "nowhere"], ("no folder", "nowhere")),
        (["RUN", "--out", "new", "--int8", "--calibrate", "PHOTOGRAPHS"], ("PHOTOGRAPHS", "no photographs")),
        (["RUN", "--out", "full", "--format", "safetensors"], ("full", "not empty")),
        (["RUN", "--out", "file", "--format", "safetensors"], ("file is a file",)),
        (["RUN", "--out", "file/within", "--format", "safetensors"], ("file/within", "written")),
        (["RUN", "--out", "shared", "--overwrite"], ("shared", "model.safetensors")),
    ],
)
def test_bad_input(
    words: list[str],
    facts: tuple[str, ...],
    refused: Refused,
    trained: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("full/notes.txt", "file", "PHOTOGRAPHS/readme.txt", "shared/model.safetensors"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("mine")
    before = sorted(tmp_path.rglob("*"))
    err = refused(*(str(trained) if word == "RUN" else word for word in words))
    assert mentions(err.splitlines()[-1], *facts)
    assert sorted(tmp_path.rglob("*")) == before


def test_without_onnx(refused: Refused, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "onnx" else find(name))
    told = refused(str(trained), "--out", str(tmp_path / "new"))
    assert mentions(told, "onnx", "pip install 'coseg[export]'")
    assert not list(tmp_path.iterdir())
