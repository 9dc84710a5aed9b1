"""Iteration over the pairs or groups of a test: each image is read and encoded as few times as the memory allows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from coseg.data.dataset import ImageItem
from coseg.models.base import Size
from coseg.models.features import concatenate, repeat, size_in_bytes


class PairGroup(NamedTuple):
    """B pairs whose first images have one size. They share their second image.

    Attributes:
        pairs: the B pairs ``(i, j)``.
        features_a: of the first images, as `encode` gives them, the batch first.
        features_b: of the second image, B times without a copy.
        labels_a: label maps, uint8 (B, H, W).
        labels_b: likewise, uint8 (B, H', W').
    """

    pairs: list[tuple[int, int]]
    features_a: Any
    features_b: Any
    labels_a: Tensor
    labels_b: Tensor

    @property
    def sizes(self) -> tuple[Size, Size]:
        """Height and width of the first images and of the second."""
        (*_, height_a, width_a), (*_, height_b, width_b) = self.labels_a.shape, self.labels_b.shape
        return (height_a, width_a), (height_b, width_b)


class EncodedImage(NamedTuple):
    """An image in memory: its features, a batch of one, and its label map, uint8 (1, H, W)."""

    features: Any
    labels: Tensor

    @property
    def bytes(self) -> int:
        """The memory that both take."""
        return size_in_bytes((self.features, self.labels))


Known = Callable[[int], Any]
"""Gives the features of an image by its index, where they are known without encoding it; None elsewhere."""


def nothing_known(image: int) -> None:
    """`Known` where every image is to be encoded."""


def encoded(item: ImageItem, known: Known, encode: Callable[[Tensor], Any], device: torch.device | str) -> EncodedImage:
    """An image that was read, with its features: those that are known, or else of its encoding."""
    features = known(item.i)
    if features is None:
        features = encode(item.image[None].to(device))
    return EncodedImage(features, item.labels[None].to(device))


class PairIteration:
    """Iterates over groups of pairs, each pair once.

    The images come in their order. Each is paired with those before it that are in memory, and then stays in memory
    itself until its last pair is yielded: as long as all fit, each image is read and encoded once. Images after the
    first that does not fit are paired with those in memory, and do not stay; then the next block of images, from that
    one on, is taken into memory. With b such blocks an image is read and encoded at most b times, (b + 1) / 2 on
    average, where every image has pairs with all others: b is the number of images over those that fit. At least one
    image is in memory beside the current one.

    Args:
        pairs: the pairs ``(i, j)``, ``i < j``, in any order, none twice.
        read: gives the images of the indices that it is given, in their order; it may take some of them in advance.
        encode: ``images (1, 3, H, W) -> features``, a tensor or nested tuples of tensors, the batch first.
        gigabytes: bound on the features and label maps in memory.
        at_once: pairs in a group, at most.
        device: where they are.
        known: gives the features of an image that was encoded before, None of another.
    """

    def __init__(
        self,
        pairs: Sequence[tuple[int, int]],
        read: Callable[[Iterable[int]], Iterable[ImageItem]],
        encode: Callable[[Tensor], Any],
        gigabytes: float,
        at_once: int = 1,
        device: torch.device | str = "cpu",
        known: Known = nothing_known,
    ) -> None:
        self.read = read
        self.encode = encode
        self.known = known
        self.bound = int(gigabytes * 1e9)
        self.at_once = at_once
        self.device = device
        self._before: dict[int, list[int]] = {}  # the first images of the pairs that an image is second in
        self._left: dict[int, int] = {}  # pairs of an image that were not yielded
        for i, j in sorted(pairs):
            self._before.setdefault(j, []).append(i)
            for k in (i, j):
                self._left[k] = self._left.get(k, 0) + 1
        self._held: dict[int, EncodedImage] = {}
        self._full = False

    def __iter__(self) -> Iterator[PairGroup]:
        start: int | None = min(self._left, default=None)
        while start is not None:
            self._held.clear()
            self._full = False
            first, start = start, None
            held = largest = 0
            for item in self.read(self._wanted(first)):
                j = item.i
                partners = [i for i in self._before.get(j, ()) if i in self._held]
                if self._full and not partners:  # was read in advance
                    continue
                new = encoded(item, self.known, self.encode, self.device)
                largest = max(largest, new.bytes)
                yield from self._groups(partners, j, new)
                for k in (*partners, *[j] * len(partners)):
                    self._left[k] -= 1
                for i in partners:
                    if not self._left[i]:
                        held -= self._held.pop(i).bytes
                if self._full or not self._left[j]:
                    continue
                if not self._held or held + new.bytes + largest <= self.bound:  # room for one that does not stay, too
                    self._held[j] = new
                    held += new.bytes
                else:
                    self._full, start = True, j

    def _wanted(self, first: int) -> Iterator[int]:
        """The images from `first` on that still have a pair whose partner is, or may come, in memory."""
        for j in sorted(self._left):
            if j < first or not self._left[j]:
                continue
            if not self._full or any(i in self._held for i in self._before.get(j, ())):
                yield j

    def _groups(self, partners: Sequence[int], j: int, second: EncodedImage) -> Iterator[PairGroup]:
        by_size: dict[tuple[int, ...], list[int]] = {}
        for i in partners:
            by_size.setdefault(tuple(self._held[i].labels.shape), []).append(i)
        for same in by_size.values():
            for chunk in (same[k : k + self.at_once] for k in range(0, len(same), self.at_once)):
                firsts = [self._held[i] for i in chunk]
                yield PairGroup(
                    pairs=[(i, j) for i in chunk],
                    features_a=concatenate([image.features for image in firsts]),
                    features_b=repeat(second.features, len(chunk)),
                    labels_a=torch.cat([image.labels for image in firsts]),
                    labels_b=repeat(second.labels, len(chunk)),
                )


class Group(NamedTuple):
    """The images of a group. The sequences may read and encode an image when it is accessed.

    Attributes:
        images: their indices in the catalog.
        features: of each image, as `encode` gives them, a batch of one.
        sizes: height and width of each image.
        labels: the label map of each image, uint8 (1, H, W).
    """

    images: Sequence[int]
    features: Sequence[Any]
    sizes: Sequence[Size]
    labels: Sequence[Tensor]


class GroupIteration:
    """Iterates over groups of images.

    As long as its groups fit, each image is read and encoded once, also one that is in several groups. An image that
    does not fit is read and encoded again at each access: `CrossCorrelationNetwork.cosegment_group` has two.

    Args:
        groups: the images of each group.
        read: gives the images of the indices that it is given, in their order.
        encode: ``images (1, 3, H, W) -> features``, a tensor or nested tuples of tensors, the batch first.
        gigabytes: bound on the features and label maps in memory. One image that does not stay comes on top.
        device: where they are.
        known: gives the features of an image that was encoded before, None of another.
    """

    def __init__(
        self,
        groups: Sequence[Sequence[int]],
        read: Callable[[Iterable[int]], Iterable[ImageItem]],
        encode: Callable[[Tensor], Any],
        gigabytes: float,
        device: torch.device | str = "cpu",
        known: Known = nothing_known,
    ) -> None:
        self.groups = groups
        self.read = read
        self.encode = encode
        self.known = known
        self.bound = int(gigabytes * 1e9)
        self.device = device
        self._groups_left = Counter(image for group in groups for image in group)
        self._held: dict[int, EncodedImage] = {}
        self._bytes = 0
        self._last: tuple[int, EncodedImage] | None = None  # the image that was read last
        self._sizes: dict[int, Size] = {}

    def __iter__(self) -> Iterator[Group]:
        for group in self.groups:
            self._group = set(group)
            features = _OnAccess(group, lambda image: self._fetch(image).features, self._fetch_all)
            yield Group(group, features, _OnAccess(group, self._size), _OnAccess(group, self._labels))
            for image in group:
                self._groups_left[image] -= 1
                if not self._groups_left[image]:
                    self._drop(image)
            self._last = None

    def _fetch_all(self, images: Sequence[int]) -> Iterator[Any]:
        """The features of these images; those that are not in memory are read in one go."""
        missing = [image for image in images if image not in self._held]
        items = iter(self.read(missing) if missing else ())
        not_held = set(missing)
        for image in images:
            yield (self._take(next(items)) if image in not_held else self._held[image]).features

    def _fetch(self, image: int) -> EncodedImage:
        if self._last is not None and self._last[0] == image:
            return self._last[1]
        held = self._held.get(image)
        return self._take(next(iter(self.read([image])))) if held is None else held

    def _take(self, item: ImageItem) -> EncodedImage:
        new = encoded(item, self.known, self.encode, self.device)
        self._sizes[item.i] = (item.labels.shape[-2], item.labels.shape[-1])
        self._last = item.i, new
        for image in [image for image in self._held if image not in self._group]:
            if self._bytes + new.bytes <= self.bound:
                break
            self._drop(image)  # of a group that comes later
        if self._bytes + new.bytes <= self.bound:
            self._held[item.i] = new
            self._bytes += new.bytes
        return new

    def _drop(self, image: int) -> None:
        if image in self._held:
            self._bytes -= self._held.pop(image).bytes

    def _size(self, image: int) -> Size:
        if image not in self._sizes:
            self._fetch(image)
        return self._sizes[image]

    def _labels(self, image: int) -> Tensor:
        return self._fetch(image).labels


class _OnAccess(Sequence[Any]):
    """What `get` gives for each image, when it is accessed."""

    def __init__(
        self,
        images: Sequence[int],
        get: Callable[[int], Any],
        get_all: Callable[[Sequence[int]], Iterator[Any]] | None = None,
    ) -> None:
        self.images = images
        self.get = get
        self.get_all = get_all

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, k: Any) -> Any:
        return [self[index] for index in range(len(self))[k]] if isinstance(k, slice) else self.get(self.images[k])

    def __iter__(self) -> Iterator[Any]:
        return self.get_all(self.images) if self.get_all is not None else map(self.get, self.images)


def group_masks(presence: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """What a test of all groups scores: each class that two images or more hold, with each of these images.

    Args:
        presence: bool (N, K).
    """
    classes = np.flatnonzero(presence.sum(0) > 1).tolist()
    return [(k, i) for k in classes for i in np.flatnonzero(presence[:, k]).tolist()]
