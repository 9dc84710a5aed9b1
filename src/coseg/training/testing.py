"""Score a network on the pairs of one split: what `coseg-test` does for each."""

from __future__ import annotations

import time
from pathlib import Path
from typing import NamedTuple

import lightning as L
import torch
from torch import Tensor

from coseg.data.catalog import Catalog
from coseg.data.dataset import PairBatch
from coseg.evaluation.drawing import save_picture
from coseg.evaluation.features import FeatureCache
from coseg.evaluation.metrics import PairScores
from coseg.evaluation.panels import PanelRow, draw_panel
from coseg.evaluation.references import ReferenceScores
from coseg.evaluation.results import PairRow, build_results, write_pairs, write_results
from coseg.evaluation.scores import mask_score
from coseg.models.network import CosegNetwork
from coseg.training.predict import predicted_row


class TestPlan(NamedTuple):
    """What a test is told beside its pairs.

    Attributes:
        folder: where ``results.json``, ``pairs.csv`` and panels are written.
        protocol: name of the protocol.
        void: ``background`` or ``ignored``.
        model: name of the network's class.
        checkpoint: path of the checkpoint.
        all_pairs: how many pairs the catalog has; a test of fewer is not complete.
        panels: pairs in each picture; 0 draws none.
        feature_gb: bound on the features kept, so that an image is encoded once however many pairs it is in.
    """

    folder: Path
    protocol: str
    void: str
    model: str
    checkpoint: str
    all_pairs: int
    panels: int
    feature_gb: float


class PairTest(L.LightningModule):
    """Scores a network, with the references computed on the same masks, and writes the results.

    The process of rank 0 writes, so that it works wherever the processes were started.
    """

    def __init__(self, network: CosegNetwork, catalog: Catalog, plan: TestPlan) -> None:
        super().__init__()
        self.network = network
        self.catalog = catalog
        self.plan = plan
        self.scores = PairScores(len(catalog.class_names), plan.void)
        self.references = ReferenceScores(plan.void)
        self.features = FeatureCache(network.encode, plan.feature_gb)
        self.rows: list[tuple[float, ...]] = []
        self.began = 0.0

    def on_test_start(self) -> None:
        """Start the clock, from empty scores."""
        # Spawned processes get their scores' tensors in shared memory, where each would add to the others': `reset`
        # gives each process its own.
        self.scores.reset()
        self.references.reset()
        self.began = time.monotonic()

    def test_step(self, batch: PairBatch, batch_idx: int) -> None:
        """Score one pair."""
        logits_a, logits_b = self._logits(batch)
        masks = (logits_a.argmax(1).bool(), logits_b.argmax(1).bool())
        targets = (batch["target_a"], batch["target_b"])
        self.scores.update(masks[0], targets[0], masks[1], targets[1], batch["common"])
        self.references.update(*targets)
        a, b = (mask_score(mask, target, self.plan.void) for mask, target in zip(masks, targets, strict=True))
        columns = (*batch["pair"].T, a.iou, b.iou, a.distractor, b.distractor)
        self.rows += [tuple(row) for row in torch.stack([column.double() for column in columns], 1).tolist()]

    def _logits(self, batch: PairBatch) -> tuple[Tensor, Tensor]:
        """Logits of a batch of one pair."""
        ((i, j),) = batch["pair"].tolist()
        images = batch["image_a"], batch["image_b"]
        features = (self.features(index, image) for index, image in zip((i, j), images, strict=True))
        sizes = ((int(image.shape[-2]), int(image.shape[-1])) for image in images)
        return self.network.cosegment(*features, *sizes)

    def on_test_epoch_end(self) -> None:
        """Gather the rows of all processes and write the results."""
        scores, references, per_class = self.scores.compute(), self.references.compute(), self.scores.per_class()
        self.log_dict({f"test/{name}": value for name, value in scores.items()}, sync_dist=True)
        rows = self._gathered_rows()
        if not self.trainer.is_global_zero:
            return
        seconds = time.monotonic() - self.began
        (self.plan.folder / "results.json").unlink(missing_ok=True)  # of an earlier test, with other pairs beside it
        write_pairs(self.plan.folder / "pairs.csv", rows)
        results = build_results(
            self.catalog,
            rows,
            scores=scores,
            per_class=per_class,
            references=references,
            protocol=self.plan.protocol,
            void=self.plan.void,
            complete=self.catalog.complete and len(rows) == self.plan.all_pairs,
            model=self.plan.model,
            checkpoint=self.plan.checkpoint,
            input_size=self.network.input_size,
            seconds=seconds,
        )
        if self.plan.panels:
            self._draw(rows)
        write_results(self.plan.folder / "results.json", results)  # last: it says that the test is whole

    def _gathered_rows(self) -> list[PairRow]:
        rows = self.rows
        if self.trainer.world_size > 1:
            parts: list[list[tuple[float, ...]] | None] = [None] * self.trainer.world_size
            torch.distributed.all_gather_object(parts, rows)
            rows = [row for part in parts if part is not None for row in part]
        return [self._row(row) for row in sorted(rows)]

    def _row(self, row: tuple[float, ...]) -> PairRow:
        i, j = int(row[0]), int(row[1])
        common = self.catalog.presence[i] & self.catalog.presence[j]
        classes = tuple(name for name, shared in zip(self.catalog.class_names, common, strict=True) if shared)
        return PairRow(
            i, j, self.catalog.ids[i], self.catalog.ids[j], classes, row[2], row[3], bool(row[4]), bool(row[5])
        )

    def _draw(self, rows: list[PairRow]) -> None:
        """Panels of the best, the middle and the worst pairs, by the mean of their two scores."""
        scored = [row for row in rows if row.jaccard_a + row.jaccard_b >= 0]  # nan where there is no truth
        ranked = sorted(scored, key=lambda row: -(row.jaccard_a + row.jaccard_b))
        size = min(self.plan.panels, len(ranked))
        middle = (len(ranked) - size) // 2
        for name, chosen in (
            ("best", ranked[:size]),
            ("middle", ranked[middle : middle + size]),
            ("worst", ranked[len(ranked) - size :]),
        ):
            save_picture(self.plan.folder / f"{name}.png", draw_panel([self._predicted(row) for row in chosen]))

    def _predicted(self, row: PairRow) -> PanelRow:
        return predicted_row(self.network, self.catalog, row.i, row.j, self.plan.void)
