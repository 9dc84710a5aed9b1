"""What the commands share: Hydra's start, and sentences instead of tracebacks for what a user can mend."""

from __future__ import annotations

import datetime
import importlib.resources
import importlib.util
import logging
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

import hydra
from hydra import initialize_config_dir, initialize_config_module
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from coseg.errors import CosegError
from coseg.training.errors import Stopped

log = logging.getLogger(__name__)

BAD_INPUT = 2
"""Exit code after a sentence."""


def config_path() -> str:
    """Where the configuration lies: the package `coseg.conf`, or ``conf/`` of a checkout that is not installed."""
    if importlib.util.find_spec("coseg.conf") is not None:
        return "pkg://coseg.conf"
    return str(Path(__file__).resolve().parents[3] / "conf")


def compose_config(name: str, overrides: list[str]) -> DictConfig:
    """The configuration that the command of `name`, ``train`` or ``test``, composes from these overrides.

    Raises:
        HydraException: an override does not fit.
    """
    register_resolvers()
    path = config_path()
    package = path.removeprefix("pkg://")
    start = initialize_config_dir if path == package else initialize_config_module
    with start(package, version_base="1.3"):
        return hydra.compose(name, overrides)


def choices(group: str) -> list[str]:
    """The names that a group of the configuration has, in their order."""
    path = config_path()
    package = path.removeprefix("pkg://")
    folder = Path(path) if path == package else Path(str(importlib.resources.files(package)))
    return sorted(file.stem for file in (folder / group).glob("*.yaml"))


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


def _absolute(path: str | None) -> str | None:
    return None if path is None else str(Path(path).expanduser().resolve())


def _groups(groups: Any) -> str:
    from coseg.data.readers.groups import groups_name

    try:
        return groups_name(groups if isinstance(groups, str) else [str(group) for group in groups])
    except CosegError:  # the reader will tell, which gets the same groups: OmegaConf would wrap the sentence
        return "none"


def register_resolvers() -> None:
    """What configurations may say.

    ``${coseg.run_dir:runs,name,resume}``, ``${coseg.either:condition,yes,no}``, ``${coseg.absolute:path}``, and
    ``${coseg.groups:groups}``, the split that a choice of groups is.
    """
    OmegaConf.register_new_resolver("coseg.run_dir", _run_directory, replace=True)
    OmegaConf.register_new_resolver("coseg.either", lambda condition, yes, no: yes if condition else no, replace=True)
    OmegaConf.register_new_resolver("coseg.absolute", _absolute, replace=True)
    OmegaConf.register_new_resolver("coseg.groups", _groups, replace=True)


def sentence(error: BaseException) -> str | None:
    """What to tell a user of `error`; None for a defect, which keeps its traceback."""
    # A loader's worker and a spawned process hand their error over as the text of its traceback.
    found = re.search(r"^coseg\.errors\.CosegError: (.*)", str(error), re.MULTILINE | re.DOTALL)
    if found is not None:
        return found[1].strip()
    return str(error) if isinstance(error, CosegError) else None


def tell(error: BaseException, where: str = "") -> int | None:
    """Print the sentence for what a user can mend or has stopped; its exit code, or None for a defect."""
    stop = Stopped.find(error)
    told = stop.sentence if stop is not None else sentence(error)
    if told is None:
        return None
    print(f"{where}{told}", file=sys.stderr)
    return stop.code if stop is not None else BAD_INPUT


def guard(job: Callable[[], Any]) -> None:
    """Run `job`, which composes its configuration itself, and end the process with the exit codes of `run`."""
    try:
        job()
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    except HydraException as error:  # an override that does not fit: Hydra's own words and exit code
        print(error, file=sys.stderr)
        raise SystemExit(1) from None
    except Exception as error:
        code = tell(error)
        if code is None:
            raise
        raise SystemExit(code) from None


@contextmanager
def told_output(path: Path) -> Iterator[None]:
    """Turn an output that can't be written into a sentence."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or error
        raise CosegError(f"{path} can't be written ({reason}): choose another place, or make room.") from error


def run(job: Callable[[DictConfig], Any], config_name: str) -> None:
    """Compose the configuration from the command line, run `job` on it, and end the process.

    Exit codes: 0; 2 after a sentence; 128 + n after signal n; 1 after a defect. In a sweep, a failed job is told and
    the next one runs; the code is that of the failed jobs where they share one, otherwise 1.
    """
    register_resolvers()
    _run_directory.cache_clear()
    _new_folders.clear()
    codes: list[int] = []

    def guarded(config: DictConfig) -> Any:
        in_sweep = HydraConfig.get().mode == RunMode.MULTIRUN
        try:
            return job(config)
        except Exception as error:
            code = tell(error, f"job {HydraConfig.get().job.num}: " if in_sweep else "")
            if code is None and not in_sweep:
                raise
            if code is None:
                log.exception(f"job {HydraConfig.get().job.num}: failed")
            elif code > 128 and in_sweep:  # a signal ends the sweep, not one job
                raise SystemExit(code) from None
            codes.append(code or 1)
        finally:
            _remove_empty_folders(Path(HydraConfig.get().runtime.output_dir))
        return None

    try:
        hydra.main(version_base="1.3", config_path=config_path(), config_name=config_name)(guarded)()
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    if codes:
        raise SystemExit(max(codes) if len(set(codes)) == 1 else 1)
