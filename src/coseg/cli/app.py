"""The commands that are Hydra's: `run` one of them, alone or, with ``-m``, as the jobs of a sweep."""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any, ClassVar

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from coseg.cli.options import config_dir_first
from coseg.cli.run_folder import forget_places, register_folders, remove_empty_folders
from coseg.cli.sentences import is_interrupted, report_error, sentence
from coseg.configs import (
    config_path,
    given_config_dir,
    import_from,
    quoting_hint,
    register_resolvers,
    require_names,
)
from coseg.errors import CosegError
from coseg.files.writing import write_text_atomically
from coseg.run_dir import FAILED, STUDY
from coseg.signals import SignalHandlers, stop_children
from coseg.sweeps.processes import read_failure, write_failure
from coseg.training.slurm import SUBMITIT, job_id, requeue

log = logging.getLogger(__name__)


def run(job: Callable[[DictConfig], Any], config_name: str) -> None:
    """Compose the configuration from the command line, run `job` on it, and end the process.

    Exit codes: 0; 2 after a sentence; 128 + n after signal n; 1 after a defect. In a sweep, a failed job is
    reported and the next one runs; the code is that of the failed jobs where they share one, otherwise 1.
    """
    register_resolvers()
    register_folders()
    forget_places()
    Multirun.codes.clear()
    Multirun.stopped = 0

    def guarded(config: DictConfig) -> Any:
        chosen = HydraConfig.get()
        folder = Path(chosen.runtime.output_dir)
        in_sweep = chosen.mode == RunMode.MULTIRUN
        parallel = in_sweep and is_parallel(chosen)
        if parallel and found_stop(Path(chosen.sweep.dir)):
            return None
        try:
            from coseg.settings.check import check_settings

            check_settings(config, config_name)
            if config.get("resume") is None:  # of a run that is resumed its own configuration counts
                from coseg.training.known_classes import require_classes

                require_classes(OmegaConf.to_container(config, resolve=True))
            return job(config)
        except Exception as error:
            if is_interrupted(error):
                raise KeyboardInterrupt from None
            # Of jobs side by side in one job of SLURM's, the process that started them asks for the queue, at the end.
            code = report_error(
                error, f"job {chosen.job.num}: " if in_sweep else "", queue=not parallel or SUBMITIT in os.environ
            )
            if code is not None and code > 128:  # a signal ends the sweep, not one job
                if parallel:
                    leave_stop(Path(chosen.sweep.dir), code)
                    return None
                raise SystemExit(code) from None
            if in_sweep or STUDY in os.environ:
                text = sentence(error) or f"{type(error).__name__}: {error}"
                write_failure(folder, code or 1, text, list(chosen.overrides.task))
            if not in_sweep:
                if code is None:
                    raise
                raise SystemExit(code) from None
            if code is None:
                log.exception(f"job {chosen.job.num}: failed")
        finally:
            remove_empty_folders(folder)
        return None

    if job_id() is not None and SUBMITIT not in os.environ:  # before training or test handle them, or after
        SignalHandlers().set(_leave, (signal.SIGTERM, signal.SIGUSR1))
    try:
        sys.argv[1:] = config_dir_first(sys.argv[1:])
        require_names(sys.argv[1:])
        if (config_dir := given_config_dir(sys.argv[1:])) is not None and config_dir.is_dir():
            import_from(config_dir)
        hydra.main(version_base="1.3", config_path=config_path(), config_name=config_name)(guarded)()
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    except CosegError as error:  # of `require_names`
        raise SystemExit(report_error(error)) from None
    except SystemExit as leaving:
        words = sys.argv[1:]
        if leaving.code == 1 and (hint := quoting_hint(words, not {"-m", "--multirun"}.isdisjoint(words))) is not None:
            print(hint, file=sys.stderr)
        raise
    if Multirun.stopped:
        requeue(Multirun.stopped - 128)
        raise SystemExit(Multirun.stopped)
    if codes := set(Multirun.codes):
        raise SystemExit(codes.pop() if len(codes) == 1 else 1)


def _leave(number: int, frame: FrameType | None) -> None:
    """End a command that has nothing to save; its job of SLURM's is queued again where the signal asks for that."""
    requeue(number)
    os._exit(128 + number)


_STOP = ".stopped"
"""In the sweep's folder: a signal came, so no further job begins."""


class Multirun(Callback):
    """A part of Hydra: passes signals on to jobs in processes of their own, and collects how the jobs ended.

    Attributes:
        codes: of the failed jobs, the exit code that each would have had alone.
        stopped: 128 + the number of the signal that ended the sweep; 0: none did.
    """

    codes: ClassVar[list[int]] = []
    stopped: ClassVar[int] = 0

    def __init__(self) -> None:
        self._handlers = SignalHandlers()
        self._code = 0  # of the signal that came to this process, whatever it has sent to the jobs

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        """Forget what an earlier sweep in the same folder left."""
        folder = Path(config.hydra.sweep.dir)
        for path in (*(job / FAILED for job in _jobs(folder)), folder / _STOP):
            path.unlink(missing_ok=True)
        if is_parallel(config.hydra):
            self._handlers.set(self._pass_on)

    def on_multirun_end(self, config: DictConfig, **_: Any) -> None:
        """Collect the codes."""
        self._handlers.restore()
        folder = Path(config.hydra.sweep.dir)
        for job in _jobs(folder):
            if (failure := read_failure(job)) is not None:
                self.codes.append(failure.code)
            with suppress(OSError):  # one that did not begin, or left nothing: Hydra makes its folder before
                job.rmdir()
        Multirun.stopped = found_stop(folder) and (self._code or found_stop(folder))
        (folder / _STOP).unlink(missing_ok=True)

    def _pass_on(self, number: int, frame: FrameType | None) -> None:
        """Have the jobs on this machine stop after their step, and wait; a second Ctrl-C ends everything at once."""
        if not stop_children():  # jobs on a cluster are not ours to stop
            raise SystemExit(128 + number)
        self._code = self._code or 128 + number
        if number == signal.SIGINT:
            signal.signal(number, signal.default_int_handler)

    def __getstate__(self) -> dict[str, Any]:
        """A launcher sends it to the processes of the jobs, where there are no signals to give back."""
        return {"_handlers": SignalHandlers(), "_code": 0}


def _jobs(folder: Path) -> list[Path]:
    """The folders of jobs in that of a sweep; none, where it is not there yet."""
    return [path for path in folder.glob("*/") if path.name.isdecimal()]


def is_parallel(hydra: Any) -> bool:
    """Whether the launcher runs jobs in processes of their own."""
    return not str(hydra.launcher.get("_target_", "")).endswith(".BasicLauncher")


def leave_stop(folder: Path, code: int) -> None:
    """Have no further job of the sweep in `folder` begin."""
    write_text_atomically(folder / _STOP, str(code))


def found_stop(folder: Path) -> int:
    """The code that `leave_stop` was given; 0: it was not called."""
    path = folder / _STOP
    return int(path.read_text()) if path.is_file() else 0
