"""The images of a group for `CosegNetwork.cosegment_group`, read and encoded as seldom as the memory allows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from coseg.data.dataset import ImageItem
from coseg.evaluation.visits import Held
from coseg.models.network import Size


class Group(NamedTuple):
    """The images of a group. The sequences may read and encode an image when they are asked for it.

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


class GroupVisits:
    """Iterates over groups of images.

    As long as its groups fit, each image is read and encoded once, also one that is in several groups. An image that
    does not fit is read and encoded again each time it is asked for: `CrossCorrelationNetwork.cosegment_group` asks
    twice.

    Args:
        groups: the images of each group.
        read: gives the images of the indices that it is given, in their order.
        encode: ``images (1, 3, H, W) -> features``, a tensor or nested tuples of tensors, the batch first.
        gigabytes: bound on the features and label maps held. One image that passes by comes on top.
        device: where to hold them.
    """

    def __init__(
        self,
        groups: Sequence[Sequence[int]],
        read: Callable[[Iterable[int]], Iterable[ImageItem]],
        encode: Callable[[Tensor], Any],
        gigabytes: float,
        device: torch.device | str = "cpu",
    ) -> None:
        self.groups = groups
        self.read = read
        self.encode = encode
        self.bound = int(gigabytes * 1e9)
        self.device = device
        self._groups_left = Counter(image for group in groups for image in group)
        self._held: dict[int, Held] = {}
        self._bytes = 0
        self._last: tuple[int, Held] | None = None  # the image that passed by last
        self._sizes: dict[int, Size] = {}

    def __iter__(self) -> Iterator[Group]:
        for group in self.groups:
            self._group = set(group)
            features = _Asked(group, lambda image: self._fetch(image).features, self._fetch_all)
            yield Group(group, features, _Asked(group, self._size), _Asked(group, self._labels))
            for image in group:
                self._groups_left[image] -= 1
                if not self._groups_left[image]:
                    self._drop(image)
            self._last = None

    def _fetch_all(self, images: Sequence[int]) -> Iterator[Any]:
        """The features of these images, those that are not held read in one go."""
        missing = [image for image in images if image not in self._held]
        items = iter(self.read(missing) if missing else ())
        passing = set(missing)
        for image in images:
            yield (self._take(next(items)) if image in passing else self._held[image]).features

    def _fetch(self, image: int) -> Held:
        if self._last is not None and self._last[0] == image:
            return self._last[1]
        held = self._held.get(image)
        return self._take(next(iter(self.read([image])))) if held is None else held

    def _take(self, item: ImageItem) -> Held:
        new = Held(self.encode(item.image[None].to(self.device)), item.labels[None].to(self.device))
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


class _Asked(Sequence[Any]):
    """What `get` gives for each image, when it is asked for."""

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
        return [self[each] for each in range(len(self))[k]] if isinstance(k, slice) else self.get(self.images[k])

    def __iter__(self) -> Iterator[Any]:
        return self.get_all(self.images) if self.get_all is not None else map(self.get, self.images)
