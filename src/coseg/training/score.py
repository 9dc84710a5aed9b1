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

import coseg
from coseg.data.catalog import Catalog, without_class
from coseg.data.datamodule import PairDataModule
from coseg.data.orders import AllPairs, WithNegatives
from coseg.errors import CosegError, unknown_choice
from coseg.evaluation.journal import Journal, Key, keys_of, told_what_stays
from coseg.evaluation.results import format_table, read_results
from coseg.evaluation.scores import check_void
from coseg.files import remove_leftovers, write_text_atomically
from coseg.in_use import in_use
from coseg.models.network import CosegNetwork
from coseg.training.build import plain
from coseg.training.checkpoint import load_network, network_file
from coseg.training.devices import require_devices
from coseg.training.fingerprint import fingerprint
from coseg.training.fit import make_datamodule, make_trainer
from coseg.training.outcome import TestPlan, write_outcome
from coseg.training.predict import predict_rows
from coseg.training.run import newest_best_checkpoint
from coseg.training.stop import pass_signals_on
from coseg.training.tested import CONFIG, as_tested
from coseg.training.testing import NetworkTest
from coseg.training.testing_groups import GroupTest, group_masks
from coseg.training.testing_pairs import PairTest
from coseg.writable import require_writable

log = logging.getLogger(__name__)

_TESTS: dict[str, type[NetworkTest]] = {"pair": PairTest, "group": GroupTest}
"""By ``protocol.unit``."""


class _Scope(NamedTuple):
    keys: Sequence[Key]
    counted: int  # those whose masks are scored: all but the negative pairs
    whole: int  # how many of these there are in all


def score(config: DictConfig) -> list[Path]:
    """Score ``config.ckpt`` on the test splits of the data set and print a table of each.

    Returns:
        The folders of results, ``<run>/test/<dataset>-<split>-<protocol>``, one for each split.

    Raises:
        CosegError: the checkpoint, the data or the configuration can't be used, or what was finished was taken away.
    """
    chosen = config.ckpt is None
    checkpoint = newest_best_checkpoint(Path(config.runs)) if chosen else network_file(config.ckpt)
    log.info(f"checkpoint: {checkpoint}{' (the newest best one)' if chosen else ''}")
    check_void(config.protocol.void)
    if config.protocol.unit not in _TESTS:
        raise unknown_choice("protocol.unit", config.protocol.unit, _TESTS)
    require_devices(plain(config.trainer))
    L.seed_everything(config.seed, workers=True, verbose=False)
    network = as_tested(load_network(checkpoint, bool(config.get("trust", False))), config)
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
    folder = _run_of(checkpoint, Path(config.runs)) / "test" / _name(config, catalog, scope)
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
    bar = config.trainer.get("enable_progress_bar", sys.stderr.isatty())
    trainer = make_trainer(config, [], False, enable_checkpointing=False, enable_progress_bar=False)
    journal = Journal(folder / "parts", fingerprint(checkpoint, catalog, _facts(config, network, scope)))
    negatives = len(keys) - scope.counted
    beside = f" and {negatives} negative ones" if negatives else ""
    log.info(f"{catalog.name}/{catalog.split}: {len(catalog)} images, {scope.counted} {make.unit}s{beside}")
    if without := without_class(catalog):
        log.info(without)
    if not catalog.complete:
        log.info(f"not the published images, which are {catalog.expected}: scores are of another set")
    done = set(keys_of(journal.read()))
    if done:
        log.info(f"an interrupted test left {len(done)} finished {make.unit}s: going on after them")
    if len(done) < len(keys):
        remaining = [key for key in keys if key not in done]
        limits = config.feature_gb, config.pairs_at_once
        test = make(network, datamodule, remaining, journal, config.protocol.void, *limits, bar)
        with pass_signals_on(trainer):
            trainer.test(test, verbose=False)
    if trainer.is_global_zero:  # the others wrote their parts before they came here
        parts = journal.read()
        lacking = len(keys) - len(keys_of(parts))
        if lacking:  # taken away from under this test, or written twice
            raise CosegError(
                f"{journal.folder} lacks {lacking} of {len(keys)} {make.unit}s: was the same test run twice at once? "
                "Run the same command again, by itself; it goes on with what is there."
            )
        network = network.to(trainer.strategy.root_device).eval()
        settings = {"network": network, "catalog": catalog, "void": plan.void, "gigabytes": config.feature_gb}
        with told_what_stays(journal.folder), trainer.precision_plugin.forward_context():
            tested = OmegaConf.merge(config, {"ckpt": str(checkpoint.resolve()), "split": split})
            write_text_atomically(folder / CONFIG, OmegaConf.to_yaml(tested, resolve=True))
            write_outcome(plan, catalog, network, parts, partial(predict_rows, **settings))
        journal.remove()
        log.info(format_table(read_results(folder / "results.json")))
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
    """The folder of the results: whatever makes the scores others than the default ones is in it."""
    name = f"{catalog.name}-{catalog.split}-{config.protocol.name}"
    if config.protocol.void != "background":
        name += f"-void_{config.protocol.void}"
    if config.input_size is not None:
        name += f"-size_{config.input_size}"
    if config.mirrored:
        name += "-mirrored"
    if scope.counted < scope.whole:  # a quick look must not take the place of a whole test
        name += f"-sample_{scope.counted}"
    return name


def _facts(config: DictConfig, network: CosegNetwork, scope: _Scope) -> list[Any]:
    """What the scores depend on beside the weights and the images."""
    return [
        coseg.__version__,
        network.name,
        network.input_size,
        OmegaConf.to_container(config.dataset.reader, resolve=True),  # drawn images of another size, say
        (len(scope.keys), scope.counted),
        OmegaConf.to_container(config.protocol, resolve=True),
        str(config.trainer.precision),
    ]


def _run_of(checkpoint: Path, runs: Path) -> Path:
    """The run directory of a checkpoint: where it lies, or the folder above ``checkpoints/``.

    A shared model has none, and may lie where nothing can be written: its results go into a folder of its name.
    """
    folder = checkpoint.resolve().parent
    if checkpoint.suffix == ".safetensors":
        return runs / folder.name
    return folder.parent if folder.name == "checkpoints" else folder
