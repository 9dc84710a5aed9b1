"""Training at growing input sizes: small images first, which are quick to learn from, large ones at the end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor

from coseg.errors import CosegError
from coseg.models.network import checked_input_size
from coseg.training.task import CosegTask


class ProgressiveResizing(Callback):
    """Trains at one input size after the other; validation and everything else see the network's own.

    The loader always delivers square images of one size, and each batch is resized here, with its labels. Known as
    progressive resizing (Howard 2018, fast.ai's entry to DAWNBench; Tan and Le 2021, EfficientNetV2).

    Args:
        sizes: input sizes in pixels, each for an equal share of `trainer.max_epochs`; one that is repeated lasts
            longer. The last epoch has the last size; when they do not go round, the first last less. A check
            (``check=true``) has one epoch, so it times the last.

    Raises:
        CosegError: `sizes` is empty, or one is no number of pixels; at the start of training: there is no last epoch,
            or the network has no input size of its own.
    """

    def __init__(self, sizes: Sequence[int]) -> None:
        if not sizes:
            raise CosegError("callbacks.resizing.sizes is empty: give input sizes, [64, 96, 128] say.")
        for size in sizes:
            if checked_input_size(size, "callbacks.resizing.sizes") is None:
                raise CosegError("callbacks.resizing.sizes holds null, but each must be a number of pixels.")
        self.sizes = tuple(sizes)
        self._own: int | None = None

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Remember the network's own input size."""
        assert isinstance(pl_module, CosegTask)
        self._own = pl_module.network.input_size
        if self._own is None:
            raise CosegError(
                "callbacks.resizing needs a network with an input size: set model.input_size, or callbacks=none."
            )
        if trainer.max_epochs is None or trainer.max_epochs < 1:
            raise CosegError("callbacks.resizing needs a last epoch: set trainer.max_epochs, or callbacks=none.")

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Train at the epoch's size; not at the start of the epoch, which a resumed one does not have."""
        assert isinstance(pl_module, CosegTask)
        assert trainer.max_epochs is not None
        left = trainer.max_epochs - 1 - trainer.current_epoch
        size = self.sizes[-1 - left * len(self.sizes) // trainer.max_epochs]
        pl_module.network.input_size = size
        for name, value in batch.items():
            if value.dim() == 4:  # images; label maps and targets have three dimensions, all else fewer
                batch[name] = pl_module.network.resize(value)
            elif value.dim() == 3:
                batch[name] = nearest(value, size)

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Validate at the network's own size."""
        self._restore(pl_module)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Leave the network as it was."""
        self._restore(pl_module)

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        """Likewise when training breaks off."""
        self._restore(pl_module)

    def _restore(self, pl_module: L.LightningModule) -> None:
        assert isinstance(pl_module, CosegTask)
        if self._own is not None:
            pl_module.network.input_size = self._own


def nearest(labels: Tensor, size: int) -> Tensor:
    """Label maps (B, H, W) at `size` x `size`: each pixel takes the label at its centre."""
    rows, columns = (
        ((torch.arange(size, device=labels.device) + 0.5) * old / size).long() for old in labels.shape[-2:]
    )
    return labels[:, rows][:, :, columns]
