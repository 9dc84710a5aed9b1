"""Training that goes on after a stop: what the data module gives to a `Trainer` then."""

import albumentations as A
import lightning as L
import pytest
import torch
from lightning.pytorch.callbacks import Callback

from coseg.data.augmentation import Augmentation
from coseg.data.datamodule import PairDataModule
from coseg.data.readers.shapes import ShapesReader


class Recorder(L.LightningModule):
    """Trains one number and writes down what it is given."""

    def __init__(self):
        super().__init__()
        self.number = torch.nn.Parameter(torch.zeros(1))
        self.seen = []

    def training_step(self, batch, batch_idx):
        self.seen.append((self.current_epoch, batch["pair"].tolist(), int(batch["image_a"].sum())))
        return (self.number - 1).square().sum()

    def validation_step(self, batch, batch_idx):
        pass

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


class StopAfter(Callback):
    """Writes a checkpoint after some steps, at one of Lightning's moments, and stops."""

    def __init__(self, steps, moment, path):
        self.steps = steps
        self.path = path
        setattr(self, moment, self.stop)

    def stop(self, trainer, *_):
        if trainer.global_step == self.steps:
            trainer.save_checkpoint(self.path)
            trainer.should_stop = True


def train(*callbacks, resume=None, workers=0):
    recorder = Recorder()
    trainer = L.Trainer(
        max_epochs=3,
        accelerator="cpu",
        logger=False,
        callbacks=list(callbacks),
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        min_epochs=0,
    )
    data = PairDataModule(
        ShapesReader(size=48, train=24, val=16, seen=2, unseen=2),
        splits={"train": "train", "val": "val"},
        augmentation=Augmentation([A.RandomResizedCrop(size=(32, 32), scale=(0.4, 1.0))], size=32),
        batch_size=4,
        pairs_per_epoch=12,
        val_pairs=2,
        workers=workers,
    )
    trainer.fit(recorder, datamodule=data, ckpt_path=resume)
    return recorder.seen


@pytest.mark.filterwarnings("ignore:.*LeafSpec")
@pytest.mark.filterwarnings("ignore:You're resuming from a checkpoint that ended before the epoch ended")
@pytest.mark.parametrize(
    ("steps", "moment", "workers"),
    [
        (1, "on_train_batch_end", 0),
        (4, "on_train_batch_end", 2),
        (6, "on_train_batch_end", 0),  # the last of an epoch
        (6, "on_validation_end", 2),
        (6, "on_train_epoch_end", 0),
    ],
)
def test_resumed_training_sees_what_an_unbroken_one_sees(tmp_path, steps, moment, workers):
    whole = train()
    assert [epoch for epoch, *_ in whole] == [0] * 3 + [1] * 3 + [2] * 3
    path = tmp_path / "stopped.ckpt"
    assert train(StopAfter(steps, moment, path)) == whole[:steps]
    assert train(resume=path, workers=workers) == whole[steps:]
