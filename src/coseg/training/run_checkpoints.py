"""The two checkpoints of a run: the best, and the last; both go with its folder, wherever that is moved or copied."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import ModelCheckpoint

BEST, LAST = "best.ckpt", "last.ckpt"
"""Their files, in the folder ``checkpoints`` of the run."""

log = logging.getLogger(__name__)


class RunCheckpoint(ModelCheckpoint):
    """Lightning's callback, for checkpoints that stay in one folder which may have been elsewhere.

    Lightning stores full paths, and forgets the best score when the folder is another than in the checkpoint. Here the
    paths of the stored state come to be those of the same files in the present folder. In checkpoints its state has
    the name that Lightning's has: either class restores what the other one stored.

    It keeps one checkpoint, whose name does not depend on scores or steps.
    """

    @property
    def state_key(self) -> str:
        """The name of its state in checkpoints."""
        return ModelCheckpoint.__qualname__ + super().state_key.removeprefix(type(self).__qualname__)

    @property
    def own_path(self) -> str:
        """The one file that it writes and removes."""
        assert self.dirpath is not None
        return str(Path(self.dirpath) / f"{self.filename}{self.FILE_EXTENSION}")

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore a stored state; the score of a best checkpoint that is not there any more is forgotten.

        Somebody else may have written the state, and Lightning removes the files that it names: whatever they are,
        they come to be its own.
        """
        state = dict(state_dict)
        for key in ("best_model_path", "kth_best_model_path"):
            state[key] = self.own_path if state.get(key) else ""
        state["last_model_path"] = ""  # of `save_last`, which is off
        scores = list(dict(state["best_k_models"]).values())
        state["best_k_models"] = dict.fromkeys([self.own_path], scores[0]) if scores else {}
        if scores:
            state["kth_best_model_path"] = self.own_path
        state["dirpath"] = self.dirpath
        if self.monitor is not None and state["best_model_path"] and not Path(state["best_model_path"]).is_file():
            log.warning(
                f"{state['best_model_path']} is missing: its {self.monitor} of {float(state['best_model_score']):.4f} "
                "is forgotten, and the best checkpoint will be the best from here on"
            )
            state = {**self.state_dict(), "current_score": state["current_score"]}
        super().load_state_dict(state)

    def _should_remove_checkpoint(self, trainer: L.Trainer, previous: str, current: str) -> bool:
        """Its own file alone, which is written over instead: there is never another one to be removed."""
        return False


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
