"""Predictions of single pairs, for pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from coseg.data.catalog import Catalog
from coseg.data.dataset import Draw, PairDataset, collate
from coseg.errors import CosegError
from coseg.evaluation.panels import PanelRow, panel_row
from coseg.evaluation.rows import PairRow
from coseg.models.network import CosegNetwork
from coseg.training.checkpoint import load_task
from coseg.training.fit import make_datamodule

CONFIG = "config.yaml"
"""The configuration of a test, beside its results."""


def predicted_row(network: CosegNetwork, catalog: Catalog, i: int, j: int, void: str = "background") -> PanelRow:
    """Images ``i`` and ``j`` of a catalog with what `network`, on its device, predicts of them."""
    batch = collate([PairDataset(catalog)[Draw(i, j, 0)]])
    device = next(network.parameters()).device
    with torch.no_grad():
        logits = network(batch["image_a"].to(device), batch["image_b"].to(device))
    return panel_row(batch, logits, catalog, void=void)


def predicted_rows(folder: Path, rows: Sequence[PairRow]) -> list[PanelRow]:
    """Pairs of a test once more, from the results in `folder`: its configuration and the checkpoint that it names.

    Raises:
        CosegError: the configuration or the checkpoint is gone, or the data changed.
    """
    path = folder / CONFIG
    if not path.is_file():
        raise CosegError(f"{folder} has no {CONFIG}, which says what was tested: run coseg-test again.")
    config = _config(path)
    network = load_task(config.ckpt).network.eval()
    if config.input_size is not None:
        network.input_size = config.input_size
    datamodule = make_datamodule(config, splits=dict.fromkeys(("train", "val", "test"), config.split))  # type: ignore[arg-type]
    catalog = datamodule.catalog("test")
    for row in rows:
        if (row.i >= len(catalog) or row.j >= len(catalog)) or (row.id_a, row.id_b) != (
            catalog.ids[row.i],
            catalog.ids[row.j],
        ):
            raise CosegError(
                f"{folder} is of other images than {catalog.name}/{catalog.split} has now (there is no pair "
                f"{row.id_a}, {row.id_b} at {row.i}, {row.j}): run coseg-test again."
            )
    return [predicted_row(network, catalog, row.i, row.j, config.protocol.void) for row in rows]


def _config(path: Path) -> DictConfig:
    try:
        config = OmegaConf.load(path)
    except (OSError, UnicodeError, YAMLError, OmegaConfBaseException) as error:
        raise CosegError(f"{path} is damaged ({' '.join(str(error).split())}): run coseg-test again.") from error
    missing = [key for key in ("ckpt", "split", "input_size", "dataset", "data", "protocol") if key not in config]
    if not isinstance(config, DictConfig) or missing:
        raise CosegError(f"{path} is damaged (it lacks {', '.join(missing)}): run coseg-test again.")
    return config
