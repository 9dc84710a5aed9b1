"""Pairs, cliques and single images as samples for a loader, from catalogs whose decoded images may be cached."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import combinations, pairwise
from pathlib import Path
from typing import Any, NamedTuple, TypedDict

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from coseg.data.batches import joined, require_one_size
from coseg.data.catalog import Catalog
from coseg.data.pair_index import Permutation, mix
from coseg.errors import CosegError
from coseg.files.writing import temporary_folder
from coseg.labels import labels_of, target_table

Images = tuple[NDArray[np.uint8], NDArray[np.uint8]]
Transform = Callable[[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.intp], int], Images]
"""``(image, labels, wanted, seed) -> (image, labels)``, a pure function of its arguments.

`wanted` are the labels of which one should stay in the picture: those of the common classes.
"""


class PairSample(NamedTuple):
    """One pair of an epoch: images ``i < j`` of the catalog, and the seed of its augmentation."""

    i: int
    j: int
    seed: int


class PairBatch(TypedDict):
    """B pairs.

    `image_a`, `image_b`: uint8 (B, 3, H, W) and (B, 3, H', W').
    `target_a`, `target_b`: uint8 (B, H, W) and (B, H', W'): 0 background, 1 common, 2 other object, 255 void.
    `labels_a`, `labels_b`: likewise, the label maps: 0 background, k + 1 class k, 255 void.
    `pair`: int64 (B, 2), the indices of the two images in the catalog.
    `common`: bool (B, K), the classes that both images hold.
    """

    image_a: Tensor
    image_b: Tensor
    target_a: Tensor
    target_b: Tensor
    labels_a: Tensor
    labels_b: Tensor
    pair: Tensor
    common: Tensor


class PairDataset(Dataset[PairBatch]):
    """Map-style data set whose keys are `PairSample`s, so that an item depends on its key alone.

    Whatever process makes an item, and whenever, it is the same: any number of workers gives the same numbers.

    Args:
        catalog: the images.
        transform: applied to each image of a pair on its own; None leaves images at their original size.
    """

    def __init__(self, catalog: Catalog, transform: Transform | None = None) -> None:
        self.catalog = catalog
        self.transform = transform

    def __getitem__(self, sample: PairSample) -> PairBatch:
        i, j, seed = sample
        common = self.catalog.presence[i] & self.catalog.presence[j]
        # Decoded together and then transformed: the code that the processor has in its cache serves twice.
        sides = [(_image(self.catalog, k), self.catalog.labels(k)) for k in (i, j)]
        if self.transform is not None:
            wanted = labels_of(common)
            sides = [_applied(self.transform, *side, wanted, 2 * seed + t) for t, side in enumerate(sides)]
        (image_a, labels_a), (image_b, labels_b), table = *sides, target_table(common)
        return PairBatch(
            image_a=_planes(image_a),
            image_b=_planes(image_b),
            target_a=_target(table, labels_a),
            target_b=_target(table, labels_b),
            labels_a=torch.from_numpy(np.ascontiguousarray(labels_a)),
            labels_b=torch.from_numpy(np.ascontiguousarray(labels_b)),
            pair=torch.tensor([i, j]),
            common=torch.from_numpy(common),
        )


def _applied(
    transform: Transform, image: NDArray[np.uint8], labels: NDArray[np.uint8], wanted: NDArray[np.intp], seed: int
) -> Images:
    """What a transform makes of an image and its labels, which must be arrays of one size."""
    result: Any = transform(image, labels, wanted, seed)
    shapes = [getattr(part, "shape", ()) for part in result] if isinstance(result, tuple | list) else []
    if len(shapes) == 2 and len(shapes[1]) == 2 and shapes[0] == (*shapes[1], 3) and _is_image(result[0]):
        return result[0], result[1]
    shown = f"arrays {' and '.join(map(_shown, result))}" if shapes else f"a {type(result).__name__}"
    raise CosegError(
        f"The augmentation gives {shown}, but must give an image, uint8 (H, W, 3), and its labels, uint8 (H, W)."
    )


def _image(catalog: Catalog, i: int) -> NDArray[np.uint8]:
    """Image `i` of a catalog, which may be of the user's: checked."""
    image = catalog.image(i)
    if not _is_image(image):
        raise CosegError(
            f"{catalog.name}/{catalog.split}: the image {catalog.ids[i]} is an array {_shown(image)}, but must be "
            "uint8 (H, W, 3), and not empty."
        )
    return image


def _is_image(image: Any) -> bool:
    return isinstance(image, np.ndarray) and image.dtype == np.uint8 and image.shape[2:] == (3,) and image.size > 0


def _shown(array: Any) -> str:
    return f"{getattr(array, 'dtype', type(array).__name__)} {getattr(array, 'shape', '')}"


def _planes(image: NDArray[np.uint8]) -> Tensor:
    """An image uint8 (H, W, 3) as (3, H, W), by OpenCV: many times as fast as NumPy's copy."""
    assert _is_image(image)  # OpenCV would leave planes as the memory was
    planes = np.empty((3, *image.shape[:2]), np.uint8)
    cv2.split(np.ascontiguousarray(image), list(planes))
    return torch.from_numpy(planes)


def _target(table: NDArray[np.uint8], labels: NDArray[np.uint8]) -> Tensor:
    """The target map of a label map, by OpenCV where it can: in half the time."""
    return torch.from_numpy(cv2.LUT(labels, table) if labels.dtype == np.uint8 else table.take(labels))


class ImageItem(NamedTuple):
    """One image of a catalog at its original size.

    Attributes:
        i: its index in the catalog.
        image: uint8 (3, H, W).
        labels: uint8 (H, W), the label map.
    """

    i: int
    image: Tensor
    labels: Tensor


class ImageDataset(Dataset[ImageItem]):
    """The images of a catalog, decoded."""

    def __init__(self, catalog: Catalog) -> None:
        self.catalog = catalog

    def __getitem__(self, i: int) -> ImageItem:
        labels = np.ascontiguousarray(self.catalog.labels(i))
        return ImageItem(i, _planes(_image(self.catalog, i)), torch.from_numpy(labels))


class CliqueSample(NamedTuple):
    """One clique: the class `k`, images of it in ascending order, and the seed of their augmentation."""

    k: int
    images: tuple[int, ...]
    seed: int


class Clique(NamedTuple):
    """M augmented images of one class: `images` uint8 (M, 3, H, W), `labels` uint8 (M, H, W), and their `sample`."""

    images: Tensor
    labels: Tensor
    sample: CliqueSample


class CliqueBatch(TypedDict):
    """M images of one size, and P pairs of them.

    `images`: uint8 (M, 3, H, W).
    `labels`: uint8 (M, H, W), label maps: 0 background, k + 1 class k, 255 void.
    `image`: int64 (M,), the indices of the images in the catalog.
    `pairs`: int64 (P, 2), places in this batch.
    `common`: bool (P, K), the classes that both images of a pair hold.
    """

    images: Tensor
    labels: Tensor
    image: Tensor
    pairs: Tensor
    common: Tensor


class CliqueDataset(Dataset[Clique]):
    """Map-style data set whose keys are `CliqueSample`s, so that an item depends on its key alone.

    Args:
        catalog: the images.
        transform: applied to each image on its own, so that all have one size.
    """

    def __init__(self, catalog: Catalog, transform: Transform) -> None:
        self.catalog = catalog
        self.transform = transform

    def __getitem__(self, sample: CliqueSample) -> Clique:
        wanted = np.array([sample.k + 1])
        images, labels = [], []
        for t, i in enumerate(sample.images):
            seed = mix(sample.seed, 2, t)
            image, label = _image(self.catalog, i), self.catalog.labels(i)
            image, label = _applied(self.transform, image, label, wanted, seed)
            images.append(_planes(image))
            labels.append(torch.from_numpy(np.ascontiguousarray(label)))
        require_one_size(images)
        return Clique(torch.stack(images), torch.stack(labels), sample)


class CliqueCollate:
    """Joins cliques to a batch with all their pairs and, where asked for, pairs across cliques that share no class.

    Args:
        presence: bool (N, K), of the catalog.
        negatives: share of the pairs that have no common class, 0 to below 1; fewer where the batch has not so many.
            They cost no encoding.

    Raises:
        CosegError: `negatives` is 1.
    """

    def __init__(self, presence: NDArray[np.bool_], negatives: float = 0.0) -> None:
        if negatives >= 1:
            raise CosegError("data.negatives=1 leaves no pair with a common class, of which cliques are: take less.")
        self.presence = presence
        self.negatives = negatives

    def __call__(self, cliques: Sequence[Clique]) -> CliqueBatch:
        require_one_size([clique.images for clique in cliques])
        pairs: list[tuple[int, int]] = []
        starts = np.cumsum([0, *(len(clique.images) for clique in cliques)]).tolist()
        for start, end in pairwise(starts):
            pairs += combinations(range(start, end), 2)
        image = np.array([i for clique in cliques for i in clique.sample.images])
        count = round(self.negatives / (1 - self.negatives) * len(pairs))
        if count:
            places = np.repeat(np.arange(len(cliques)), np.diff(starts))
            a, b = np.triu_indices(len(image), 1)
            shares = (self.presence[image[a]] & self.presence[image[b]]).any(1)
            apart = np.flatnonzero((places[a] != places[b]) & ~shares)
            order = Permutation(max(1, len(apart)), mix(*(clique.sample.seed for clique in cliques)))
            chosen = apart[[order[k] for k in range(min(count, len(apart)))]]
            pairs += zip(a[chosen].tolist(), b[chosen].tolist(), strict=True)
        index = np.array(pairs)
        common = self.presence[image[index[:, 0]]] & self.presence[image[index[:, 1]]]
        batch: CliqueBatch = joined(
            {
                "images": [clique.images for clique in cliques],
                "labels": [clique.labels for clique in cliques],
                "image": [torch.from_numpy(image)],
                "pairs": [torch.from_numpy(index)],
                "common": [torch.from_numpy(common)],
            }
        )
        return batch


_HEADER = 128  # bytes of a .npy file before its pixels


class CachedCatalog(Catalog):
    """A catalog whose decoded images and label maps are kept as raw arrays in a temporary folder.

    Whichever process decodes an image first writes it; the others read it back from the page cache, so all workers
    share one copy. The folder is removed with the process that made the catalog.

    Args:
        catalog: the catalog to read from.
        gigabytes: bound on the folder's size; past it, images are decoded each time.
        processes: how many processes read at once: each may fill its share of the bound.
    """

    def __init__(self, catalog: Catalog, gigabytes: float, processes: int = 1) -> None:
        super().__init__(
            catalog.name, catalog.split, catalog.ids, catalog.class_names, catalog.presence, catalog.expected
        )
        self.catalog = catalog
        self._temporary = temporary_folder("coseg-cache")
        self.folder = Path(self._temporary.name)
        self._bytes = int(gigabytes * 1e9)
        self._processes = max(1, processes)
        self._budget = 0  # what this process may still write
        self._pid = -1  # of the process that `_budget` holds for

    def __getstate__(self) -> dict[str, object]:
        # The folder belongs to the process that made it: a copy in a worker must not remove it.
        return {**self.__dict__, "_temporary": None}

    def image(self, i: int) -> NDArray[np.uint8]:
        """See `Catalog.image`."""
        return self._cached(i, "image")

    def labels(self, i: int) -> NDArray[np.uint8]:
        """See `Catalog.labels`."""
        return self._cached(i, "labels")

    def files(self, images: Iterable[int] | None = None) -> Iterator[Path]:
        """See `Catalog.files`."""
        return self.catalog.files(images)

    def _cached(self, i: int, array_name: str) -> NDArray[np.uint8]:
        path = self.folder / f"{i}-{array_name}.npy"
        if path.exists():
            array: NDArray[np.uint8] = np.load(path)
            return array
        array = self.catalog.image(i) if array_name == "image" else self.catalog.labels(i)
        if array.nbytes + _HEADER <= self._left():
            partial = path.with_suffix(f".{os.getpid()}")
            try:
                with partial.open("wb") as file:
                    np.save(file, array)
                partial.replace(path)
                self._budget -= array.nbytes + _HEADER
            except OSError:  # a full disk costs speed, not the run
                partial.unlink(missing_ok=True)
                self._budget = 0
        return array

    def _left(self) -> int:
        # Workers are started again for each fit: new ones share what their predecessors left of the bound.
        if self._pid != os.getpid():
            self._pid = os.getpid()
            used = sum(file.stat().st_size for file in self.folder.glob("*.npy")) if self.folder.is_dir() else 0
            self._budget = (self._bytes - used) // self._processes
        return self._budget
