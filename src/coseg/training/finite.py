"""Stop training and validation at the first number that is not finite, before a checkpoint holds any."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor
from torch.distributed.tensor import DTensor

from coseg.errors import CosegError
from coseg.models.base import REMEDIES, not_finite


class _Step(NamedTuple):
    """A step whose loss is being checked on the device."""

    number: int
    epoch: int
    rates: tuple[float, ...]
    finite: Tensor  # on the host, once the event is recorded
    ready: torch.cuda.Event


class FiniteTraining(Callback):
    """Stop at the first loss that is not finite, and write no checkpoint of weights that are not.

    On a CPU a loss is checked before its gradients are computed. On a GPU that would keep the processor from running
    ahead, so the result is fetched at the next step, and before a validation or a checkpoint. Several processes agree
    on it, so that all of them stop: they exchange four bytes a step.

    Args:
        last: the checkpoint from which the run can be resumed, for messages.

    Attributes:
        begun: whether training has begun, after all that Lightning does before, such as reading a checkpoint.
    """

    def __init__(self, last: Path | None = None) -> None:
        self.last = last
        self.begun = False
        self._pending: _Step | None = None

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Remember that training has begun."""
        self.begun = True

    def on_before_backward(self, trainer: L.Trainer, pl_module: L.LightningModule, loss: Tensor) -> None:
        """Check the loss of this step."""
        self._settle()
        finite = _agreed(loss.detach().isfinite().all())
        rates = tuple(group["lr"] for optimizer in trainer.optimizers for group in optimizer.param_groups)
        step, epoch = trainer.global_step, trainer.current_epoch
        if finite.device.type != "cuda":
            if not finite:
                raise self._stopped(step, epoch, rates)
            return
        host = torch.empty((), dtype=finite.dtype, pin_memory=True).copy_(finite, non_blocking=True)
        ready = torch.cuda.Event()  # type: ignore[no-untyped-call]
        ready.record()
        self._pending = _Step(step, epoch, rates, host, ready)

    def _settle(self) -> None:
        step, self._pending = self._pending, None
        if step is not None:
            step.ready.synchronize()
            if not step.finite:
                raise self._stopped(step.number, step.epoch, step.rates)

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Check the last step: nothing is scored after a loss that is not finite."""
        self._settle()

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Check the last step."""
        self._settle()

    def on_save_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        """Keep weights that are not finite out of checkpoints: no loss has seen them yet.

        In buffers only not-a-number is refused: a network may hold infinities on purpose.
        """
        self._settle()
        finite = [_local(parameter).isfinite().all() for parameter in pl_module.parameters()]
        finite += [~buffer.isnan().any() for buffer in pl_module.buffers() if buffer.is_floating_point()]
        if finite and not _agreed(torch.stack(finite).all()):
            raise CosegError(
                f"Weights became not a number by step {trainer.global_step} (epoch {trainer.current_epoch}). "
                f"{self._earlier_checkpoint()} Start a new run: {REMEDIES}."
            )

    def _stopped(self, step: int, epoch: int, rates: Sequence[float]) -> CosegError:
        rate = f"{max(rates):g}" if rates else "unknown"
        return CosegError(
            f"The loss of step {step} (epoch {epoch}) is not a finite number, at learning rate {rate}: training stops. "
            f"{self._earlier_checkpoint()} Start a new run: {REMEDIES}. If it is the first step, check the images too: "
            "coseg-data check."
        )

    def _earlier_checkpoint(self) -> str:
        if self.last is None:
            return ""
        return f"{self.last} is from before it." if self.last.is_file() else "There is no checkpoint from before it."


def _local(parameter: Tensor) -> Tensor:
    """The part of a parameter that this process holds: all of it, unless it is sharded."""
    values = parameter.detach()
    return values.to_local() if isinstance(values, DTensor) else values


def _agreed(finite: Tensor) -> Tensor:
    """Whether `finite` is true in all processes, on its device."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        finite = finite.int()
        torch.distributed.all_reduce(finite, torch.distributed.ReduceOp.MIN)
    return finite


class NonFinitePairs:
    """Pairs of a validation whose logits are not finite: an error at once, or of all processes at its end."""

    def __init__(self) -> None:
        self.images: list[str] = []

    def add(self, task: L.LightningModule, pairs: Tensor) -> None:
        """Remember pairs of images, int64 (B, 2).

        Raises:
            CosegError: this process is the only one.
        """
        datamodule: Any = getattr(task.trainer, "datamodule", None)
        numbers = [number for pair in pairs.tolist() for number in pair]
        ids = datamodule.catalog("val").ids if hasattr(datamodule, "catalog") else None
        self.images += [str(number) if ids is None else ids[number] for number in numbers]
        if task.trainer.world_size == 1:
            self.refuse(task)

    def refuse(self, task: L.LightningModule) -> None:
        """Refuse the pairs of all processes, which call this together.

        Raises:
            CosegError: a process has such pairs.
        """
        images, self.images = self.images, []
        if task.trainer.world_size > 1:
            gathered: list[Any] = [None] * task.trainer.world_size
            torch.distributed.all_gather_object(gathered, images)
            images = [image for part in gathered for image in part]
        if images:
            network = getattr(task, "network", task)
            raise not_finite(f"The network {getattr(network, 'name', type(network).__name__)}", images)
