"""The optimiser and its schedule, with a learning rate for each group of layers, by their depth in the encoder."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import Callback
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from coseg.errors import CosegError
from coseg.files.plain_data import require_plain
from coseg.instantiate import build
from coseg.models.encoders.base import Encoder
from coseg.training.known_classes import require_known_classes

SCALES = ("encoder_lr_scale", "layer_decay")
_ABSOLUTE = ("max_lr", "base_lr")  # arguments of schedules that are rates themselves, one for each group if a list


def split_scales(optimizer: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, float]]:
    """The settings of an optimiser that are torch's, and those of `parameter_groups`."""
    settings = {key: value for key, value in optimizer.items() if key not in SCALES}
    return settings, {key: optimizer[key] for key in SCALES if key in optimizer}


def parameter_groups(
    network: nn.Module, encoder_lr_scale: float = 1.0, layer_decay: float = 1.0
) -> list[dict[str, Any]]:
    r"""Groups for an optimiser: everything outside the encoder, then the encoder's layers, the last one first.

    The learning rate of layer k of the encoder, counted from its output (k = 0), is

    .. math:: lr \cdot s \cdot d^{\,k},

    s being `encoder_lr_scale` and d `layer_decay`; that of everything else is lr. (Howard and Ruder 2018 call it
    discriminative fine-tuning; Bao et al. 2022, BEiT, set the rates of transformer blocks like this.) With both at 1
    all parameters are in one group. Frozen parameters are left out. Each group has a ``name``, and its factor as
    ``lr_scale``.

    Raises:
        CosegError: a factor is out of its range, or the network has no encoder whose rates it could change, or no
            parameter to train.
    """
    for key, value, limit in (("encoder_lr_scale", encoder_lr_scale, math.inf), ("layer_decay", layer_decay, 1.0)):
        if not isinstance(value, float | int) or not 0 < value <= limit or value == math.inf:
            wanted = "a positive number" + (" of at most 1" if limit == 1 else "")
            raise CosegError(f"optimizer.{key} is '{value}', but must be {wanted}.")
    trainable = [parameter for parameter in network.parameters() if parameter.requires_grad]
    if not trainable:
        raise CosegError("The network has no parameter to train: all are frozen.")
    if encoder_lr_scale == layer_decay == 1:
        return [{"params": trainable, "name": "all", "lr_scale": 1.0}]
    encoders = [module for module in network.modules() if isinstance(module, Encoder)]
    if not encoders:
        raise CosegError(
            f"optimizer.encoder_lr_scale and optimizer.layer_decay need an encoder, which {type(network).__name__} "
            "lacks: set both to 1."
        )
    layers = [[parameter for parameter in layer if parameter.requires_grad] for layer in encoders[0].layers()]
    inside = {id(parameter) for layer in layers for parameter in layer}
    outside = [parameter for parameter in trainable if id(parameter) not in inside]
    groups = [{"params": outside, "name": "rest", "lr_scale": 1.0}]
    for depth, layer in enumerate(reversed(layers)):
        scale = encoder_lr_scale * layer_decay**depth
        groups.append({"params": layer, "name": f"encoder_{len(layers) - 1 - depth:02d}", "lr_scale": scale})
    return [group for group in groups if group["params"]]


def scale_rates(optimizer: Optimizer) -> None:
    """Multiply the learning rate of each group by its ``lr_scale``: before a schedule is made, which remembers it."""
    for group in optimizer.param_groups:
        group["lr"] *= group["lr_scale"]


def scaled_schedule(schedule: Mapping[str, Any], optimizer: Optimizer) -> dict[str, Any]:
    """The settings of a schedule, its rates (``max_lr`` of `OneCycleLR`) as lists with one for each group.

    Schedules that multiply the rate of each group (`CosineAnnealingLR`, `LambdaLR`, …) keep their settings.
    """
    scales = [group["lr_scale"] for group in optimizer.param_groups]
    return {
        key: [value * scale for scale in scales] if key in _ABSOLUTE and isinstance(value, float | int) else value
        for key, value in schedule.items()
    }


def make_optimizer(
    network: nn.Module, losses: Sequence[nn.Module], settings: Mapping[str, Any], trust: bool
) -> Optimizer:
    """The optimiser over the trainable parameters of a network, and of the terms of the loss, which are one group.

    Args:
        network: see `parameter_groups`.
        losses: modules that may have parameters.
        settings: ``{"_target_": class, …}`` of an optimiser, and the factors of `parameter_groups`.
        trust: False: the class must be one of torch's.

    Raises:
        CosegError: it can't be made.
    """
    settings, scales = split_scales(settings)
    groups = parameter_groups(network, **scales)
    trained = [parameter for loss in losses for parameter in loss.parameters() if parameter.requires_grad]
    if trained:
        groups.append({"params": trained, "name": "loss", "lr_scale": 1.0})
    _require_known(settings, "optimizer", trust)
    optimizer = build(settings, Optimizer, "optimizer", params=groups)
    scale_rates(optimizer)
    return optimizer


def make_schedule(settings: Mapping[str, Any], optimizer: Optimizer, steps: int, trust: bool) -> LRScheduler:
    """The schedule of learning rates.

    Args:
        settings: ``{"_target_": class, …}`` of a schedule; the value ``auto`` stands for `steps`.
        optimizer: from `make_optimizer`.
        steps: of the whole training.
        trust: False: the class must be one of torch's.

    Raises:
        CosegError: it can't be made.
    """
    config = {key: steps if value == "auto" else value for key, value in settings.items()}
    config = scaled_schedule(config, optimizer)
    _require_known(config, "schedule", trust)
    return build(config, LRScheduler, "schedule", optimizer=optimizer)


def _require_known(settings: Mapping[str, Any], group: str, trust: bool) -> None:
    """Of a task that is not trusted, from somebody's checkpoint: import nothing that it names but torch's classes."""
    if not trust:
        try:
            require_plain(settings)
        except ValueError as error:
            raise CosegError(f"{group} can't be made: {error}.") from None
    require_known_classes(settings, group, trust)


class ExtendedSchedule(Callback):
    """Of a run that is extended: its schedule goes on as that of the longer training, from the step that is reached.

    A checkpoint holds the length of the schedule, too, and some schedules raise an error beyond it. Those that have a
    state of more than numbers and lists of them (a chain of others) keep all of it.
    """

    def on_load_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        """Restore the position alone."""
        checkpoint["lr_schedulers"] = [
            state if "_schedulers" in state else {key: state[key] for key in _POSITION if key in state}
            for state in checkpoint["lr_schedulers"]
        ]

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Set the rate of that position: some schedules compute each rate from the last."""
        for config in trainer.lr_scheduler_configs:
            if (closed := getattr(config.scheduler, "_get_closed_form_lr", None)) is not None:
                for group, rate in zip(config.scheduler.optimizer.param_groups, closed(), strict=True):
                    group["lr"] = rate


_POSITION = ("last_epoch", "_step_count", "_last_lr", "base_lrs")
"""Of the state of a schedule."""


class LearningRates(Callback):
    """Logs the learning rate of each step: ``lr``, or with several groups ``lr/rest``, ``lr/encoder_00``, …"""

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Log them before their step."""
        (optimizer,) = trainer.optimizers
        for group in optimizer.param_groups:
            name = "lr" if len(optimizer.param_groups) == 1 else f"lr/{group['name']}"
            pl_module.log(name, group["lr"])
