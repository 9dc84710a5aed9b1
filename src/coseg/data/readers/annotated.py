"""Data sets that people annotate themselves: images of several classes, whose label maps are decoded when needed.

A reader lists images, classes and, where its files tell, which image holds which class. Classes that are not chosen
(`dataset.classes`) stay in the label maps as another object, label K + 1: as in the other data sets, such an object is
no foreground, and `jaccard_distractor` counts its images.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from coseg.data.catalog import Catalog, CheckedImage, Note, Reader, check_images, exposure_notes, sound_images
from coseg.data.presence import kept_facts
from coseg.data.readers.files import first_three
from coseg.errors import CosegError, unknown_choice
from coseg.imaging.read import photograph_size, read_photograph
from coseg.labels import VOID

MAX_CLASSES = 254
"""Labels of 8 bits beside background and void."""

MAX_PROBLEMS = 1000
"""Of the annotations of one split, which are listed."""

Classes = str | Sequence[str]
"""``all``, or a list of names."""


class AnnotatedImage(NamedTuple):
    """An image and where its truth is.

    Attributes:
        id: unique in the split.
        image: its file.
        truth: as the reader's `LabelSource` takes it: a file, or a number.
    """

    id: str
    image: Path
    truth: Any


class LabelSource(Protocol):
    """Decodes label maps. It goes to worker processes with its catalog, so it can be pickled."""

    def labels(self, item: AnnotatedImage) -> NDArray[np.uint8]:
        """The label map of an image, uint8 (H, W)."""
        ...

    def files(self, items: Sequence[AnnotatedImage]) -> Iterator[Path]:
        """The files that the label maps of these images are from."""
        ...


class Annotated(NamedTuple):
    """What a reader lists of a split.

    Attributes:
        items: the images.
        class_names: the chosen ones.
        presence: bool (N, K); None: only the label maps tell.
        source: of the label maps.
        notes: remarks for ``coseg-data check``.
    """

    items: list[AnnotatedImage]
    class_names: tuple[str, ...]
    presence: NDArray[np.bool_] | None
    source: LabelSource
    notes: list[str]


class AnnotatedCatalog(Catalog):
    """Images and the label maps that a `LabelSource` decodes."""

    def __init__(self, name: str, split: str, listed: Annotated, presence: NDArray[np.bool_]) -> None:
        super().__init__(name, split, [item.id for item in listed.items], listed.class_names, presence)
        self.items = tuple(listed.items)
        self._source = listed.source

    def image(self, i: int) -> NDArray[np.uint8]:
        """Image ``i`` as RGB uint8 of shape (H, W, 3).

        Raises:
            CosegError: the file is gone or damaged.
        """
        return read_photograph(self.items[i].image)

    def labels(self, i: int) -> NDArray[np.uint8]:
        """The label map of image ``i`` as uint8 of shape (H, W).

        Raises:
            CosegError: a file is gone or damaged, or the annotation does not fit the image.
        """
        return self._source.labels(self.items[i])

    def files(self, images: Iterable[int] | None = None) -> Iterator[Path]:
        """See `Catalog.files`."""
        items = self.items if images is None else [self.items[i] for i in images]
        yield from self._source.files(items)
        for item in items:
            yield item.image


class AnnotatedReader(Reader):
    """Reads a split that `find` lists."""

    @abstractmethod
    def find(self, split: str, wrong: Callable[[CosegError], None]) -> Annotated:
        """The images of a split, without decoding any.

        Args:
            split: one of `splits`.
            wrong: is called with what is wrong with a single annotation, which is then left out; it may raise.

        Raises:
            CosegError: the layout is not there, or a file of annotations can't be read.
        """

    def read(self, split: str) -> AnnotatedCatalog:
        """The catalog of one split.

        Raises:
            CosegError: as `find`; an annotation is wrong; there are no images.
        """
        return self._read(split, skip_damaged=False)[0]

    def read_sound(self, split: str) -> tuple[AnnotatedCatalog, list[str]]:
        """See `Reader.read_sound`."""
        return self._read(split, skip_damaged=True)

    def _read(self, split: str, skip_damaged: bool) -> tuple[AnnotatedCatalog, list[str]]:
        self.check_split(split)
        listed = self.find(split, _refused)
        presence, errors = listed.presence, list[str]()
        if presence is None or skip_damaged:
            checked = self._checked(split, listed, skip_damaged)
            sound, errors = sound_images(checked, skip_damaged)
            if presence is None:
                rows = [image.facts for image in sound if image.facts is not None]
                presence = np.stack(rows) if rows else np.zeros((0, len(listed.class_names)), np.bool_)
            else:
                presence = presence[[image.error is None for image in checked]]
            listed = listed._replace(items=[image.item for image in sound])
        if not listed.items:
            raise CosegError(f"None of the images of the split {split} of {self.name} can be read: see dataset.root.")
        return AnnotatedCatalog(self.name, split, listed, presence), errors

    def _checked(self, split: str, listed: Annotated, whole: bool) -> list[CheckedImage[AnnotatedImage, Any]]:
        def check() -> list[CheckedImage[AnnotatedImage, Any]]:
            return check_images(listed.items, _image_of, _check(listed), whole)

        settings = self.label_settings(listed)
        if settings is None:
            return check()
        place = (type(self).__qualname__, getattr(self, "root", None), split)
        return kept_facts(place, (settings, whole), listed.items, lambda item: (item.image, item.truth), check)

    def label_settings(self, listed: Annotated) -> str | None:
        """What label maps depend on, beside the files of an image and of its truth; None: which classes they show is
        not kept from one start to the next."""
        return None

    def problems(self, split: str) -> Iterator[str]:
        """See `Reader.problems`."""
        self.check_split(split)
        wrong: list[CosegError] = []
        try:
            listed = self.find(split, wrong.append)
        except CosegError as error:
            yield str(error)
            return
        yield from map(str, wrong[:MAX_PROBLEMS])
        if len(wrong) > MAX_PROBLEMS:
            yield f"and {len(wrong) - MAX_PROBLEMS} more annotations are wrong"
        yield from map(Note, listed.notes)
        checked = check_images(listed.items, _image_of, _check(listed), whole=True)
        errors = dict.fromkeys(str(image.error) for image in checked if image.error is not None)
        yield from (error for error in errors if error not in set(map(str, wrong)))
        yield from exposure_notes(checked, _image_of)
        if listed.presence is None:
            return
        for k, name in enumerate(listed.class_names):
            hidden = [
                image.item.id
                for image, row in zip(checked, listed.presence, strict=True)
                if image.facts is not None and row[k] and not image.facts[k]
            ]
            if hidden:
                yield Note(
                    f"in {len(hidden)} images no pixel of {name} is left, which other objects cover: "
                    f"{first_three(hidden)}"
                )


def chosen_classes(names: Sequence[str], classes: Classes, where: Path | str) -> tuple[tuple[str, ...], dict[str, int]]:
    """The names of the chosen classes in the data set's order, and the label of every class.

    Args:
        names: all classes.
        classes: ``all``, or a list of names.
        where: they are from, for the message.

    Raises:
        CosegError: a name is not one of the classes, or there are more than labels of 8 bits can tell apart.
    """
    wanted = list(names) if classes == "all" else [classes] if isinstance(classes, str) else [*map(str, classes)]
    for name in wanted:
        if name not in names:
            raise unknown_choice("dataset.classes", name, ["all", *names][:100])
    chosen = tuple(name for name in names if name in set(wanted))
    if not chosen:
        raise CosegError(f"{where} has no class, or dataset.classes is empty: name at least one.")
    if len(chosen) + (len(chosen) < len(names)) > MAX_CLASSES:
        raise CosegError(
            f"{where} has {len(names)} classes, but at most {MAX_CLASSES - 1} can be chosen: name them in "
            "dataset.classes."
        )
    numbers = {name: k + 1 for k, name in enumerate(chosen)}
    return chosen, {name: numbers.get(name, len(chosen) + 1) for name in names}


def presence_table(labels: Sequence[set[int]], classes: int) -> NDArray[np.bool_]:
    """Which image holds which class, bool (N, K), from the labels in each of N images; those above K are no class."""
    presence = np.zeros((len(labels), classes), np.bool_)
    for i, present in enumerate(labels):
        presence[i, [label - 1 for label in present if 1 <= label <= classes]] = True
    return presence


def local_path(name: str) -> PurePosixPath | None:
    """A relative path that a file of annotations gives, of either system; None: it leads out of its folder."""
    windows = PureWindowsPath(name)
    path = PurePosixPath(windows.as_posix())
    inside = not (windows.is_absolute() or windows.drive or windows.root) and ".." not in path.parts
    return path if inside and path.name and "\0" not in name else None


def require_size(item: AnnotatedImage, height: int, width: int, source: Path) -> None:
    """Refuse a truth whose size is not that of its photograph.

    Raises:
        CosegError: it is not; or the photograph is missing or damaged.
    """
    size = photograph_size(item.image)
    if size != (height, width):
        raise CosegError(
            f"{source} is of {width}x{height} pixels for {item.id}, but {item.image} is {size[1]}x{size[0]} (turned as "
            "its EXIF says): replace the one that is wrong, or take both out."
        )


def _check(listed: Annotated) -> Callable[[AnnotatedImage], NDArray[np.bool_]]:
    """Which classes the label map of an image shows, bool (K,)."""

    def check(item: AnnotatedImage) -> NDArray[np.bool_]:
        counts = np.bincount(listed.source.labels(item).ravel(), minlength=VOID + 1)
        return np.asarray(counts[1 : 1 + len(listed.class_names)] > 0)

    return check


def _image_of(item: AnnotatedImage) -> Path:
    return item.image


def _refused(error: CosegError) -> None:
    raise error
