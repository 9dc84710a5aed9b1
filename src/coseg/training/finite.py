"""Training and validation end with a sentence where numbers stop being numbers, before a checkpoint holds them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor

from coseg.errors import CosegError
from coseg.models.finite import REMEDIES, refusal


class _Step(NamedTuple):
    """A step whose loss is being looked at on the device."""

    number: int
    epoch: int
    rates: tuple[float, ...]
    finite: Tensor  # on the host, once the event has come
    ready: torch.cuda.Event


class FiniteTraining(Callback):
    """Stop at the first loss that is not finite, and write no checkpoint of weights that are not.

    On a CPU a loss is looked at before its gradients are computed. On a GPU that would keep the processor from running
    ahead, so the answer is fetched at the next step, and before a validation or a checkpoint. Several processes agree
    on it, so that all of them stop: four bytes a step between them.

    Args:
        last: the checkpoint that the run goes on from, to name it.

    Attributes:
        begun: whether training has begun: what Lightning does before, such as reading a checkpoint, is over.
    """

    def __init__(self, last: Path | None = None) -> None:
        self.last = last
        self.begun = False
        self._pending: _Step | None = None

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Note it."""
        self.begun = True

    def on_before_backward(self, trainer: L.Trainer, pl_module: L.LightningModule, loss: Tensor) -> None:
        """Look at the loss of this step."""
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
        """Nothing is scored after a loss that is not finite."""
        self._settle()

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """The last step's."""
        self._settle()

    def on_save_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        """Keep weights that are not finite out of checkpoints: no loss has seen them yet.

        Of what is no parameter only not-a-number is refused: a network may keep infinities on purpose.
        """
        self._settle()
        right = [parameter.detach().isfinite().all() for parameter in pl_module.parameters()]
        right += [~buffer.isnan().any() for buffer in pl_module.buffers() if buffer.is_floating_point()]
        if right and not _agreed(torch.stack(right).all()):
            raise CosegError(
                f"Weights came to be not a number by step {trainer.global_step} (epoch {trainer.current_epoch}). "
                f"{self._what_stays()} Start a new run: {REMEDIES}."
            )

    def _stopped(self, step: int, epoch: int, rates: Sequence[float]) -> CosegError:
        rate = f"{max(rates):g}" if rates else "unknown"
        return CosegError(
            f"The loss of step {step} (epoch {epoch}) is not a finite number, at learning rate {rate}: training stops. "
            f"{self._what_stays()} Start a new run: {REMEDIES}. If it is the first step, look at the images too: "
            "coseg-data check."
        )

    def _what_stays(self) -> str:
        if self.last is None:
            return ""
        return f"{self.last} is from before it." if self.last.is_file() else "There is no checkpoint from before it."


def _agreed(finite: Tensor) -> Tensor:
    """Whether it is so in all processes, as a number, on the device of `finite`."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        finite = finite.int()
        torch.distributed.all_reduce(finite, torch.distributed.ReduceOp.MIN)
    return finite


class StrangePairs:
    """Pairs of a validation whose logits are not finite: refused at once, or by all processes at its end."""

    def __init__(self) -> None:
        self.images: list[str] = []

    def add(self, task: L.LightningModule, pairs: Tensor) -> None:
        """Note pairs of images, int64 (B, 2).

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
        """Refuse what any process has noted; all of them call this together.

        Raises:
            CosegError: there is something.
        """
        images, self.images = self.images, []
        if task.trainer.world_size > 1:
            gathered: list[Any] = [None] * task.trainer.world_size
            torch.distributed.all_gather_object(gathered, images)
            images = [image for part in gathered for image in part]
        if images:
            network = getattr(task, "network", task)
            raise refusal(f"The network {getattr(network, 'name', type(network).__name__)}", images)
