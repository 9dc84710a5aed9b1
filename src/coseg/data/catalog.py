"""A catalog: images, their label maps, class names and the class-presence table; and the interface of readers."""

from __future__ import annotations

import hashlib
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Generic, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from coseg.errors import CosegError, DamagedFile, unknown_choice
from coseg.files.stored import StoredPath
from coseg.imaging.read import damaged, exposure_note, read_photograph
from coseg.labels import VOID

Item = TypeVar("Item")
Facts = TypeVar("Facts")


LATENT = 16
"""Files from shards or a URL that are read at once."""


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

    def files(self, images: Iterable[int] | None = None) -> Iterator[Path]:
        """The files of all images and label maps, or of these, always in the same order; none: they are not on disk."""
        return iter(())


class ResizedCatalog(Catalog):
    """A catalog at one size: images bilinear with antialiasing, label maps by their nearest pixel.

    A small object may vanish; `presence`, and with it the pairs, stay those of the original label maps.

    Args:
        catalog: the catalog to read from.
        size: side of all images in pixels.

    Raises:
        CosegError: `size` is not a positive whole number.
    """

    def __init__(self, catalog: Catalog, size: int) -> None:
        if not isinstance(size, int) or isinstance(size, bool) or size < 1:
            raise CosegError(f"protocol.size is '{size}', but must be a number of pixels, or null for original size.")
        super().__init__(
            catalog.name, catalog.split, catalog.ids, catalog.class_names, catalog.presence, catalog.expected
        )
        self.catalog = catalog
        self.size = size

    def image(self, i: int) -> NDArray[np.uint8]:
        """Image ``i`` as RGB uint8 of shape (size, size, 3)."""
        return self._resized(self.catalog.image(i), Image.Resampling.BILINEAR)

    def labels(self, i: int) -> NDArray[np.uint8]:
        """The label map of image ``i`` as uint8 of shape (size, size)."""
        return self._resized(self.catalog.labels(i), Image.Resampling.NEAREST)

    def files(self, images: Iterable[int] | None = None) -> Iterator[Path]:
        """See `Catalog.files`."""
        return self.catalog.files(images)

    def _resized(self, picture: NDArray[np.uint8], how: Image.Resampling) -> NDArray[np.uint8]:
        return np.array(Image.fromarray(picture).resize((self.size, self.size), how))


def file_checksum(path: Path) -> str:
    """The SHA-256 of a file.

    Raises:
        CosegError: it can't be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise damaged(path, error) from error


def file_checksums(files: Iterable[Path]) -> list[str]:
    """`file_checksum` of files, in parallel."""
    paths = list(files)
    with ThreadPoolExecutor(_threads(paths[:1])) as pool:  # hashing releases the interpreter's lock
        return list(pool.map(file_checksum, paths))


def _threads(first: Sequence[Path]) -> int | None:
    """How many threads read files like the first: those of a bucket are waited for."""
    cores = os.cpu_count()
    return max(LATENT, cores or 1) if any(isinstance(path, StoredPath) for path in first) else cores


def without_class(catalog: Catalog) -> str:
    """How many images hold none of the classes, in a few words; empty: all hold one."""
    count = int((~catalog.presence.any(1)).sum())
    return f"{count} of {len(catalog)} images hold no object of a class and are in no pair" if count else ""


def require_labels(catalog: Catalog) -> None:
    """Refuse more classes than the numbers of a label map, 1 to 254.

    Raises:
        CosegError: the catalog has more.
    """
    if len(catalog.class_names) >= VOID:
        raise CosegError(
            f"{catalog.name}/{catalog.split} has {len(catalog.class_names)} classes, but a label map holds "
            f"{VOID - 1}: choose some of them, for example with dataset.groups=[…]."
        )


class Reader(ABC):
    """Makes catalogs from one disk layout. A reader is made cheaply; `read` does the work and may fail."""

    name: str
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


class CheckedImage(NamedTuple, Generic[Item, Facts]):
    """An image of a data set after its files were decoded.

    Attributes:
        item: the image and its mask, as the reader lists them.
        facts: what the reader wants to know of the mask; None where there is an error.
        error: why the image can't be used.
        note: see `coseg.imaging.read.exposure_note`.
    """

    item: Item
    facts: Facts | None
    error: CosegError | None
    note: str | None


def check_images(
    items: Sequence[Item], image_of: Callable[[Item], Path], check: Callable[[Item], Facts], whole: bool
) -> list[CheckedImage[Item, Facts]]:
    """Decode the masks of a data set, in parallel.

    Args:
        items: the images, as the reader lists them.
        image_of: the photograph of an item.
        check: decodes the mask of an item; may raise `CosegError`.
        whole: decode the photographs too.
    """

    def checked(item: Item) -> CheckedImage[Item, Facts]:
        note = None
        try:
            if whole:
                note = exposure_note(read_photograph(image_of(item)))
            return CheckedImage(item, check(item), None, note)
        except CosegError as error:
            return CheckedImage(item, None, error, note)

    with ThreadPoolExecutor(_threads([image_of(item) for item in items[:1]])) as pool:  # decoding releases the lock
        return list(pool.map(checked, items))


def exposure_notes(checked: Iterable[CheckedImage[Item, Facts]], image_of: Callable[[Item], Path]) -> Iterator[Note]:
    """A note for each photograph in which hardly anything can be seen."""
    for image in checked:
        if image.note is not None:
            yield Note(f"{image_of(image.item)} is {image.note}")


def sound_images(
    checked: Sequence[CheckedImage[Item, Facts]], skip_damaged: bool
) -> tuple[list[CheckedImage[Item, Facts]], list[str]]:
    """The images without an error, and a sentence for each damaged one, which `skip_damaged` leaves out.

    Raises:
        CosegError: the first error, but for damaged files that are left out.
    """
    for image in checked:
        if image.error is not None and not (skip_damaged and isinstance(image.error, DamagedFile)):
            raise image.error
    errors = [str(image.error) for image in checked if image.error is not None]
    return [image for image in checked if image.error is None], errors
