"""The masks of a test as files: saved by a test of a network, and scored by another, whoever made them.

A folder holds a PNG for each mask, of the size at which the test scores (the image's own, unless the protocol has one):

- of pairs ``<image>/<partner>.png``, the mask of an image in its pair with a partner: two for each pair;
- of groups ``<group>/<image>.png``.

Names are the ids of images and the names of classes, as ``pairs.csv`` and ``masks.csv`` have them, in which a slash and
other characters that file names can't have are written as in URLs, ``%2F``.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from coseg.data.catalog import Catalog
from coseg.errors import CosegError
from coseg.files.writing import atomic_path
from coseg.imaging.read import UNREADABLE, damaged, open_image
from coseg.metrics.mask_counts import predicted_mask
from coseg.models.base import CosegNetwork, Size
from coseg.run_dir import SAVED, TESTS

MASKS, PROBABILITIES = SAVED
"""What a test may save."""

_FORBIDDEN = frozenset('%/\\:*?"<>|') | {chr(code) for code in (*range(32), 127)}
_TOPS = (1, 255, 65535)  # what the object may be in a mask; the rest is 0
_NAMED = 5


def file_name(text: str) -> str:
    """An id or a name as a file name, which no other one has.

    >>> file_name("cow/0001"), file_name("2007_000033"), file_name("..")
    ('cow%2F0001', '2007_000033', '%2E.')
    """
    quoted = "".join(_quoted(letter) if letter in _FORBIDDEN else letter for letter in text)
    return _quoted(".") + quoted[1:] if quoted.startswith(".") else quoted


def _quoted(letter: str) -> str:
    return f"%{ord(letter):02X}"


class MaskFiles(NamedTuple):
    """Where the masks of a test are, or will be.

    Attributes:
        folder: of all.
        ids: of the images of the catalog.
        groups: the names of its classes, in a test of groups; empty: it is one of pairs.
    """

    folder: Path
    ids: tuple[str, ...]
    groups: tuple[str, ...]

    @classmethod
    def of(cls, folder: Path, catalog: Catalog, groups: bool) -> MaskFiles:
        """Those of a test of a catalog's pairs, or groups."""
        return cls(folder, catalog.ids, catalog.class_names if groups else ())

    def paths(self, key: Sequence[int]) -> list[Path]:
        """The files of a record: both masks of a pair ``(i, j)``, or that of a class and an image."""
        first, second = key
        if self.groups:
            group = self.groups[first]
            names = [(group, self.ids[second].removeprefix(f"{group}/"))]  # some ids begin with the group's folder
        else:
            names = [(self.ids[first], self.ids[second]), (self.ids[second], self.ids[first])]
        return [self.folder / file_name(outer) / f"{file_name(inner)}.png" for outer, inner in names]


class MaskSaver(NamedTuple):
    """What a test saves as files.

    Attributes:
        files: where.
        what: ``masks`` (0 and 255), or ``probabilities`` (0..255; from 128 on is foreground).
    """

    files: MaskFiles
    what: str

    def maps(
        self, keys: Sequence[Sequence[int]], side: int, logits: Tensor
    ) -> Iterator[tuple[Path, NDArray[np.uint8]]]:
        """The files of the masks number `side` of B records, and their pixels, uint8 (H, W).

        Args:
            keys: B, see `MaskFiles.paths`.
            side: 0, or 1 for the second image of a pair.
            logits: (B, 2, H, W).
        """
        foreground = predicted_mask(logits)
        pixels = foreground * 255
        if self.what == PROBABILITIES:
            grey = (logits.double().softmax(1)[:, 1] * 255).round()
            pixels = torch.where(foreground, grey.clamp(min=128), grey.clamp(max=127))
        for key, of_mask in zip(keys, pixels.to(torch.uint8).cpu().numpy(), strict=True):
            yield self.files.paths(key)[side], of_mask


_WAITING = 2**26
"""Bytes of maps that wait to be written."""


class MapWriter:
    """Writes maps in a thread, beside what the caller does; an error is raised by a later `write`, or by `finish`.

    The thread ends with the context; where that ends by an exception, what still waits is not written.
    """

    def __init__(self) -> None:
        self._thread: ThreadPoolExecutor | None = None  # made when it is needed: a thread can't be sent to processes
        self._waiting: deque[tuple[int, Future[None]]] = deque()
        self._bytes = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, error: object, *rest: object) -> None:
        if self._thread is not None:
            self._thread.shutdown(cancel_futures=error is not None)
            self._thread = None
        if error is not None:
            self._waiting.clear()
            self._bytes = 0

    def write(self, path: Path, pixels: NDArray[np.uint8]) -> None:
        """Have a map, which does not change any more, written as `write_map` does.

        Raises:
            OSError: an earlier one can't be written.
        """
        if self._thread is None:
            Image.preinit()  # now: a process that is forked while a thread imports can't import the same any more
            self._thread = ThreadPoolExecutor(1, thread_name_prefix="coseg-maps")
        self._waiting.append((pixels.nbytes, self._thread.submit(write_map, path, pixels)))
        self._bytes += pixels.nbytes
        self._wait(_WAITING)

    def finish(self) -> None:
        """Wait until all maps are written.

        Raises:
            OSError: one can't be.
        """
        self._wait(-1)

    def _wait(self, most: int) -> None:
        while self._waiting and (self._bytes > most or self._waiting[0][1].done()):
            size, written = self._waiting.popleft()
            self._bytes -= size
            written.result()


def write_map(path: Path, pixels: NDArray[np.uint8]) -> None:
    """Write a mask or a grey map, uint8 (H, W), as PNG: as a whole or not at all.

    Raises:
        OSError: it can't be written.
    """
    with atomic_path(path) as temporary:
        Image.fromarray(pixels).save(temporary, format="PNG", compress_level=1)


def read_map(path: Path, size: Size, threshold: float | None = None) -> NDArray[np.bool_]:
    """The foreground in a file, bool (H, W), which anybody may have written.

    Args:
        path: of the file.
        size: height and width that it must have.
        threshold: None: it must be a mask, of 0 and one of 1, 255 and 65535; a number: a probability map of 8 or 16
            bits, whose foreground is above this share of the highest value.

    Raises:
        CosegError: it is no picture, of another size, or of other values.
    """
    picture = _grey_picture(path, size)
    if picture.dtype == bool:
        return picture
    if threshold is not None:
        foreground: NDArray[np.bool_] = _shares(picture) > threshold
        return foreground
    values = np.unique(picture).tolist()
    if not any(set(values) <= {0, top} for top in _TOPS):
        shown = ", ".join(map(str, values[:_NAMED])) + (f", … {values[-1]}" if len(values) > _NAMED else "")
        raise CosegError(
            f"{path} is no mask: it holds the values {shown}, and must hold 0 and 255 (or 1). For probability maps "
            "give threshold=0.5, say."
        )
    foreground = picture > 0
    return foreground


def read_probability(path: Path, size: Size) -> NDArray[np.float64]:
    """A grey map of 8 or 16 bits as shares of the highest value, float64 (H, W), 0..1; a mask of 1 bit as 0 and 1.

    Raises:
        CosegError: it is no picture, of another size, or of other values.
    """
    return _shares(_grey_picture(path, size))


def _shares(picture: NDArray[Any]) -> NDArray[np.float64]:
    if picture.dtype == bool:
        return picture.astype(np.float64)
    shares: NDArray[np.float64] = picture / (255 if picture.dtype.itemsize == 1 else 65535)
    return shares


def _grey_picture(path: Path, size: Size) -> NDArray[Any]:
    """The values of a file, bool or whole numbers (H, W).

    Raises:
        CosegError: see `read_map`.
    """
    try:
        with open_image(path) as file:
            if (file.height, file.width) != tuple(size):
                raise CosegError(
                    f"{path} has {file.width} x {file.height} pixels, but its image is scored at {size[1]} x "
                    f"{size[0]}: save masks at that size."
                )
            picture = np.array(file)
    except UNREADABLE as error:
        raise damaged(path, error) from error
    if picture.ndim == 3:
        colours = picture[..., : 1 if picture.shape[-1] == 2 else 3]  # without alpha
        if (colours != colours[..., :1]).any():
            raise CosegError(f"{path} is no mask: it has colours. Save masks in grey, 0 and 255.")
        picture = colours[..., 0]
    if picture.dtype != bool and picture.dtype.kind not in "iu":
        raise CosegError(f"{path} is no mask: it holds floating-point numbers. Save masks in 8 bits, 0 and 255.")
    return picture


_LEAST = 1e-4
"""Grey values nearer to 0 or 1 count as so far away: in 8 bits nothing changes."""


class SavedMasks(CosegNetwork):
    """Stands for the network, or whatever it was, whose masks are files.

    Args:
        files: where they are.
        threshold: see `read_map`.
        grey: the logits are those of grey maps, whose foreground is above one half; else of masks.
    """

    def __init__(self, files: MaskFiles, threshold: float | None = None, grey: bool = False) -> None:
        super().__init__()
        self.grey = grey
        self.files = files
        self.threshold = threshold

    @property
    def name(self) -> str:
        """That of the folder."""
        name = folder_name(self.files.folder)
        return name if self.threshold is None else f"{name}, threshold {self.threshold:g}"

    def require(self, keys: Iterable[Sequence[int]]) -> list[Path]:
        """The files of these records, all of which must be there.

        Raises:
            CosegError: some are missing; the sentence counts them and names a few.
        """
        folder = self.files.folder
        if not folder.is_dir():
            raise CosegError(f"predictions={folder} is no folder: give one with the masks of all that is tested.")
        paths = [path for key in keys for path in self.files.paths(key)]
        missing = [path for path in paths if not path.is_file()]
        if missing:
            names = ", ".join(str(path.relative_to(folder)) for path in missing[:_NAMED])
            raise CosegError(
                f"{folder} lacks {len(missing)} of {len(paths)} masks ({names}{', …' if missing[_NAMED:] else ''}): a "
                f"test needs {'<group>/<image>.png' if self.files.groups else '<image>/<partner>.png for both images'} "
                "of all that it scores. Add them, or name what is to be tested by data.pairs=FILE."
            )
        return paths

    def encode(self, images: Tensor) -> Any:
        """Nothing, (B, 1)."""
        return torch.zeros(len(images), 1, device=images.device)

    def cosegment(self, features_a: Any, features_b: Any, size_a: Size, size_b: Size) -> tuple[Tensor, Tensor]:
        """It can't: pixels don't tell which file is theirs."""
        raise TypeError("masks in files are found by the keys of pairs: see pair_logits")

    def pair_logits(
        self, pairs: Sequence[tuple[int, int]], sizes: tuple[Size, Size], device: torch.device | str = "cpu"
    ) -> tuple[Tensor, Tensor]:
        """Logits (B, 2, H, W) and (B, 2, H', W') of B pairs whose images have these sizes: -1 or 1.

        Raises:
            CosegError: see `read_map`.
        """
        paths = [self.files.paths(pair) for pair in pairs]
        sides = [torch.stack([self._logits(path[k], sizes[k]) for path in paths]).to(device) for k in range(2)]
        return sides[0], sides[1]

    def group_logits(
        self, group: int, images: Sequence[int], sizes: Sequence[Size], device: torch.device | str = "cpu"
    ) -> Iterator[Tensor]:
        """Logits (1, 2, H, W) of each image of a group: -1 or 1.

        Raises:
            CosegError: see `read_map`.
        """
        for image, size in zip(images, sizes, strict=True):
            (path,) = self.files.paths((group, image))
            yield self._logits(path, size)[None].to(device)

    def _logits(self, path: Path, size: Size) -> Tensor:
        if self.grey:
            foreground = torch.from_numpy(read_probability(path, size)).logit(_LEAST).float()
        else:
            foreground = torch.from_numpy(read_map(path, size, self.threshold)).float() * 2 - 1
        return torch.stack((torch.zeros_like(foreground), foreground))


def folder_name(folder: Path) -> str:
    """The name of a folder of masks in results: its own, or that of the run whose test saved them."""
    folder = folder.resolve()
    if folder.name in SAVED and len(folder.parts) > 4 and folder.parent.parent.name == TESTS:
        return f"{folder.parent.parent.parent.name}-{folder.name}"
    return folder.name
