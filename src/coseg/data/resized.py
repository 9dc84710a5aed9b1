"""A catalog whose images and label maps are resized: protocols that test at one size."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from coseg.data.catalog import Catalog
from coseg.errors import CosegError


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

    def files(self) -> Iterator[Path]:
        """See `Catalog.files`."""
        return self.catalog.files()

    def _resized(self, picture: NDArray[np.uint8], how: Image.Resampling) -> NDArray[np.uint8]:
        return np.array(Image.fromarray(picture).resize((self.size, self.size), how))
