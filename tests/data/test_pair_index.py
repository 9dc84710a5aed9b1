import csv
import pickle
import tracemalloc
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from facts import naming

from coseg.data.pair_index import PairIndex, balanced_groups, balanced_pairs

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


@pytest.mark.parametrize(("per_class", "most_uses"), [(5, None), (5, 2), (40, 6), (10**6, None)])
def test_a_sample_is_balanced(per_class, most_uses):
    presence = random_presence(150, 8, 0.15, 0)
    presence[:, 0] = True  # most pairs share this class, as a person
    presence[3:, 7] = False
    sample = balanced_pairs(presence, per_class, most_uses, seed=1)
    pairs = [tuple(pair) for pair in sample.tolist()]
    assert pairs == sorted(set(pairs)) and all(i < j for i, j in pairs)
    counts = (presence[sample[:, 0]] & presence[sample[:, 1]]).sum(0)
    uses = np.bincount(sample.ravel(), minlength=len(presence))
    everything = np.array([n * (n - 1) // 2 for n in presence.sum(0).tolist()])
    if most_uses is None:
        assert (counts >= np.minimum(per_class, everything)).all()
    else:
        assert uses.max() <= most_uses
        short = counts < np.minimum(per_class, everything)  # then all but one of the images are used up
        assert all((uses[presence[:, k]] < most_uses).sum() <= 2 for k in np.flatnonzero(short))
    if per_class == 5:
        assert counts[1:7].max() <= 12 and uses.max() <= 6
    assert np.array_equal(sample, balanced_pairs(presence, per_class, most_uses, seed=1))
    if per_class < 10**6:
        assert not np.array_equal(sample, balanced_pairs(presence, per_class, most_uses, seed=2))


def test_a_sample_of_groups_is_balanced():
    presence = random_presence(90, 6, 0.3, 0)
    groups = balanced_groups(presence, 4, most_uses=1, seed=0)
    assert not (groups & ~presence).any() and groups.sum(1).max() == 1
    assert groups.sum(0).tolist() == [4] * 6
    assert balanced_groups(np.eye(5, dtype=bool), 4).sum() == 0
    assert balanced_groups(presence, 10**6).sum() == presence.sum()


def test_a_sample_of_a_catalog_as_large_as_coco():
    """Every 30th image holds the first class; the pairs are millions, the memory a few megabytes."""
    presence = random_presence(120_000, 4, 0.01, 0)
    presence[::30, 0] = True
    tracemalloc.start()
    sample = balanced_pairs(presence, 100, 2)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert 300 <= len(sample) <= 400 and peak < 50e6
    counts = (presence[sample[:, 0]] & presence[sample[:, 1]]).sum(0)
    assert counts.min() >= 100
