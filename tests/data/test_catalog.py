import pickle

import numpy as np
import pytest
from facts import naming
from numpy.typing import NDArray

from coseg.data.catalog import Catalog, Reader, ResizedCatalog
from coseg.errors import CosegError


class Grey(Catalog):
    def image(self, i):
        return np.full((2, 3, 3), i, np.uint8)

    def labels(self, i):
        return np.ones((2, 3), np.uint8)


class GreyReader(Reader):
    name = "grey"
    splits = ("train", "val")

    def read(self, split):
        self.check_split(split)
        return Grey(self.name, split, ["a", "b"], ["cat"], np.ones((2, 1), bool), expected=3)


def test_catalog_describes_itself_and_pickles():
    catalog = pickle.loads(pickle.dumps(GreyReader().read("val")))
    assert (len(catalog), catalog.name, catalog.split) == (2, "grey", "val")
    assert catalog.ids == ("a", "b")
    assert catalog.class_names == ("cat",)
    assert catalog.image(1).max() == 1


@pytest.mark.parametrize(("expected", "complete"), [(None, True), (2, True), (3, False)])
def test_complete_compares_with_the_published_number(expected, complete):
    assert Grey("grey", "val", ["a", "b"], ["cat"], np.ones((2, 1), bool), expected).complete is complete


@pytest.mark.parametrize("shape", [(3, 1), (2, 2), (2,)])
def test_presence_must_have_a_row_for_each_image_and_a_column_for_each_class(shape):
    with pytest.raises(ValueError, match=r"expected \(2, 1\)"):
        Grey("grey", "val", ["a", "b"], ["cat"], np.ones(shape, bool))


def test_unknown_split():
    with pytest.raises(CosegError, match=naming("split", "grey", "'vale'", "train, val", "'val'")):
        GreyReader().read("vale")


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
