"""Time and memory of `PairIndex` on a table of COCO's size: 120,000 images, 80 classes, about 3 classes an image.

    python benchmarks/pair_index.py [--images N] [--classes K] [--seed S]

Prints one line of JSON: seconds to build, the peak of memory that building takes beyond the table itself
(`tracemalloc`), the peak of the whole process with numpy and the table, and milliseconds for one access at random.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
import tracemalloc

import numpy as np

from coseg.data.pair_index import PairIndex, Permutation


def presence_table(images: int, classes: int, seed: int) -> np.ndarray:
    """A table of 3 classes an image on average (at least one) with frequencies that fall like 1/rank, as in COCO."""
    generator = np.random.default_rng(seed)
    weights = 1 / np.arange(1, classes + 1)
    weights /= weights.sum()
    table = np.zeros((images, classes), bool)
    table[np.arange(images), generator.choice(classes, images, p=weights)] = True
    table |= generator.random((images, classes), np.float32) < np.minimum(1, 2.4 * weights)
    return table


def resident_mib() -> float:
    """The peak of this process's resident memory so far, MiB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--images", type=int, default=120_000)
    parser.add_argument("--classes", type=int, default=80)
    parser.add_argument("--accesses", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()

    table = presence_table(arguments.images, arguments.classes, arguments.seed)
    started = time.perf_counter()
    index = PairIndex(table)
    build = time.perf_counter() - started

    shuffle = Permutation(len(index), arguments.seed)
    times = []
    for k in range(arguments.accesses):
        started = time.perf_counter()
        i, j = index[shuffle[k]]
        times.append(time.perf_counter() - started)
        assert i < j and (table[i] & table[j]).any()

    tracemalloc.start()  # a second build, since tracing slows the first
    PairIndex(table)
    traced = tracemalloc.get_traced_memory()[1] / 2**20
    tracemalloc.stop()
    print(
        json.dumps(
            {
                "images": arguments.images,
                "classes": arguments.classes,
                "classes_per_image": round(float(table.sum(1).mean()), 2),
                "pairs": len(index),
                "build_s": round(build, 2),
                "build_peak_mib": round(traced, 1),
                "table_mib": round(table.nbytes / 2**20, 1),
                "process_peak_mib": round(resident_mib(), 1),
                "access_ms_mean": round(1000 * float(np.mean(times)), 3),
                "access_ms_max": round(1000 * max(times), 3),
            }
        )
    )


if __name__ == "__main__":
    main()
