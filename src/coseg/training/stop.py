"""Stop at the next step on Ctrl-C or SIGTERM, leaving a checkpoint to go on from."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.strategies.launchers import _MultiProcessingLauncher

from coseg.training.errors import Stopped

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StopOnSignal(Callback):
    """Finish the running step, write ``last.ckpt`` and raise `Stopped`.

    A second Ctrl-C interrupts at once. With gradient accumulation the step ends when its gradients were applied, since
    gradients are not part of a checkpoint. After the last step of an epoch the validation is finished first, and the
    checkpoint is the one that every epoch ends with: Lightning would leave the validation out when it goes on there.
    Where there are several processes, one signalled process stops them all.

    ``last.ckpt`` is also written every `minutes`, since an epoch can take days and a power cut sends no signal.

    Args:
        folder: where ``last.ckpt`` is written.
        minutes: between two checkpoints in the middle of an epoch; 0 writes none.
    """

    def __init__(self, folder: str | Path, minutes: float = 0.0) -> None:
        self.path = Path(folder) / "last.ckpt"
        self.seconds = minutes * 60
        self._written = time.monotonic()
        self.received: int | None = None
        self._saved = False
        self._previous: dict[int, Any] = {}

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if self.received is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.received = number
        os.write(2, b"\nstopping after this step; a checkpoint will be written\n")  # log handlers may hold a lock here

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Take over the signals. Lightning's own handling would leave without a checkpoint of the running epoch."""
        self._written = time.monotonic()
        for number in SIGNALS:
            try:
                self._previous[number] = signal.signal(number, self._receive)
            except ValueError:  # only the main thread may: elsewhere signals keep their meaning
                return

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Where Lightning can go on after a restart: the step is applied."""
        if (batch_idx + 1) % trainer.accumulate_grad_batches or trainer.is_last_batch:
            return
        asked = self.received is not None
        due = 0 < self.seconds <= time.monotonic() - self._written
        wanted = self._largest(trainer, 2 if asked else int(due))
        self._saved = wanted == 2
        if wanted:
            trainer.save_checkpoint(self.path)
            self._written = time.monotonic()

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Leave, now that the metrics of the saved step are logged."""
        if self._saved:
            raise Stopped(self.path, self.received or signal.SIGTERM)

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Leave between two epochs, if the signal came so late."""
        if self._largest(trainer, int(self.received is not None)) and self.path.exists():
            raise Stopped(self.path, self.received or signal.SIGTERM)

    def _largest(self, trainer: L.Trainer, wanted: int) -> int:
        """Of what each process wants: they have to agree, and one message between them says it all."""
        if trainer.world_size == 1:
            return wanted
        value = torch.tensor(wanted, device=trainer.strategy.root_device)
        return int(trainer.strategy.reduce(value, reduce_op="max"))

    def teardown(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Give the signals back."""
        self._restore()

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        """Give the signals back."""
        self._restore()

    def _restore(self) -> None:
        while self._previous:
            number, handler = self._previous.popitem()
            signal.signal(number, handler)


@contextmanager
def pass_signals_on(trainer: L.Trainer) -> Iterator[None]:
    """While `trainer` runs in spawned processes, hand their stop signal to them and go on waiting."""
    if not isinstance(trainer.strategy.launcher, _MultiProcessingLauncher):
        yield
        return

    def forward(number: int, frame: FrameType | None) -> None:
        for child in multiprocessing.active_children():
            if child.pid is not None and number == signal.SIGTERM:  # Ctrl-C reaches the whole group by itself
                os.kill(child.pid, number)

    previous = {number: signal.signal(number, forward) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
