from itertools import combinations, islice
from types import SimpleNamespace

import albumentations as A
import numpy as np
import pytest
import torch
from facts import naming

from coseg.data.augmentation import Augmentation
from coseg.data.catalog import Catalog, Reader
from coseg.data.datamodule import PairDataModule
from coseg.data.readers.shapes import ShapesReader
from coseg.errors import CosegError

READER = ShapesReader(size=48, train=24, val=16, seen=16, unseen=8)
SPLITS = {"train": "train", "val": "val", "test": ["seen"]}


def module(**changes):
    crop = [A.RandomResizedCrop(size=(32, 32), scale=(0.4, 1.0)), A.HorizontalFlip(p=0.5)]
    settings = {"augmentation": Augmentation(crop, size=32), "batch_size": 4, "pairs_per_epoch": 12} | changes
    return PairDataModule(**{"reader": READER, "splits": SPLITS} | settings)


def listed(split, reader=READER):
    presence = reader.read(split).presence
    return [(i, j) for i, j in combinations(range(len(presence)), 2) if (presence[i] & presence[j]).any()]


def epochs(data, count=1):
    """Batches of some epochs, as a `Trainer` asks for them."""
    loader = data.train_dataloader()
    batches = []
    for epoch in range(count):
        loader.sampler.set_epoch(epoch)
        batches.append(list(loader))
    return batches


def equal(first, second):
    return len(first) == len(second) and all(
        a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)
        for a, b in zip(first, second, strict=True)
    )


def pairs(batches):
    return [tuple(pair) for batch in batches for pair in batch["pair"].tolist()]


# training


def test_training_batches():
    ((first, *others),) = epochs(module())
    assert len(others) == 2
    assert tuple(first["image_a"].shape) == tuple(first["image_b"].shape) == (4, 3, 32, 32)
    assert tuple(first["target_a"].shape) == tuple(first["target_b"].shape) == (4, 32, 32)
    assert first["image_a"].dtype == first["target_b"].dtype == torch.uint8
    presence = torch.from_numpy(READER.read("train").presence)
    i, j = first["pair"].T
    assert (i < j).all()
    assert torch.equal(first["common"], presence[i] & presence[j])
    assert first["common"].any(dim=1).all()


@pytest.mark.parametrize("settings", [{}, {"cache_gb": 0.01}, {"negatives": 0.5, "order": "class_balanced"}])
def test_workers_make_the_same_batches(settings):
    alone, two = epochs(module(**settings), 2), epochs(module(workers=2, **settings), 2)
    for a, b in zip(alone, two, strict=True):
        assert equal(a, b)


def test_seed_sets_the_batches_and_epochs_differ():
    few = {"reader": ShapesReader(size=48, train=14, val=2, seen=2, unseen=2), "pairs_per_epoch": None}
    first, second = epochs(module(seed=3, **few), 2)
    again, _ = epochs(module(seed=3, **few), 2)
    assert equal(first, again)
    assert pairs(first) != pairs(second)
    assert pairs(first) != pairs(epochs(module(seed=4, **few))[0])
    # the tail that fills no batch is left out, nothing is seen twice
    every = set(listed("train", few["reader"]))
    assert len(pairs(first)) == len(set(pairs(first))) == len(every) // 4 * 4
    assert set(pairs(first)) <= every


def test_an_image_is_augmented_anew_each_time():
    images = {}
    for batch in epochs(module(pairs_per_epoch=60))[0]:
        for (i, _), image in zip(batch["pair"].tolist(), batch["image_a"], strict=True):
            images.setdefault(i, []).append(image)
    repeated = [list(combinations(drawn, 2)) for drawn in images.values() if len(drawn) > 1]
    assert repeated
    assert not any(torch.equal(a, b) for several in repeated for a, b in several)


def test_share_of_negative_pairs():
    (batches,) = epochs(module(negatives=0.25, pairs_per_epoch=32))
    assert sum((~batch["common"].any(dim=1)).sum().item() for batch in batches) == 8


# validation and test


@pytest.mark.parametrize("size", [5, 1])
def test_validation_is_a_fixed_sample_at_original_size(size):
    data = module(val_pairs=size, seed=1)
    batches = list(data.val_dataloader())
    assert len(batches) == len(data.val_dataloader()) == len(data.order("val")) == size
    assert equal(batches, list(data.val_dataloader()))
    assert equal(batches, list(module(val_pairs=size, seed=2, workers=1).val_dataloader()))
    assert len(set(pairs(batches))) == size
    catalog = READER.read("val")
    for batch in batches:
        i, j = batch["pair"][0].tolist()
        assert np.array_equal(batch["image_a"][0].permute(1, 2, 0).numpy(), catalog.image(i))
        assert np.array_equal(batch["target_b"][0].numpy() > 0, catalog.labels(j) > 0)


@pytest.mark.parametrize("size", [None, 1000])
def test_no_validation_pair_comes_twice(size):
    assert pairs(module(val_pairs=size).val_dataloader()) == listed("val")


@pytest.mark.parametrize("role", ["val", "test"])
def test_negatives_come_beside_the_other_pairs(role):
    data = module(**{f"{role}_pairs": 5, f"{role}_negatives": 3})
    loader = data.val_dataloader() if role == "val" else data.test_dataloader()
    found = pairs(loader)
    alone = module(**{f"{role}_pairs": 5})
    assert found[:5] == pairs(alone.val_dataloader() if role == "val" else alone.test_dataloader())
    assert [bool(batch["common"].any()) for batch in loader] == 5 * [True] + 3 * [False]
    assert len(set(found)) == 8


@pytest.mark.parametrize("workers", [0, 2])
def test_test_visits_each_pair_once(workers):
    data = module(workers=workers)
    data.setup("test")
    assert pairs(data.test_dataloader()) == listed("seen")


def test_processes_share_the_test_pairs():
    visited = []
    for rank in range(3):
        data = module()
        strategy = SimpleNamespace(root_device=torch.device("cpu"))
        data.trainer = SimpleNamespace(global_rank=rank, world_size=3, strategy=strategy)
        visited += pairs(data.test_dataloader())
    assert sorted(visited) == listed("seen")


def test_test_of_a_sample():
    sample = pairs(module(test_pairs=6).test_dataloader())
    assert len(set(sample)) == len(sample) == 6
    assert set(sample) <= set(listed("seen"))


def test_tests_may_have_one_size_which_is_theirs_alone():
    data = module(splits={"train": "seen", "val": "seen", "test": ["seen"]}, test_size=20)
    data.setup("fit")
    data.setup("test")
    assert data.catalog("val").image(0).shape == (48, 48, 3)
    batch = next(iter(data.test_dataloader()))
    assert tuple(batch["image_a"].shape) == (1, 3, 20, 20)
    assert tuple(batch["target_b"].shape) == (1, 20, 20)


def test_catalogs_are_read_once():
    data = module()
    assert data.catalog("train") is data.catalog("train")
    assert (data.catalog("train").split, data.catalog("val").split, data.catalog("test").split) == (
        "train",
        "val",
        "seen",
    )


# what is refused


@pytest.mark.parametrize(
    ("changes", "facts"),
    [
        ({"batch_size": 0}, ("data.batch_size", 0, 1)),
        ({"batch_size": -2}, ("data.batch_size", "-2", 1)),
        ({"workers": -1}, ("data.workers", "-1", 0)),
    ],
)
def test_values_out_of_range(changes, facts):
    with pytest.raises(CosegError, match=naming(*facts)):
        module(**changes)


@pytest.mark.parametrize(
    ("changes", "facts"),
    [
        ({"order": "uniformly"}, ("order", "'uniformly'", "'uniform'")),
        ({"negatives": 1.5}, ("negative", "1.5")),
        ({"pairs_per_epoch": 0}, ("epoch", 0, "pairs")),
        ({"val_pairs": 0}, ("epoch", 0, "pairs")),
        ({"val_negatives": -1}, ("data.val_negatives", "-1")),
        ({"splits": {**SPLITS, "val": "vale"}}, ("split", "shapes", "'vale'", "'val'")),
    ],
)
def test_bad_settings_are_told_before_training(changes, facts):
    with pytest.raises(CosegError, match=naming(*facts)):
        module(**changes).setup("fit")


def test_several_test_splits_are_refused():
    data = module(splits={**SPLITS, "test": ["seen", "unseen"]})
    data.setup("fit")
    with pytest.raises(CosegError, match=naming("test", "seen, unseen", "one")):
        data.setup("test")


def test_epoch_smaller_than_a_batch():
    with pytest.raises(CosegError, match=naming(3, "pairs", "data.batch_size=4")):
        module(pairs_per_epoch=3).train_dataloader()
    assert len(list(islice(module(pairs_per_epoch=4).train_dataloader(), 9))) == 1


class Strangers(Catalog):
    def image(self, i):
        return np.zeros((4, 4, 3), np.uint8)

    def labels(self, i):
        return np.full((4, 4), i + 1, np.uint8)


class StrangersReader(Reader):
    name = "strangers"
    splits = ("train", "val", "seen")

    def read(self, split):
        return Strangers(self.name, split, "abc", "xyz", np.eye(3, dtype=bool))


@pytest.mark.parametrize(
    ("stage", "facts"),
    [
        ("fit", ("no pair", 3, "class")),
        ("validate", ("strangers", "split val", "class")),
        ("test", ("strangers", "split seen", "class")),
    ],
)
def test_catalog_without_a_pair(stage, facts):
    with pytest.raises(CosegError, match=naming(*facts)):
        module(reader=StrangersReader()).setup(stage)


@pytest.mark.parametrize("workers", [0, 2])
def test_single_images_come_in_the_order_that_is_asked(workers):
    data = module(workers=workers)
    catalog = data.catalog("test")
    items = list(data.image_loader("test", iter([3, 0, 5])))
    assert [item.i for item in items] == [3, 0, 5]
    for item in items:
        np.testing.assert_array_equal(item.image.permute(1, 2, 0).numpy(), catalog.image(item.i))
        np.testing.assert_array_equal(item.labels.numpy(), catalog.labels(item.i))


class Uneven(Reader):
    """Images of two sizes, all of one class."""

    name, splits = "uneven", ("train",)

    def read(self, split):
        class Images(Catalog):
            def image(self, i):
                return np.full((20 + 4 * (i % 2), 24, 3), i, np.uint8)

            def labels(self, i):
                return np.ones(self.image(i).shape[:2], np.uint8)

        return Images("uneven", "train", tuple("abcd"), ("thing",), np.ones((4, 1), np.bool_))

    def problems(self, split):
        return ()


@pytest.mark.parametrize("clique", [None, 3])
def test_images_of_several_sizes(clique):
    settings = {"batch_size": 3, "clique": clique}
    with pytest.raises(CosegError, match=naming("augmentation")) as refused:
        augmentation = None if clique is None else lambda image, labels, wanted, seed: (image, labels)
        list(PairDataModule(Uneven(), {"train": "train"}, augmentation, **settings).train_dataloader())
    assert "20 x 24" in str(refused.value) and "albumentations" in str(refused.value)
    data = PairDataModule(Uneven(), {"train": "train"}, [A.Resize(16, 16)], **settings)
    for batch in data.train_dataloader():
        images = batch["images"] if clique else batch["image_a"]
        assert images.shape[1:] == (3, 16, 16)
    one = PairDataModule(Uneven(), {"train": "train"}, batch_size=1)
    assert {batch["image_a"].shape[2] for batch in one.train_dataloader()} == {20, 24}


def test_more_classes_than_a_label_map_has_numbers_are_refused():
    class Blank(Catalog):
        def image(self, i):
            return np.zeros((2, 2, 3), np.uint8)

        def labels(self, i):
            return np.zeros((2, 2), np.uint8)

    class Many(Reader):
        name, splits = "many", ("train",)

        def read(self, split):
            presence = np.ones((2, 760), bool)
            return Blank(self.name, split, ["a", "b"], [f"c{k}" for k in range(760)], presence)

    with pytest.raises(CosegError, match=naming("many/train", 760, 254, "dataset.groups")):
        module(reader=Many(), splits={"train": "train", "val": "train", "test": ["train"]}).setup("fit")
