from __future__ import annotations

import json
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from results_file import VALUES

from coseg.cli import report
from coseg.errors import CosegError
from coseg.reports.records import PairRecord, read_records, write_records
from coseg.reports.results import read_results, write_results

RECORDS = [
    PairRecord(i, i + 1, f"a{i}", f"a{i + 1}", ("cat",), 0.5, 0.25, False, False, 0.125, 0.123456) for i in range(5)
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "run" / "test" / "voc-test-paper"
    write_records(made, RECORDS)
    write_results(made / "results.json", VALUES)
    return made


def test_what_is_unchanged_is_read(folder: Path) -> None:
    assert read_results(folder / "results.json") == VALUES
    assert len(read_records(folder)) == len(RECORDS)
    values = json.loads((folder / "results.json").read_text())
    (folder / "results.json").write_text(json.dumps(values))  # laid out anew
    assert read_results(folder / "results.json") == VALUES
    write_records(folder, RECORDS, compressed=True)
    assert len(read_records(folder)) == len(RECORDS)
    (folder / "pairs.csv.gz").unlink()
    assert read_results(folder / "results.json") == VALUES


def test_a_file_of_before_has_no_checksum(folder: Path) -> None:
    (folder / "results.json").write_text(json.dumps(VALUES))
    assert read_results(folder / "results.json") == VALUES
    assert len(read_records(folder)) == len(RECORDS)


def test_each_changed_bit_is_noticed_or_changes_no_value(folder: Path) -> None:
    path = folder / "results.json"
    data = path.read_bytes()
    rng = random.Random(0)
    noticed = 0
    for place in range(len(data)):
        copy = bytearray(data)
        copy[place] ^= 1 << rng.randrange(8)
        path.write_bytes(copy)
        try:
            assert read_results(path) == VALUES
        except CosegError as error:
            assert str(path) in str(error)
            noticed += 1
    assert noticed > len(data) - 3


def test_each_changed_bit_of_the_table_is_noticed(folder: Path) -> None:
    path = folder / "pairs.csv"
    data = path.read_bytes()
    rng = random.Random(0)
    for place in range(len(data)):
        copy = bytearray(data)
        copy[place] ^= 1 << rng.randrange(8)
        path.write_bytes(copy)
        with pytest.raises(CosegError, match=r"pairs\.csv"):
            read_records(folder)


def whole_row(data: bytes) -> bytes:
    return data[: data.rindex(b"\n", 0, -1) + 1]


def last_cell(data: bytes) -> bytes:
    return data[:-3]


def other_number(data: bytes) -> bytes:
    return data.replace(b"0.25", b"0.75", 1)


@pytest.mark.parametrize("beside", [True, False], ids=["with results.json", "alone"])
def test_a_table_that_is_cut_in_a_row(beside: bool, folder: Path) -> None:
    path = folder / "pairs.csv"
    if not beside:
        (folder / "results.json").unlink()
    data = path.read_bytes()
    for cut in range(1, 8):
        path.write_bytes(data[:-cut])
        with pytest.raises(CosegError, match=r"pairs\.csv"):
            read_records(folder)


@pytest.mark.parametrize("change", [whole_row, last_cell, other_number])
@pytest.mark.parametrize(
    "command",
    [("figures", "{}"), ("figures", "{run}"), ("compare", "{}", "{}"), ("table", "{}"), ("table", "{run}"),
     ("table", "--by", "class", "{}")],
    ids=" ".join,
)  # fmt: skip
def test_coseg_report_names_the_file(
    command: tuple[str, ...],
    change: Callable[[bytes], bytes],
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    path = folder / "pairs.csv"
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(SystemExit) as leaving:
        report.main([word.format(folder, run=folder.parent.parent) for word in command])
    written: Any = capsys.readouterr()
    assert leaving.value.code == 2
    assert str(path) in written.err and not written.out
    assert not (tmp_path / "figures").exists()


@pytest.mark.parametrize("name", ["results.json", "pairs.csv"])
@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo])
def test_what_is_no_file_is_not_taken_for_one_that_is_missing(
    name: str, make: Callable[[Path], None], folder: Path
) -> None:
    (folder / name).unlink()
    make(folder / name)
    with pytest.raises(CosegError, match=name):
        read_records(folder)
    with pytest.raises(CosegError, match=name):
        read_results(folder / "results.json")
