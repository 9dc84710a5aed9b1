import csv
import pickle
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from facts import naming

from coseg.data.pair_index import PairIndex

FIXTURE = Path(__file__).parents[1] / "fixtures" / "voc2012_classes.csv"


def published_presence(split):
    """The presence table of the list `split` of VOC 2012, in file order."""
    with FIXTURE.open() as file:
        rows = [row["classes"].split() for row in csv.DictReader(file) if row["split"] == split]
    table = np.zeros((len(rows), 20), bool)
    for i, classes in enumerate(rows):
        table[i, [int(label) - 1 for label in classes]] = True
    return table


def listed(presence, common=True, empty=False):
    """The pairs by a plain loop over sets."""
    sets = [set(np.flatnonzero(row)) for row in presence]
    every = [
        (i, j) for i, j in combinations(range(len(sets)), 2) if (sets[i] and sets[j]) or (empty and sets[i] | sets[j])
    ]
    return [(i, j) for i, j in every if bool(sets[i] & sets[j]) == common]


def random_presence(images, classes, density, seed):
    return np.random.default_rng(seed).random((images, classes)) < density


SMALL = random_presence(40, 5, 0.25, seed=11)  # has images without a class
ALL_SMALL = listed(SMALL)


@pytest.mark.parametrize(("common", "empty"), [(True, False), (False, False), (False, True)])
@pytest.mark.parametrize(
    "presence",
    [
        random_presence(1, 3, 0.5, 0),
        random_presence(30, 1, 0.5, 1),
        random_presence(63, 4, 0.3, 2),
        random_presence(64, 4, 0.3, 3),
        random_presence(65, 90, 0.02, 4),  # most images without a class; more than 64 classes
        random_presence(150, 20, 0.1, 5),
        np.ones((129, 2), bool),
        np.eye(70, dtype=bool),
        np.zeros((70, 3), bool),
        np.zeros((0, 3), bool),
        np.zeros((5, 0), bool),
    ],
)
def test_index_lists_the_pairs_of_a_plain_loop(presence, common, empty):
    index, expected = PairIndex(presence, common, empty), listed(presence, common, empty)
    assert len(index) == len(expected)
    assert [index[k] for k in range(len(index))] == expected
    assert [index.rank(i, j) for i, j in expected] == list(range(len(expected)))


def test_index_is_a_sequence():
    index = PairIndex(SMALL)
    assert list(index) == ALL_SMALL
    assert index[-1] == ALL_SMALL[-1]
    assert index[-len(index)] == index[np.int64(0)] == ALL_SMALL[0]
    assert all(type(number) is int for number in index[3])
    for k in (len(index), -len(index) - 1):
        with pytest.raises(IndexError):
            index[k]
    assert pickle.loads(pickle.dumps(index))[5] == ALL_SMALL[5]


def test_rank_refuses_what_is_no_pair():
    index = PairIndex(SMALL)
    strangers = listed(SMALL, common=False)[0]
    i, j = ALL_SMALL[0]
    for bad in (strangers, (j, i), (i, i), (0, len(SMALL)), (-1, 3)):
        with pytest.raises(ValueError, match=naming(str(bad[0]), str(bad[1]), "pair")):
            index.rank(*bad)


def test_published_pair_counts():
    assert len(PairIndex(published_presence("train"))) == 169_587
    val = published_presence("val")
    counts = {cut: (len(PairIndex(val[:cut])), len(PairIndex(val[cut:]))) for cut in (723, 724, 725)}
    assert counts == {723: (46_931, 37_760), 724: (46_973, 37_700), 725: (47_090, 37_605)}
