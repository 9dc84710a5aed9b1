"""Layer-wise learning rates: the trainable parameters of a network in groups, by their depth in its encoder."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import Callback
from torch import nn
from torch.optim import Optimizer

from coseg.errors import CosegError
from coseg.models.encoder import Encoder

SCALES = ("encoder_lr_scale", "layer_decay")
_ABSOLUTE = ("max_lr", "base_lr")  # arguments of schedules that are rates themselves, one for each group if a list


def split_scales(optimizer: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, float]]:
    """The settings of an optimiser that are torch's, and those that are `parameter_groups`'s."""
    settings = {key: value for key, value in optimizer.items() if key not in SCALES}
    return settings, {key: optimizer[key] for key in SCALES if key in optimizer}


def parameter_groups(
    network: nn.Module, encoder_lr_scale: float = 1.0, layer_decay: float = 1.0
) -> list[dict[str, Any]]:
    r"""Groups for an optimiser: everything outside the encoder, then the encoder's layers, the last one first.

    The learning rate of layer k of the encoder, counted from its output (k = 0), is

    .. math:: lr \cdot s \cdot d^{\,k},

    s being `encoder_lr_scale` and d `layer_decay`; that of everything else is lr. (Howard and Ruder 2018 call it
    discriminative fine-tuning; Bao et al. 2022, BEiT, give each transformer block its rate so.) With both at 1 there
    is one group. Frozen parameters are in none. Each group has a ``name`` and its factor as ``lr_scale``.

    Raises:
        CosegError: a factor is out of its range, or the network has no encoder whose rates it could change, or
            nothing to train.
    """
    for key, value, most in (("encoder_lr_scale", encoder_lr_scale, math.inf), ("layer_decay", layer_decay, 1.0)):
        if not isinstance(value, float | int) or not 0 < value <= most or value == math.inf:
            wanted = "a positive number" + (" of at most 1" if most == 1 else "")
            raise CosegError(f"optimizer.{key} is '{value}', but must be {wanted}.")
    trainable = [parameter for parameter in network.parameters() if parameter.requires_grad]
    if not trainable:
        raise CosegError("The network has no parameter to train: all are frozen.")
    if encoder_lr_scale == layer_decay == 1:
        return [{"params": trainable, "name": "all", "lr_scale": 1.0}]
    encoders = [module for module in network.modules() if isinstance(module, Encoder)]
    if not encoders:
        raise CosegError(
            f"optimizer.encoder_lr_scale and optimizer.layer_decay need an encoder, which {type(network).__name__} has "
            "not: set both to 1."
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
    """The settings of a schedule; rates in it (``max_lr`` of `OneCycleLR`) become one for each group.

    Schedules that multiply the rate of each group (`CosineAnnealingLR`, `LambdaLR`, …) need no change.
    """
    scales = [group["lr_scale"] for group in optimizer.param_groups]
    return {
        key: [value * scale for scale in scales] if key in _ABSOLUTE and isinstance(value, float | int) else value
        for key, value in schedule.items()
    }


class LearningRates(Callback):
    """Logs the learning rate of each step: ``lr``, or ``lr/rest`` and ``lr/encoder_00``, … where there are groups."""

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Before the step that they are for."""
        (optimizer,) = trainer.optimizers
        for group in optimizer.param_groups:
            name = "lr" if len(optimizer.param_groups) == 1 else f"lr/{group['name']}"
            pl_module.log(name, group["lr"])
