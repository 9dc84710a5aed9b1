import pickle

import numpy as np
import pytest

from coseg.data.catalog import Catalog, Reader
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
    with pytest.raises(CosegError, match=r"split of grey is 'vale', .* train, val. Did you mean 'val'"):
        GreyReader().read("vale")
