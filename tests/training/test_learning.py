"""Every network that is shipped learns, by the ordinary training."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from statistics import mean

import pytest
from metrics_file import read_losses
from omegaconf import DictConfig

from coseg.training.fit import fit, prepare_process

MODELS = sorted(path.stem for path in (Path(__file__).resolve().parents[2] / "conf" / "model").glob("*.yaml"))


QUICK = ("cross_correlation", "embedding_matching")


@pytest.mark.parametrize(
    "model", [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in MODELS]
)
def test_a_few_pairs_are_learnt_by_heart(model: str, tiny: Callable[..., DictConfig], tmp_path: Path) -> None:
    prepare_process(1)
    settings = ("dataset.reader.train=12", "augmentation=none", "data.pairs_per_epoch=96", "data.val_pairs=1")
    fit(tiny(f"model={model}", "model.input_size=48", *settings, "trainer.max_epochs=1"), tmp_path)
    losses = [float(loss) for _, loss in read_losses(tmp_path)]
    assert mean(losses[-4:]) < 0.7 * mean(losses[:4])
