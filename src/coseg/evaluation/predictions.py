"""The network and data of a finished test, from the folder of its results, and its predictions once more."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from omegaconf import DictConfig
from torch import Tensor

from coseg.data.batches import collate
from coseg.data.catalog import Catalog
from coseg.data.datamodule import PairDataModule
from coseg.data.dataset import ImageDataset, PairDataset, PairSample
from coseg.errors import CosegError, checked_threshold
from coseg.evaluation.iteration import GroupIteration
from coseg.evaluation.mask_files import MaskFiles, SavedMasks
from coseg.hub.load import network_in_file
from coseg.hub.settings import THRESHOLD
from coseg.labels import target_table
from coseg.models.base import CosegNetwork, PairClassifier, checked_input_size, image_size
from coseg.models.mirrored import MirroredNetwork
from coseg.models.thresholded import ThresholdedNetwork
from coseg.reports.panels import PanelRow, panel_row, panel_side
from coseg.reports.records import GroupRecord, PairRecord, Record
from coseg.run_dir import CHECKPOINTS, CONFIG
from coseg.training.fit import make_datamodule
from coseg.training.run import run_config


def predict_records(
    records: Sequence[Record], network: CosegNetwork, catalog: Catalog, void: str, gigabytes: float
) -> list[PanelRow]:
    """What `network`, on its device, predicts of tested records; a group is co-segmented as a whole again.

    Args:
        records: of a test.
        network: in evaluation mode.
        catalog: the images of the records.
        void: how the IoU in the captions treats void pixels.
        gigabytes: bound on the features in memory.
    """
    pairs = [record for record in records if isinstance(record, PairRecord)]
    images = [record for record in records if isinstance(record, GroupRecord)]
    with torch.no_grad():
        panels = {record.key: _pair(network, catalog, record, void) for record in pairs}
        panels |= _in_groups(network, catalog, images, void, gigabytes)
    return [panels[record.key] for record in records]


def _pair(network: CosegNetwork, catalog: Catalog, record: PairRecord, void: str) -> PanelRow:
    batch = collate([PairDataset(catalog)[PairSample(record.i, record.j, 0)]])
    if isinstance(network, SavedMasks):
        sizes = image_size(batch["labels_a"]), image_size(batch["labels_b"])
        return panel_row(batch, network.pair_logits([(record.i, record.j)], sizes), catalog, void=void)
    device = next(network.parameters()).device
    logits = network(batch["image_a"].to(device), batch["image_b"].to(device))
    return panel_row(batch, logits, catalog, void=void)


def _in_groups(
    network: CosegNetwork, catalog: Catalog, records: Sequence[GroupRecord], void: str, gigabytes: float
) -> dict[tuple[str, ...], PanelRow]:
    names = sorted({record.group for record in records})
    classes = [catalog.class_names.index(name) for name in names]
    groups = [np.flatnonzero(catalog.presence[:, k]).tolist() for k in classes]
    read = partial(map, ImageDataset(catalog).__getitem__)
    wanted = {(record.group, record.i) for record in records}
    panels: dict[tuple[str, ...], PanelRow] = {}
    device = next(network.parameters(), torch.empty(0)).device
    iteration = GroupIteration(groups, read, network.encode, gigabytes, device)
    for name, k, group in zip(names, classes, iteration, strict=True):
        table = target_table(np.arange(len(catalog.class_names)) == k)
        if isinstance(network, SavedMasks):
            masks: Iterable[Tensor] = network.group_logits(k, group.images, group.sizes)
        else:
            masks = network.cosegment_group(group.features, group.sizes)
        for i, logits in zip(group.images, masks, strict=True):
            if (name, i) in wanted:
                words = (catalog.ids[i], name)
                side = panel_side(catalog.image(i), table[catalog.labels(i)], logits[0], words, void)
                panels[name, catalog.ids[i]] = (side,)
    return panels


def predicted_records(folder: Path, records: Sequence[Record], trust: bool = False) -> list[PanelRow]:
    """What a test predicted of some of its records, computed once more.

    Args:
        folder: of the results.
        records: of them.
        trust: see `tested`.

    Raises:
        CosegError: the configuration or the checkpoint is missing, or the data changed.
    """
    config = tested_config(folder, trust)
    network, datamodule = tested(folder, trust)
    catalog = datamodule.catalog("test")
    for record in records:
        ids = record.key[-len(record.images) :]
        if any(i >= len(catalog) or catalog.ids[i] != name for i, name in zip(record.images, ids, strict=True)):
            raise CosegError(
                f"{folder} is of other images than {catalog.name}/{catalog.split} has now (there is no "
                f"{', '.join(ids)} at {', '.join(map(str, record.images))}): run coseg-test again."
            )
    return predict_records(records, network, catalog, config.protocol.void, config.get("feature_gb", 2))


def tested(folder: Path, trust: bool = False) -> tuple[CosegNetwork, PairDataModule]:
    """The network of a test, in evaluation mode, and its data, by the configuration beside its results.

    Args:
        folder: of the results.
        trust: configuration and checkpoint may name classes outside of coseg, which are imported.

    Raises:
        CosegError: the configuration or the checkpoint is missing.
    """
    config = tested_config(folder, trust)
    datamodule = make_datamodule(config, splits=dict.fromkeys(("train", "val", "test"), config.split))  # type: ignore[arg-type]
    if config.get("predictions") is not None:
        return saved_masks(config, datamodule.catalog("test")), datamodule
    return as_tested(*network_in_file(Path(config.ckpt), trust), config).eval(), datamodule


def saved_masks(config: DictConfig, catalog: Catalog) -> SavedMasks:
    """What stands for the network where a test scores the masks in ``predictions=FOLDER``.

    Raises:
        CosegError: the threshold is out of its range, or given for grey maps.
    """
    threshold = config.get("threshold")
    grey = bool(config.protocol.get("grey_maps", False))
    if grey and threshold is not None:
        raise CosegError(
            f"threshold={threshold} makes masks of maps, but protocol={config.protocol.name} scores their grey values: "
            "leave it out."
        )
    files = MaskFiles.of(Path(config.predictions), catalog, config.protocol.unit == "group")
    return SavedMasks(files, None if threshold is None else checked_threshold(threshold, "threshold"), grey)


def as_tested(network: CosegNetwork, threshold: float, config: DictConfig) -> CosegNetwork:
    """A trained network as a test's `input_size`, `mirrored` and `threshold` want it.

    Args:
        network: see `coseg.hub.load.network_in_file`.
        threshold: likewise; that of the test has precedence.
        config: of the test.

    Raises:
        CosegError: `input_size` is not a number of pixels, or `mirrored` or a threshold is set for a network with an
            image-level classifier.
    """
    size = checked_input_size(config.input_size, "input_size")
    if size is not None:
        network.input_size = size
    chosen = config.get("threshold")  # tests of earlier versions have none
    threshold = threshold if chosen is None else checked_threshold(chosen, "threshold")
    mirrored = config.get("mirrored", False)
    if isinstance(network, PairClassifier) and (mirrored or threshold != THRESHOLD):
        setting = "mirrored=true" if mirrored else f"threshold={threshold:g}"
        raise CosegError(f"{setting} loses the decision of {network.name}: leave it out.")
    if mirrored:
        network = MirroredNetwork(network)
    return network if threshold == THRESHOLD else ThresholdedNetwork(network, threshold)


def tested_config(folder: Path, trust: bool = False) -> DictConfig:
    """The configuration of a test, from the folder of its results; nothing in it is resolved.

    Args:
        folder: of the results.
        trust: it may name classes outside of coseg, torch, lightning and albumentations.

    Raises:
        CosegError: it is missing or damaged, or names such classes.
    """
    path = folder / CONFIG
    try:
        config = run_config(path, "run coseg-test again", trust)
    except FileNotFoundError:
        raise CosegError(f"{folder} has no {CONFIG}, which says what was tested: run coseg-test again.") from None
    missing = [key for key in ("ckpt", "split", "input_size", "dataset", "data", "protocol") if key not in config]
    if missing:
        raise CosegError(f"{path} is damaged (it lacks {', '.join(missing)}): run coseg-test again.")
    if config.get("predictions") is None:
        config.ckpt = str(_present(Path(config.ckpt), folder))
    return config


def _present(checkpoint: Path, folder: Path) -> Path:
    """The path of a tested checkpoint: in the run of the results, where that was moved or copied since."""
    beside = folder.resolve().parent.parent / checkpoint.parent.name / checkpoint.name
    return beside if checkpoint.parent.name == CHECKPOINTS and beside.is_file() else checkpoint
