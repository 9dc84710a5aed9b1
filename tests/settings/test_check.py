"""The check of settings: what is refused, what stays allowed, and that all that is shipped passes. Without torch."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from omegaconf import DictConfig, ListConfig, OmegaConf

from coseg.errors import CosegError
from coseg.settings.check import UnresolvedError, check_settings

CONF = Path(__file__).resolve().parents[2] / "conf"
Compose = Callable[..., DictConfig]


def names(group: str) -> list[str]:
    return sorted(path.stem for path in (CONF / group).glob("*.yaml"))


NO_NUMBER = ("foo", "'5'", "nan", "inf", "-inf", "1e400", "[1]", "{a: 1}", "true")
COUNT = (*NO_NUMBER, "-1", "1.5", "null")
POSITIVE = (*COUNT, "0", "-0")
OPTIONAL = tuple(value for value in POSITIVE if value != "null")
REAL = (*NO_NUMBER, "-0.1", "null")
PIXELS = (*OPTIONAL, "1000000000")
SWITCH = ("maybe", "2", "-1", "0.5", "nan", "null", "'yes'", "no", "[true]")

TRAIN: dict[str, tuple[str, ...]] = {
    "seed": (*COUNT, "4294967296"),
    "threads": (*OPTIONAL, "1000000"),
    "panels": tuple(value for value in COUNT if value != "null"),
    "checkpoint_minutes": tuple(value for value in REAL if value != "null"),
    "check": SWITCH,
    "name": ("5", "null", "[a]", "true"),
    "runs": ("5", "null", "{a: 1}"),
    "resume": ("5", "[a]"),
    "weights": ("5", "[a]"),
    "data": ("null",),
    "task": ("null",),
    "trainer": ("null",),
    "data.batch_size": POSITIVE,
    "data.pairs_per_epoch": OPTIONAL,
    "data.val_pairs": OPTIONAL,
    "data.test_pairs": OPTIONAL,
    "data.val_negatives": COUNT,
    "data.test_negatives": COUNT,
    "data.negatives": (*REAL, "1.01"),
    "data.workers": (*COUNT, "1000000"),
    "data.cache_gb": REAL,
    "data.clique": (*OPTIONAL, "1"),
    "data.order": ("5", "null", "[uniform]"),
    "task.semantic": REAL,
    "task.jaccard": REAL,
    "task.channels_last": SWITCH,
    "task.compile": SWITCH,
    "task.void": ("[ignored]", "null", "5"),
    "protocol.size": PIXELS,
    "protocol.unit": ("[pair]", "{a: 1}"),
    "trainer.max_epochs": ("foo", "nan", "inf", "1e400", "0", "-2", "1.5", "[3]", "'3'", "true"),
    "trainer.devices": ("0", "-5", "x", "1.5", "[]", "[-1]", "[x]", "true", "nan", "'0'", "'1;2'", "2000000000.5"),
    "trainer.max_steps": ("foo", "nan", "inf", "0", "-2", "1.5", "[3]", "null"),
    "trainer.max_time": ("5", "[1]", "{hours: foo}", "{hours: nan}"),
    "trainer.accumulate_grad_batches": POSITIVE,
    "trainer.check_val_every_n_epoch": OPTIONAL,
    "trainer.gradient_clip_val": tuple(value for value in REAL if value != "null"),
    "trainer.log_every_n_steps": tuple(value for value in COUNT if value != "null"),
    "trainer.limit_train_batches": ("foo", "nan", "inf", "-1", "1.5", "[1]", "true"),
    "trainer.limit_val_batches": ("foo", "nan", "-0.1", "'1'"),
    "trainer.limit_test_batches": ("foo", "nan", "2.5"),
    "trainer.num_sanity_val_steps": ("foo", "-2", "1.5", "nan"),
    "trainer.precision": ("foo", "8", "[32]", "nan", "true"),
    "trainer.deterministic": ("maybe", "2", "nan"),
    "trainer.fast_dev_run": ("maybe", "-1", "1.5", "nan", "null"),
    "trainer.use_distributed_sampler": SWITCH,
    "trainer.profiler": ("5", "foo", "[simple]"),
    "model._target_": ("null", "5", "[a]"),
    "data.reader": ("null", "5"),
    "data.splits": ("null", "[a]"),
    "data.splits.train": ("5", "null"),
    "logger.csv": ("5", "foo"),
    "callbacks.mine": ("5", "[a]"),
    "trainer.enable_model_summary": ("maybe", "nan"),
    "optimizer.lr": (*NO_NUMBER, "0", "-1", "null", "-0.0"),
    "optimizer.weight_decay": REAL,
    "optimizer.encoder_lr_scale": (*NO_NUMBER, "0", "-1"),
    "optimizer.layer_decay": (*NO_NUMBER, "0", "1.01"),
    "+optimizer.betas": ("foo", "[0.9]", "[0.9,1.0]", "[nan,0.9]", "[-1,0.9]", "null", "0.9"),
    "+optimizer.eps": ("foo", "nan", "-1", "null"),
    "schedule.pct_start": ("foo", "nan", "-0.1", "1.1", "null"),
    "schedule.total_steps": ("foo", "0", "1.5", "nan"),
    "schedule.max_lr": ("foo", "0", "nan", "[nan]"),
    "augmentation.size": (*POSITIVE, "1000000000"),
    "augmentation.tries": (*POSITIVE, "1000000000"),
    "augmentation.transforms.1.p": ("foo", "nan", "-0.1", "1.1"),
    "model.encoder.width": (*NO_NUMBER, "0", "-1", "1e9", "null"),
    "model.encoder.stride": POSITIVE,
    "model.encoder.frozen": SWITCH,
    "model.encoder.batch_norm": SWITCH,
    "model.encoder.weights": ("5", "[a]"),
    "model.kernel_sizes": ("foo", "3", "[]", "[0]", "[-1]", "[nan]", "[3,x]", "[999999]", "[3.0]", "null", "[[3]]"),
    "model.decoder_channels": ("foo", "[0]", "[16,nan]", "[1000000000]"),
    "model.batch_norm": SWITCH,
    "model.rescale": SWITCH,
    "model.input_size": PIXELS,
    "model.pooling": ("5", "null", "[average]"),
    "dataset.reader.seed": COUNT,
    "dataset.reader.size": POSITIVE,
    "dataset.reader.train": POSITIVE,
}

TEST: dict[str, tuple[str, ...]] = {
    "seed": (*COUNT, "4294967296"),
    "threads": (*OPTIONAL, "1000000"),
    "mirrored": SWITCH,
    "panels": ("foo", "-1", "nan", "1.5"),
    "feature_gb": REAL,
    "pairs_at_once": POSITIVE,
    "input_size": PIXELS,
    "ckpt": ("5", "[a]"),
    "predictions": ("5", "[a]"),
    "save_masks": (*SWITCH, "maps"),
    "data.pairs": ("5", "[a]"),
    "runs": ("null", "5"),
    "data.workers": COUNT,
    "data.cache_gb": REAL,
    "trainer": ("null",),
    "trainer.precision": ("foo",),
}

CASES = [("train", key, value) for key, values in TRAIN.items() for value in values]
CASES += [("test", key, value) for key, values in TEST.items() for value in values]


@pytest.fixture(scope="module")
def parsed() -> Callable[[str], Any]:
    """The value of an override as Hydra reads it."""
    from hydra.core.override_parser.overrides_parser import OverridesParser

    parser = OverridesParser.create()
    return lambda text: parser.parse_override(f"x={text}").value()


@pytest.fixture(scope="module")
def composed(compose: Compose) -> dict[str, DictConfig]:
    return {"train": compose("train"), "test": compose("test")}


def test_there_are_many_cases() -> None:
    assert len(CASES) >= 500


@pytest.mark.parametrize("command", ["train", "test"])
def test_bad_values_are_refused(command: str, composed: dict[str, DictConfig], parsed: Callable[[str], Any]) -> None:
    """One sentence that names key and value. All cases of a command in one test: they take a millisecond each."""
    for _, added, text in (case for case in CASES if case[0] == command):
        config = composed[command].copy()
        key = added.removeprefix("+")
        OmegaConf.set_struct(config, False)
        value = parsed(text)
        _set(config, key, value.text if hasattr(value, "text") else value)
        with pytest.raises(CosegError) as refused:
            check_settings(config, command)
        said = str(refused.value)
        assert said.startswith(f"{key} "), (key, text, said)
        assert "but must be" in said and "\n" not in said and len(said) < 400, (key, text, said)


def _set(config: DictConfig, key: str, value: Any) -> None:
    parent, _, name = key.rpartition(".")
    node = OmegaConf.select(config, parent) if parent else config
    node[int(name) if isinstance(node, ListConfig) else name] = value


GOOD: dict[str, dict[str, tuple[str, ...]]] = {
    "train": {
        "seed": ("0", "4294967295"),
        "threads": ("null", "1"),
        "panels": ("0", "null"),
        "checkpoint_minutes": ("0.5", "0", "null"),
        "trainer.max_epochs": ("-1", "1e3", "1", "null"),
        "trainer.max_steps": ("-1", "1e5"),
        "trainer.devices": ("1", "-1", "auto", "'0,1'", "'0,'", "'2'", "[0]", "[0,3]", "null"),
        "trainer.max_time": ("'00:12:00:00'", "{hours: 3}", "null"),
        "trainer.limit_train_batches": ("7", "0.5", "0", "null"),
        "trainer.precision": ("bf16-mixed", "16", "auto", "null"),
        "trainer.deterministic": ("true", "warn", "null"),
        "trainer.fast_dev_run": ("3", "true"),
        "trainer.gradient_clip_val": ("0", "1.5", "null"),
        "trainer.gradient_clip_algorithm": ("value", "null"),
        "trainer.val_check_interval": ("0.5", "100", "null"),
        "data.workers": ("0", "16"),
        "data.cache_gb": ("0", "0.5"),
        "data.negatives": ("0", "1"),
        "data.val_pairs": ("null", "1"),
        "task.semantic": ("0", "3"),
        "optimizer.betas": ("[0.9,0.999]", "[0,0]"),
        "model.batch_norm": ("0", "true"),
        "model.kernel_sizes": ("[1]", "[3,5,7]"),
        "model.mine": ("foo", "-1"),
        "mine": ("{a: nan, b: [1, x]}",),
    },
    "test": {
        "mirrored": ("true", "1"),
        "feature_gb": ("0", "0.5"),
        "input_size": ("64", "null"),
        "split": ("5", "null"),
        "panels": ("null", "0"),
        "ckpt": ("'5'", "'a b'"),
        "protocol.size": ("512",),
    },
}


@pytest.mark.parametrize("command", ["train", "test"])
def test_what_works_is_not_refused(command: str, composed: dict[str, DictConfig], parsed: Callable[[str], Any]) -> None:
    for key, texts in GOOD[command].items():
        for text in texts:
            config = composed[command].copy()
            OmegaConf.set_struct(config, False)
            value = parsed(text)
            _set(config, key, value.text if hasattr(value, "text") else value)
            check_settings(config, command)


def shipped() -> Iterator[tuple[str, ...]]:
    """Every experiment, every model, every ablation, and every choice of the other groups."""
    for group in ("experiment", "model", "ablation"):
        yield from (("train", f"{group}={name}") for name in names(group))
    yield from (("train", f"encoder@model.encoder={name}") for name in names("encoder"))
    for group in (
        "augmentation",
        "callbacks",
        "data/sampler",
        "dataset",
        "logger",
        "optimizer",
        "protocol",
        "schedule",
    ):
        yield from (("train", f"{group}={name}") for name in names(group))
    yield from (("train", f"trainer={name}") for name in names("trainer") if name != "test")
    yield from (("test", f"{group}={name}") for group in ("dataset", "protocol") for name in names(group))
    yield from (("sweep", f"study={name}") for name in names("study"))


@pytest.fixture(scope="module")
def all_shipped(compose: Compose) -> list[tuple[str, DictConfig]]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COSEG_VOC_ROOT", "somewhere")
        return [(" ".join(words), compose(*words)) for words in shipped()]


def test_what_is_shipped_passes(all_shipped: list[tuple[str, DictConfig]]) -> None:
    for words, config in all_shipped:
        check_settings(config, words.split(" ")[0])


@pytest.mark.slow
@pytest.mark.parametrize("experiment", names("experiment"))
def test_every_model_passes_in_each_experiment(
    experiment: str, compose: Compose, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COSEG_VOC_ROOT", "somewhere")
    for model in names("model"):
        check_settings(compose("train", f"experiment={experiment}", f"model={model}"), "train")


FREE = {
    "augmentation.transforms": "albumentations refuses what it can't use, but for numbers that are not finite",
    "trainer.strategy": "an object of Lightning's",
    "logger.wandb.settings": "wandb's own",
}
"""Numbers and switches that the check leaves to others, and why."""


def test_every_shipped_number_and_switch_has_a_type(all_shipped: list[tuple[str, DictConfig]]) -> None:
    """Whatever is a number or a switch in a shipped file refuses a word; a number, what is not finite, too."""
    seen: set[tuple[str, str]] = set()
    for words, config in all_shipped:
        OmegaConf.set_struct(config, False)
        for key, value in _leaves(config, ""):
            parent, _, name = key.rpartition(".")
            node = OmegaConf.select(config, parent) if parent else config
            made = str(node.get("_target_", "")) if isinstance(node, DictConfig) else ""
            if (key, made) in seen or any(key.startswith(free) and "transforms" not in key for free in FREE):
                continue
            seen.add((key, made))
            for bad in ("maybe", math.nan):
                if bad == "maybe" and "transforms" in key and name not in ("p", "height", "width"):
                    continue
                node[int(name) if isinstance(node, ListConfig) else name] = bad
                with pytest.raises(CosegError):
                    check_settings(config)
                    raise AssertionError(f"{words}: {key}={bad} is not refused")
            node[int(name) if isinstance(node, ListConfig) else name] = value
    assert len(seen) > 120


def _leaves(node: Any, key: str) -> Iterator[tuple[str, Any]]:
    if isinstance(node, ListConfig):
        entries: Any = [(place, node._get_node(place)) for place in range(len(node))]
    elif node._is_none():
        return
    else:
        entries = [(name, node._get_node(name)) for name in node]
    for name, child in entries:
        full = f"{key}.{name}" if key else str(name)
        if child._is_interpolation():
            continue
        if isinstance(child, DictConfig | ListConfig):
            yield from _leaves(child, full)
        elif isinstance(child._value(), bool | int | float):
            yield full, child._value()


def test_settings_of_other_classes_are_theirs(compose: Compose) -> None:
    config = compose("train", "model._target_=mine.Network", "+model.width=wide", "model.kernel_sizes=foo")
    check_settings(config, "train")
    config = compose("train", "dataset.reader._target_=mine.Reader", "dataset.reader.size=large", "+dataset.root=[a,b]")
    check_settings(config, "train")


def test_a_value_that_others_refer_to_is_told_once(compose: Compose) -> None:
    with pytest.raises(CosegError) as refused:
        check_settings(compose("train", "augmentation.size=-5", "seed=-1", "dataset.reader.size=48"), "train")
    assert str(refused.value).count("but must be") == 2
    assert "augmentation.transforms" not in str(refused.value) and "data.seed" not in str(refused.value)


def test_many_wrong_settings_are_counted(compose: Compose) -> None:
    wrong = ["seed", "threads", "data.batch_size", "data.workers", "task.semantic", "task.jaccard", "optimizer.lr"]
    with pytest.raises(CosegError, match="2 more") as refused:
        check_settings(compose("train", *(f"{key}=foo" for key in wrong)), "train")
    assert str(refused.value).count("but must be") == 5


@pytest.mark.parametrize(
    "override",
    ["~seed", "~task", "~trainer", "~data", "~protocol.void", "~optimizer", "~dataset", "~logger", "~augmentation"],
)
def test_what_is_taken_away_is_named(override: str, compose: Compose) -> None:
    with pytest.raises(CosegError) as refused:
        check_settings(compose("train", override), "train")
    assert str(refused.value).startswith(override.removeprefix("~")) and "missing" in str(refused.value)


def test_a_configuration_that_refers_to_nothing(compose: Compose) -> None:
    with pytest.raises(UnresolvedError, match="NO_SUCH_VARIABLE"):
        check_settings(compose("train", "seed=${oc.env:NO_SUCH_VARIABLE}"), "train")
    with pytest.raises(CosegError, match=r"^dataset\.root "):  # what a resolver can't take
        check_settings(compose("train", "dataset=folder", "dataset.root=[a]"), "train")


def test_huge_values_are_cut(compose: Compose) -> None:
    for value in ("9" * 4000, "a" * 4000, f"[{','.join('1' * 500)}]"):
        with pytest.raises(CosegError) as refused:
            check_settings(compose("train", f"data.batch_size={value}"), "train")
        assert len(str(refused.value)) < 300
