"""Pairs per second of the training loader against decoding alone.

    python benchmarks/loader.py [--pairs N] [--workers W …] [Hydra overrides, e.g. dataset=voc dataset.root=…]

Decoding alone reads the images and label maps of the same pairs one after the other, without look-up, augmentation,
batching or processes. The two alternate in one run. Prints a line of JSON for each number of workers, and one with the
cache of decoded images filled.
"""

from __future__ import annotations

import argparse
import json
import time
from itertools import islice
from statistics import median
from typing import Any

from coseg.cli.sentences import guard
from coseg.configs import compose_config
from coseg.training.fit import make_datamodule, prepare_process

ROUNDS = 3


def decoding(datamodule: Any, pairs: int) -> float:
    """Pairs a second of decoding alone."""
    catalog, order = datamodule.catalog("train"), datamodule.order("train")
    catalog = getattr(catalog, "catalog", catalog)  # without the cache
    started = time.perf_counter()
    for k in range(pairs):
        for i in order.pair(0, k):
            catalog.image(i)
            catalog.labels(i)
    return pairs / (time.perf_counter() - started)


def loading(datamodule: Any, pairs: int) -> float:
    """Pairs a second of the loader, from its first batch on, so that starting workers is left out."""
    batches = pairs // datamodule.batch_size
    loader = iter(datamodule.train_dataloader())
    next(loader)
    started = time.perf_counter()
    count = sum(len(batch["pair"]) for batch in islice(loader, batches))
    return count / (time.perf_counter() - started)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--pairs", type=int, default=400)
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 1, 2])
    arguments, overrides = parser.parse_known_args()
    prepare_process(1)
    settings = [(workers, 0) for workers in arguments.workers] + [(max(arguments.workers), 2)]
    for workers, cache in settings:
        config = compose_config("train", [*overrides, f"data.workers={workers}", f"data.cache_gb={cache}"])
        datamodule = make_datamodule(config)
        datamodule.setup("fit")
        if cache:
            loading(datamodule, arguments.pairs)  # fills it
        rounds = [(loading(datamodule, arguments.pairs), decoding(datamodule, arguments.pairs)) for _ in range(ROUNDS)]
        result = {
            "workers": workers,
            "cache": bool(cache),
            "loader_pairs_per_second": round(median(ours for ours, _ in rounds), 1),
            "decoding_pairs_per_second": round(median(alone for _, alone in rounds), 1),
            "ratio": round(median(ours / alone for ours, alone in rounds), 3),
            "rounds": ROUNDS,
        }
        print(json.dumps(result), flush=True)


if __name__ == "__main__":
    guard(main)
