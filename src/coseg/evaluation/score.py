"""Test a checkpoint from a configuration: what `coseg-test` does."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import lightning as L
from lightning.pytorch.utilities import rank_zero_only
from omegaconf import DictConfig, ListConfig, OmegaConf

from coseg.data.catalog import Catalog, without_class
from coseg.data.datamodule import PairDataModule
from coseg.data.pair_orders import AllPairs, WithNegatives
from coseg.errors import CosegError, unknown_choice
from coseg.evaluation.iteration import group_masks
from coseg.evaluation.lightning_test import GroupTest, NetworkTest, PairTest
from coseg.evaluation.outcome import TestPlan, write_outcome
from coseg.evaluation.partial_results import Key, PartialResults, explain_write_error, fingerprint, keys_of
from coseg.evaluation.predictions import as_tested, predict_records
from coseg.files.writing import in_use, remove_leftovers, require_writable, write_text_atomically
from coseg.hub.load import network_file, network_in_file
from coseg.instantiate import plain
from coseg.lightning_internals import signals_forwarded
from coseg.metrics.mask_counts import check_void
from coseg.models.base import CosegNetwork
from coseg.reports.results import format_table, read_results
from coseg.run_dir import CHECKPOINTS, CONFIG, PARTS, RESULTS, TESTS, coseg_version
from coseg.training.devices import require_devices
from coseg.training.extra_metrics import make_metrics
from coseg.training.fit import make_datamodule, make_trainer
from coseg.training.run import newest_best_checkpoint

log = logging.getLogger(__name__)

_TESTS: dict[str, type[NetworkTest]] = {"pair": PairTest, "group": GroupTest}
"""By ``protocol.unit``."""


class _Scope(NamedTuple):
    keys: Sequence[Key]
    counted: int  # those whose masks are scored: all but the negative pairs
    whole: int  # how many of these the catalog has


def score(config: DictConfig) -> list[Path]:
    """Score ``config.ckpt`` on the test splits of the data set and print a table of each.

    Returns:
        The folders of results, ``<run>/test/<dataset>-<split>-<protocol>``, one for each split.

    Raises:
        CosegError: the checkpoint, the data or the configuration can't be used, or partial results were deleted
            while the test ran.
    """
    chosen = config.ckpt is None
    checkpoint = newest_best_checkpoint(Path(config.runs)) if chosen else network_file(config.ckpt)
    log.info(f"checkpoint: {checkpoint}{' (the newest best one)' if chosen else ''}")
    check_void(config.protocol.void)
    if config.protocol.unit not in _TESTS:
        raise unknown_choice("protocol.unit", config.protocol.unit, _TESTS)
    require_devices(plain(config.trainer))
    L.seed_everything(config.seed, workers=True, verbose=False)
    network = as_tested(*network_in_file(checkpoint, bool(config.get("trust", False))), config)
    return [_score_split(config, network, checkpoint, split) for split in _splits(config)]


def _splits(config: DictConfig) -> list[str]:
    """The split asked for, or all test splits of the data set."""
    tests = config.dataset.splits.test
    known = list(tests) if isinstance(tests, list | ListConfig) else [tests]
    if config.split is None:
        return [str(split) for split in known]
    return [str(config.split)]


def _score_split(config: DictConfig, network: CosegNetwork, checkpoint: Path, split: str) -> Path:
    splits = {"train": split, "val": split, "test": split}
    datamodule = make_datamodule(config, splits=splits)
    datamodule.setup("test")
    catalog = datamodule.catalog("test")
    scope = _scope(config, datamodule)
    folder = _run_of(checkpoint, Path(config.runs)) / TESTS / _name(config, catalog, scope)
    require_writable(folder, "take a checkpoint in another place, or make room; a shared model's results go to runs=…")
    first = rank_zero_only.rank == 0  # type: ignore[attr-defined]
    with in_use(folder, "a test") if first else nullcontext():
        if first:
            remove_leftovers(folder)
        return _test_split(config, network, checkpoint, datamodule, scope, folder, split)


def _test_split(
    config: DictConfig,
    network: CosegNetwork,
    checkpoint: Path,
    datamodule: PairDataModule,
    scope: _Scope,
    folder: Path,
    split: str,
) -> Path:
    catalog, keys, make = datamodule.catalog("test"), scope.keys, _TESTS[config.protocol.unit]
    plan = TestPlan(
        folder=folder,
        protocol=config.protocol.name,
        void=config.protocol.void,
        checkpoint=str(checkpoint),
        whole=scope.counted == scope.whole,
        groups=make is GroupTest,
        panels=config.panels or 0,
    )
    metrics = make_metrics(plain(config.get("metrics")), trust=True)  # the user composed it
    bar = config.trainer.get("enable_progress_bar", sys.stderr.isatty())
    trainer = make_trainer(config, [], False, enable_checkpointing=False, enable_progress_bar=False)
    partial_results = PartialResults(folder / PARTS, fingerprint(checkpoint, catalog, _facts(config, network, scope)))
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
    if len(done) < len(keys):
        remaining = [key for key in keys if key not in done]
        limits = config.feature_gb, config.pairs_at_once
        test = make(network, datamodule, remaining, partial_results, config.protocol.void, *limits, bar, metrics)
        with signals_forwarded(trainer):
            trainer.test(test, verbose=False)
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
        with explain_write_error(partial_results.folder), trainer.precision_plugin.forward_context():
            tested = OmegaConf.merge(config, {"ckpt": str(checkpoint.resolve()), "split": split})
            write_text_atomically(folder / CONFIG, OmegaConf.to_yaml(tested, resolve=True))
            write_outcome(plan, catalog, network, parts, partial(predict_records, **settings), metrics)
        partial_results.remove()
        log.info(format_table(read_results(folder / RESULTS)))
        log.info(f"results: {folder}")
    return folder


def _scope(config: DictConfig, datamodule: PairDataModule) -> _Scope:
    presence = datamodule.catalog("test").presence
    if config.protocol.unit == "group":
        for key, none in (("test_pairs", None), ("test_negatives", 0)):
            if config.data.get(key, none) != none:
                raise CosegError(
                    f"data.{key}={config.data[key]} asks for a sample of pairs, but protocol={config.protocol.name} "
                    "tests whole groups: leave it out."
                )
        masks = group_masks(presence)
        return _Scope(masks, len(masks), len(masks))
    order = datamodule.order("test")
    negatives = order.negatives if isinstance(order, WithNegatives) else 0
    keys = [order.pair(0, k) for k in range(len(order))]
    return _Scope(keys, len(keys) - negatives, len(AllPairs(presence, config.dataset.name)))


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
    if scope.counted < scope.whole:  # a quick look must not replace a complete test
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
    ]


def _run_of(checkpoint: Path, runs: Path) -> Path:
    """The run directory of a checkpoint: where it lies, or the folder above ``checkpoints/``.

    A shared model has none, and may lie where nothing can be written: its results go into a folder of its name.
    """
    folder = checkpoint.resolve().parent
    if checkpoint.suffix == ".safetensors":
        return runs / folder.name
    return folder.parent if folder.name == CHECKPOINTS else folder
