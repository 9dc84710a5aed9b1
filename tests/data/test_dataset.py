import numpy as np
import pytest
import torch
from facts import naming

from coseg.data.batches import collate
from coseg.data.catalog import Catalog
from coseg.data.dataset import CliqueDataset, CliqueSample, ImageDataset, PairDataset, PairSample
from coseg.errors import CosegError
from coseg.labels import COMMON, OTHER

# Classes cat, dog, cow are labels 1, 2, 3. The border of each map is void, its corner background.
HELD = [{1, 2}, {2, 3}, {3}]

SIZE = (6, 9)


class Stripes(Catalog):
    """Image i is filled with 10·i; its label map has one column of each class it holds, in the order of labels."""

    def __init__(self):
        presence = np.array([[label in held for label in (1, 2, 3)] for held in HELD])
        super().__init__("stripes", "all", ["a", "b", "c"], ["cat", "dog", "cow"], presence)

    def image(self, i):
        image = np.full((*SIZE, 3), 10 * i, np.uint8)
        image[..., 2] += 5
        return image

    def labels(self, i):
        labels = np.zeros(SIZE, np.uint8)
        for column, label in enumerate(sorted(HELD[i])):
            labels[:, 2 + column] = label
        labels[0] = 255
        labels[0, 0] = 0
        return labels


def naive_target(labels, common):
    target = np.zeros_like(labels)
    for y, x in np.ndindex(labels.shape):
        if labels[y, x] == 255:
            target[y, x] = 255
        elif labels[y, x] > 0:
            target[y, x] = 1 if labels[y, x] in common else 2
    return target


@pytest.mark.parametrize(("i", "j", "common"), [(0, 1, {2}), (1, 2, {3}), (0, 2, set())])
def test_items(i, j, common):
    catalog = Stripes()
    item = PairDataset(catalog)[PairSample(i, j, 0)]
    for side, k in (("a", i), ("b", j)):
        image, target = item[f"image_{side}"], item[f"target_{side}"]
        assert (image.dtype, tuple(image.shape)) == (torch.uint8, (3, *SIZE))
        assert (target.dtype, tuple(target.shape)) == (torch.uint8, SIZE)
        assert image[:, 3, 3].tolist() == [10 * k, 10 * k, 10 * k + 5]
        assert np.array_equal(target.numpy(), naive_target(catalog.labels(k), common))
        assert (target == 255).sum() == SIZE[1] - 1
        assert item[f"labels_{side}"].dtype == torch.uint8
        assert np.array_equal(item[f"labels_{side}"].numpy(), catalog.labels(k))
    assert (item["pair"].dtype, item["pair"].tolist()) == (torch.int64, [i, j])
    assert (item["common"].dtype, item["common"].tolist()) == (torch.bool, [label in common for label in (1, 2, 3)])


def test_label_maps_of_other_integers(monkeypatch):
    plain = PairDataset(Stripes())[PairSample(0, 1, 0)]
    labels = Stripes.labels
    monkeypatch.setattr(Stripes, "labels", lambda catalog, i: labels(catalog, i).astype(np.int64))
    wide = PairDataset(Stripes())[PairSample(0, 1, 0)]
    for side in "ab":
        target = wide[f"target_{side}"]
        assert target.dtype == torch.uint8 and torch.equal(target, plain[f"target_{side}"])


def test_negative_pair_has_empty_masks():
    item = PairDataset(Stripes())[PairSample(0, 2, 0)]
    for target in (item["target_a"], item["target_b"]):
        assert not (target == COMMON).any()
        assert (target == OTHER).any()
    assert not item["common"].any()


def test_each_image_is_transformed_on_its_own():
    calls = []

    def flip(image, labels, wanted, seed):
        assert wanted.tolist() == [2]  # the label of the dog, which both hold
        calls.append(seed)
        return image[:, ::-1], labels[:, ::-1]  # views that run backwards

    plain, flipped = PairDataset(Stripes())[PairSample(0, 1, 7)], PairDataset(Stripes(), flip)[PairSample(0, 1, 7)]
    for part in ("target_b", "labels_a"):
        assert torch.equal(flipped[part], plain[part].flip(-1))
    assert torch.equal(flipped["image_a"], plain["image_a"].flip(-1))
    PairDataset(Stripes(), flip)[PairSample(0, 1, 8)]
    assert len(set(calls)) == 4  # the sides of a pair, and of pairs with other seeds, are drawn independently


def test_transform_gets_what_the_catalog_gives():
    def check(image, labels, wanted, seed):
        assert (image.shape, image.dtype, labels.shape, labels.dtype) == ((*SIZE, 3), np.uint8, SIZE, np.uint8)
        return image[:4, :4], labels[:4, :4]

    item = PairDataset(Stripes(), check)[PairSample(0, 1, 0)]
    assert tuple(item["image_b"].shape) == (3, 4, 4)


def test_collate_stacks():
    dataset = PairDataset(Stripes())
    batch = collate([dataset[PairSample(0, 1, 0)], dataset[PairSample(1, 2, 0)]])
    assert {name: (tuple(value.shape), value.dtype) for name, value in batch.items()} == {
        "image_a": ((2, 3, *SIZE), torch.uint8),
        "image_b": ((2, 3, *SIZE), torch.uint8),
        "target_a": ((2, *SIZE), torch.uint8),
        "target_b": ((2, *SIZE), torch.uint8),
        "labels_a": ((2, *SIZE), torch.uint8),
        "labels_b": ((2, *SIZE), torch.uint8),
        "pair": ((2, 2), torch.int64),
        "common": ((2, 3), torch.bool),
    }
    assert batch["pair"].tolist() == [[0, 1], [1, 2]]


@pytest.mark.parametrize(
    ("image", "shown"),
    [
        (np.zeros(SIZE, np.uint8), "uint8 (6, 9)"),
        (np.zeros((*SIZE, 1), np.uint8), "uint8 (6, 9, 1)"),
        (np.zeros((*SIZE, 4), np.uint8), "uint8 (6, 9, 4)"),
        (np.zeros((*SIZE, 3), np.float32), "float32 (6, 9, 3)"),
        (np.zeros((0, 9, 3), np.uint8), "uint8 (0, 9, 3)"),
        (torch.zeros((*SIZE, 3), dtype=torch.uint8), "torch.uint8"),
        (None, "NoneType"),
    ],
)
def test_what_is_no_image_is_refused(image, shown, monkeypatch):
    """OpenCV would leave the missing channels as the memory was."""

    def keep(image, labels, wanted, seed):
        return image, labels

    catalog = Stripes()
    monkeypatch.setattr(catalog, "image", lambda i: image if i == 1 else Stripes.image(catalog, i))
    for read in (
        lambda: PairDataset(catalog)[PairSample(0, 1, 0)],
        lambda: PairDataset(catalog, keep)[PairSample(0, 1, 0)],
        lambda: CliqueDataset(catalog, keep)[CliqueSample(1, (0, 1), 0)],
        lambda: ImageDataset(catalog)[1],
    ):
        with pytest.raises(CosegError, match=naming("stripes/all", "image b", shown, "uint8 (H, W, 3)")):
            read()


@pytest.mark.parametrize(
    ("change", "shown"),
    [(np.float32, "float32 (6, 9, 3)"), (lambda image: image[:0], "uint8 (0, 9, 3)")],
)
def test_what_a_transform_makes_of_an_image_is_checked(change, shown):
    def transform(image, labels, wanted, seed):
        image = change(image)
        return image, labels[: len(image)]

    with pytest.raises(CosegError, match=naming("augmentation", shown, "uint8 (H, W, 3)")):
        PairDataset(Stripes(), transform)[PairSample(0, 1, 0)]
