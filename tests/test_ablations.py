"""Every ablation changes what it says, whatever the experiment, and trains."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from facts import naming
from omegaconf import DictConfig, OmegaConf

from coseg.errors import CosegError
from coseg.training.fit import fit

FOLDER = Path(__file__).resolve().parents[1] / "conf" / "ablation"
NAMES = sorted(path.stem for path in FOLDER.glob("*.yaml"))
SMALL = (
    "dataset.reader.size=48",
    *(f"dataset.reader.{split}=12" for split in ("train", "val", "seen", "unseen")),
    "model.input_size=48",
    "model.encoder.width=0.125",
    "augmentation.size=48",
    "data.batch_size=6",
    "data.pairs_per_epoch=6",
    "data.val_pairs=2",
    "data.workers=0",
    "data.cache_gb=0",
    "trainer.accelerator=cpu",
    "trainer.fast_dev_run=true",
    "panels=0",
    "threads=1",
)

Compose = Callable[..., DictConfig]


def leaves(config: dict[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in config.items():
        if isinstance(value, dict):
            yield from leaves(value, f"{path}{key}.")
        elif key != "defaults":
            yield f"{path}{key}", value


def check(config: DictConfig, name: str) -> None:
    """What the file states is what the configuration holds."""
    stated = OmegaConf.to_container(OmegaConf.load(FOLDER / f"{name}.yaml"))
    assert isinstance(stated, dict) and "ablation" not in stated  # the name is Hydra's choice
    for key, value in leaves(stated):
        assert OmegaConf.select(config, key, throw_on_missing=True) == value
    if name == "no_augmentation":
        assert len(config.augmentation.transforms) == 1
        assert config.augmentation.transforms[0]._target_ == "albumentations.Resize"


@pytest.mark.parametrize("name", NAMES)
def test_every_ablation_of_shapes_runs(name: str, compose: Compose, tmp_path: Path) -> None:
    config = compose("train", "experiment=shapes", f"ablation={name}", *SMALL)
    check(config, name)
    fit(config, tmp_path)
    check(OmegaConf.load(tmp_path / "config.yaml"), name)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "name", ["no_augmentation", "conv5_3_stride_16", "scales_3_5_7", "rescale_off", "class_balanced"]
)
def test_an_ablation_wins_over_the_experiment_s_own(name: str, compose: Compose) -> None:
    """Each of these changes what the experiment, or the experiment for its model, sets."""
    check(compose("train", "experiment=voc_mini", f"ablation={name}"), name)


def test_two_ablations_at_once(compose: Compose) -> None:
    config = compose("train", "experiment=voc_pairs", "ablation=[no_pretraining,use_gate]")
    assert (config.model.encoder.weights, config.model.use) == (None, "gate")


def test_the_method_itself_is_among_them(compose: Compose) -> None:
    assert compose("train") == compose("train", "ablation=none")


def test_the_control_has_no_matching_to_change(compose: Compose, tmp_path: Path) -> None:
    with pytest.raises(CosegError, match=naming("SiameseNetwork", "'pooling'", "ablation")):
        fit(compose("train", "model=siamese", "ablation=pooling_max", *SMALL), tmp_path)
    assert not list(tmp_path.iterdir())


def test_they_are_swept(command: Callable[..., tuple[int, str, str]], tmp_path: Path) -> None:
    code, _, err = command("train", "-m", "ablation=glob([none,use_add])", "experiment=shapes", *SMALL)
    assert code == 0, err
    (sweep,) = tmp_path.glob("runs/shapes/sweeps/*")
    chosen = [json.loads((sweep / job / "environment.json").read_text())[0]["choices"]["ablation"] for job in "01"]
    assert chosen == ["none", "use_add"]
