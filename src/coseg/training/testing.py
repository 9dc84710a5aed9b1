"""Score a network on the pairs of one split: what `coseg-test` does for each."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from types import FrameType

import lightning as L
import torch
from torch import Tensor

from coseg.data.dataset import PairBatch
from coseg.evaluation.counts import counts_table
from coseg.evaluation.features import FeatureCache
from coseg.evaluation.journal import Journal, Part
from coseg.evaluation.references import ReferenceScores
from coseg.evaluation.scores import mask_score
from coseg.models.network import CosegNetwork
from coseg.training.errors import Stopped
from coseg.training.stop import SIGNALS

WRITE_SECONDS = 5.0
"""Finished pairs are on disk after this long, or after the batch that runs then."""


class PairTest(L.LightningModule):
    """Scores a network, with the references computed on the same masks, and leaves the counts in a journal.

    Each process writes its own parts, so that it works wherever the processes were started.

    Args:
        network: what is tested.
        journal: where finished pairs are written.
        void: ``background`` or ``ignored``.
        feature_gb: bound on the features kept, so that an image is encoded once however many pairs it is in.
    """

    def __init__(self, network: CosegNetwork, journal: Journal, void: str, feature_gb: float) -> None:
        super().__init__()
        self.network = network
        self.journal = journal
        self.void = void
        self.references = ReferenceScores(void, sync_on_compute=False)
        self.features = FeatureCache(network.encode, feature_gb)
        self.tables: list[Tensor] = []
        self.written = 0.0
        self.received: int | None = None

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

    def test_step(self, batch: PairBatch, batch_idx: int) -> None:
        """Score one pair."""
        logits = self._logits(batch)
        targets = (batch["target_a"], batch["target_b"])
        scores = [
            mask_score(each.argmax(1).bool(), target, self.void) for each, target in zip(logits, targets, strict=True)
        ]
        self.tables.append(counts_table(batch["pair"], *scores))
        self.references.update(*targets)
        if self.received is not None or time.monotonic() - self.written >= WRITE_SECONDS:
            self._write()
        if self.received is not None:
            raise Stopped(self.journal.folder, self.received)

    def _logits(self, batch: PairBatch) -> tuple[Tensor, Tensor]:
        """Logits of a batch of one pair."""
        ((i, j),) = batch["pair"].tolist()
        images = batch["image_a"], batch["image_b"]
        features = (self.features(index, image) for index, image in zip((i, j), images, strict=True))
        sizes = ((int(image.shape[-2]), int(image.shape[-1])) for image in images)
        return self.network.cosegment(*features, *sizes)

    def on_test_epoch_end(self) -> None:
        """Write the last part; after this, all processes have."""
        self._write()
        self.trainer.strategy.barrier()

    def _write(self) -> None:
        """Everything scored since the last time goes to disk."""
        tables, self.tables = self.tables, []
        if not tables:
            return
        table = torch.cat(tables).cpu().numpy()
        now = time.monotonic()
        seconds = now - self.written if self.trainer.is_global_zero else 0.0  # processes run at the same time
        self.journal.write(Part(table, self.references.sums(), seconds))
        self.references.reset()
        self.written = now

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if self.received is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.received = number
        os.write(2, b"\nstopping after this pair; finished pairs are kept\n")  # log handlers may hold a lock here
