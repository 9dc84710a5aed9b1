"""What the tests of training and of the commands share: tiny settings, and commands run in this process."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

if TYPE_CHECKING:
    from omegaconf import DictConfig

TINY_DATA = (
    "dataset.reader.size=48",
    "dataset.reader.train=24",
    "dataset.reader.val=20",
    "dataset.reader.seen=16",
    "dataset.reader.unseen=8",
)
TINY_NETWORK = ("model.encoder.width=0.125", "model.encoder.stride=8", "model.input_size=null")
TINY_FEED = (
    "augmentation.size=48",
    "data.batch_size=4",
    "data.pairs_per_epoch=16",
    "data.val_pairs=3",
    "data.workers=0",
    "data.cache_gb=0",
)
TINY_TRAINER = (
    "trainer.accelerator=cpu",
    "trainer.precision=32-true",
    "trainer.max_epochs=2",
    "trainer.log_every_n_steps=1",
    "threads=1",
)
TINY = {
    "train": (*TINY_DATA, *TINY_NETWORK, *TINY_FEED, *TINY_TRAINER),
    "test": (*TINY_DATA, "data.workers=0", "trainer.accelerator=cpu", "threads=1"),
}
"""Overrides of each command: a training of 8 steps takes a second or two."""


@pytest.fixture(scope="session")
def tiny_overrides() -> dict[str, tuple[str, ...]]:
    """`TINY`."""
    return TINY


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    """Numbers that are compared exactly must not depend on the machine's cores; tiny tensors gain nothing from more."""
    import torch

    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def compose() -> Callable[..., DictConfig]:
    """``compose("train" or "test", *overrides)``: the configuration that a command would compose."""
    from hydra.core.global_hydra import GlobalHydra

    from coseg.configs import compose_config

    def composed(name: str, *overrides: str) -> DictConfig:
        GlobalHydra.instance().clear()
        return compose_config(name, list(overrides))

    return composed


@pytest.fixture(scope="session")
def tiny(compose: Callable[..., DictConfig]) -> Callable[..., DictConfig]:
    """``tiny(*overrides)``: the default training in tiny settings, without panels."""
    return lambda *overrides: compose("train", *TINY["train"], "panels=0", *overrides)


@pytest.fixture(scope="session")
def trained(tiny: Callable[..., DictConfig], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory ``<runs>/shapes/first`` of a tiny training with panels; tests write nothing but its ``test/``."""
    from coseg.training.fit import fit, prepare_process

    folder = tmp_path_factory.mktemp("trained") / "shapes" / "first"
    prepare_process(1)
    fit(tiny("panels=2"), folder)
    return folder


def pytest_configure(config: pytest.Config) -> None:
    """Nothing is kept in the user's cache folder.

    And what the commands keep quiet (`prepare_process`), and what they tell on purpose of settings as tiny as these."""
    os.environ["COSEG_CACHE"] = ""
    for message in (
        ".*not resumable",
        ".*exists and is not empty",
        ".*smaller than the logging interval",
        ".*LeafSpec",
        ".*could not find the monitored key",
    ):
        config.addinivalue_line("filterwarnings", f"ignore:{message}")


class Outcome(NamedTuple):
    """What a command did."""

    code: int
    out: str
    err: str


@contextmanager
def _own_logging() -> Iterator[None]:
    """Hydra sets up the root logger; give it back as it was."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    try:
        yield
    finally:
        for handler in root.handlers:
            if handler not in handlers:
                handler.close()
        root.handlers[:], root.level = handlers, level


@pytest.fixture
def command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Callable[..., Outcome]:
    """``command("train", "test" or "demo", *arguments)``: run it as from a shell, in the test's temporary directory."""
    from hydra.core.global_hydra import GlobalHydra
    from hydra.core.hydra_config import HydraConfig

    monkeypatch.chdir(tmp_path)

    def run(name: str, *arguments: str) -> Outcome:
        from coseg.cli import demo, test, train

        main = {"train": train.main, "test": test.main, "demo": demo.main}[name]
        monkeypatch.setattr(sys, "argv", [f"coseg-{name}", *arguments])
        # Hydra raises what it else prints where something traces, such as a measure of coverage.
        monkeypatch.setattr("hydra._internal.utils.is_under_debugger", lambda: False)
        GlobalHydra.instance().clear()
        capsys.readouterr()
        code = 0
        with _own_logging():
            try:
                main()
            except SystemExit as leaving:
                code = leaving.code if isinstance(leaving.code, int) else int(leaving.code is not None)
            finally:
                GlobalHydra.instance().clear()
                HydraConfig.instance().cfg = None
        return Outcome(code, *capsys.readouterr())

    return run
