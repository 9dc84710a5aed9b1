"""What was tested: the network and the data of a test, from the folder of its results."""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from coseg.data.datamodule import PairDataModule
from coseg.errors import CosegError
from coseg.models.network import CosegNetwork
from coseg.training.checkpoint import load_task
from coseg.training.fit import make_datamodule

CONFIG = "config.yaml"
"""The configuration of a test, beside its results."""


def tested(folder: Path) -> tuple[CosegNetwork, PairDataModule]:
    """The network of a test, in evaluation mode, and its data, by the configuration beside its results.

    Raises:
        CosegError: the configuration or the checkpoint is gone.
    """
    config = tested_config(folder)
    network = load_task(config.ckpt).network.eval()
    if config.input_size is not None:
        network.input_size = config.input_size
    return network, make_datamodule(config, splits=dict.fromkeys(("train", "val", "test"), config.split))  # type: ignore[arg-type]


def tested_config(folder: Path) -> DictConfig:
    """The configuration of a test, from the folder of its results.

    Raises:
        CosegError: it is gone or damaged.
    """
    path = folder / CONFIG
    if not path.is_file():
        raise CosegError(f"{folder} has no {CONFIG}, which says what was tested: run coseg-test again.")
    try:
        config = OmegaConf.load(path)
    except (OSError, UnicodeError, YAMLError, OmegaConfBaseException) as error:
        raise CosegError(f"{path} is damaged ({' '.join(str(error).split())}): run coseg-test again.") from error
    missing = [key for key in ("ckpt", "split", "input_size", "dataset", "data", "protocol") if key not in config]
    if not isinstance(config, DictConfig) or missing:
        raise CosegError(f"{path} is damaged (it lacks {', '.join(missing)}): run coseg-test again.")
    return config
