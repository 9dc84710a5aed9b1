"""Tables from elsewhere are read within bounds, and what is none gives a sentence."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import pytest

from coseg.errors import CosegError
from coseg.reports import curves, records, results
from coseg.reports.curves import read_series
from coseg.reports.records import PairRecord, read_records
from coseg.reports.results import without_checksums
from coseg.training import metrics_log
from coseg.training.metrics_log import read_metrics

HEAD = (",".join(PairRecord._fields) + "\n").encode()
SMALL = 2**20


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bounds that a test reaches."""
    monkeypatch.setattr(records, "MAX_TABLE_BYTES", SMALL)
    monkeypatch.setattr(results, "MAX_TABLE_BYTES", SMALL)
    monkeypatch.setattr(curves, "MAX_METRICS_BYTES", SMALL)
    monkeypatch.setattr(metrics_log, "MAX_METRICS_BYTES", SMALL)


def spoil(path: Path, how: str) -> None:
    if how == "pipe":
        os.mkfifo(path)
    elif how == "folder":
        path.mkdir()
    elif how == "sparse":
        with path.open("wb") as file:
            file.truncate(2**40)
    elif how == "bomb":
        path.write_bytes(gzip.compress(HEAD + bytes(64 * SMALL)))
    else:
        path.write_bytes({"binary": bytes(range(256)) * 9, "row": HEAD + b"x" * (SMALL // 2) + b"\n"}[how])


@pytest.mark.parametrize("name", ["pairs.csv", "masks.csv", "pairs.csv.gz"])
@pytest.mark.parametrize("how", ["pipe", "folder", "sparse", "bomb", "binary", "row"])
def test_a_table_that_is_none_is_refused(name: str, how: str, tmp_path: Path) -> None:
    spoil(tmp_path / name, how)
    with pytest.raises(CosegError) as caught:
        read_records(tmp_path)
    assert name in str(caught.value) and len(str(caught.value)) < 1000


@pytest.mark.parametrize("how", ["pipe", "folder", "sparse", "binary"])
def test_metrics_that_are_none_are_refused(how: str, tmp_path: Path) -> None:
    spoil(tmp_path / "metrics.csv", how)
    for read in (lambda: read_series(tmp_path / "metrics.csv"), lambda: read_metrics(tmp_path, 9)):
        with pytest.raises(CosegError, match=r"metrics\.csv"):
            read()


def test_the_bounds_take_the_largest_table() -> None:
    from coseg.files import plain_data

    assert min(plain_data.MAX_TABLE_BYTES, plain_data.MAX_METRICS_BYTES) > 37_700 * 1000


def test_no_file_but_a_table_is_opened_for_its_checksum(tmp_path: Path) -> None:
    values = {"tables": {"../secret": "x"}}
    with pytest.raises(CosegError, match=r"results\.json"):
        without_checksums({**values, "checksum": results.digest_of(values)}, tmp_path / "results.json")
