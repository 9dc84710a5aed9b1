"""Test a checkpoint from a configuration: what `coseg-test` does."""

from __future__ import annotations

import hashlib
import json
import logging
import sys
from pathlib import Path

import lightning as L
import numpy as np
from omegaconf import DictConfig, ListConfig, OmegaConf

import coseg
from coseg.data.catalog import Catalog
from coseg.data.orders import AllPairs
from coseg.errors import CosegError
from coseg.evaluation.journal import Journal, pairs_of, told_what_stays
from coseg.evaluation.results import format_table, read_results
from coseg.evaluation.scores import check_void
from coseg.files import write_text_atomically
from coseg.models.network import CosegNetwork, checked_input_size
from coseg.training.checkpoint import load_task
from coseg.training.fit import make_datamodule, make_trainer
from coseg.training.outcome import TestPlan, write_outcome
from coseg.training.predict import CONFIG
from coseg.training.run import newest_best_checkpoint
from coseg.training.stop import pass_signals_on
from coseg.training.testing import PairTest

log = logging.getLogger(__name__)


def score(config: DictConfig) -> list[Path]:
    """Score ``config.ckpt`` on the test splits of the data set and print a table of each.

    Returns:
        The folders of results, ``<run>/test/<dataset>-<split>-<protocol>``, one for each split.

    Raises:
        CosegError: the checkpoint, the data or the configuration can't be used, or finished pairs were taken away.
    """
    chosen = config.ckpt is None
    checkpoint = newest_best_checkpoint(Path(config.runs)) if chosen else Path(config.ckpt)
    log.info(f"checkpoint: {checkpoint}{' (the newest best one)' if chosen else ''}")
    check_void(config.protocol.void)
    size = checked_input_size(config.input_size, "input_size")
    L.seed_everything(config.seed, workers=True, verbose=False)
    task = load_task(checkpoint)
    if size is not None:
        task.network.input_size = size
    return [_score_split(config, task.network, checkpoint, split) for split in _splits(config)]


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
    order = datamodule.order("test")
    pairs = len(order)
    whole = len(AllPairs(catalog.presence, split))
    name = f"{catalog.name}-{split}-{config.protocol.name}"
    if config.protocol.void != "background":
        name += f"-void_{config.protocol.void}"
    if config.input_size is not None:
        name += f"-size_{config.input_size}"
    if pairs < whole:  # a quick look must not take the place of a whole test
        name += f"-sample_{pairs}"
    folder = _run_of(checkpoint) / "test" / name
    plan = TestPlan(
        folder=folder,
        protocol=config.protocol.name,
        void=config.protocol.void,
        checkpoint=str(checkpoint),
        all_pairs=whole,
        panels=config.panels,
    )
    bar = config.trainer.get("enable_progress_bar", sys.stderr.isatty())
    trainer = make_trainer(config, [], False, enable_checkpointing=False, enable_progress_bar=False)
    journal = Journal(folder / "parts", _fingerprint(config, network, checkpoint, catalog, pairs))
    log.info(f"{catalog.name}/{catalog.split}: {len(catalog)} images, {pairs} pairs")
    if not catalog.complete:
        log.info(f"not the published images, which are {catalog.expected}: scores are of another set")
    done = set(pairs_of(journal.read()))
    if done:
        log.info(f"an interrupted test left {len(done)} finished pairs: going on after them")
    if len(done) < pairs:
        remaining = [pair for pair in (order.pair(0, k) for k in range(pairs)) if pair not in done]
        test = PairTest(
            network,
            datamodule,
            remaining,
            journal,
            config.protocol.void,
            config.feature_gb,
            config.pairs_at_once,
            bar,
        )
        with pass_signals_on(trainer):
            trainer.test(test, verbose=False)
    if trainer.is_global_zero:  # the others wrote their parts before they came here
        parts = journal.read()
        lacking = pairs - len(pairs_of(parts))
        if lacking:  # taken away from under this test, or written twice
            raise CosegError(
                f"{journal.folder} lacks {lacking} of {pairs} pairs: was the same test run twice at once? Run the same "
                "command again, by itself; it goes on with the pairs that are there."
            )
        with told_what_stays(journal.folder), trainer.precision_plugin.forward_context():
            tested = OmegaConf.merge(config, {"ckpt": str(checkpoint.resolve()), "split": split})
            write_text_atomically(folder / CONFIG, OmegaConf.to_yaml(tested, resolve=True))
            write_outcome(plan, catalog, network, parts, trainer.strategy.root_device)
        journal.remove()
        log.info(format_table(read_results(folder / "results.json")))
        log.info(f"results: {folder}")
    return folder


def _fingerprint(config: DictConfig, network: CosegNetwork, checkpoint: Path, catalog: Catalog, pairs: int) -> str:
    """A word that changes with everything that the scores depend on."""
    with checkpoint.open("rb") as file:
        weights = hashlib.file_digest(file, "sha256").hexdigest()
    images = hashlib.sha256(json.dumps([catalog.ids, catalog.class_names]).encode())
    images.update(np.packbits(catalog.presence).tobytes())
    facts = (
        coseg.__version__,
        weights,
        network.input_size,
        catalog.name,
        catalog.split,
        images.hexdigest(),
        OmegaConf.to_container(config.dataset.reader, resolve=True),  # the same images at another size, say
        pairs,
        OmegaConf.to_container(config.protocol, resolve=True),
        str(config.trainer.precision),
    )
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def _run_of(checkpoint: Path) -> Path:
    """The run directory of a checkpoint: where it lies, or the folder above ``checkpoints/``."""
    folder = checkpoint.resolve().parent
    return folder.parent if folder.name == "checkpoints" else folder
