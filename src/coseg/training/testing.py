"""Score a network on what a protocol asks for, in one step of Lightning's: what all tests of `coseg-test` share."""

from __future__ import annotations

import os
import signal
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from contextlib import closing, suppress
from types import FrameType
from typing import Any, ClassVar

import lightning as L
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from coseg.data.datamodule import PairDataModule
from coseg.data.dataset import pair_targets
from coseg.errors import CosegError
from coseg.evaluation.counts import KEY, counts_table
from coseg.evaluation.journal import Journal, Key, Part
from coseg.evaluation.references import ReferenceScores, mask_references
from coseg.evaluation.scores import MaskScore, mask_score, predicted_mask
from coseg.models.finite import refusal
from coseg.models.network import CosegNetwork
from coseg.training.errors import Stopped
from coseg.training.progress import ScoreProgress
from coseg.training.stop import SIGNALS

WRITE_SECONDS = 5.0
"""What is finished is on disk after this long, or after the pairs or the image that are being worked on then."""


class NetworkTest(L.LightningModule, ABC):
    """Scores a network, with the references computed on the same masks, and leaves the counts in a journal.

    It is its own loop, in one step of Lightning's, which gives it device, precision and processes. Each process takes
    a part of the work and writes parts of its own.

    Args:
        network: what is tested.
        datamodule: reads the images of its test split.
        keys: what to score, as `coseg.evaluation.counts` has it.
        journal: where is written what is finished.
        void: ``background`` or ``ignored``.
        feature_gb: bound on the features and label maps that a process holds.
        at_once: pairs whose images have the same sizes are matched and decoded together, at most so many.
        bar: show a bar rather than lines.

    Raises:
        CosegError: `at_once` or `feature_gb` is out of its range.
    """

    unit: ClassVar[str]
    """What is scored, in a word: ``pair`` or ``mask``."""

    def __init__(
        self,
        network: CosegNetwork,
        datamodule: PairDataModule,
        keys: Iterable[Key],
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
        self.keys = sorted(keys)
        self.journal = journal
        self.void = void
        self.feature_gb = feature_gb
        self.at_once = at_once
        self.bar = bar
        self.presence = datamodule.catalog("test").presence
        self.references = ReferenceScores(void, sync_on_compute=False)
        self.tables: list[Tensor] = []
        self.decisions: list[Tensor] = []
        self.rows: list[Tensor] = []
        self.finite: list[Tensor] = []
        self._known: dict[tuple[int, bytes], Tensor] = {}
        self.written = 0.0
        self.received: int | None = None

    @abstractmethod
    def share(self, rank: int, world: int) -> Sequence[Key]:
        """Which of the keys the process `rank` of `world` scores."""

    @abstractmethod
    def images_of(self, keys: NDArray[np.int64]) -> list[str]:
        """The ids of the images of these keys, int64 (N, 2)."""

    @abstractmethod
    def score_all(self, keys: Sequence[Key], progress: ScoreProgress) -> None:
        """Score these, with `pause` and `progress.add` in between."""

    def test_dataloader(self) -> Iterable[int]:
        """One step: what is read for it depends on what fits into memory."""
        return range(1)

    def on_test_start(self) -> None:
        """Start the clock, and take over the signals."""
        # Made anew: spawned processes get tensors in shared memory, where each would add to the others', and a network
        # in half precision takes everything that belongs to its module with it.
        self.references = ReferenceScores(self.void, sync_on_compute=False).to(self.device)
        self.written = time.monotonic()
        with suppress(ValueError):  # only the main thread may: elsewhere signals keep their meaning
            for number in SIGNALS:
                signal.signal(number, self._receive)  # Lightning gives them back when the test ends, however it ends
        # No process may write before all have read what an earlier run left: each leaves out the same keys.
        self.trainer.strategy.barrier()

    def test_step(self, batch: int, batch_idx: int) -> None:
        """Score what is this process's."""
        keys = self.share(self.trainer.global_rank, self.trainer.world_size)
        quiet = not self.trainer.is_global_zero
        with closing(ScoreProgress(len(keys), self.unit, self.bar, quiet)) as progress:
            self.score_all(keys, progress)

    def encode(self, image: Tensor) -> Any:
        """The features of one image; what is finished is written first, if it is time."""
        self.pause()
        return self.network.encode(image)

    def count(
        self,
        keys: NDArray[np.int64],
        common: NDArray[np.bool_],
        sides: Sequence[tuple[Any, ...]],
        decision: Tensor | None = None,
    ) -> None:
        """Count the pixels of the masks of B rows.

        Args:
            keys: int64 (B, 2).
            common: bool (B, K), the classes that are foreground.
            sides: for each mask of a row the images, B indices, their logits (B, 2, H, W), and their label maps
                (B, H, W).
            decision: of a `DecidingNetwork`, (B,).
        """
        scores: list[MaskScore] = []
        finite = torch.ones(len(keys), dtype=torch.bool, device=sides[0][1].device)
        if decision is not None:
            finite = decision.isfinite()
        for images, logits, labels in sides:
            finite = finite & logits.flatten(1).isfinite().all(1)
            target = pair_targets(labels, torch.from_numpy(common))
            scores.append(mask_score(predicted_mask(logits), target, self.void))
            self.rows += [self._reference(*each) for each in zip(images, common, target, strict=True)]
        self.tables.append(counts_table(torch.from_numpy(keys), *scores))
        self.finite.append(finite)
        nothing = torch.full((len(keys),), torch.nan)
        self.decisions.append((nothing if decision is None else decision).double())

    def _reference(self, image: int, common: NDArray[np.bool_], target: Tensor) -> Tensor:
        """The row of `mask_references` (1, 69), counted once for all rows in which an image has the same truth."""
        key = (int(image), common.tobytes())
        if key not in self._known:
            self._known[key] = mask_references(target[None], self.void)
        return self._known[key]

    def on_test_epoch_end(self) -> None:
        """Write the last part; after this, all processes have."""
        self._write()
        self.trainer.strategy.barrier()

    def pause(self) -> None:
        """Between two pieces of work: write what is finished, if it is time; stop, if a signal came."""
        if self.received is not None or time.monotonic() - self.written >= WRITE_SECONDS:
            self._write()
        if self.received is not None:
            raise Stopped(self.journal.folder, self.received)

    def _write(self) -> None:
        """Everything scored since the last time goes to disk.

        Raises:
            CosegError: the network gave logits that are not finite.
        """
        tables, self.tables = self.tables, []
        if not tables:
            return
        table = torch.cat(tables).cpu().numpy()
        finite, self.finite = torch.cat(self.finite).cpu().numpy(), []
        if not finite.all():
            raise refusal(f"The network {self.network.name}", self.images_of(table[~finite, :KEY]))
        decisions = torch.cat(self.decisions).cpu().numpy()
        self.decisions = []
        self.references.add(torch.cat(self.rows))
        self.rows = []
        now = time.monotonic()
        seconds = now - self.written if self.trainer.is_global_zero else 0.0  # processes run at the same time
        self.journal.write(Part(table, decisions, self.references.sums(), seconds))
        self.references.reset()
        self.written = now

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if self.received is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.received = number
        os.write(2, b"\nstopping after these masks; what is finished is kept\n")  # log handlers may hold a lock here
