"""What is checked before Hydra makes a run's folder: its settings, and the place."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf, open_dict, read_write
from omegaconf.errors import OmegaConfBaseException

from coseg.cli.places import claim_directory, remove_empty_folders
from coseg.errors import CosegError
from coseg.settings.check import UnresolvedError, check_settings
from coseg.writable import require_writable, short_path

ADVICE = "choose another place with runs=… (and name=…), or make room"


class BeforeRun(Callback):
    """A part of Hydra, which makes folders itself and gives a traceback where it can't.

    Hydra turns the exceptions of callbacks into warnings, so a mistake ends the process here.

    Args:
        command: ``train`` or ``test``.
    """

    def __init__(self, command: str) -> None:
        self.command = command

    def on_run_start(self, config: DictConfig, **_: Any) -> None:
        """Check settings and place of a single run."""
        _end_with_sentence(lambda: self._run(config))

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        """Check the place of a sweep; the settings of a job are its own."""
        _end_with_sentence(lambda: self._sweep(config))

    def _sweep(self, config: DictConfig) -> None:
        _make(_folder(config, "hydra.sweep.dir"))

    def _run(self, config: DictConfig) -> None:
        before = HydraConfig.instance().cfg
        HydraConfig.instance().set_config(config)  # settings may refer to those of Hydra
        try:
            settings = config.copy()
            with read_write(settings), open_dict(settings):
                del settings["hydra"]
            with suppress(UnresolvedError):  # perhaps it refers to the run's folder: checked again once there is one
                check_settings(settings, self.command)
            folder = _folder(config, "hydra.run.dir")
            if self.command == "train" or not folder.is_dir():  # a test writes to the run that it tests
                _make(folder)
        finally:
            HydraConfig.instance().cfg = before


def _make(folder: Path) -> None:
    """Make a folder that is this command's alone, and see that files can be written there; else leave none."""
    try:
        try:
            folder = claim_directory(folder)
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            raise CosegError(f"Nothing can be written to {short_path(folder)} ({reason}): {ADVICE}.") from None
        require_writable(folder, ADVICE, keep=True)
    except CosegError:
        remove_empty_folders(folder)
        raise


def _folder(config: DictConfig, key: str) -> Path:
    try:
        return Path(str(OmegaConf.select(config, key)))
    except OmegaConfBaseException as error:
        cause: BaseException | None = error
        while cause is not None and not isinstance(cause, OSError):
            cause = cause.__context__  # OmegaConf takes it out of __cause__
        if cause is not None:  # a name that the system does not take, or a place that `run_directory` could not make
            where = short_path(cause.filename)
            raise CosegError(f"Nothing can be written to {where} ({cause.strerror}): {ADVICE}.") from None
        reason = " ".join(str(error).split())
        raise CosegError(f"{key} can't be told ({reason}): {ADVICE}.") from None


def _end_with_sentence(job: Any) -> None:
    from coseg.cli.app import tell

    try:
        job()
    except Exception as error:
        code = tell(error)
        if code is None:
            raise
        raise SystemExit(code) from None
