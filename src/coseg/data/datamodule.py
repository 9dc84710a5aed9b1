"""The data module: catalogs from a reader, pairs from an order, loaders for training, validation and test."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import lightning as L
from torch.utils.data import DataLoader, Dataset, Sampler

from coseg.data.batches import Loader, collate, worker_settings
from coseg.data.benchmark import Benchmark, read_benchmark
from coseg.data.catalog import Catalog, Reader, ResizedCatalog, require_labels, without_class
from coseg.data.dataset import (
    CachedCatalog,
    CliqueBatch,
    CliqueCollate,
    CliqueDataset,
    ImageDataset,
    ImageItem,
    PairBatch,
    PairDataset,
    Transform,
)
from coseg.data.listed import ListedCatalog, listed_groups, listed_pairs
from coseg.data.pair_orders import AllPairs, ListedPairs, PairOrder, ShuffledPairs, WithNegatives, pair_order
from coseg.data.samplers import CliqueSampler, PairSampler, checked_clique, pairs_of
from coseg.errors import CosegError, unknown_choice
from coseg.lightning_internals import training_progress

ON_DAMAGED = ("error", "skip")
"""How images that can't be decoded are treated."""


class PairDataModule(L.LightningDataModule):
    """Pairs of a data set for a `Trainer`.

    Training images have one size, which `augmentation` sets; validation and test images their original one, one pair
    a batch. Equal seeds give equal batches with any number of workers, and after a stop in the middle of an epoch.

    Args:
        reader: makes the catalogs.
        splits: which of the reader's splits serve: ``{"train": name, "val": name, "test": [names]}``.
        augmentation: applied to each training image on its own: an albumentations pipeline,
            ``albumentations.Compose([...])``, or a list of its transforms, seeded for each image, see
            `coseg.data.augmentation.Augmentation`; or a function ``(image, labels, wanted, seed) -> (image, labels)``
            of arrays (H, W, 3) and (H, W), a pure one: equal seeds give equal images. None: images as they are, which
            must then have one size, or `batch_size` be 1.
        batch_size: pairs in a training batch of one process.
        order: how training pairs are sampled: ``uniform``, ``image_balanced`` or ``class_balanced``.
        pairs_per_epoch: training pairs in an epoch; None means all of them.
        negatives: share of training pairs without a common class, 0 to 1.
        clique: None: training batches are of pairs, and each of their images is encoded for one. A number m: they are
            of cliques, m images of a class each, with all m (m - 1) / 2 pairs, and each image is encoded once for
            m - 1. `order` gives a first pair of each clique. A batch then has as many whole cliques as hold
            `batch_size` pairs, and an epoch as many as `pairs_per_epoch` holds.
        val_pairs: size of the fixed, seeded sample of validation pairs; None, or more than there are, means all of
            them.
        test_pairs: likewise for tests. A test of a sample is never called complete.
        pairs: a benchmark file with the pairs, or the groups, of a test, see `coseg.data.benchmark`; None: all.
        val_negatives: validation pairs without a common class, which come in addition: a fixed, seeded sample of so
            many, or all where there are fewer. They are scored apart.
        test_negatives: likewise for tests.
        test_size: side to which test images and their label maps are resized; None leaves them at original size.
        workers: processes that make batches; 0 makes them in the main process.
        cache_gb: bound in GB on the cache of a split's decoded images, which the workers of one training process
            share; 0 turns it off.
        seed: seeds the order of pairs and the augmentation.
        on_damaged: ``error`` refuses a training or validation image that can't be decoded. ``skip`` decodes all of
            them before the first epoch and leaves out those that can't be, before pairs are formed: with any number of
            workers, and after a stop too, epochs have the same pairs. See `skipped`. A test always refuses them.
    """

    def __init__(
        self,
        reader: Reader,
        splits: Mapping[str, str | Sequence[str]],
        augmentation: Any = None,
        batch_size: int = 5,
        order: str = "uniform",
        pairs_per_epoch: int | None = None,
        negatives: float = 0.0,
        clique: int | None = None,
        val_pairs: int | None = 300,
        test_pairs: int | None = None,
        pairs: str | Path | None = None,
        val_negatives: int = 0,
        test_negatives: int = 0,
        test_size: int | None = None,
        workers: int = 0,
        cache_gb: float = 0.0,
        seed: int = 0,
        on_damaged: str = "error",
    ) -> None:
        super().__init__()
        if on_damaged not in ON_DAMAGED:
            raise unknown_choice("data.on_damaged", on_damaged, ON_DAMAGED)
        if batch_size < 1:
            raise CosegError(f"data.batch_size is {batch_size}, but must be 1 or more.")
        if workers < 0:
            raise CosegError(f"data.workers is {workers}, but must be 0 or more.")
        self.reader = reader
        self.splits = dict(splits)
        self.augmentation: Transform | None = None
        if augmentation is not None:
            from coseg.data.augmentation import as_transform  # which imports albumentations

            self.augmentation = as_transform(augmentation)
        self.batch_size = batch_size
        self.order_name = order
        self.pairs_per_epoch = pairs_per_epoch
        self.negatives = negatives
        self.clique = checked_clique(clique)
        self.val_pairs = val_pairs
        self.test_pairs = test_pairs
        if pairs is not None and test_pairs is not None:
            raise CosegError(f"data.test_pairs={test_pairs} asks for a sample, but data.pairs={pairs} lists the pairs.")
        self.pairs = None if pairs is None else Path(pairs)
        self.val_negatives = val_negatives
        self.test_negatives = test_negatives
        self.test_size = test_size
        self.workers = workers
        self.cache_gb = cache_gb
        self.seed = seed
        self.on_damaged = on_damaged
        self._skipped: dict[str, list[str]] = {}
        self._catalogs: dict[tuple[str, int | None, bool, bool], Catalog] = {}
        self._orders: dict[str, PairOrder] = {}

    def catalog(self, role: str) -> Catalog:
        """The catalog that serves as `role` (``train``, ``val`` or ``test``), read once."""
        sound = self.on_damaged == "skip" and role != "test"
        listed = role == "test" and self.pairs is not None
        key = self._split(role), self.test_size if role == "test" else None, sound, listed
        if key not in self._catalogs:
            split, size, *_ = key
            if sound:
                catalog, self._skipped[split] = self.reader.read_sound(split)
            else:
                catalog = self.reader.read(split)
            if size is not None:
                catalog = ResizedCatalog(catalog, size)
            if self.cache_gb > 0:
                catalog = CachedCatalog(catalog, self.cache_gb, max(1, self.workers))
            if role == "test" and self.benchmark is not None and self.benchmark.unit == "group":
                catalog = ListedCatalog(catalog, listed_groups(self.benchmark, catalog))
            self._catalogs[key] = catalog
        return self._catalogs[key]

    @cached_property
    def benchmark(self) -> Benchmark | None:
        """The content of the file `pairs`, read once; None without one.

        Raises:
            CosegError: it can't be used.
        """
        return None if self.pairs is None else read_benchmark(self.pairs)

    @property
    def skipped(self) -> list[str]:
        """A sentence for each image that was left out since it can't be decoded, of the catalogs read so far."""
        return [f"{split}: {sentence}" for split, sentences in self._skipped.items() for sentence in sentences]

    def order(self, role: str) -> PairOrder:
        """The pairs of `role`: the epochs of training, or the fixed sample of validation or test; made once."""
        if role not in self._orders:
            self._orders[role] = self._make_order(role)
        return self._orders[role]

    def _make_order(self, role: str) -> PairOrder:
        catalog = self.catalog(role)
        if role == "train":
            return self._train_order(catalog)
        size, negatives = (
            (self.val_pairs, self.val_negatives) if role == "val" else (self.test_pairs, self.test_negatives)
        )
        if role == "test" and self.benchmark is not None and self.benchmark.unit == "pair":
            positives: PairOrder = ListedPairs(listed_pairs(self.benchmark, catalog))
        else:
            positives = AllPairs(catalog.presence, f"{catalog.name}, split {catalog.split}")
        if size is not None and size < len(positives):  # a longer sample would show pairs twice
            positives = ShuffledPairs(catalog.presence, seed=0, length=size)
        return WithNegatives(positives, catalog.presence, negatives, seed=0, what=f"data.{role}_negatives")

    def _train_order(self, catalog: Catalog) -> PairOrder:
        if self.clique is None:
            return pair_order(self.order_name, catalog.presence, self.seed, self.pairs_per_epoch, self.negatives)
        pairs = self.pairs_per_epoch
        if pairs is None:
            pairs = len(AllPairs(catalog.presence, f"{catalog.name}, split {catalog.split}"))
        return pair_order(self.order_name, catalog.presence, self.seed, max(1, pairs // pairs_of(self.clique)))

    @property
    def samples_per_batch(self) -> int:
        """How many pairs, or cliques, a training batch of one process has."""
        return self.batch_size if self.clique is None else -(-self.batch_size // pairs_of(self.clique))

    def describe(self, role: str) -> str:
        """The images of `role` and the number of pairs of an epoch, in a few words."""
        catalog, count = self.catalog(role), len(self.order(role))
        samples = f"{count} pairs"
        if role == "train" and self.clique is not None:
            samples = f"{count} cliques of {self.clique} images"
        remarks = [without_class(catalog)]
        if role != "test" and (skipped := len(self._skipped.get(self._split(role), ()))):
            remarks.append(f"{skipped} images can't be decoded and are left out")
        beside = "; ".join(filter(None, remarks))
        return f"{catalog.name}/{catalog.split}: {len(catalog)} images, {samples}{f' ({beside})' if beside else ''}"

    def _split(self, role: str) -> str:
        split = self.splits[role]
        if isinstance(split, str):
            return split
        if len(split) != 1:
            raise CosegError(
                f"The splits for {role} are {', '.join(split)}, but a loader serves one: make a data module for each."
            )
        return split[0]

    def setup(self, stage: str) -> None:
        """Read the catalogs that `stage` needs, so that bad data is reported before training starts."""
        roles = {"fit": ("train", "val"), "validate": ("val",), "test": ("test",)}.get(stage, ())
        for role in roles:
            self.order(role)
            require_labels(self.catalog(role))

    def train_dataloader(self) -> DataLoader[PairBatch] | DataLoader[CliqueBatch]:
        """Batches of training pairs or cliques; after a stop, from the batch after the last one that was trained on."""
        epoch, done = self._progress()
        per_batch = self.samples_per_batch
        sampler = PairSampler(
            self.order("train"), self.seed, *self._process(), even=True, start=done * per_batch, epoch=epoch
        )
        if len(sampler) < per_batch:
            what = "pairs" if self.clique is None else "cliques"
            raise CosegError(
                f"An epoch has {len(sampler)} training {what} for each process, fewer than the {per_batch} of a batch "
                f"(data.batch_size={self.batch_size}): take a smaller batch or more pairs."
            )
        catalog = self.catalog("train")
        if self.clique is None:
            return self._loader(PairDataset(catalog, self.augmentation), sampler, per_batch, collate)
        if self.augmentation is None:
            raise CosegError("data.clique needs an augmentation, which gives all images of a batch one size.")
        cliques = CliqueSampler(sampler, catalog.presence, self.clique)
        joined = CliqueCollate(catalog.presence, self.negatives)
        return self._loader(CliqueDataset(catalog, self.augmentation), cliques, per_batch, joined)

    def val_dataloader(self) -> DataLoader[PairBatch]:
        """The fixed validation pairs at original size, one a batch.

        Several processes leave out the last pairs that do not go round: while training, their forward passes must
        keep step.
        """
        return self._evaluation_loader("val", even=True)

    def image_loader(
        self, role: str, indices: Iterable[int], pin_memory: bool = False, workers: int | None = None
    ) -> DataLoader[ImageItem]:
        """Single images of `role` at original size, in the order of `indices`, which is iterated lazily.

        `workers` None: as many as the data module has.
        """
        return Loader(
            ImageDataset(self.catalog(role)),
            batch_size=None,
            sampler=indices,
            pin_memory=pin_memory,
            **worker_settings(self.workers if workers is None else workers),
        )

    def test_dataloader(self) -> DataLoader[PairBatch]:
        """The test pairs at original size, one a batch, each in one process only.

        Both images of each pair are read anew; `coseg-test` reads each image once, by `image_loader`.
        """
        return self._evaluation_loader("test", even=False)

    def _evaluation_loader(self, role: str, even: bool) -> DataLoader[PairBatch]:
        sampler = PairSampler(self.order(role), self.seed, *self._process(), even=even, fixed=True)
        return self._loader(PairDataset(self.catalog(role)), sampler, 1, collate)

    def _loader(self, dataset: Dataset[Any], sampler: Sampler[Any], batch_size: int, joined: Any) -> DataLoader[Any]:
        return Loader(
            dataset,
            batch_size=batch_size,
            sampler=sampler,
            collate_fn=joined,
            drop_last=batch_size > 1,
            persistent_workers=self.workers > 0,
            pin_memory=self.trainer is not None and self.trainer.strategy.root_device.type == "cuda",
            **worker_settings(self.workers),
        )

    def _process(self) -> tuple[int, int]:
        """Rank of this process and number of processes."""
        return (self.trainer.global_rank, self.trainer.world_size) if self.trainer is not None else (0, 1)

    def _progress(self) -> tuple[int, int]:
        """The current epoch and its batches that are done: not (0, 0) after a checkpoint was restored."""
        if self.trainer is None:
            return 0, 0
        return training_progress(self.trainer)
