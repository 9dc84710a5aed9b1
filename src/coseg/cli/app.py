"""What the commands share: Hydra's start, and sentences instead of tracebacks for what a user can mend."""

from __future__ import annotations

import importlib.resources
import importlib.util
import logging
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import hydra
from hydra import initialize_config_dir, initialize_config_module
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, QuotedString
from hydra.errors import HydraException, OverrideParseException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from coseg.cli.multirun import Multirun, found_stop, is_parallel, leave_stop
from coseg.cli.places import forget_places, remove_empty_folders, run_directory, sweep_directory
from coseg.cli.system_errors import file_sentence, memory_sentence, peer_sentence
from coseg.errors import CosegError
from coseg.overrides import quoting_hint
from coseg.settings.check import check_settings
from coseg.sweeps.failed import write_failure
from coseg.training.errors import Stopped
from coseg.training.run import STUDY
from coseg.writable import short_path

log = logging.getLogger(__name__)

SHOWN = 60
"""Characters of an override that a sentence shows."""

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
        CosegError: one gives a group what is no name.
    """
    register_resolvers()
    with _started(), _hinted(overrides):
        require_names(overrides)
        return hydra.compose(name, overrides)


def _started() -> Any:
    """Hydra as the commands start it, inside a block."""
    path = config_path()
    package = path.removeprefix("pkg://")
    start = initialize_config_dir if path == package else initialize_config_module
    return start(package, version_base="1.3")


def parse_overrides(words: list[str]) -> list[Override]:
    """Overrides as Hydra reads them, those among them that name several values for a sweep.

    Raises:
        HydraException: one is none.
    """
    with _started(), _hinted(words, sweeps=True):
        parser = OverridesParser.create(GlobalHydra.instance().config_loader())
        try:
            return parser.parse_overrides(words)
        except OverrideParseException as error:
            raise HydraException(f"{error.override}: {error}") from None


@contextmanager
def _hinted(words: list[str], sweeps: bool = False) -> Iterator[None]:
    """Hydra's error with a note how to quote what it could not read."""
    try:
        yield
    except HydraException as error:
        if (hint := quoting_hint(words, sweeps)) is not None:
            error.add_note(hint)
        raise


def choices(group: str) -> list[str]:
    """The names that a group of the configuration has, in their order."""
    path = config_path()
    package = path.removeprefix("pkg://")
    folder = Path(path) if path == package else Path(str(importlib.resources.files(package)))
    return sorted(file.stem for file in (folder / group).glob("*.yaml"))


def require_names(words: Iterable[str]) -> None:
    """Refuse overrides that give a configuration group a value that is no name, for which Hydra has a traceback.

    Raises:
        CosegError: so.
    """
    for word in words:
        try:
            override = OverridesParser.create().parse_override(word)
        except HydraException:
            continue  # an option, or what Hydra has a message for
        except ValueError as error:  # a whole number of thousands of digits
            raise CosegError(f"{word[:SHOWN]}… can't be read ({error}): give another value.") from None
        value = override.value()
        if override.is_sweep_override() or override.is_delete() or isinstance(value, str | QuotedString | list | dict):
            continue
        group = override.key_or_group
        if (names := choices(group)) or group == "hydra":
            shown = "null" if value is None else value
            raise CosegError(f"{group} is {shown}, but must be a name: {', '.join(names) or 'leave it out'}.")


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

    ``${coseg.run_dir:runs,name,resume}``, ``${coseg.sweep_dir:runs,name}``, ``${coseg.either:condition,yes,no}``,
    ``${coseg.absolute:path}``, and ``${coseg.groups:groups}``, the split that a choice of groups is.
    """
    OmegaConf.register_new_resolver("coseg.run_dir", run_directory, replace=True)
    OmegaConf.register_new_resolver("coseg.sweep_dir", sweep_directory, replace=True)
    OmegaConf.register_new_resolver("coseg.either", lambda condition, yes, no: yes if condition else no, replace=True)
    OmegaConf.register_new_resolver("coseg.absolute", _absolute, replace=True)
    OmegaConf.register_new_resolver("coseg.groups", _groups, replace=True)


def sentence(error: BaseException) -> str | None:
    """What to tell a user of `error`; None for a defect, which keeps its traceback."""
    # A loader's worker and a spawned process hand their error over as the text of its traceback.
    found = re.search(r"^coseg\.errors\.(?:CosegError|DamagedFile): (.*)", str(error), re.MULTILINE | re.DOTALL)
    if found is not None:
        return found[1].strip()
    # What lacked memory would lack it whatever the settings say: that comes first.
    memory = memory_sentence(error)
    if memory is not None or isinstance(error, CosegError):
        return memory or str(error)
    if type(error).__name__ == "MisconfigurationException":  # Lightning's word for settings that don't go together
        return " ".join(str(error).split())
    return peer_sentence(error) or file_sentence(error)


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
        print(error, *getattr(error, "__notes__", ()), sep="\n", file=sys.stderr)
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
        raise CosegError(
            f"{short_path(path)} can't be written ({reason}): choose another place, or make room."
        ) from error


def run(job: Callable[[DictConfig], Any], config_name: str) -> None:
    """Compose the configuration from the command line, run `job` on it, and end the process.

    Exit codes: 0; 2 after a sentence; 128 + n after signal n; 1 after a defect. In a sweep, a failed job is told and
    the next one runs; the code is that of the failed jobs where they share one, otherwise 1.
    """
    register_resolvers()
    forget_places()
    Multirun.codes.clear()
    Multirun.stopped = 0

    def guarded(config: DictConfig) -> Any:
        chosen = HydraConfig.get()
        folder = Path(chosen.runtime.output_dir)
        in_sweep = chosen.mode == RunMode.MULTIRUN
        beside = in_sweep and is_parallel(chosen)
        if beside and found_stop(Path(chosen.sweep.dir)):
            return None
        try:
            check_settings(config, config_name)
            return job(config)
        except Exception as error:
            code = tell(error, f"job {chosen.job.num}: " if in_sweep else "")
            if code is not None and code > 128:  # a signal ends the sweep, not one job
                if beside:
                    leave_stop(Path(chosen.sweep.dir), code)
                    return None
                raise SystemExit(code) from None
            if in_sweep or STUDY in os.environ:
                told = sentence(error) or f"{type(error).__name__}: {error}"
                write_failure(folder, code or 1, told, list(chosen.overrides.task))
            if not in_sweep:
                if code is None:
                    raise
                raise SystemExit(code) from None
            if code is None:
                log.exception(f"job {chosen.job.num}: failed")
        finally:
            remove_empty_folders(folder)
        return None

    try:
        require_names(sys.argv[1:])
        hydra.main(version_base="1.3", config_path=config_path(), config_name=config_name)(guarded)()
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    except CosegError as error:  # of `require_names`
        raise SystemExit(tell(error)) from None
    except SystemExit as leaving:
        words = sys.argv[1:]
        if leaving.code == 1 and (hint := quoting_hint(words, not {"-m", "--multirun"}.isdisjoint(words))) is not None:
            print(hint, file=sys.stderr)
        raise
    if Multirun.stopped:
        raise SystemExit(Multirun.stopped)
    if codes := set(Multirun.codes):
        raise SystemExit(codes.pop() if len(codes) == 1 else 1)
