"""Hydra's configuration: where its files lie, which names a group has, composing it from overrides, and quoting them.

Hydra is imported when it is used: a command's ``--help`` does without.
"""

from __future__ import annotations

import hashlib
import re
import shlex
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from coseg.errors import CosegError
from coseg.files.storage import is_url

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from coseg.hydra_internals import Override


SHOWN = 60
"""Characters of an override that a sentence shows."""


def config_path() -> str:
    """Where the configuration lies, as Hydra takes it: the package `coseg.conf`, or the folder of a checkout."""
    return "pkg://coseg.conf" if find_spec("coseg.conf") is not None else str(config_folder())


def config_folder() -> Path:
    """The folder of the configuration: the package `coseg.conf`, or ``conf/`` of a checkout that is not installed."""
    spec = find_spec("coseg.conf")
    if spec is not None and spec.submodule_search_locations:
        return Path(spec.submodule_search_locations[0])
    return Path(__file__).resolve().parents[2] / "conf"


def choices(group: str) -> list[str]:
    """The names that a group of the configuration has, in their order."""
    return sorted(file.stem for file in (config_folder() / group).glob("*.yaml"))


def started() -> AbstractContextManager[None]:
    """Hydra started on the configuration inside a block; what was started before is there again after it."""
    from hydra import initialize_config_dir, initialize_config_module

    path = config_path()
    package = path.removeprefix("pkg://")
    start = initialize_config_dir if path == package else initialize_config_module
    return start(package, version_base="1.3")  # type: ignore[return-value]


def compose_config(name: str, overrides: list[str], config_dir: Path | None = None) -> DictConfig:
    """The configuration that the command of `name`, ``train`` or ``test``, composes from these overrides.

    Args:
        name: of the command.
        overrides: as on its command line.
        config_dir: a directory of further configuration files, as ``--config-dir``.

    Raises:
        HydraException: an override does not fit.
        CosegError: one gives a group a value that is no name; `config_dir` is not a directory.
    """
    from hydra import compose

    register_resolvers()
    with started(), _hinted(overrides):
        require_names(overrides)
        return compose(name, [*_searched(config_dir), *overrides])


def _searched(config_dir: Path | None) -> list[str]:
    """The override that makes Hydra look in `config_dir`, too."""
    if config_dir is None:
        return []
    if not config_dir.is_dir():
        raise CosegError(f"--config-dir is {config_dir}, but must be a directory of configuration files.")
    import_from(config_dir)
    return [f"hydra.searchpath=[{quoted(f'file://{config_dir.resolve()}')}]"]


def import_from(config_dir: Path) -> None:
    """Let classes that files in `config_dir` name be imported from Python files beside them, after all others."""
    if (folder := str(config_dir.resolve())) not in sys.path:
        sys.path.append(folder)


def given_config_dir(words: list[str]) -> Path | None:
    """The value of Hydra's option ``--config-dir`` on a command line."""
    for k, word in enumerate(words):
        option, equals, value = word.partition("=")
        if option in ("--config-dir", "-cd"):
            following = words[k + 1] if k + 1 < len(words) else ""
            return Path(value if equals else following) if value or following else None
    return None


def parse_overrides(words: list[str]) -> list[Override]:
    """Overrides as Hydra reads them, those among them that name several values for a sweep.

    Raises:
        HydraException: a word is no override.
    """
    from coseg.hydra_internals import parsed_overrides

    with started(), _hinted(words, sweeps=True):
        return parsed_overrides(words)


@contextmanager
def _hinted(words: list[str], sweeps: bool = False) -> Iterator[None]:
    """Hydra's error with a note how to quote what it could not read."""
    from hydra.errors import HydraException

    try:
        yield
    except HydraException as error:
        if (hint := quoting_hint(words, sweeps)) is not None:
            error.add_note(hint)
        raise


def require_names(words: Iterable[str]) -> None:
    """Refuse overrides that give a configuration group a value that is no name, for which Hydra has a traceback.

    Raises:
        CosegError: a value is no name, or a number too long to read.
    """
    from hydra.errors import HydraException

    from coseg.hydra_internals import QuotedString, parsed_override

    for word in words:
        try:
            override = parsed_override(word)
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


def groups_name(groups: str | Sequence[str]) -> str:
    """The split's name for a choice of groups: the choice's own, or the groups joined by ``+``; long lists hashed.

    Raises:
        CosegError: a list is empty, or names a group twice.
    """
    if isinstance(groups, str):
        return groups
    twice = [group for group, count in Counter(groups).items() if count > 1]
    if twice or not groups:
        raise CosegError(
            f"dataset.groups is {list(groups)}, but must name at least one group, and each once; or 'all'."
        )
    name = "+".join(groups)
    if len(name) > 60 or "/" in name:
        name = f"{len(groups)}_groups-{hashlib.sha256(name.encode()).hexdigest()[:8]}"
    return name


def register_resolvers() -> None:
    """Register what configurations may refer to; the folders of runs are those of `coseg.cli.run_folder`.

    ``${coseg.either:condition,yes,no}``, ``${coseg.absolute:path}``, ``${coseg.groups:groups}``, the split that a
    choice of groups is, and, in a list of defaults, ``${coseg.choice:group@package}``, the chosen option of a group.
    """
    from omegaconf import OmegaConf

    OmegaConf.register_new_resolver("coseg.either", lambda condition, yes, no: yes if condition else no, replace=True)
    OmegaConf.register_new_resolver("coseg.absolute", _absolute, replace=True)
    OmegaConf.register_new_resolver("coseg.groups", _groups, replace=True)
    OmegaConf.register_new_resolver("coseg.choice", _choice, replace=True)


def _absolute(path: str | None) -> str | None:
    return path if path is None or is_url(path) else str(Path(path).expanduser().resolve())


def _groups(groups: Any) -> str:
    try:
        return groups_name(groups if isinstance(groups, str) else [str(group) for group in groups])
    except CosegError:  # the reader reports it, which gets the same groups: OmegaConf would wrap the sentence
        return "none"


def _choice(group: str, *, _root_: Any) -> str:
    """The chosen option of a group; Hydra's own ``${group}`` can't name one whose package has a dot."""
    return str(_root_[group])


TEXTS = ("root", "runs", "resume", "ckpt", "weights", "dir", "name")
"""Last parts of keys whose values are paths or names."""


def quoted(text: object) -> str:
    """A path or another text as the value of an override, whatever is in it.

    ``${`` stands for itself, too: it is no reference.
    """
    from coseg.hydra_internals import in_quotes

    plain = re.sub(r"(\\*)\$\{", lambda match: 2 * match[1] + r"\${", str(text))
    return in_quotes(plain)


def shell_word(word: str) -> str:
    """`word` as a shell reads it; within double quotes where these do, since Hydra's own are single ones."""
    if re.search(r'["$`!\n]|\\(?=[\\]|$)', word):
        return shlex.quote(word)
    return f'"{word}"' if shlex.quote(word) != word else word


def quoting_hint(words: Sequence[str], sweeps: bool = False) -> str | None:
    """How to write the first of these overrides that Hydra can't read as one value.

    Only for what looks like a path or a name: of other values it is the value that is wrong.

    Args:
        words: arguments of a command.
        sweeps: values with commas are several on purpose.

    Returns:
        A sentence; None: there is no such override.
    """
    for place, word in enumerate(words):
        key, equals, value = word.partition("=")
        if not equals or not value or not re.fullmatch(r"[+]{0,2}[A-Za-z_][\w.@/]*", key):
            continue
        if key.rpartition(".")[2] not in TEXTS and "/" not in value and "\\" not in value:
            continue
        tail = []  # the shell parted a path at its spaces
        for further in words[place + 1 :]:
            if "=" in further or further.startswith(("-", "~")):
                break
            tail.append(further)
        if tail or not _is_read(word, sweeps):
            full = " ".join((_unquoted(value), *tail))
            return (
                f"A path or a name with such characters needs quotes of its own: {shell_word(f'{key}={quoted(full)}')}"
            )
    return None


def _is_read(word: str, sweeps: bool) -> bool:
    from hydra.errors import HydraException

    from coseg.hydra_internals import parsed_override

    try:
        override = parsed_override(word)
    except (HydraException, ValueError):
        return False
    return sweeps or not override.is_sweep_override()


def _unquoted(value: str) -> str:
    """Without quotes that were meant for Hydra, of which one or both may be there."""
    return value.strip("'\"") if value[0] in "'\"" or value[-1] in "'\"" else value
