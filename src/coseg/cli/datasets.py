"""Data sets as their configuration describes them, for commands that are not Hydra's."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

from coseg.data.sources import SOURCES
from coseg.errors import CosegError, unknown_choice

if TYPE_CHECKING:
    from coseg.data.catalog import Reader


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


def known_dataset(name: str) -> str:
    """`name`, if it is a data set.

    Raises:
        CosegError: it is none.
    """
    if name not in SOURCES:
        raise unknown_choice("The data set", name, SOURCES)
    return name


def chosen_dataset(
    name: str, root: str | None = None, groups: str | list[str] | None = None, words: Iterable[str] = ()
) -> ChosenDataset:
    """The data set `name`, its folder and groups replaced where they are given, and by `words`, ``key=value`` each.

    Raises:
        CosegError: there is no such data set, or it has no such setting.
        HydraException: a word does not fit.
    """
    from hydra.errors import InstantiationException
    from hydra.utils import instantiate
    from omegaconf import OmegaConf, open_dict

    from coseg.cli.app import compose_config
    from coseg.settings.check import check_settings

    overrides = [f"dataset={known_dataset(name)}", *(f"dataset.{word}" for word in words)]
    dataset = check_settings(compose_config("test", overrides), "test").dataset
    with open_dict(dataset):
        for key, value in (("root", root), ("groups", groups)):
            if value is None:
                continue
            if key not in dataset:
                raise CosegError(f"{name} has no {key}: leave --{key} out.")
            OmegaConf.update(dataset, key, value)
    try:
        reader: Reader = instantiate(dataset.reader, _convert_="all")
    except InstantiationException as error:
        if isinstance(error.__cause__, CosegError):
            raise error.__cause__ from None
        raise
    return ChosenDataset(reader, str(dataset.splits.train), str(dataset.splits.val))
