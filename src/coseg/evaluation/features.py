"""Features of images that were encoded already, within a bound of memory."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from torch import Tensor


class FeatureCache:
    """Keeps what `encode` returned for each image, the least recently used leaving first.

    A test has many more pairs than images: as long as the features fit, each image is encoded once.

    Args:
        encode: ``images (1, 3, H, W) -> features``, a tensor or nested tuples of tensors.
        gigabytes: bound on the features kept; 0 keeps none.
    """

    def __init__(self, encode: Callable[[Tensor], Any], gigabytes: float) -> None:
        self.encode = encode
        self.bound = int(gigabytes * 1e9)
        self.held = 0
        self._features: OrderedDict[int, Any] = OrderedDict()

    def __call__(self, index: int, image: Tensor) -> Any:
        """The features of image number `index`, whose pixels `image` (1, 3, H, W) holds."""
        if index in self._features:
            self._features.move_to_end(index)
            return self._features[index]
        features = self.encode(image)
        self._features[index] = features
        self.held += _bytes(features)
        while self.held > self.bound and self._features:
            self.held -= _bytes(self._features.popitem(last=False)[1])
        return features


def _bytes(features: Any) -> int:
    if isinstance(features, Tensor):
        return features.numel() * features.element_size()
    return sum(_bytes(part) for part in features)
