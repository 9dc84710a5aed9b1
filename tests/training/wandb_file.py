"""Read what W&B writes offline: a log of records, in blocks as LevelDB's (32 KiB; 7 bytes before each piece)."""

from __future__ import annotations

import json
import struct
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from wandb.proto.wandb_internal_pb2 import Record

BLOCK, HEAD, WHOLE, LAST = 32768, 7, 1, 4


def records(path: Path) -> Iterator[Record]:
    """The records of a ``.wandb`` file."""
    data = path.read_bytes()
    assert data.startswith(b":W&B")
    position, pieces = HEAD, b""
    while position + HEAD <= len(data):
        if (left := BLOCK - position % BLOCK) < HEAD:
            position += left
            continue
        _, size, kind = struct.unpack("<IHB", data[position : position + HEAD])
        pieces += data[position + HEAD : position + HEAD + size]
        position += HEAD + size
        if kind in (WHOLE, LAST):
            yield Record.FromString(pieces)
            pieces = b""


def _finished(path: Path, seconds: float = 60.0) -> list[Record]:
    """All records of a run that has ended: another process writes them, the one of its exit last."""
    end = time.monotonic() + seconds
    while True:
        found = list(records(path)) if path.stat().st_size >= HEAD else []
        kinds = {record.WhichOneof("record_type") for record in found}
        if {"run", "exit"} <= kinds or time.monotonic() > end:
            return found
        time.sleep(0.2)


class Offline(NamedTuple):
    """A run as its file tells it. `rows` are those of the history, `files` the names of what lies beside the file."""

    id: str
    name: str
    group: str
    config: dict[str, Any]
    rows: list[dict[str, Any]]
    artifacts: list[Any]
    exit_codes: list[int]
    folder: Path


def read_offline(folder: Path) -> Offline:
    """The run in an ``offline-run-…`` folder."""
    (path,) = folder.glob("*.wandb")
    found = _finished(path)
    (run,) = (record.run for record in found if record.HasField("run"))
    config: dict[str, Any] = {}
    for record in found:
        if record.HasField("config"):
            config |= {item.key: json.loads(item.value_json) for item in record.config.update if item.key}
    rows = [
        {"/".join(item.nested_key) or item.key: json.loads(item.value_json) for item in record.history.item}
        for record in found
        if record.HasField("history")
    ]
    artifacts = [record.artifact for record in found if record.HasField("artifact")]
    codes = [record.exit.exit_code for record in found if record.HasField("exit")]
    return Offline(run.run_id, run.display_name, run.run_group, config, rows, artifacts, codes, folder / "files")
