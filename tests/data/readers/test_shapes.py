import pickle
from itertools import combinations

import numpy as np
import pytest
from facts import naming

from coseg.data.readers.shapes import CLASSES, SEEN, UNSEEN, ShapesReader
from coseg.errors import CosegError

COUNTS = {"train": 40, "val": 12, "seen": 30, "unseen": 40}
SPLITS = tuple(COUNTS)


def small(seed=0):
    return ShapesReader(seed=seed, size=48, **COUNTS)


def same(first, second):
    return all(
        np.array_equal(first.image(i), second.image(i)) and np.array_equal(first.labels(i), second.labels(i))
        for i in range(0, len(first), 5)
    )


# pictures


@pytest.mark.parametrize("split", SPLITS)
def test_pictures_follow_from_the_seed(split):
    catalog = small().read(split)
    assert same(catalog, small().read(split))
    assert same(catalog, pickle.loads(pickle.dumps(catalog)))
    assert np.array_equal(catalog.presence, small().read(split).presence)
    other = small(seed=1).read(split)
    assert not any(np.array_equal(catalog.image(i), other.image(i)) for i in range(5))
    assert not any(np.array_equal(catalog.labels(i), other.labels(i)) for i in range(5))


def test_a_picture_does_not_depend_on_those_before_it():
    catalog = small().read("train")
    alone = catalog.image(7), catalog.labels(7)
    again = small().read("train")
    for i in range(7):
        again.image(i)
    assert np.array_equal(again.image(7), alone[0])
    assert np.array_equal(again.labels(7), alone[1])


@pytest.mark.parametrize("split", SPLITS)
def test_a_longer_split_begins_with_the_same_pictures(split):
    longer = ShapesReader(size=48, **{name: 2 * count for name, count in COUNTS.items()}).read(split)
    assert len(longer) == 2 * COUNTS[split]
    assert longer.plan[: COUNTS[split]] == small().read(split).plan


def test_splits_differ():
    first = [small().read(split).image(0) for split in SPLITS]
    assert not any(np.array_equal(a, b) for a, b in combinations(first, 2))


def test_catalog_describes_itself():
    catalog = small().read("unseen")
    assert (catalog.name, catalog.split, len(catalog), catalog.complete) == ("shapes", "unseen", 40, True)
    assert len(set(catalog.ids)) == 40
    assert catalog.class_names == tuple(kind.silhouette for kind in CLASSES)
    image, labels = catalog.image(3), catalog.labels(3)
    assert (image.shape, image.dtype) == ((48, 48, 3), np.uint8)
    assert (labels.shape, labels.dtype) == ((48, 48), np.uint8)
    assert ShapesReader(size=64, **COUNTS).read("val").image(0).shape == (64, 64, 3)


def test_no_two_classes_look_alike():
    assert len(CLASSES) == 16
    assert len({kind.silhouette for kind in CLASSES}) == 16
    assert {kind.surface for kind in UNSEEN} <= {kind.surface for kind in SEEN}  # the surface alone gives nothing away


# what a picture shows


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("size", [48, 96])
def test_contents_are_those_of_the_label_map_and_no_object_is_tiny(split, size):
    catalog = ShapesReader(seed=2, size=size, **COUNTS).read(split)
    for i in range(len(catalog)):
        pixels = np.bincount(catalog.labels(i).ravel(), minlength=17)
        assert len(pixels) == 17
        assert (pixels[1:] > 0).tolist() == catalog.contents[i].tolist()
        assert pixels[1:][catalog.contents[i]].min() >= 0.03 * size**2
        assert 1 <= catalog.contents[i].sum() <= 3


@pytest.mark.parametrize("split", ["train", "val", "seen"])
def test_seen_splits_show_seen_classes_alone(split):
    catalog = small().read(split)
    assert np.array_equal(catalog.presence, catalog.contents)
    assert not catalog.presence[:, len(SEEN) :].any()


def test_unseen_pairs_are_formed_by_unseen_classes():
    catalog = ShapesReader().read("unseen")
    assert not catalog.presence[:, : len(SEEN)].any()
    assert np.array_equal(catalog.presence[:, len(SEEN) :], catalog.contents[:, len(SEEN) :])
    assert catalog.presence.any(axis=1).all()
    assert catalog.contents[:, : len(SEEN)].any(axis=1).mean() > 0.4  # with seen objects beside them


@pytest.mark.parametrize(("split", "classes"), [("train", slice(0, 12)), ("unseen", slice(12, 16))])
def test_classes_are_about_equally_frequent(split, classes):
    often = ShapesReader().read(split).presence[:, classes].sum(axis=0)
    assert often.max() <= 1.25 * often.min()


# what can be had without matching: computed here from label maps alone


def constant_masks(size):
    """The whole picture, and centred ellipses of all widths and heights."""
    y, x = (np.mgrid[:size, :size] + 0.5) / size - 0.5
    axes = np.arange(0.1, 0.75, 0.05)
    return np.stack([np.ones((size, size), bool), *((x / a) ** 2 + (y / b) ** 2 <= 1 for a in axes for b in axes)])


@pytest.mark.parametrize("split", ["seen", "unseen"])
def test_the_test_pairs_need_matching(split):
    catalog = ShapesReader().read(split)
    pairs = [
        (i, j) for i, j in combinations(range(len(catalog)), 2) if (catalog.presence[i] & catalog.presence[j]).any()
    ]
    chosen = np.random.default_rng(0).choice(len(pairs), 150, replace=False)
    constants = constant_masks(catalog.size).reshape(-1, catalog.size**2).astype(np.float32)
    every_object, constant, distractors = [], [], 0
    for i, j in (pairs[k] for k in chosen):
        common = 1 + np.flatnonzero(catalog.presence[i] & catalog.presence[j])
        for labels in (catalog.labels(i).ravel(), catalog.labels(j).ravel()):
            truth = np.isin(labels, common)
            assert truth.any()
            every_object.append(truth.sum() / (labels > 0).sum())
            distractors += bool((labels[~truth] > 0).any())
            shared = constants @ truth.astype(np.float32)
            constant.append(shared / (constants.sum(axis=1) + truth.sum() - shared))
    assert np.mean(constant, axis=0).max() < 0.30
    assert np.mean(every_object) < 0.60
    assert distractors / len(every_object) > 0.7


# what is refused


@pytest.mark.parametrize(
    ("values", "facts"),
    [
        ({"size": 47}, ("size", "shapes", 47, 48, 1024)),
        ({"size": 1025}, ("size", 1025)),
        ({"size": 96.0}, ("size", "96.0", "whole number")),
        ({"train": 1}, ("train", 1, 2)),
        ({"unseen": True}, ("unseen", "True")),
        ({"seed": -1}, ("seed", "-1", 0)),
        ({"val": "many"}, ("val", "many")),
    ],
)
def test_values_out_of_range(values, facts):
    with pytest.raises(CosegError, match=naming(*facts)):
        ShapesReader(**values)


def test_unknown_split():
    with pytest.raises(CosegError, match=naming("split", "shapes", "'test'", "train, val, seen, unseen")):
        small().read("test")
