"""A catalog: images, their label maps, class names and the class-presence table; and the contract of readers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from coseg.errors import unknown_choice

BACKGROUND = 0
"""Label of pixels that belong to no class."""

VOID = 255
"""Label of pixels without a label: the border that VOC draws around objects."""


class Note(str):
    """Among the problems of a data set, a remark on what is no mistake but may surprise."""


class Catalog(ABC):
    """N images on disk (or drawn from a seed), their label maps, K class names and a presence table.

    A label map is uint8 of shape (H, W): 0 is background, ``k + 1`` is class ``class_names[k]``, 255 is void.
    A catalog is small (it holds no pixels), can be pickled, and reading from it has no side effect, so
    worker processes may each hold a copy.

    Attributes:
        name: the data set, e.g. ``voc``.
        split: which of its splits, e.g. ``val``.
        ids: N identifiers, in the order of the data set's list.
        class_names: K names.
        presence: bool (N, K); ``presence[i, k]`` says that image ``i`` has at least one pixel of class ``k``.
        expected: how many images the published split has; None where nothing is published.
    """

    def __init__(
        self,
        name: str,
        split: str,
        ids: Sequence[str],
        class_names: Sequence[str],
        presence: NDArray[np.bool_],
        expected: int | None = None,
    ) -> None:
        if presence.shape != (len(ids), len(class_names)):
            raise ValueError(f"presence has shape {presence.shape}, expected {(len(ids), len(class_names))}")
        self.name = name
        self.split = split
        self.ids = tuple(ids)
        self.class_names = tuple(class_names)
        self.presence = presence
        self.expected = expected

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def complete(self) -> bool:
        """Whether the catalog holds as many images as the published split has."""
        return self.expected is None or self.expected == len(self)

    @abstractmethod
    def image(self, i: int) -> NDArray[np.uint8]:
        """Image ``i`` as RGB uint8 of shape (H, W, 3)."""

    @abstractmethod
    def labels(self, i: int) -> NDArray[np.uint8]:
        """The label map of image ``i`` as uint8 of shape (H, W), of the image's size."""

    def files(self) -> Iterator[Path]:
        """The files that hold the images and label maps, always in the same order; none where they are not on disk."""
        return iter(())


def without_class(catalog: Catalog) -> str:
    """How many images hold none of the classes, in a few words; empty: all hold one."""
    count = int((~catalog.presence.any(1)).sum())
    return f"{count} of {len(catalog)} images hold no object of a class and are in no pair" if count else ""


class Reader(ABC):
    """Makes catalogs from one disk layout. A reader is made cheaply; `read` does the work and may fail."""

    name: ClassVar[str]
    """The data set's name."""

    splits: tuple[str, ...]
    """The names that `read` takes."""

    @abstractmethod
    def read(self, split: str) -> Catalog:
        """The catalog of one split.

        Raises:
            CosegError: the data is missing, incomplete or damaged, or there is no such split.
        """

    def read_sound(self, split: str) -> tuple[Catalog, list[str]]:
        """`read` without the images that can't be decoded, and a sentence for each of them.

        Every file is decoded whole, so that what is left can be trained on. A data set that is not on disk has none
        to leave out.

        Raises:
            CosegError: as `read`, but for damaged files.
        """
        return self.read(split), []

    def problems(self, split: str) -> Iterator[str]:
        """Everything that is wrong with one split on disk, a sentence each: unlike `read`, it does not stop at one.

        What is worth to be known but no mistake is a `Note`. Every file is decoded whole. A data set that is not on
        disk has none.

        Raises:
            CosegError: there is no such split.
        """
        self.check_split(split)
        return iter(())

    def check_split(self, split: str) -> None:
        """Refuse a split that the data set does not have."""
        if split not in self.splits:
            raise unknown_choice(f"the split of {self.name}", split, self.splits)
