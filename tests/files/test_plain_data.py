"""What files of others may hold: plain data, and no more of it than fits."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from coseg.errors import CosegError
from coseg.files.plain_data import MAX_DEPTH, has_interpolation, parse_json, read_json, read_text, read_yaml


def test_plain_json_and_yaml(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"a": [1, 2.5, null, true, "x"]}')
    (tmp_path / "a.yaml").write_text("a: [1, 1e-3, null, true, x]\n")
    assert read_json(tmp_path / "a.json") == {"a": [1, 2.5, None, True, "x"]}
    assert read_yaml(tmp_path / "a.yaml") == {"a": [1, 0.001, None, True, "x"]}


@pytest.mark.parametrize(
    "text", ['{"a": "${oc.env:HOME}"}', '{"${a}": 1}', "[" * 80 + "]" * 80, "1" * 50, "NaN", "1e999", "{"]
)
def test_refused_json(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(CosegError, match="damaged"):
        read_json(tmp_path / "a.json")


@pytest.mark.parametrize("text", ["a: &x [1]\nb: *x\n", "!!python/name:os.system ''", "a: ${b}\n", "a: [\n"])
def test_refused_yaml(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.yaml").write_text(text)
    with pytest.raises(CosegError, match="damaged"):
        read_yaml(tmp_path / "a.yaml")


def test_verbatim_and_not_a_number() -> None:
    assert parse_json('["${a}"]', verbatim=True) == ["${a}"]
    assert parse_json("[Infinity]", nan=True) == [float("inf")]
    assert parse_json("[" * MAX_DEPTH + "]" * MAX_DEPTH)
    assert has_interpolation(["a", "${b}"]) and not has_interpolation(["$a"])


def test_only_regular_files_of_a_bounded_size(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe"):
        with pytest.raises(CosegError, match="no regular file"):
            read_text(path)
    (tmp_path / "long").write_text("x" * 11)
    with pytest.raises(CosegError, match="11 bytes"):
        read_text(tmp_path / "long", limit=10)
    with pytest.raises(FileNotFoundError):
        read_text(tmp_path / "absent")
