"""Score a network on the pairs of one split: what `coseg-test` does for each."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterable, Sequence
from contextlib import closing, suppress
from functools import partial
from types import FrameType
from typing import Any

import lightning as L
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from coseg.data.datamodule import PairDataModule
from coseg.data.dataset import pair_targets
from coseg.errors import CosegError
from coseg.evaluation.counts import counts_table
from coseg.evaluation.journal import Journal, Part
from coseg.evaluation.references import ReferenceScores, mask_references
from coseg.evaluation.scores import mask_score, predicted_mask
from coseg.evaluation.visits import PairGroup, PairVisits
from coseg.models.network import CosegNetwork
from coseg.training.errors import Stopped
from coseg.training.progress import PairProgress
from coseg.training.stop import SIGNALS

WRITE_SECONDS = 5.0
"""Finished pairs are on disk after this long, or after the pairs or the image that are being worked on then."""


class PairTest(L.LightningModule):
    """Scores a network, with the references computed on the same masks, and leaves the counts in a journal.

    It is its own loop over images and pairs, in one step of Lightning's, which gives it device, precision and
    processes. Each process takes a stretch of the pairs and writes parts of its own.

    Args:
        network: what is tested.
        datamodule: reads the images of its test split.
        pairs: those to score, ``(i, j)`` with ``i < j``.
        journal: where finished pairs are written.
        void: ``background`` or ``ignored``.
        feature_gb: bound on the features and label maps that a process holds, see `PairVisits`.
        at_once: pairs whose images have the same sizes are matched and decoded together, at most so many.
        bar: show a bar rather than lines.

    Raises:
        CosegError: `at_once` or `feature_gb` is out of its range.
    """

    def __init__(
        self,
        network: CosegNetwork,
        datamodule: PairDataModule,
        pairs: Iterable[tuple[int, int]],
        journal: Journal,
        void: str,
        feature_gb: float = 2.0,
        at_once: int = 1,
        bar: bool = False,
    ) -> None:
        super().__init__()
        if not isinstance(at_once, int) or at_once < 1:
            raise CosegError(f"pairs_at_once is '{at_once}', but must be a number of pairs, 1 or more.")
        if not isinstance(feature_gb, int | float) or feature_gb < 0:
            raise CosegError(f"feature_gb is '{feature_gb}', but must be a number of gigabytes, 0 or more.")
        self.network = network
        self.datamodule = datamodule
        self.pairs = sorted(pairs)
        self.journal = journal
        self.void = void
        self.feature_gb = feature_gb
        self.at_once = at_once
        self.bar = bar
        self.presence = datamodule.catalog("test").presence
        self.references = ReferenceScores(void, sync_on_compute=False)
        self.tables: list[Tensor] = []
        self.rows: list[Tensor] = []
        self._known: dict[tuple[int, bytes], Tensor] = {}
        self.written = 0.0
        self.received: int | None = None

    def test_dataloader(self) -> Iterable[int]:
        """One step: what is read for it depends on what fits into memory."""
        return range(1)

    def on_test_start(self) -> None:
        """Start the clock, and take over the signals."""
        # Spawned processes get these tensors in shared memory, where each would add to the others': `reset` gives each
        # process its own.
        self.references.reset()
        self.written = time.monotonic()
        with suppress(ValueError):  # only the main thread may: elsewhere signals keep their meaning
            for number in SIGNALS:
                signal.signal(number, self._receive)  # Lightning gives them back when the test ends, however it ends
        # No process may write before all have read what an earlier run left: each leaves out the same pairs.
        self.trainer.strategy.barrier()

    def test_step(self, batch: int, batch_idx: int) -> None:
        """Score the pairs of this process."""
        pairs = self._share()
        read = partial(self.datamodule.image_loader, "test", pin_memory=self.device.type == "cuda")
        with closing(PairProgress(len(pairs), self.bar, quiet=not self.trainer.is_global_zero)) as progress:
            for group in PairVisits(pairs, read, self._encode, self.feature_gb, self.at_once, self.device):
                self.score(group)
                progress.add(len(group.pairs))
                self._pause()

    def _share(self) -> Sequence[tuple[int, int]]:
        """A stretch of the pairs rather than every so-manieth: its first images are in no other process's."""
        rank, world, count = self.trainer.global_rank, self.trainer.world_size, len(self.pairs)
        return self.pairs[rank * count // world : (rank + 1) * count // world]

    def _encode(self, image: Tensor) -> Any:
        self._pause()
        return self.network.encode(image)

    def score(self, group: PairGroup) -> None:
        """Count the pixels of both masks of each pair of a group."""
        logits = self.network.cosegment(group.features_a, group.features_b, *group.sizes)
        pairs = np.array(group.pairs)
        common = self.presence[pairs[:, 0]] & self.presence[pairs[:, 1]]
        targets = [pair_targets(labels, common) for labels in (group.labels_a, group.labels_b)]
        a, b = (
            mask_score(predicted_mask(each), target, self.void) for each, target in zip(logits, targets, strict=True)
        )
        self.tables.append(counts_table(torch.from_numpy(pairs), a, b))
        for images, target in zip(pairs.T, targets, strict=True):
            self.rows += [self._reference(*each) for each in zip(images.tolist(), common, target, strict=True)]

    def _reference(self, image: int, common: NDArray[np.bool_], target: Tensor) -> Tensor:
        """The row of `mask_references` (1, 69), counted once for all pairs in which an image has the same truth."""
        key = (image, common.tobytes())
        if key not in self._known:
            self._known[key] = mask_references(target[None], self.void)
        return self._known[key]

    def on_test_epoch_end(self) -> None:
        """Write the last part; after this, all processes have."""
        self._write()
        self.trainer.strategy.barrier()

    def _pause(self) -> None:
        """Between two pieces of work: write what is finished, if it is time; stop, if a signal came."""
        if self.received is not None or time.monotonic() - self.written >= WRITE_SECONDS:
            self._write()
        if self.received is not None:
            raise Stopped(self.journal.folder, self.received)

    def _write(self) -> None:
        """Everything scored since the last time goes to disk."""
        tables, self.tables = self.tables, []
        if not tables:
            return
        table = torch.cat(tables).cpu().numpy()
        self.references.add(torch.cat(self.rows))
        self.rows = []
        now = time.monotonic()
        seconds = now - self.written if self.trainer.is_global_zero else 0.0  # processes run at the same time
        self.journal.write(Part(table, self.references.sums(), seconds))
        self.references.reset()
        self.written = now

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if self.received is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.received = number
        os.write(2, b"\nstopping after these pairs; finished pairs are kept\n")  # log handlers may hold a lock here
