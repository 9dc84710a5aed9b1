"""Pairs per second of the training loader against decoding alone.

    python benchmarks/loader.py [--pairs N] [--workers W …] [Hydra overrides, e.g. dataset=voc dataset.root=…]

Decoding alone reads the images and label maps of the same pairs one after the other, without look-up, augmentation,
batching or processes. The two alternate in one run. Prints a line of JSON for each number of workers, and one with the
cache of decoded images filled:

- ``ratio``: pairs a second of the loader over those of decoding, by the clock.
- ``processor_ratio``: seconds of the processor that decoding a pair takes over those that all processes of the loader
  take for it, times the number of workers: what `ratio` would be if each worker had a core and no other work disturbed
  it. Null where the system does not tell what workers take (only Linux does).
"""

from __future__ import annotations

import argparse
import json
import math
import os
import time
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any

from coseg.cli.sentences import guard
from coseg.configs import compose_config
from coseg.training.fit import make_datamodule, prepare_process

ROUNDS = 3


def processor_seconds(workers: list[Any]) -> float:
    """What this process and workers of it have taken of the processor so far; NaN where that is not known."""
    total = time.process_time()
    for worker in workers:
        file = Path(f"/proc/{worker.pid}/stat")
        if not file.exists():
            return math.nan
        user, system = file.read_text().rpartition(")")[2].split()[11:13]
        total += (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")
    return total


def decoding(datamodule: Any, pairs: int) -> tuple[float, float]:
    """Pairs a second of decoding alone, by the clock and of the processor."""
    catalog, order = datamodule.catalog("train"), datamodule.order("train")
    catalog = getattr(catalog, "catalog", catalog)  # without the cache
    started, taken = time.perf_counter(), time.process_time()
    for k in range(pairs):
        for i in order.pair(0, k):
            catalog.image(i)
            catalog.labels(i)
    return pairs / (time.perf_counter() - started), pairs / (time.process_time() - taken)


def loading(datamodule: Any, pairs: int) -> tuple[float, float]:
    """Pairs a second of the loader, as in `decoding`, from its first batch on: starting workers is left out."""
    batches = pairs // datamodule.batch_size
    loader = iter(datamodule.train_dataloader())
    workers = getattr(loader, "_workers", [])
    next(loader)
    started, taken = time.perf_counter(), processor_seconds(workers)
    count = sum(len(batch["pair"]) for batch in islice(loader, batches))
    return count / (time.perf_counter() - started), count / (processor_seconds(workers) - taken)


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
        shares = [ours[1] / alone[1] for ours, alone in rounds]
        result = {
            "workers": workers,
            "cache": bool(cache),
            "loader_pairs_per_second": round(median(ours[0] for ours, _ in rounds), 1),
            "decoding_pairs_per_second": round(median(alone[0] for _, alone in rounds), 1),
            "ratio": round(median(ours[0] / alone[0] for ours, alone in rounds), 3),
            "processor_ratio": None if math.isnan(shares[0]) else round(max(1, workers) * median(shares), 3),
            "rounds": ROUNDS,
        }
        print(json.dumps(result), flush=True)


if __name__ == "__main__":
    guard(main)
