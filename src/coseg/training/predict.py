"""Predictions of single pairs and of images in their groups, for pictures."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import torch

from coseg.data.catalog import Catalog
from coseg.data.dataset import Draw, ImageDataset, ImageItem, PairDataset, collate, target_table
from coseg.errors import CosegError
from coseg.evaluation.group_visits import GroupVisits
from coseg.evaluation.panels import PanelRow, panel_row, panel_side
from coseg.evaluation.rows import GroupRow, PairRow, Row
from coseg.models.network import CosegNetwork
from coseg.training.tested import tested, tested_config


def predict_rows(
    rows: Sequence[Row], network: CosegNetwork, catalog: Catalog, void: str, gigabytes: float
) -> list[PanelRow]:
    """What `network`, on its device, predicts of tested rows; a group is co-segmented as a whole again.

    Args:
        rows: of a test.
        network: in evaluation mode.
        catalog: the images of the rows.
        void: how the IoU in the captions treats void pixels.
        gigabytes: bound on the features that are held.
    """
    pairs = [row for row in rows if isinstance(row, PairRow)]
    images = [row for row in rows if isinstance(row, GroupRow)]
    with torch.no_grad():
        found = {row.key: _pair(network, catalog, row, void) for row in pairs}
        found |= _in_groups(network, catalog, images, void, gigabytes)
    return [found[row.key] for row in rows]


def _pair(network: CosegNetwork, catalog: Catalog, row: PairRow, void: str) -> PanelRow:
    batch = collate([PairDataset(catalog)[Draw(row.i, row.j, 0)]])
    device = next(network.parameters()).device
    logits = network(batch["image_a"].to(device), batch["image_b"].to(device))
    return panel_row(batch, logits, catalog, void=void)


def _in_groups(
    network: CosegNetwork, catalog: Catalog, rows: Sequence[GroupRow], void: str, gigabytes: float
) -> dict[tuple[str, ...], PanelRow]:
    names = sorted({row.group for row in rows})
    classes = [catalog.class_names.index(name) for name in names]
    groups = [np.flatnonzero(catalog.presence[:, k]).tolist() for k in classes]
    images = ImageDataset(catalog)

    def read(indices: Iterable[int]) -> Iterable[ImageItem]:
        return (images[i] for i in indices)

    wanted = {(row.group, row.i) for row in rows}
    found: dict[tuple[str, ...], PanelRow] = {}
    visits = GroupVisits(groups, read, network.encode, gigabytes, next(network.parameters()).device)
    for name, k, group in zip(names, classes, visits, strict=True):
        table = target_table(np.arange(len(catalog.class_names)) == k)
        for i, logits in zip(group.images, network.cosegment_group(group.features, group.sizes), strict=True):
            if (name, i) in wanted:
                words = (catalog.ids[i], name)
                side = panel_side(catalog.image(i), table[catalog.labels(i)], logits[0], words, void)
                found[name, catalog.ids[i]] = (side,)
    return found


def predicted_rows(folder: Path, rows: Sequence[Row], trust: bool = False) -> list[PanelRow]:
    """Rows of a test once more, from the results in `folder`: its configuration and the checkpoint that it names.

    Args:
        folder: of the results.
        rows: of them.
        trust: see `coseg.training.tested.tested`.

    Raises:
        CosegError: the configuration or the checkpoint is gone, or the data changed.
    """
    config = tested_config(folder, trust)
    network, datamodule = tested(folder, trust)
    catalog = datamodule.catalog("test")
    for row in rows:
        ids = row.key[-len(row.images) :]
        if any(i >= len(catalog) or catalog.ids[i] != name for i, name in zip(row.images, ids, strict=True)):
            raise CosegError(
                f"{folder} is of other images than {catalog.name}/{catalog.split} has now (there is no "
                f"{', '.join(ids)} at {', '.join(map(str, row.images))}): run coseg-test again."
            )
    return predict_rows(rows, network, catalog, config.protocol.void, config.get("feature_gb", 2))
