"""JSON that is read entry by entry."""

from __future__ import annotations

import json
import math
import random
from pathlib import Path

import pytest
from facts import naming

from coseg.errors import CosegError
from coseg.files import large_json
from coseg.files.large_json import json_entries, read_large_json


@pytest.mark.parametrize("indent", [None, 1])
@pytest.mark.parametrize("ascii_only", [True, False])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_entries_and_their_places(indent: int | None, ascii_only: bool, mark: str, tmp_path: Path) -> None:
    rng = random.Random(0)
    document = {
        "info": {"year": 2017, "lists": [1, 2]},
        "images": [{"id": k, "name": "Käse ☃ 𝄞" * rng.randrange(5)} for k in range(20)],
        "empty": [],
        "number": -1.5e3,
        "annotations": [{"numbers": [rng.random()] * rng.choice([0, 10, 2000])} for _ in range(20)] + [3, "x", None],
    }
    path = tmp_path / "a.json"
    path.write_text(mark + json.dumps(document, indent=indent, ensure_ascii=ascii_only) + "\n", encoding="utf-8")
    entries = list(json_entries(path))
    assert [(entry.key, entry.value) for entry in entries] == [
        (key, value) for key in ("images", "annotations") for value in document[key]
    ]
    data = path.read_bytes()
    assert [json.loads(data[entry.start : entry.end]) for entry in entries] == [entry.value for entry in entries]
    assert read_large_json(path) == document


def test_numbers_that_are_not_finite_are_left_to_the_reader(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"a": [NaN, -Infinity, 1e999]}')
    assert [str(entry.value) for entry in json_entries(tmp_path / "a.json")] == ["nan", "-inf", "inf"]
    assert math.isnan(read_large_json(tmp_path / "a.json")["a"][0])


@pytest.mark.parametrize(
    "text",
    [
        "", "[]", "3", "{", '{"a"}', '{"a": [1 2]}', '{"a": [1,]}', '{"a": [1], }', '{"a": [{]}', "{3: [1]}",
        '{"a": [1]} x', '{"a": [1]', "[" * 100_000, '{"a": ' + "[" * 100_000, '{"a": [' + "9" * 5000 + "]}", '{"a": x}',
    ],
)  # fmt: skip
def test_what_is_no_such_json(text: str, tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(text)
    with pytest.raises(CosegError, match=naming("a.json", "damaged", "mend it")):
        list(json_entries(path, "mend it"))


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, "9" * 5000])
def test_what_is_no_json(text: str, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(CosegError, match=naming("a.json", "damaged")):
        read_large_json(tmp_path / "a.json")


def test_sizes_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps({"a": ["x" * 9000], "b": ["y"] * 9000}))
    monkeypatch.setattr(large_json, "_PIECES", (100, 1000))
    with pytest.raises(CosegError, match=naming("a.json", "longer")):
        list(json_entries(path))
    monkeypatch.setattr(large_json, "MAX_JSON", 5000)
    with pytest.raises(CosegError, match=naming("a.json", "5,000")):
        list(json_entries(path))
    with pytest.raises(CosegError, match=naming("a.json", "5,000")):
        read_large_json(path, limit=5000)
    with pytest.raises(FileNotFoundError):
        list(json_entries(tmp_path / "none.json"))
