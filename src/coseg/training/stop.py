"""Stop at the next step on Ctrl-C or SIGTERM, leaving a checkpoint to go on from."""

from __future__ import annotations

import multiprocessing
import os
import signal
from pathlib import Path
from types import FrameType
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import Callback

from coseg.training.errors import Stopped

SIGNALS = (signal.SIGINT, signal.SIGTERM)




class StopOnSignal(Callback):
    """Finish the running step, write ``last.ckpt`` and raise `Stopped`.

    A second Ctrl-C interrupts at once. With gradient accumulation the step ends when its gradients were applied, since
    gradients are not part of a checkpoint. Where there are several processes, one signalled process stops them all.

    Args:
        folder: where ``last.ckpt`` is written.
    """

    def __init__(self, folder: str | Path) -> None:
        self.path = Path(folder) / "last.ckpt"
        self.received: int | None = None
        self._previous: dict[int, Any] = {}

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if self.received is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.received = number
        os.write(2, b"\nstopping after this step; a checkpoint will be written\n")  # log handlers may hold a lock here

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Take over the signals. Lightning's own handling would leave without a checkpoint of the running epoch."""
        for number in SIGNALS:
            try:
                self._previous[number] = signal.signal(number, self._receive)
            except ValueError:  # only the main thread may: elsewhere signals keep their meaning
                return

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Where the loop can be left: the step is applied, and Lightning goes on behind it after a restart."""
        if (batch_idx + 1) % trainer.accumulate_grad_batches and not trainer.is_last_batch:
            return
        stop = self.received is not None
        if trainer.world_size > 1:
            stop = trainer.strategy.reduce_boolean_decision(stop, all=False)
        if stop:
            trainer.save_checkpoint(self.path)
            raise Stopped(self.path, self.received or signal.SIGTERM)

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


def pass_signals_on() -> None:
    """In a process that only waits for its training processes: hand their stop signal to them and go on waiting."""

    def forward(number: int, frame: FrameType | None) -> None:
        for child in multiprocessing.active_children():
            if child.pid is not None and number == signal.SIGTERM:  # Ctrl-C reaches the whole group by itself
                os.kill(child.pid, number)

    for number in SIGNALS:
        signal.signal(number, forward)
