"""Visit the pairs of a test so that each image is read and encoded as seldom as the memory allows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from coseg.data.dataset import ImageItem
from coseg.models.network import Size


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


class Held(NamedTuple):
    """What is held of an image: its features, a batch of one, and its label map, uint8 (1, H, W)."""

    features: Any
    labels: Tensor

    @property
    def bytes(self) -> int:
        """The memory that they take."""
        return _bytes(self.features) + _bytes(self.labels)


class PairVisits:
    """Iterates over groups of pairs, each pair once.

    The images come in their order. Each is paired with the held ones before it, and is then held itself until its last
    pair is visited: as long as they fit, each image is read and encoded once. From the first image that does not fit
    on, the rest only pass by those held; then the next stretch of images is held, from that one on. With b such
    stretches an image is read and encoded at most b times, (b + 1) / 2 on average, where every image has pairs with
    all others: b is the number of images over those that fit. At least one image is held beside the one passing by.

    Args:
        pairs: the pairs ``(i, j)``, ``i < j``, in any order, none twice.
        read: gives the images of the indices that it is given, in their order; it may take some of them in advance.
        encode: ``images (1, 3, H, W) -> features``, a tensor or nested tuples of tensors, the batch first.
        gigabytes: bound on the features and label maps held.
        at_once: pairs in a group, at most.
        device: where to hold them.
    """

    def __init__(
        self,
        pairs: Sequence[tuple[int, int]],
        read: Callable[[Iterable[int]], Iterable[ImageItem]],
        encode: Callable[[Tensor], Any],
        gigabytes: float,
        at_once: int = 1,
        device: torch.device | str = "cpu",
    ) -> None:
        self.read = read
        self.encode = encode
        self.bound = int(gigabytes * 1e9)
        self.at_once = at_once
        self.device = device
        self._before: dict[int, list[int]] = {}  # the first images of the pairs that an image is second in
        self._left: dict[int, int] = {}  # pairs of an image that were not visited
        for i, j in sorted(pairs):
            self._before.setdefault(j, []).append(i)
            for k in (i, j):
                self._left[k] = self._left.get(k, 0) + 1
        self._held: dict[int, Held] = {}
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
                if self._full and not partners:  # was taken in advance
                    continue
                new = Held(self.encode(item.image[None].to(self.device)), item.labels[None].to(self.device))
                largest = max(largest, new.bytes)
                yield from self._groups(partners, j, new)
                for k in (*partners, *[j] * len(partners)):
                    self._left[k] -= 1
                for i in partners:
                    if not self._left[i]:
                        held -= self._held.pop(i).bytes
                if self._full or not self._left[j]:
                    continue
                if not self._held or held + new.bytes + largest <= self.bound:  # room for one that passes by, too
                    self._held[j] = new
                    held += new.bytes
                else:
                    self._full, start = True, j

    def _wanted(self, first: int) -> Iterator[int]:
        """The images from `first` on that still have a pair to visit, and can."""
        for j in sorted(self._left):
            if j < first or not self._left[j]:
                continue
            if not self._full or any(i in self._held for i in self._before.get(j, ())):
                yield j

    def _groups(self, partners: Sequence[int], j: int, second: Held) -> Iterator[PairGroup]:
        by_size: dict[tuple[int, ...], list[int]] = {}
        for i in partners:
            by_size.setdefault(tuple(self._held[i].labels.shape), []).append(i)
        for same in by_size.values():
            for some in (same[k : k + self.at_once] for k in range(0, len(same), self.at_once)):
                firsts = [self._held[i] for i in some]
                yield PairGroup(
                    pairs=[(i, j) for i in some],
                    features_a=_joined([each.features for each in firsts]),
                    features_b=_repeated(second.features, len(some)),
                    labels_a=torch.cat([each.labels for each in firsts]),
                    labels_b=_repeated(second.labels, len(some)),
                )


def _joined(features: Sequence[Any]) -> Any:
    if len(features) == 1:
        return features[0]
    if isinstance(features[0], Tensor):
        return torch.cat(tuple(features))
    return tuple(_joined(part) for part in zip(*features, strict=True))


def _repeated(features: Any, times: int) -> Any:
    if isinstance(features, Tensor):
        return features.expand(times, *features.shape[1:])
    return tuple(_repeated(part, times) for part in features)


def _bytes(features: Any) -> int:
    if isinstance(features, Tensor):
        return features.numel() * features.element_size()
    return sum(_bytes(part) for part in features)
