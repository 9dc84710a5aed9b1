"""Data sets as their configuration files describe them, for commands that are not Hydra's.

The files of the group ``dataset`` are the list of data sets: those of coseg, and those of a directory that the user
gives as ``--config-dir``. No table names them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from coseg.configs import compose_config, config_folder
from coseg.errors import CosegError, unknown_choice

if TYPE_CHECKING:
    from coseg.data.catalog import Reader


class ListedDataset(NamedTuple):
    """What the file of a data set says without being composed.

    Attributes:
        description: the comment that it begins with.
        has_root: it takes a folder, ``dataset.root``.
        variable: the environment variable that gives the folder; empty: none.
    """

    description: str
    has_root: bool
    variable: str


class ChosenDataset(NamedTuple):
    """A data set.

    Attributes:
        reader: made from its configuration.
        train: the split that is trained on.
        val: the split that is validated on.
    """

    reader: Reader
    train: str
    val: str


def dataset_names(config_dir: Path | None = None) -> list[str]:
    """The data sets that coseg ships, and those in `config_dir`."""
    return sorted(_files(config_dir))


def listed_datasets(config_dir: Path | None = None) -> dict[str, ListedDataset]:
    """The data sets of `dataset_names`, described."""
    listed = {}
    for name, path in sorted(_files(config_dir).items()):
        text = path.read_text(encoding="utf-8")
        head = re.match(r"(?:#.*\n)*", text)
        comment = [line.lstrip("# ").rstrip() for line in head[0].splitlines()] if head is not None else []
        variable = re.search(r"^root:.*\$\{oc\.env:(\w+)", text, re.MULTILINE)
        listed[name] = ListedDataset(
            " ".join(line for line in comment if not line.startswith("@package")),
            re.search(r"^root:", text, re.MULTILINE) is not None,
            variable[1] if variable is not None else "",
        )
    return listed


def known_dataset(name: str, config_dir: Path | None = None) -> str:
    """`name`, if it is a data set.

    Raises:
        CosegError: it is none.
    """
    if name not in (names := dataset_names(config_dir)):
        raise unknown_choice("The data set", name, names)
    return name


def chosen_dataset(
    name: str,
    root: str | None = None,
    groups: str | list[str] | None = None,
    words: Iterable[str] = (),
    config_dir: Path | None = None,
) -> ChosenDataset:
    """The data set `name`, its folder and groups replaced where they are given, and by `words`, ``key=value`` each.

    Raises:
        CosegError: there is no such data set, or it has no such setting.
        HydraException: a word does not fit.
    """
    from omegaconf import OmegaConf, open_dict

    from coseg.instantiate import make
    from coseg.settings.check import check_settings

    overrides = [f"dataset={known_dataset(name, config_dir)}", *(f"dataset.{word}" for word in words)]
    dataset = check_settings(compose_config("test", overrides, config_dir), "test").dataset
    with open_dict(dataset):
        for key, value in (("root", root), ("groups", groups)):
            if value is None:
                continue
            if key not in dataset:
                raise CosegError(f"{name} has no {key}: leave --{key} out.")
            OmegaConf.update(dataset, key, value)
    reader = make(dataset.reader)
    if lacking := [name for name in ("splits", "read", "problems") if not hasattr(reader, name)]:
        raise CosegError(
            f"dataset.reader is a {type(reader).__name__}, which lacks {', '.join(lacking)}: derive it from "
            "coseg.data.catalog.Reader."
        )
    return ChosenDataset(reader, str(dataset.splits.train), str(dataset.splits.val))


def _files(config_dir: Path | None) -> dict[str, Path]:
    """The file of each data set; of two with one name that of coseg, as Hydra takes it."""
    folders = [] if config_dir is None else [config_dir]
    return {path.stem: path for folder in (*folders, config_folder()) for path in (folder / "dataset").glob("*.yaml")}
