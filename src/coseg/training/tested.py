"""What was tested: the network and the data of a test, from the folder of its results."""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig

from coseg.data.datamodule import PairDataModule
from coseg.errors import CosegError
from coseg.models.deciding import DecidingNetwork
from coseg.models.mirrored import MirroredNetwork
from coseg.models.network import CosegNetwork, checked_input_size
from coseg.training.checkpoint import load_network
from coseg.training.fit import make_datamodule
from coseg.training.run import run_config

CONFIG = "config.yaml"
"""The configuration of a test, beside its results."""


def tested(folder: Path, trust: bool = False) -> tuple[CosegNetwork, PairDataModule]:
    """The network of a test, in evaluation mode, and its data, by the configuration beside its results.

    Args:
        folder: of the results.
        trust: configuration and checkpoint may name classes outside of coseg, which are imported.

    Raises:
        CosegError: the configuration or the checkpoint is gone.
    """
    config = tested_config(folder, trust)
    network = as_tested(load_network(Path(config.ckpt), trust), config).eval()
    return network, make_datamodule(config, splits=dict.fromkeys(("train", "val", "test"), config.split))  # type: ignore[arg-type]


def as_tested(network: CosegNetwork, config: DictConfig) -> CosegNetwork:
    """A trained network as a test's `input_size` and `mirrored` want it.

    Raises:
        CosegError: `input_size` is no number of pixels, or a network that decides is to be mirrored.
    """
    size = checked_input_size(config.input_size, "input_size")
    if size is not None:
        network.input_size = size
    if not config.get("mirrored", False):
        return network
    if isinstance(network, DecidingNetwork):
        raise CosegError(f"mirrored=true loses the decision of {network.name}: leave it out.")
    return MirroredNetwork(network)


def tested_config(folder: Path, trust: bool = False) -> DictConfig:
    """The configuration of a test, from the folder of its results; nothing in it is resolved.

    Args:
        folder: of the results.
        trust: it may name classes outside of coseg, torch, lightning and albumentations.

    Raises:
        CosegError: it is gone or damaged, or names such classes.
    """
    path = folder / CONFIG
    try:
        config = run_config(path, "run coseg-test again", trust)
    except FileNotFoundError:
        raise CosegError(f"{folder} has no {CONFIG}, which says what was tested: run coseg-test again.") from None
    missing = [key for key in ("ckpt", "split", "input_size", "dataset", "data", "protocol") if key not in config]
    if missing:
        raise CosegError(f"{path} is damaged (it lacks {', '.join(missing)}): run coseg-test again.")
    config.ckpt = str(_present(Path(config.ckpt), folder))
    return config


def _present(checkpoint: Path, folder: Path) -> Path:
    """Where a tested checkpoint is now: beside its results, when the run of both was moved or copied since."""
    beside = folder.resolve().parent.parent / checkpoint.parent.name / checkpoint.name
    return beside if checkpoint.parent.name == "checkpoints" and beside.is_file() else checkpoint
