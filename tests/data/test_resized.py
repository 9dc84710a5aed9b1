import numpy as np
import pytest
from numpy.typing import NDArray

from coseg.data.catalog import Catalog
from coseg.data.resized import ResizedCatalog
from coseg.errors import CosegError


class Blocks(Catalog):
    """Two images of 4 x 6 blocks of 3 x 2 pixels; the label of a block is its number."""

    def __init__(self) -> None:
        super().__init__("blocks", "test", ["a", "b"], ["x"] * 24, np.ones((2, 24), bool), 5)

    def image(self, i: int) -> NDArray[np.uint8]:
        return np.repeat(self.labels(i)[..., None] * 10, 3, -1)

    def labels(self, i: int) -> NDArray[np.uint8]:
        return np.arange(24, dtype=np.uint8).reshape(4, 6).repeat(3, 0).repeat(2, 1)


def test_images_and_label_maps_have_the_size() -> None:
    catalog = ResizedCatalog(Blocks(), 12)
    assert catalog.labels(0).shape == (12, 12)
    assert catalog.image(1).shape == (12, 12, 3)
    assert np.array_equal(catalog.labels(0), Blocks().labels(0))  # 12 x 12 already
    small = ResizedCatalog(Blocks(), 3)
    assert np.array_equal(small.labels(0), Blocks().labels(0)[2::4, 2::4])  # the pixel at each centre
    even = ResizedCatalog(Blocks(), 1).image(0)
    assert abs(int(even[0, 0, 0]) - Blocks().image(0).mean()) < 12
    assert (catalog.name, catalog.split, catalog.ids, catalog.expected) == ("blocks", "test", ("a", "b"), 5)
    assert catalog.presence.all()


@pytest.mark.parametrize("size", [0, -3, 2.5, "big", True])
def test_sizes_that_are_none(size: object) -> None:
    with pytest.raises(CosegError, match=r"protocol\.size"):
        ResizedCatalog(Blocks(), size)  # type: ignore[arg-type]
