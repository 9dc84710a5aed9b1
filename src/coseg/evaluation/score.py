"""Test a checkpoint from a configuration: what `coseg-test` does."""

from __future__ import annotations

import logging
import shutil
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import lightning as L
from lightning.pytorch.utilities import rank_zero_only
from omegaconf import DictConfig, ListConfig, OmegaConf

from coseg.data.benchmark import read_benchmark
from coseg.data.catalog import Catalog, without_class
from coseg.data.datamodule import PairDataModule
from coseg.data.listed import ListedCatalog, require_unit
from coseg.data.pair_orders import AllPairs, WithNegatives
from coseg.errors import CosegError, unknown_choice
from coseg.evaluation.cosod import CosodTest, remove_other_maps
from coseg.evaluation.encoding import SHARED, context_after_test
from coseg.evaluation.group_test import GroupTest
from coseg.evaluation.iteration import group_masks
from coseg.evaluation.lightning_test import NetworkTest, PairTest
from coseg.evaluation.mask_files import MASKS, MaskFiles, MaskSaver, SavedMasks, folder_name
from coseg.evaluation.outcome import TestPlan, write_outcome
from coseg.evaluation.partial_results import Key, PartialResults, explain_write_error, fingerprint, keys_of
from coseg.evaluation.predictions import as_tested, predict_records, saved_masks
from coseg.files.writing import in_use, remove_leftovers, require_writable, write_text_atomically
from coseg.hub.load import network_file, network_in_file
from coseg.instantiate import plain
from coseg.lightning_internals import signals_forwarded
from coseg.metrics.mask_counts import check_void
from coseg.models.base import CosegNetwork
from coseg.reports.results import format_table, read_results
from coseg.run_dir import CHECKPOINTS, CONFIG, MAPS, PARTS, RESULTS, SAVED, TESTS, coseg_version
from coseg.training.devices import require_devices
from coseg.training.extra_metrics import make_metrics
from coseg.training.fit import make_datamodule, make_trainer
from coseg.training.run import newest_best_checkpoint

log = logging.getLogger(__name__)

_TESTS: dict[str, type[NetworkTest]] = {"pair": PairTest, "group": GroupTest}
"""By ``protocol.unit``."""

_GREY = ("group", "background")
"""``protocol.unit`` and ``protocol.void`` of a test that scores grey maps."""


class _Scope(NamedTuple):
    keys: Sequence[Key]
    counted: int  # those whose masks are scored: all but the negative pairs
    whole: int  # how many of these the catalog has
    benchmark: str | None = None  # the checksum of the list that they are from, where that is not of all


def score(config: DictConfig) -> list[Path]:
    """Score ``config.ckpt``, or the masks in ``config.predictions``, on the test splits, and print a table of each.

    Returns:
        The folders of results, ``<run>/test/<dataset>-<split>-<protocol>``, one for each split.

    Raises:
        CosegError: the checkpoint, the data or the configuration can't be used, or partial results were deleted
            while the test ran.
    """
    predictions = None if config.get("predictions") is None else _predictions(config)
    if predictions is None:
        chosen = config.ckpt is None
        checkpoint = newest_best_checkpoint(Path(config.runs)) if chosen else network_file(config.ckpt)
        log.info(f"checkpoint: {checkpoint}{' (the newest best one)' if chosen else ''}")
    check_void(config.protocol.void)
    if config.protocol.unit not in _TESTS:
        raise unknown_choice("protocol.unit", config.protocol.unit, _TESTS)
    if config.protocol.get("grey_maps", False) and (config.protocol.unit, config.protocol.void) != _GREY:
        raise CosegError(
            f"protocol.grey_maps=true scores all pixels of whole groups, but protocol.unit is {config.protocol.unit} "
            f"and protocol.void {config.protocol.void}: take group and background, as protocol=cosod has them."
        )
    require_devices(plain(config.trainer))
    L.seed_everything(config.seed, workers=True, verbose=False)
    if predictions is not None:
        return [_score_split(config, None, predictions, split) for split in _splits(config)]
    network = as_tested(*network_in_file(checkpoint, bool(config.get("trust", False))), config)
    return [_score_split(config, network, checkpoint, split) for split in _splits(config)]


def _predictions(config: DictConfig) -> Path:
    """The folder of the masks that are scored.

    Raises:
        CosegError: a setting of a network is given beside it.
    """
    refused = {"ckpt": None, "input_size": None, "mirrored": False, "save_masks": False}
    for key, nothing in refused.items():
        if config.get(key, nothing) != nothing:
            raise CosegError(f"{key}={config[key]} is of a network, but predictions= gives masks: leave one out.")
    return Path(config.predictions).expanduser()


def _splits(config: DictConfig) -> list[str]:
    """The split asked for, that of the list of pairs, or all test splits of the data set."""
    if config.split is None and config.data.get("pairs") is not None:
        return [read_benchmark(Path(config.data.pairs)).split]
    tests = config.dataset.splits.test
    known = list(tests) if isinstance(tests, list | ListConfig) else [tests]
    if config.split is None:
        return [str(split) for split in known]
    return [str(config.split)]


def _score_split(config: DictConfig, network: CosegNetwork | None, source: Path, split: str) -> Path:
    """Score a network, whose checkpoint is `source`, or without one the masks in the folder `source`."""
    splits = {"train": split, "val": split, "test": split}
    datamodule = make_datamodule(config, splits=splits)
    datamodule.setup("test")
    catalog = datamodule.catalog("test")
    scope = _scope(config, datamodule)
    weights: Path | Sequence[Path] = source
    if network is None:
        network = saved_masks(config, catalog)
        weights = network.require(scope.keys)
        run = Path(config.runs) / folder_name(source)
        _log_unused(source, weights)
    else:
        run = _run_of(source, Path(config.runs))
    folder = run / TESTS / _name(config, catalog, scope)
    _refuse_another(folder, source, network)
    require_writable(folder, "take a checkpoint in another place, or make room; a shared model's results go to runs=…")
    first = rank_zero_only.rank == 0  # type: ignore[attr-defined]
    with in_use(folder, "a test") if first else nullcontext():
        if first:
            remove_leftovers(folder)
        return _test_split(config, network, source, weights, datamodule, scope, folder, split)


def _test_split(
    config: DictConfig,
    network: CosegNetwork,
    source: Path,
    weights: Path | Sequence[Path],
    datamodule: PairDataModule,
    scope: _Scope,
    folder: Path,
    split: str,
) -> Path:
    of_files = isinstance(network, SavedMasks)
    what = _saved(config)
    catalog, keys, make = datamodule.catalog("test"), scope.keys, _TESTS[config.protocol.unit]
    grey_maps = bool(config.protocol.get("grey_maps", False))  # tests of earlier versions have none
    plan = TestPlan(
        folder=folder,
        protocol=config.protocol.name,
        void=config.protocol.void,
        checkpoint=None if of_files else str(source),
        predictions=str(source) if of_files else None,
        benchmark=scope.benchmark,
        whole=scope.counted == scope.whole,
        groups=make is GroupTest,
        panels=config.panels or 0,
    )
    metrics = make_metrics(plain(config.get("metrics")), trust=True)  # the user composed it
    bar = config.trainer.get("enable_progress_bar", sys.stderr.isatty())
    trainer = make_trainer(config, [], False, enable_checkpointing=False, enable_progress_bar=False)
    partial_results = PartialResults(folder / PARTS, fingerprint(weights, catalog, _facts(config, network, scope)))
    negatives = len(keys) - scope.counted
    beside = f" and {negatives} negative ones" if negatives else ""
    log.info(f"{catalog.name}/{catalog.split}: {len(catalog)} images, {scope.counted} {make.unit}s{beside}")
    if without := without_class(catalog):
        log.info(without)
    if not catalog.complete:
        log.info(f"not the published images, which are {catalog.expected}: scores are of another set")
    done = set(keys_of(partial_results.read()))
    if done:
        log.info(f"an interrupted test left {len(done)} finished {make.unit}s: resuming after them")
    saver = None if what is None else MaskSaver(MaskFiles.of(folder / what, catalog, plan.groups), what)
    if trainer.is_global_zero and not of_files:
        _prepare_saved(folder, what if done else None)
    if len(done) < len(keys):
        remaining = [key for key in keys if key not in done]
        create = partial(CosodTest, folder / MAPS) if grey_maps else make
        limits = config.feature_gb, config.get("shared_gb", 0), config.pairs_at_once
        test = create(
            network, datamodule, remaining, partial_results, config.protocol.void, *limits, bar, metrics, saver
        )
        try:
            with signals_forwarded(trainer):
                trainer.test(test, verbose=False)
        finally:
            if trainer.is_global_zero:  # also of a test that was stopped or failed
                shutil.rmtree(folder / SHARED, ignore_errors=True)
    if trainer.is_global_zero:  # all processes wrote their parts before this
        parts = partial_results.read()
        missing = len(keys) - len(keys_of(parts))
        if missing:  # deleted while this test ran, or written twice
            raise CosegError(
                f"{partial_results.folder} lacks {missing} of {len(keys)} {make.unit}s: was the same test run twice at "
                "once? Run the same command again, by itself; it resumes."
            )
        network = network.to(trainer.strategy.root_device).eval()
        settings = {"network": network, "catalog": catalog, "void": plan.void, "gigabytes": config.feature_gb}
        with explain_write_error(partial_results.folder), context_after_test(trainer, network):
            tested = OmegaConf.merge(
                config, {"predictions" if of_files else "ckpt": str(source.resolve()), "split": split}
            )
            write_text_atomically(folder / CONFIG, OmegaConf.to_yaml(tested, resolve=True))
            write_outcome(plan, catalog, network, parts, partial(predict_records, **settings), metrics)
            if grey_maps:
                remove_other_maps(folder / MAPS, catalog, keys)
        partial_results.remove()
        log.info(format_table(read_results(folder / RESULTS)))
        log.info(f"results: {folder}")
        if saver is not None:
            log.info(f"{saver.what}: {saver.files.folder}")
    return folder


def _scope(config: DictConfig, datamodule: PairDataModule) -> _Scope:
    catalog = datamodule.catalog("test")
    presence = catalog.presence
    listed = datamodule.benchmark
    if listed is not None:
        require_unit(listed, config.protocol.unit)
    if config.protocol.unit == "group":
        for key, none in (("test_pairs", None), ("test_negatives", 0)):
            if config.data.get(key, none) != none:
                raise CosegError(
                    f"data.{key}={config.data[key]} asks for a sample of pairs, but protocol={config.protocol.name} "
                    "tests whole groups: leave it out."
                )
        masks = group_masks(presence)
        whole = len(group_masks(catalog.catalog.presence)) if isinstance(catalog, ListedCatalog) else len(masks)
        return _Scope(masks, len(masks), whole, listed.sha256 if listed and len(masks) < whole else None)
    order = datamodule.order("test")
    negatives = order.negatives if isinstance(order, WithNegatives) else 0
    keys = [order.pair(0, k) for k in range(len(order))]
    counted, whole = len(keys) - negatives, len(AllPairs(presence, config.dataset.name))
    return _Scope(keys, counted, whole, listed.sha256 if listed and counted < whole else None)


def _name(config: DictConfig, catalog: Catalog, scope: _Scope) -> str:
    """The folder of the results; its name holds every setting that changes the scores."""
    name = f"{catalog.name}-{catalog.split}-{config.protocol.name}"
    if config.protocol.void != "background":
        name += f"-void_{config.protocol.void}"
    if config.input_size is not None:
        name += f"-size_{config.input_size}"
    if config.mirrored:
        name += "-mirrored"
    if config.threshold is not None:
        name += f"-threshold_{config.threshold:g}"
    if scope.benchmark is not None:
        name += f"-list_{scope.benchmark[:8]}"
    elif scope.counted < scope.whole:  # a quick look must not replace a complete test
        name += f"-sample_{scope.counted}"
    return name


def _facts(config: DictConfig, network: CosegNetwork, scope: _Scope) -> list[Any]:
    """What the scores depend on beside the weights and the images."""
    return [
        coseg_version(),
        network.name,
        network.input_size,
        OmegaConf.to_container(config.dataset.reader, resolve=True),  # the size of drawn images, for example
        (len(scope.keys), scope.counted),
        OmegaConf.to_container(config.protocol, resolve=True),
        str(config.trainer.precision),
        *([plain(config.metrics)] if config.get("metrics") else []),
        *([scope.benchmark] if scope.benchmark is not None else []),
        *([_saved(config)] if _saved(config) else []),  # or parts of a test that saved none would be kept
    ]


def _saved(config: DictConfig) -> str | None:
    """What ``save_masks`` asks for."""
    chosen = config.get("save_masks", False)
    return str(chosen) if isinstance(chosen, str) else MASKS if chosen else None


def _prepare_saved(folder: Path, resumed: str | None) -> None:
    """Remove the masks that an earlier test saved, but those of the test that is resumed."""
    for name in SAVED:
        place = folder / name
        if not place.is_dir():
            continue
        if name == resumed:
            for inside in place.iterdir():
                remove_leftovers(inside)
            continue
        log.info(f"{place} is of an earlier test, and removed")
        shutil.rmtree(place, ignore_errors=True)


def _log_unused(folder: Path, used: Sequence[Path]) -> None:
    unused = sorted(set(folder.glob("*/*.png")) - set(used))
    if unused:
        log.info(
            f"{folder}: {len(unused)} files are of nothing that is tested, such as {unused[0].relative_to(folder)}"
        )


def _refuse_another(folder: Path, source: Path, network: CosegNetwork) -> None:
    """Refuse to replace the results of other masks, whose folder has the same name, and those of a network.

    Raises:
        CosegError: results of these lie in `folder`.
    """
    if not isinstance(network, SavedMasks) or not (folder / RESULTS).is_file():
        return
    earlier = read_results(folder / RESULTS).get("predictions")
    if earlier is None or Path(str(earlier)).resolve() != source.resolve():
        raise CosegError(
            f"{folder} holds results of {earlier or 'a network'}, and these are of {source}: give another place with "
            "runs=…, or rename the folder of the masks."
        )


def _run_of(checkpoint: Path, runs: Path) -> Path:
    """The run directory of a checkpoint: where it lies, or the folder above ``checkpoints/``.

    A shared model has none, and may lie where nothing can be written: its results go into a folder of its name.
    """
    folder = checkpoint.resolve().parent
    if checkpoint.suffix == ".safetensors":
        return runs / folder.name
    return folder.parent if folder.name == CHECKPOINTS else folder
