"""What a training costs on an idle machine: told by ``coseg-train check=true``, counted once and kept."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence
from pathlib import Path

from coseg.errors import CosegError
from coseg.evaluation.records import Cost, read_record, write_record
from coseg.sweeps.child import program

_TOLD = {
    "parameters": r"([\d.]+) M parameters",
    "step_seconds": r"a step: ([\d.]+) s",
    "rate": r"([\d.]+) pairs/s",
    "pair_seconds": r"a validation pair: ([\d.]+) s",
    "peak_gb": r"peak memory: ([\d.]+) GB",
}


def cost(path: Path, overrides: Sequence[str]) -> Cost:
    """What a training with these overrides costs: as kept at `path`, or counted now and kept there.

    Raises:
        CosegError: the check failed; what is kept is damaged.
    """
    if not path.is_file():
        write_record(path, _counted(overrides))
    return read_record(path, Cost)


def _counted(overrides: Sequence[str]) -> Cost:
    told = subprocess.run([*program("train"), *overrides, "check=true"], stdout=subprocess.PIPE, text=True)
    found = {key: re.search(pattern, told.stdout) for key, pattern in _TOLD.items()}
    if told.returncode or None in found.values():
        raise CosegError(f"A check of {' '.join(overrides)} failed with exit code {told.returncode}: see above.")
    values = {key: float(match[1]) for key, match in found.items() if match is not None}
    return Cost(
        parameters=round(1e6 * values["parameters"]),
        batch=max(1, round(values["step_seconds"] * values["rate"])),
        step_seconds=values["step_seconds"],
        pair_seconds=values["pair_seconds"],
        peak_gb=values["peak_gb"],
    )
