"""Lightning's part of a test: one step that scores all pairs, or all images of groups, on a device in N processes."""

from __future__ import annotations

import copy
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar

import lightning as L
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchmetrics import Metric

from coseg.data.datamodule import PairDataModule
from coseg.data.dataset import ImageItem
from coseg.errors import CosegError
from coseg.evaluation.encoding import SHARED, FullPrecision, SharedFeatures, encoders, fastest_layout, half_type
from coseg.evaluation.iteration import PairGroup, PairIteration
from coseg.evaluation.mask_files import MapWriter, MaskSaver, SavedMasks
from coseg.evaluation.partial_results import Key, Part, PartialResults, explain_write_error
from coseg.labels import pair_targets
from coseg.metrics.baselines import BaselineScores, mask_baselines
from coseg.metrics.mask_counts import KEY, MaskScore, counts_table, mask_score, predicted_mask
from coseg.models.base import CosegNetwork, PairClassifier, not_finite
from coseg.progress import Progress
from coseg.signals import Stopped, StopRequest
from coseg.training.extra_metrics import states_of

WRITE_SECONDS = 5.0
"""Partial results are written this often, after the pairs or the image in progress."""


class NetworkTest(L.LightningModule, ABC):
    """Scores a network, with the baselines on the same masks, and writes the counts as partial results.

    The loop is in one step of Lightning's, which gives it device, precision and processes. Each process takes a share
    of the work and writes its own parts.

    Args:
        network: what is tested.
        datamodule: reads the images of its test split.
        keys: what to score.
        partial_results: where finished parts are written.
        void: ``background`` or ``ignored``.
        feature_gb: bound on the features and label maps that a process keeps in memory.
        shared_gb: bound on the features in files that processes share, of all of them together; 0: none are.
        at_once: pairs whose images have the same sizes are matched and decoded together, at most this many.
        bar: show a progress bar rather than lines.
        metrics: of the user, updated with the masks of pairs or images that have a common class.
        saver: writes all masks as files; a part is written after its masks.

    Raises:
        CosegError: `at_once`, `feature_gb` or `shared_gb` is out of its range.
    """

    unit: ClassVar[str]
    """What is scored: ``pair`` or ``mask``."""

    def __init__(
        self,
        network: CosegNetwork,
        datamodule: PairDataModule,
        keys: Iterable[Key],
        partial_results: PartialResults,
        void: str,
        feature_gb: float = 2.0,
        shared_gb: float = 0.0,
        at_once: int = 1,
        bar: bool = False,
        metrics: Mapping[str, Metric] | None = None,
        saver: MaskSaver | None = None,
    ) -> None:
        super().__init__()
        if not isinstance(at_once, int) or at_once < 1:
            raise CosegError(f"pairs_at_once is '{at_once}', but must be a number of pairs, 1 or more.")
        for name, bound in (("feature_gb", feature_gb), ("shared_gb", shared_gb)):
            if not isinstance(bound, int | float) or bound < 0:
                raise CosegError(f"{name} is '{bound}', but must be a number of gigabytes, 0 or more.")
        self.network = network
        self.full_precision: FullPrecision | None = None
        self.datamodule = datamodule
        self.keys = sorted(keys)
        self.partial_results = partial_results
        self.void = void
        self.feature_gb = feature_gb
        self.shared_gb = shared_gb
        self.shared = SharedFeatures(partial_results.folder.parent / SHARED, 0)
        self.at_once = at_once
        self.bar = bar
        self.presence = datamodule.catalog("test").presence
        self.baselines = BaselineScores(void, sync_on_compute=False)
        self.metrics = dict(metrics or {})  # no submodules, for the reason given in `on_test_start`
        self.saver = saver
        self.writer = MapWriter()
        self.tables: list[Tensor] = []
        self.decisions: list[Tensor] = []
        self.mask_baselines: list[Tensor] = []
        self.finite: list[Tensor] = []
        self._known: dict[tuple[int, bytes], Tensor] = {}
        self.written = 0.0
        self.request = StopRequest("stopping after these masks; finished work is kept")

    @abstractmethod
    def share(self, rank: int, world: int) -> Sequence[Key]:
        """Which of the keys the process `rank` of `world` scores."""

    @abstractmethod
    def images_in(self, keys: Sequence[Key]) -> set[int]:
        """The images, by their indices, that are read and encoded to score these keys."""

    @abstractmethod
    def images_of(self, keys: NDArray[np.int64]) -> list[str]:
        """The ids of the images of these keys, int64 (N, 2)."""

    @abstractmethod
    def score_all(self, keys: Sequence[Key], progress: Progress) -> None:
        """Score these, with `pause` and `progress.add` in between."""

    def test_dataloader(self) -> Iterable[int]:
        """One step: what is read for it depends on what fits into memory."""
        return range(1)

    def setup(self, stage: str) -> None:
        """Keep the network in float32 for encoding; Lightning converts the one that matches to half precision."""
        dtype = half_type(self.trainer.precision)
        if dtype is not None and not isinstance(self.network, SavedMasks):
            self.full_precision = FullPrecision(self.network, dtype)
            self.network = self.full_precision.for_pairs(self.trainer.precision)

    @property
    def encoder(self) -> CosegNetwork | FullPrecision:
        """What encodes the images."""
        return self.full_precision or self.network

    def on_test_start(self) -> None:
        """Start the clock, and handle the signals."""
        # Created again: tensors of spawned processes are in shared memory, where all would add to the same sums, and a
        # network in half precision converts everything that belongs to its module.
        self.baselines = BaselineScores(self.void, sync_on_compute=False).to(self.device)
        self.metrics = {name: copy.deepcopy(metric).to(self.device) for name, metric in self.metrics.items()}
        self.written = time.monotonic()
        layout = fastest_layout(self.network, self.device)
        self.network.to(memory_format=layout)
        if self.full_precision is not None:
            self.full_precision.join(self.network, self.device, layout)
        self.request.listen(quiet=not self.trainer.is_global_zero)  # Lightning restores the handlers when the test ends
        if self.trainer.is_global_zero:
            self.shared.remove()  # of a killed test, perhaps of other weights
        # No process may write before all have read the parts of an earlier run: all skip the same keys.
        self.trainer.strategy.barrier()

    def test_step(self, batch: int, batch_idx: int) -> None:
        """Score the share of this process."""
        keys = self.share(self.trainer.global_rank, self.trainer.world_size)
        if self.trainer.world_size > 1 and self.shared_gb and not isinstance(self.network, SavedMasks):
            self._encode_shared()
        quiet = not self.trainer.is_global_zero
        with self.writer, Progress("Testing", len(keys), self.unit, self.bar, quiet) as progress:
            self.score_all(keys, progress)

    def _encode_shared(self) -> None:
        """Encode this process's part of the images that several need, and wait until the others have, too."""
        rank, world = self.trainer.global_rank, self.trainer.world_size
        needed = [self.images_in(self.share(process, world)) for process in range(world)]
        mine = [image for image, process in encoders(needed).items() if process == rank]
        self.shared = SharedFeatures(self.shared.folder, self.shared_gb / world)
        # Without `pause`, which would leave the other processes alone at the barrier.
        self.shared.write(self._until_stopped(self.read(mine)), self.features, self.device)
        self.trainer.strategy.barrier()
        self.pause()

    def _until_stopped(self, items: Iterable[ImageItem]) -> Iterator[ImageItem]:
        for item in items:
            if self.request.number is not None:
                return
            yield item

    def known(self, image: int) -> Any:
        """The features of an image that another process has encoded, or this one before; None of the others."""
        return self.shared.read(image, self.device)

    def read(self, images: Iterable[int]) -> Iterable[ImageItem]:
        """These images of the test."""
        return self.datamodule.image_loader("test", images, pin_memory=self.device.type == "cuda")

    def encode(self, image: Tensor) -> Any:
        """The features of one image; finished work is written first, if it is time."""
        self.pause()
        return self.features(image)

    def features(self, image: Tensor) -> Any:
        """The features of one image, as `CosegNetwork.encode` gives them."""
        return self.encoder.encode(image)

    def count(
        self,
        keys: NDArray[np.int64],
        common: NDArray[np.bool_],
        sides: Sequence[tuple[Any, ...]],
        decision: Tensor | None = None,
    ) -> None:
        """Count the pixels of the masks of B records.

        Args:
            keys: int64 (B, 2).
            common: bool (B, K), the classes that are foreground.
            sides: for each mask of a record the images, B indices, their logits (B, 2, H, W), and their label maps
                (B, H, W).
            decision: logits of an image-level classifier, (B,).
        """
        scores: list[MaskScore] = []
        finite = torch.ones(len(keys), dtype=torch.bool, device=sides[0][1].device)
        if decision is not None:
            finite = decision.isfinite()
        positive = torch.from_numpy(common.any(1)).to(sides[0][1].device)
        for side, (images, logits, labels) in enumerate(sides):
            if self.saver is not None:
                with explain_write_error(self.partial_results.folder):
                    for path, pixels in self.saver.maps(keys.tolist(), side, logits):
                        self.writer.write(path, pixels)
            values = logits.flatten(1)  # by their extremes, which are nan if any is: a tenth of the time
            finite = finite & values.amax(1).isfinite() & values.amin(1).isfinite()
            target = pair_targets(labels, torch.from_numpy(common))
            scores.append(mask_score(predicted_mask(logits), target, self.void))
            if self.metrics and positive.any():
                for metric in self.metrics.values():
                    metric.update(logits[positive], target[positive])
            self.mask_baselines += [self._baseline(*mask) for mask in zip(images, common, target, strict=True)]
        self.tables.append(counts_table(torch.from_numpy(keys), *scores))
        self.finite.append(finite)
        nothing = torch.full((len(keys),), torch.nan)
        self.decisions.append((nothing if decision is None else decision).double())

    def _baseline(self, image: int, common: NDArray[np.bool_], target: Tensor) -> Tensor:
        """`mask_baselines` (1, 69), computed once for all records in which an image has the same truth."""
        key = (int(image), common.tobytes())
        if key not in self._known:
            self._known[key] = mask_baselines(target[None], self.void)
        return self._known[key]

    def on_test_epoch_end(self) -> None:
        """Write the last part, and wait until all processes have."""
        self._write()
        self.trainer.strategy.barrier()
        if self.trainer.is_global_zero:
            self.shared.remove()

    def pause(self) -> None:
        """Called between two steps of work: write partial results, if it is time; stop, if a signal came."""
        if self.request.number is not None or time.monotonic() - self.written >= WRITE_SECONDS:
            self._write()
        if self.request.number is not None:
            raise Stopped(self.partial_results.folder, self.request.number)

    def _write(self) -> None:
        """Write everything that was scored since the last part.

        Raises:
            CosegError: the network gave logits that are not finite.
        """
        tables, self.tables = self.tables, []
        if not tables:
            return
        with explain_write_error(self.partial_results.folder):
            self.writer.finish()
        table = torch.cat(tables).cpu().numpy()
        finite, self.finite = torch.cat(self.finite).cpu().numpy(), []
        if not finite.all():
            raise not_finite(f"The network {self.network.name}", self.images_of(table[~finite, :KEY]))
        decisions = torch.cat(self.decisions).cpu().numpy()
        self.decisions = []
        self.baselines.add(torch.cat(self.mask_baselines))
        self.mask_baselines = []
        now = time.monotonic()
        seconds = now - self.written if self.trainer.is_global_zero else 0.0  # the processes run in parallel
        self.partial_results.write(Part(table, decisions, self.baselines.sums(), seconds, self.states()))
        self.baselines.reset()
        self.written = now

    def states(self) -> dict[str, dict[str, NDArray[Any]]]:
        """What the metrics have gathered since the last part, by their names; they forget it."""
        states = states_of(self.metrics)
        for metric in self.metrics.values():
            metric.reset()
        return states


class PairTest(NetworkTest):
    """Scores the pairs ``(i, j)``, ``i < j``; see `NetworkTest`."""

    unit = "pair"

    def share(self, rank: int, world: int) -> Sequence[Key]:
        """Consecutive pairs: no other process has the same first images.

        Where most images have pairs with most others, several processes need the same second images, however the pairs
        are cut: they share their features, see `SharedFeatures`.
        """
        count = len(self.keys)
        return self.keys[rank * count // world : (rank + 1) * count // world]

    def images_in(self, keys: Sequence[Key]) -> set[int]:
        """See `NetworkTest.images_in`."""
        return {image for key in keys for image in key}

    def images_of(self, keys: NDArray[np.int64]) -> list[str]:
        """See `NetworkTest.images_of`."""
        ids = self.datamodule.catalog("test").ids
        return [ids[image] for image in keys.flatten().tolist()]

    def features(self, image: Tensor) -> Any:
        """As `CosegNetwork.encode_for_pairs` gives them."""
        return self.encoder.encode_for_pairs(image)

    def score_all(self, keys: Sequence[Key], progress: Progress) -> None:
        """See `NetworkTest.score_all`."""
        for group in PairIteration(
            keys, self.read, self.encode, self.feature_gb, self.at_once, self.device, self.known
        ):
            self.score(group)
            progress.add(len(group.pairs))
            self.pause()

    def score(self, group: PairGroup) -> None:
        """Count the pixels of both masks of each pair of a group, with the image-level decision."""
        if isinstance(self.network, SavedMasks):
            logits_a, logits_b = self.network.pair_logits(group.pairs, group.sizes, self.device)
        else:
            logits_a, logits_b = self.network.cosegment(group.features_a, group.features_b, *group.sizes)
        pairs = np.array(group.pairs)
        common = self.presence[pairs[:, 0]] & self.presence[pairs[:, 1]]
        sides = (pairs[:, 0], logits_a, group.labels_a), (pairs[:, 1], logits_b, group.labels_b)
        decision = None
        if isinstance(self.network, PairClassifier):
            decision = self.network.classify(group.features_a, group.features_b)
        self.count(pairs, common, sides, decision)
