"""The two checkpoints of a run, ``best.ckpt`` and ``last.ckpt``: how they are written, and when, also at a signal."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from lightning.pytorch.plugins import TorchCheckpointIO

from coseg.hub.checkpoint import read_sealed, write_checkpoint
from coseg.lightning_internals import OverwritingCheckpoint, leave_sigterm
from coseg.run_dir import BEST, LAST
from coseg.signals import Stopped, StopRequest

log = logging.getLogger(__name__)


class SealedCheckpointIO(TorchCheckpointIO):
    """How Lightning writes and reads checkpoints in local files.

    Lightning's own writes to the temporary directory and moves the file from there; on another file system that is a
    copy over the earlier checkpoint, of which a killed process leaves half.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        """Write `checkpoint` to `path`, where the earlier one stays until the new one is whole and on the disk.

        Raises:
            CosegError: it can't be written, since the disk is full, say; the earlier one is still there.
            TypeError: `storage_options` are given, which local files do not have.
        """
        if storage_options is not None:
            raise TypeError(f"{type(self).__name__} takes no storage_options.")
        write_checkpoint(checkpoint, Path(path))

    def load_checkpoint(self, path: Any, map_location: Any = "cpu", weights_only: bool | None = True) -> dict[str, Any]:
        """Read a checkpoint onto the CPU, and nothing but data from it.

        Raises:
            CosegError: it is damaged.
            FileNotFoundError: it does not exist.
        """
        checkpoint: dict[str, Any] = read_sealed(Path(path))
        return checkpoint

    def remove_checkpoint(self, path: Any) -> None:
        """Remove a file; its name is no pattern, whatever is in it."""
        Path(path).unlink(missing_ok=True)


class RunCheckpoint(OverwritingCheckpoint):
    """Lightning's callback, for one checkpoint in a folder that may have been moved.

    Lightning stores full paths, and forgets the best score when the folder is another than in the checkpoint. Here the
    paths of the stored state are replaced by those of the same files in the present folder. In checkpoints its state
    has the name that Lightning's has: either class restores what the other one stored.
    """

    @property
    def state_key(self) -> str:
        """The name of its state in checkpoints."""
        return ModelCheckpoint.__qualname__ + super().state_key.removeprefix(type(self).__qualname__)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore a stored state; the score of a best checkpoint that does not exist any more is forgotten.

        The state may come from somebody else, and Lightning removes the files that it names: whatever they are, they
        are replaced by the one file of this callback.
        """
        state = dict(state_dict)
        for key in ("best_model_path", "kth_best_model_path"):
            state[key] = str(self.file) if state.get(key) else ""
        state["last_model_path"] = ""  # of `save_last`, which is off
        scores = list(dict(state["best_k_models"]).values())
        state["best_k_models"] = {str(self.file): scores[0]} if scores else {}
        if scores:
            state["kth_best_model_path"] = str(self.file)
        state["dirpath"] = self.dirpath
        if self.monitor is not None and state["best_model_path"] and not self.file.is_file():
            log.warning(
                f"{self.file} is missing: its {self.monitor} of {float(state['best_model_score']):.4f} "
                "is forgotten, and the best checkpoint will be the best from here on"
            )
            state = {**self.state_dict(), "current_score": state["current_score"]}
        super().load_state_dict(state)


def run_checkpoints(folder: Path) -> tuple[RunCheckpoint, RunCheckpoint]:
    """The callbacks that write the best and the last checkpoint to `folder`, in this order."""
    best = RunCheckpoint(
        dirpath=folder,
        filename=Path(BEST).stem,
        monitor="val/jaccard",
        mode="max",
        enable_version_counter=False,
    )
    # Not `save_last` of the above: that writes only where the score improves. After it, so that it holds its state.
    last = RunCheckpoint(
        dirpath=folder, filename=Path(LAST).stem, save_on_train_epoch_end=True, enable_version_counter=False
    )
    return best, last


class StopOnSignal(Callback):
    """Finish the running step on Ctrl-C or SIGTERM, write ``last.ckpt`` and raise `Stopped`.

    A second Ctrl-C interrupts at once. With gradient accumulation the step ends when its gradients were applied, since
    gradients are not part of a checkpoint. After the last step of an epoch the validation is finished first, and the
    checkpoint is the one that every epoch ends with: Lightning would leave the validation out when it resumes there.
    Where there are several processes, one signalled process stops them all.

    ``last.ckpt`` is also written every `minutes`, since an epoch can take days and a power cut sends no signal.
    Lightning's own ``ModelCheckpoint(train_time_interval=…)`` is no substitute: it also writes between the batches
    whose gradients are accumulated and after the last batch of an epoch, from where a run is not resumed exactly.

    Args:
        folder: where ``last.ckpt`` is written.
        minutes: between two checkpoints in the middle of an epoch; 0 writes none.
    """

    def __init__(self, folder: str | Path, minutes: float = 0.0) -> None:
        self.path = Path(folder) / LAST
        self.seconds = minutes * 60
        self._written = time.monotonic()
        self.request = StopRequest("stopping after this step; a checkpoint will be written")
        self._stop = 0  # the number of the signal, of whichever process, for which a checkpoint was written

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Take over the signals, before workers start: then the first step is done."""
        leave_sigterm(trainer)
        self.request.listen(quiet=not trainer.is_global_zero)

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Start the clock."""
        self._written = time.monotonic()

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Write ``last.ckpt`` where Lightning can resume exactly: the gradients are applied."""
        if (batch_idx + 1) % trainer.accumulate_grad_batches or trainer.is_last_batch or trainer.should_stop:
            return  # in the last two cases the validation comes next, and the checkpoint of the epoch
        due = 0 < self.seconds <= time.monotonic() - self._written
        number = self.request.number
        decision = self._largest(trainer, int(due) if number is None else 1 + number)
        self._stop = max(0, decision - 1)
        if decision:
            trainer.save_checkpoint(self.path)
            self._written = time.monotonic()

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Leave, now that the metrics of the saved step are logged."""
        if self._stop:
            raise Stopped(self.path, self._stop)

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Leave between two epochs, if the signal came so late."""
        number = self._largest(trainer, self.request.number or 0)
        if number and self.path.exists():
            raise Stopped(self.path, number)

    def _largest(self, trainer: L.Trainer, decision: int) -> int:
        """The largest of all processes' decisions: they have to agree, and this is one message between them."""
        if trainer.world_size == 1:
            return decision
        value = torch.tensor(decision, device=trainer.strategy.root_device)
        return int(trainer.strategy.reduce(value, reduce_op="max"))

    def teardown(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Give the signals back."""
        self.request.restore()

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        """Give the signals back."""
        self.request.restore()
