"""What the commands share: Hydra's start, and sentences instead of tracebacks for what a user can mend."""

from __future__ import annotations

import datetime
import importlib.util
import logging
import re
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from coseg.errors import CosegError

log = logging.getLogger(__name__)

BAD_INPUT = 2
"""Exit code after a sentence."""


def config_path() -> str:
    """Where the configuration lies: the package `coseg.conf`, or ``conf/`` of a checkout that is not installed."""
    if importlib.util.find_spec("coseg.conf") is not None:
        return "pkg://coseg.conf"
    return str(Path(__file__).resolve().parents[3] / "conf")


_new_folders: list[Path] = []
"""The run directory and those above it, as far as they were not there when it was chosen."""


@cache
def _run_directory(runs: str, name: str, resume: str | None) -> str:
    if resume is not None:
        folder = Path(resume).resolve()
    else:
        started = datetime.datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
        folder = first = Path(runs, name, started).resolve()
        number = 2
        while folder.exists():  # two runs started in one second
            folder = first.with_name(f"{started}_{number}")
            number += 1
    _new_folders.extend(path for path in (folder, *folder.parents) if not path.exists())
    return str(folder)


def _remove_empty_folders(output: Path) -> None:
    """Take away what a job left empty that failed, or only checked: Hydra makes the run directory before it starts."""
    inside = [output] if any(folder in output.parents for folder in _new_folders) else []
    for folder in sorted({*inside, *_new_folders}, key=lambda path: -len(path.parts)):
        with suppress(OSError):  # not there, or not empty
            folder.rmdir()


def register_resolvers() -> None:
    """``${coseg.run_dir:runs,name,resume}`` and ``${coseg.either:condition,yes,no}``."""
    OmegaConf.register_new_resolver("coseg.run_dir", _run_directory, replace=True)
    OmegaConf.register_new_resolver("coseg.either", lambda condition, yes, no: yes if condition else no, replace=True)


def sentence(error: BaseException) -> str | None:
    """What to tell a user of `error`; None for a defect, which keeps its traceback."""
    # A loader's worker and a spawned process hand their error over as the text of its traceback.
    found = re.search(r"^coseg\.errors\.CosegError: (.*)", str(error), re.MULTILINE | re.DOTALL)
    if found is not None:
        return found[1].strip()
    return str(error) if isinstance(error, CosegError) else None


def run(job: Callable[[DictConfig], Any], config_name: str) -> None:
    """Compose the configuration from the command line, run `job` on it, and end the process.

    Exit codes: 0; 2 after a sentence; 128 + n after signal n; 1 after a defect, or a sweep with failed jobs.
    In a sweep, a failed job is told and the next one runs.
    """
    from coseg.training.errors import Stopped

    register_resolvers()
    _run_directory.cache_clear()
    _new_folders.clear()
    codes: list[int] = []

    def guarded(config: DictConfig) -> Any:
        in_sweep = HydraConfig.get().mode == RunMode.MULTIRUN
        try:
            return job(config)
        except Exception as error:
            stop = Stopped.find(error)
            if stop is not None:
                print(stop.sentence, file=sys.stderr)
                if in_sweep:  # a signal ends the sweep, not one job
                    raise SystemExit(stop.code) from None
                codes.append(stop.code)
                return None
            told = sentence(error)
            where = f"job {HydraConfig.get().job.num}: " if in_sweep else ""
            if told is not None:
                print(f"{where}{told}", file=sys.stderr)
            elif in_sweep:
                log.exception(f"{where}failed")
            else:
                raise
            codes.append(BAD_INPUT if told is not None else 1)
        finally:
            _remove_empty_folders(Path(HydraConfig.get().runtime.output_dir))
        return None

    try:
        hydra.main(version_base="1.3", config_path=config_path(), config_name=config_name)(guarded)()
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    if codes:
        raise SystemExit(max(codes) if len(set(codes)) == 1 else 1)
