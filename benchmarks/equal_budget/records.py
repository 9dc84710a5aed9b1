"""The records of the jobs of a comparison, a file each: they may be copied, and the tables are written from them."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from coseg.errors import CosegError
from coseg.files.plain_data import read_json
from coseg.files.writing import json_text, write_text_atomically
from coseg.reports.results import CHECKSUM, digest_of


class Cost(NamedTuple):
    """What a training costs, counted on an idle machine before it runs.

    Attributes:
        parameters: numbers that are learned.
        batch: pairs of a step.
        step_seconds: a step of training.
        pair_seconds: a pair of validation at original size, both images encoded.
        peak_gb: memory of the process at its peak, without its workers.
    """

    parameters: int
    batch: int
    step_seconds: float
    pair_seconds: float
    peak_gb: float


class Finished(NamedTuple):
    """A job that was trained and tested.

    Attributes:
        name: of the network or of the variant.
        seed: of its training.
        cost: of its training.
        steps: of training.
        results: what ``results.json`` holds.
        minutes: of training that the steps were counted for.
        training: the overrides of `coseg-train`.
        testing: those of `coseg-test`.
        environment: of the training: the commit, the platform, the threads and the accelerator.
    """

    name: str
    seed: int
    cost: Cost
    steps: int
    results: Mapping[str, Any]
    minutes: float = math.nan
    training: str = ""
    testing: str = ""
    environment: Mapping[str, Any] = {}


class Gap(NamedTuple):
    """By how much job `a` is ahead of job `b` on the same masks.

    Attributes:
        a: its name.
        b: likewise.
        seed: of both.
        differences: of each score its value and the ends of its 95 % interval; None where there is none.
    """

    a: str
    b: str
    seed: int
    differences: Mapping[str, list[float | None]]


Record = TypeVar("Record", Cost, Finished, Gap)


def write_record(path: Path, record: Record) -> None:
    """Write a record to a file."""
    document = record._asdict()
    if isinstance(record, Finished):
        document["cost"] = record.cost._asdict()
    document = json.loads(json_text(document))
    write_text_atomically(path, json_text({**document, CHECKSUM: digest_of(document)}, indent=1))


def read_record(path: Path, record_type: type[Record]) -> Record:
    """What `write_record` wrote.

    Raises:
        CosegError: it is damaged.
    """
    try:
        document = read_json(path, "remove it, and run its job again", nan=True)
        checksum = document.pop(CHECKSUM, None)  # records of earlier versions have none
        if checksum is not None and checksum != digest_of(document):
            raise ValueError("its checksum differs")
        if record_type is Finished:
            document["cost"] = Cost(**_numbers(document["cost"], Cost))
            document = _numbers(document, Finished)
        if record_type is Cost:
            document = _numbers(document, Cost)
        return record_type(**document)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise CosegError(f"{path} is no record of a comparison ({error}): remove it, and run its job again.") from None


def _numbers(document: Mapping[str, Any], record_type: type[Cost] | type[Finished]) -> dict[str, Any]:
    """`document` with not-a-number again where `write_record` had to leave a number out."""
    numbers = {name for name, annotation in record_type.__annotations__.items() if _is_float(annotation)}
    return {name: math.nan if value is None and name in numbers else value for name, value in document.items()}


def _is_float(annotation: Any) -> bool:
    return getattr(annotation, "__forward_arg__", annotation) in ("float", float)


def read_records(folder: Path, record_type: type[Record]) -> list[Record]:
    """The records of a type in a folder, in the order of their files.

    Raises:
        CosegError: one is damaged.
    """
    return [read_record(path, record_type) for path in sorted(folder.glob("*.json"))]
