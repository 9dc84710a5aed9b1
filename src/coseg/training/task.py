"""The task: a network with its loss, scores and optimiser, for Lightning's `Trainer`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import lightning as L
import torch
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor

from coseg.data.cliques import CliqueBatch
from coseg.data.dataset import PairBatch
from coseg.errors import CosegError, unknown_choice
from coseg.evaluation.decision import DecisionScores, marked_share
from coseg.evaluation.metrics import PairScores
from coseg.evaluation.scores import VOID_RULES, predicted_mask
from coseg.models.deciding import DecidingNetwork
from coseg.models.network import CosegNetwork
from coseg.plain_data import require_plain
from coseg.training.build import build, build_network, without_weights
from coseg.training.classes import require_known_classes
from coseg.training.encoded import encode_batch
from coseg.training.losses import SemanticLoss, jaccard_loss, pair_loss
from coseg.training.param_groups import parameter_groups, scale_rates, scaled_schedule, split_scales


class CosegTask(L.LightningModule):
    """Trains a network on pairs: the cross-entropy of A plus that of B.

    The arguments are plain primitives, kept in checkpoints, so ``CosegTask.load_from_checkpoint(path)`` rebuilds the
    network without anything else, with ``weights_only=True``.

    Args:
        network: ``{"_target_": class, …}`` of a `CosegNetwork`.
        optimizer: ``{"_target_": class, "lr": …}`` of a `torch.optim.Optimizer`; ``encoder_lr_scale`` and
            ``layer_decay`` in it are those of `coseg.training.param_groups`.
        schedule: ``{"_target_": class, …}`` of a learning-rate schedule that is advanced after each step, or None for
            a fixed rate. The value ``auto`` stands for the number of steps of the whole training.
        class_names: K names, in the order of the columns of a batch's `common`.
        void: the loss's treatment of void pixels, ``ignored`` or ``background``.
        score_void: likewise in the scores of validation.
        semantic: weight of `SemanticLoss` in training; 0: none.
        jaccard: weight of `jaccard_loss` in training; 0: none.
        channels_last: memory layout of the network.
        compile: compile the network with `torch.compile`.
        trust: `network`, `optimizer` and `schedule` may name classes outside of coseg and torch, which are imported.
            It is not kept in checkpoints: who opens one says it anew.
    """

    def __init__(
        self,
        network: Mapping[str, Any],
        optimizer: Mapping[str, Any] | None = None,
        schedule: Mapping[str, Any] | None = None,
        class_names: tuple[str, ...] | list[str] = (),
        void: str = "ignored",
        score_void: str = "background",
        semantic: float = 0.0,
        jaccard: float = 0.0,
        channels_last: bool = False,
        compile: bool = False,
        trust: bool = False,
    ) -> None:
        super().__init__()
        for key, value in (("task.void", void), ("protocol.void", score_void)):
            if value not in VOID_RULES:
                raise unknown_choice(key, value, VOID_RULES)
        self.save_hyperparameters(ignore=["trust"])
        # A checkpoint brings its own weights: opening it must not fetch those that training began with.
        self.hparams["network"] = without_weights(network)
        self.network: CosegNetwork = build_network(network, trust)
        if channels_last:
            self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.classes = len(class_names)
        self.semantic = semantic
        self.jaccard = jaccard
        self.semantic_loss = SemanticLoss(self.network, self.classes) if semantic else None
        if compile:
            for part in self.network.children():
                part.compile()  # in place: the names of the parameters stay
        self.trust = trust
        self.optimizer = dict(optimizer or {"_target_": "torch.optim.Adam", "lr": 1e-5})
        self.schedule = dict(schedule) if schedule else None
        self.void = void
        self.val_scores = PairScores(self.classes, score_void)
        self.val_decisions = DecisionScores()

    @classmethod
    def load_from_checkpoint(  # type: ignore[override]
        cls, checkpoint_path: str | Path, map_location: Any = None, *, trust: bool = False, **changes: Any
    ) -> Self:
        """The task in a checkpoint; see `coseg.training.checkpoint.load_task`.

        Lightning's own would take from the file what to import, and its arguments as they are.

        Args:
            checkpoint_path: of a file that `coseg-train`, or a trainer with this task, made.
            map_location: the device that the task is moved to; None: the CPU.
            trust: the checkpoint may name classes outside of coseg, which are imported.
            **changes: arguments of the class in place of those in the file.

        Raises:
            CosegError: it is no such file.
        """
        from coseg.training.checkpoint import load_task  # which needs this class

        for key in ("hparams_file", "strict", "weights_only"):  # Lightning's: what is read here is always strict
            changes.pop(key, None)
        task = load_task(checkpoint_path, trust, cls, **changes)
        return task if map_location is None else task.to(map_location)

    def forward(self, images_a: Tensor, images_b: Tensor) -> tuple[Tensor, Tensor]:
        """Logits of both images; see `CosegNetwork.forward`."""
        logits: tuple[Tensor, Tensor] = self.network(images_a, images_b)
        return logits

    def loss(self, logits: Sequence[Tensor], targets: Sequence[Tensor]) -> Tensor:
        """The training loss of pairs: the cross-entropy of A plus that of B."""
        loss_a, loss_b = (pair_loss(each, target, self.void) for each, target in zip(logits, targets, strict=True))
        return loss_a + loss_b

    def training_step(self, batch: PairBatch | CliqueBatch, batch_idx: int) -> Tensor:
        """One step; see Lightning. ``train/loss`` is that of the pairs, as ``val/loss``."""
        pairs = encode_batch(self.network, batch)
        *logits, losses = self.network.learn(*pairs.features, *pairs.sizes, pairs.positive)
        loss = self.loss(logits, pairs.targets)
        self.log("train/loss", loss, prog_bar=True)
        if self.jaccard:
            sides = (jaccard_loss(*side, self.void) for side in zip(logits, pairs.targets, strict=True))
            losses["jaccard_loss"] = self.jaccard * torch.stack(tuple(sides)).sum()
        for name, value in losses.items():
            self.log(f"train/{name}", value)
            loss = loss + value
        if self.semantic_loss is not None:
            each = [self.semantic_loss(features, labels) for features, labels in pairs.labelled]
            semantic = sum(each) / len(each)
            self.log("train/semantic_loss", semantic)
            loss = loss + self.semantic * semantic
        return loss

    def validation_step(self, batch: PairBatch, batch_idx: int) -> None:
        """Score one pair at original size; see Lightning. A negative pair counts for the decision alone."""
        pairs = encode_batch(self.network, batch)
        logits = self.network.cosegment(*pairs.features, *pairs.sizes)
        predicted_a, predicted_b = (predicted_mask(each) for each in logits)
        decision = self.network.decide(*pairs.features) if isinstance(self.network, DecidingNetwork) else None
        self.val_decisions.update(pairs.positive, marked_share(predicted_a, predicted_b), decision)
        if pairs.positive.all():
            self.log("val/loss", self.loss(logits, pairs.targets), on_epoch=True, sync_dist=True, batch_size=1)
            target_a, target_b = pairs.targets
            self.val_scores.update(predicted_a, target_a, predicted_b, target_b, batch["common"])

    def on_validation_epoch_start(self) -> None:
        """Start from empty scores."""
        self.val_scores.reset()  # which also takes them out of the memory that spawned processes share
        self.val_decisions.reset()

    def on_validation_epoch_end(self) -> None:
        """Log the scores of all validation pairs, of all processes."""
        scores = self.val_scores.compute()
        decisions = self.val_decisions.compute()
        scores |= {name: value for name, value in decisions.items() if not value.isnan()}  # there are negative pairs
        for name, value in scores.items():
            # Equal in all processes already; but for `sync_dist` Lightning would warn that it may not be.
            self.log(f"val/{name}", value, prog_bar=name == "jaccard", sync_dist=True)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """The optimiser over the trainable parameters, with its schedule where there is one."""
        settings, scales = split_scales(self.optimizer)
        groups = parameter_groups(self.network, **scales)
        self._require_known(settings, "optimizer")
        optimizer = build(settings, torch.optim.Optimizer, "optimizer", params=groups)
        scale_rates(optimizer)
        if self.schedule is None:
            return optimizer
        estimate = self.trainer.estimated_stepping_batches
        if not math.isfinite(estimate):
            raise CosegError("A schedule needs an end: set trainer.max_epochs or trainer.max_steps.")
        steps = int(estimate)
        if self.trainer.ckpt_path is not None:
            # The estimate has opened the loader, before the checkpoint says where in the epoch to go on: open it anew.
            self.trainer.fit_loop._combined_loader = None
        config = {key: steps if value == "auto" else value for key, value in self.schedule.items()}
        config = scaled_schedule(config, optimizer)
        self._require_known(config, "schedule")
        schedule = build(config, torch.optim.lr_scheduler.LRScheduler, "schedule", optimizer=optimizer)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def _require_known(self, settings: Mapping[str, Any], what: str) -> None:
        """Of a task that came from somebody's checkpoint: import nothing that it names but torch's classes."""
        if not self.trust:
            try:
                require_plain(settings)
            except ValueError as error:
                raise CosegError(f"{what} can't be made: {error}.") from None
        require_known_classes(settings, what, self.trust)
