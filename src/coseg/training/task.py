"""The task: a network with its loss, scores and optimiser, for Lightning's `Trainer`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import lightning as L
import torch
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torchmetrics import Metric

from coseg.data.dataset import CliqueBatch, PairBatch
from coseg.errors import CosegError, unknown_choice
from coseg.instantiate import build_network, without_weights
from coseg.lightning_internals import reopen_training_loader
from coseg.metrics.decision import DecisionScores, foreground_share
from coseg.metrics.mask_counts import VOID_RULES, predicted_mask
from coseg.metrics.pair_scores import PairScores
from coseg.models.base import CosegNetwork, Losses, PairClassifier, all_finite
from coseg.training.exemplars import require_exemplars, show
from coseg.training.extra_metrics import finite_value_of, make_metrics
from coseg.training.finite import NonFinitePairs
from coseg.training.losses import EncodedPairs, LossInput, encode_batch, make_loss, standard_losses
from coseg.training.optimizer import make_optimizer, make_schedule
from coseg.training.task_checkpoint import rebuild_task

Settings = Mapping[str, Any]
LossSetting = Settings | nn.Module | tuple[float, nn.Module] | None


class CosegTask(L.LightningModule):
    """Trains a network on pairs, for Lightning's `Trainer`, with or without Hydra.

    What is given as plain settings is kept in checkpoints, so ``CosegTask.load_from_checkpoint(path)`` rebuilds the
    task without anything else, with ``weights_only=True``. A module is not: give it to `load_from_checkpoint` again,
    as ``network=``, ``losses=`` or ``metrics=``.

    Args:
        network: a `CosegNetwork`, or ``{"_target_": class, …}`` of one.
        losses: the terms of the training loss by name: a module that takes a `coseg.training.losses.LossInput`, or
            ``(weight, module)``, or ``{"_target_": class, "weight": 1.0, …}``. None: ``pair``, the cross-entropy of A
            plus that of B. A term of weight 0, without a class, or None is ignored. Each is logged times its
            weight: ``pair`` as ``train/loss`` and ``val/loss``, term x as ``train/x_loss``; without a ``pair``,
            ``train/loss`` and ``val/loss`` are the sum of the terms.
        metrics: beside the five scores, by name: a `torchmetrics.Metric`, or ``{"_target_": class, …}`` of one, see
            `coseg.training.extra_metrics`. Metric x is logged as ``val/x``.
        optimizer: ``{"_target_": class, "lr": …}`` of a `torch.optim.Optimizer`; ``encoder_lr_scale`` and
            ``layer_decay`` in it are those of `coseg.training.optimizer`. None: Adam at 1e-5.
        schedule: ``{"_target_": class, …}`` of a learning-rate schedule that is advanced after each step, or None for
            a fixed rate. The value ``auto`` stands for the number of steps of the whole training.
        class_names: K names, in the order of the columns of a batch's `common`.
        score_void: void pixels in the scores of validation, ``ignored`` or ``background``.
        channels_last: memory layout of the network.
        compile: compile the network with `torch.compile`.
        exemplars: probability of a training pair whose images show which object is meant, see
            `coseg.training.exemplars`. Above 0, validation pairs are also scored so: ``val/jaccard_exemplar``.
        seed: chooses those pairs, and what they show.
        trust: settings may name classes outside of coseg and torch, which are imported. It is not kept in checkpoints:
            who opens one decides again.

    Raises:
        CosegError: an argument can't be used.
    """

    def __init__(
        self,
        network: nn.Module | Settings,
        losses: Mapping[str, LossSetting] | None = None,
        metrics: Mapping[str, Metric | Settings | None] | None = None,
        optimizer: Settings | None = None,
        schedule: Settings | None = None,
        class_names: Sequence[str] = (),
        score_void: str = "background",
        channels_last: bool = False,
        compile: bool = False,
        exemplars: float = 0.0,
        seed: int = 0,
        trust: bool = False,
    ) -> None:
        super().__init__()
        if score_void not in VOID_RULES:
            raise unknown_choice("protocol.void", score_void, VOID_RULES)
        if not 0 <= exemplars <= 1:
            raise CosegError(f"task.exemplars is {exemplars}, but must be a number from 0 to 1.")
        self.classes = len(class_names)
        self.trust = trust
        losses = standard_losses() if losses is None else losses
        # A checkpoint holds all weights: opening it must not fetch those that training began with.
        self.save_hyperparameters(
            {
                "network": without_weights(network) if isinstance(network, Mapping) else None,
                "losses": _kept(losses),
                "metrics": _kept(metrics or {}),
                "optimizer": optimizer,
                "schedule": schedule,
                "class_names": list(class_names),
                "score_void": score_void,
                "channels_last": channels_last,
                "compile": compile,
                "exemplars": exemplars,
                "seed": seed,
            }
        )
        self.network = _network(network, trust)
        if exemplars:
            require_exemplars(self.network)
        self.exemplars, self.seed = exemplars, seed
        if channels_last:
            self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.weights = self._add_losses(losses)
        if compile:
            for part in self.network.children():
                part.compile()  # in place: the names of the parameters stay
        self.optimizer = dict(optimizer or {"_target_": "torch.optim.Adam", "lr": 1e-5})
        self.schedule = dict(schedule) if schedule else None
        self.val_scores = PairScores(self.classes, score_void)
        self.val_exemplars = PairScores(self.classes, score_void) if exemplars else None
        self.val_decisions = DecisionScores()
        self.val_metrics = nn.ModuleDict(make_metrics(metrics, trust))
        self.nonfinite = NonFinitePairs()

    def _add_losses(self, losses: Mapping[str, LossSetting]) -> dict[str, float]:
        """Make the terms, each the attribute ``<name>_loss``; their weights by name."""
        weights = {}
        for name, setting in losses.items():
            if not str(name).isidentifier() or hasattr(self, f"{name}_loss"):
                raise CosegError(f"loss.{name}: choose another name, a word of letters.")
            if setting is None or (isinstance(setting, Mapping) and "_target_" not in setting):
                continue  # an experiment may have settings of a term that is not chosen
            if isinstance(setting, Mapping):
                weight, module = make_loss(name, setting, self.network, self.classes, self.trust)
            else:
                weight, module = setting if isinstance(setting, tuple) else (1.0, setting)
            if not isinstance(module, nn.Module | None):
                raise CosegError(f"loss.{name} is a {type(module).__name__}, but must be a torch.nn.Module.")
            if module is not None:
                self.add_module(f"{name}_loss", module)
                weights[name] = weight
        if not weights and losses:
            raise CosegError("No term of the loss has a weight above 0: choose one, loss=standard say.")
        return weights

    @classmethod
    def load_from_checkpoint(  # type: ignore[override]
        cls, checkpoint_path: str | Path, map_location: Any = None, *, trust: bool = False, **changes: Any
    ) -> Self:
        """The task in a checkpoint; see `coseg.training.task_checkpoint.rebuild_task`.

        Lightning's method would import what the file names, and take its arguments as they are.

        Args:
            checkpoint_path: of a file that `coseg-train`, or a trainer with this task, made.
            map_location: the device that the task is moved to; None: the CPU.
            trust: the checkpoint may name classes outside of coseg, which are imported.
            **changes: arguments of the class in place of those in the file.

        Raises:
            CosegError: it is no such file.
        """
        for key in (
            "hparams_file",
            "strict",
            "weights_only",
        ):  # Lightning's: reading is always strict here
            changes.pop(key, None)
        task = rebuild_task(cls, Path(checkpoint_path), trust, changes)
        return task if map_location is None else task.to(map_location)

    def forward(self, images_a: Tensor, images_b: Tensor) -> tuple[Tensor, Tensor]:
        """Logits of both images; see `CosegNetwork.forward`."""
        logits: tuple[Tensor, Tensor] = self.network(images_a, images_b)
        return logits

    def losses(self, batch: LossInput) -> dict[str, Tensor]:
        """The terms of the loss by name, each times its weight.

        Raises:
            CosegError: one is not a number.
        """
        return {name: weight * self._number(name, batch) for name, weight in self.weights.items()}

    def _number(self, name: str, batch: LossInput) -> Tensor:
        """The value of a term, 0-dimensional."""
        module = getattr(self, f"{name}_loss")
        value = module(batch)
        if isinstance(value, Tensor) and value.numel() == 1:
            return value.reshape(())
        shape = f"a tensor {tuple(value.shape)}" if isinstance(value, Tensor) else f"{value!r:.80}"
        raise CosegError(
            f"loss.{name}: forward of {type(module).__name__} gives {shape}, but must give one number, a "
            "tensor without dimensions: its mean, say."
        )

    def training_step(self, batch: PairBatch | CliqueBatch, batch_idx: int) -> Tensor:
        """One step; see Lightning."""
        pairs = encode_batch(self.network, batch)
        network_losses: Losses = {}
        if self.exemplars:
            logits, pairs = self._shown(batch, pairs, self.exemplars, self.seed, self.current_epoch)
        else:
            *logits, network_losses = self.network.learn(*pairs.features, *pairs.sizes, pairs.positive)
        terms = self.losses(pairs.loss_input(self._checked(logits, pairs)))
        pair = terms.pop("pair", None)
        terms = network_losses | {f"{name}_loss": value for name, value in terms.items()}
        for name, value in terms.items():
            self.log(f"train/{name}", value)
        summed = list(terms.values()) if pair is None else [pair, *terms.values()]
        loss: Tensor = sum(summed[1:], summed[0])
        if not loss.requires_grad and torch.is_grad_enabled():
            raise CosegError(
                f"The loss ({', '.join(self.weights)}) depends on no parameter that is trained: let it use the logits, "
                "or the network have parameters that are not frozen."
            )
        self.log("train/loss", loss if pair is None else pair, prog_bar=True)
        return loss

    def _shown(
        self, batch: PairBatch | CliqueBatch, pairs: EncodedPairs, probability: float, seed: int, epoch: int
    ) -> tuple[list[Tensor], EncodedPairs]:
        """Logits of pairs of which some are exemplars, and the pairs with the targets of these."""
        shown = show(batch, pairs.targets, probability, seed, epoch)
        logits = self.network.cosegment_shown(*pairs.features, *pairs.sizes, *shown.regions)
        return list(logits), pairs._replace(targets=shown.targets)

    def _checked(self, logits: Sequence[Tensor], pairs: EncodedPairs) -> tuple[Tensor, Tensor]:
        """The logits of both sides, which must have their shapes."""
        needed = [(len(pairs.common), 2, *size) for size in pairs.sizes]
        shapes = [tuple(side.shape) if isinstance(side, Tensor) else type(side).__name__ for side in logits]
        if shapes != needed:
            raise CosegError(
                f"cosegment of {type(self.network).__name__} gives {', '.join(map(str, shapes))}, but must give logits "
                f"of both images, {' and '.join(map(str, needed))}: background and foreground, at the sizes that it "
                "is given (CosegNetwork.restore cuts and resizes)."
            )
        logits_a, logits_b = logits
        return logits_a, logits_b

    def validation_step(self, batch: PairBatch, batch_idx: int) -> None:
        """Score one pair at original size; see Lightning. A negative pair counts for the decision alone."""
        pairs = encode_batch(self.network, batch)
        logits = self._checked(self.network.cosegment(*pairs.features, *pairs.sizes), pairs)
        decision = self.network.classify(*pairs.features) if isinstance(self.network, PairClassifier) else None
        if not all_finite(*logits, decision):
            self.nonfinite.add(self, batch["pair"])
        predicted_a, predicted_b = (predicted_mask(side) for side in logits)
        self.val_decisions.update(pairs.positive, foreground_share(predicted_a, predicted_b), decision)
        if pairs.positive.all():
            self.log("val/loss", self._val_loss(logits, pairs), on_epoch=True, sync_dist=True, batch_size=1)
            target_a, target_b = pairs.targets
            self.val_scores.update(predicted_a, target_a, predicted_b, target_b, batch["common"])
            for metric in self._metrics().values():
                for side_logits, target in zip(logits, pairs.targets, strict=True):
                    metric.update(side_logits, target)
            if self.val_exemplars is not None:
                shown_logits, pairs = self._shown(batch, pairs, 1.0, seed=0, epoch=0)
                mask_a, mask_b = map(predicted_mask, self._checked(shown_logits, pairs))
                self.val_exemplars.update(mask_a, pairs.targets[0], mask_b, pairs.targets[1], batch["common"])

    def _val_loss(self, logits: tuple[Tensor, Tensor], pairs: EncodedPairs) -> Tensor:
        """What is logged as ``val/loss``: the term of the pairs or, where there is none, the sum of all."""
        batch = pairs.loss_input(logits)
        if "pair" in self.weights:
            return self.weights["pair"] * self._number("pair", batch)
        terms = list(self.losses(batch).values())
        total: Tensor = sum(terms[1:], terms[0])
        return total

    def _metrics(self) -> dict[str, Metric]:
        return dict(self.val_metrics.items())  # type: ignore[arg-type]

    def on_validation_epoch_start(self) -> None:
        """Start from empty scores."""
        self.val_scores.reset()  # which also takes them out of the memory that spawned processes share
        self.val_decisions.reset()
        if self.val_exemplars is not None:
            self.val_exemplars.reset()
        for metric in self._metrics().values():
            metric.reset()

    def on_validation_epoch_end(self) -> None:
        """Log the scores of all validation pairs, of all processes.

        Raises:
            CosegError: logits were not finite, or the value of an extra metric is not.
        """
        self.nonfinite.refuse(self)
        scores = self.val_scores.compute()
        decisions = self.val_decisions.compute()
        scores |= {name: value for name, value in decisions.items() if not value.isnan()}  # with negative pairs
        if self.val_exemplars is not None:
            scores["jaccard_exemplar"] = self.val_exemplars.compute()["jaccard"]
        scores |= {name: finite_value_of(name, metric) for name, metric in self._metrics().items()}
        for name, value in scores.items():
            # Equal in all processes already; without `sync_dist` Lightning would warn that it may not be.
            self.log(f"val/{name}", value, prog_bar=name == "jaccard", sync_dist=True)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """The optimiser over the trainable parameters, with its schedule where there is one."""
        if not self.weights:
            raise CosegError("There is no loss to train with: give CosegTask losses=.")
        losses = [getattr(self, f"{name}_loss") for name in self.weights]
        optimizer = make_optimizer(self.network, losses, self.optimizer, self.trust)
        if self.schedule is None:
            return optimizer
        steps = self.trainer.estimated_stepping_batches
        if not math.isfinite(steps):
            raise CosegError("A schedule needs an end: set trainer.max_epochs or trainer.max_steps.")
        # The estimate has opened the loader, before a checkpoint says which batch of the epoch comes next. Where
        # weights are divided, Lightning does not know yet whether there is a checkpoint.
        reopen_training_loader(self.trainer)
        schedule = make_schedule(self.schedule, optimizer, int(steps), self.trust)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def load_task(path: str | Path, trust: bool = False, **changes: Any) -> CosegTask:
    """The task in a checkpoint; see `CosegTask.load_from_checkpoint`."""
    return CosegTask.load_from_checkpoint(path, trust=trust, **changes)


def _network(network: nn.Module | Settings, trust: bool) -> CosegNetwork:
    if isinstance(network, Mapping):
        return build_network(network, trust)
    if not isinstance(network, CosegNetwork):
        raise CosegError(
            f"network is a {type(network).__name__}, but must be a CosegNetwork, or the configuration of one: "
            "derive it from coseg.models.base.CosegNetwork."
        )
    return network


def _kept(settings: Mapping[str, Any]) -> dict[str, Any]:
    """What checkpoints hold of losses or metrics: settings, and None for a module."""
    used = {name: value for name, value in settings.items() if value is not None}
    return {name: dict(value) if isinstance(value, Mapping) else None for name, value in used.items()}
