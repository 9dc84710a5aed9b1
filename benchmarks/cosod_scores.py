"""What it costs to score grey maps, beside the programs that papers on co-salient object detection use.

    python benchmarks/cosod_scores.py [--maps 20] [--size 375x500] [--repeats 3]

Needs pysodmetrics (the extra ``dev``). The maps are drawn: an ellipse, blurred and noisy. Prints one line of JSON:
milliseconds a map of both (the best of the repeats, in turn, one thread), their ratio, and by how much the eight scores
differ at most.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from coseg.metrics import COSOD_SCORES
from coseg.metrics.cosod import map_scores, mean_scores

Map = tuple[NDArray[np.uint8], NDArray[np.bool_]]


def drawn_maps(count: int, height: int, width: int) -> list[Map]:
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:height, :width] / np.array([height, width])[:, None, None]
    maps = []
    for _ in range(count):
        cy, cx, ry, rx = rng.uniform(0.3, 0.7, 2).tolist() + rng.uniform(0.1, 0.3, 2).tolist()
        distance = ((y - cy) / ry) ** 2 + ((x - cx) / rx) ** 2
        grey = 255 / (1 + np.exp(4 * (distance - rng.uniform(0.8, 1.2)))) + rng.normal(0, 10, distance.shape)
        maps.append((np.clip(grey, 0, 255).astype(np.uint8), distance < 1))
    return maps


def theirs(maps: Sequence[Map]) -> dict[str, float]:
    """The scores by pysodmetrics."""
    import py_sod_metrics as sod

    mae, s, e, f = sod.MAE(), sod.Smeasure(), sod.Emeasure(), sod.Fmeasure()
    for grey, truth in maps:
        for measure in (mae, s, e, f):
            measure.step(grey, truth.astype(np.uint8) * 255)
    of_e, of_f = e.get_results()["em"], f.get_results()["fm"]
    curves = [value for of in (of_e, of_f) for value in (of["curve"].max(), of["curve"].mean(), of["adp"])]
    values = (mae.get_results()["mae"], s.get_results()["sm"], *curves)
    return dict(zip(COSOD_SCORES, map(float, values), strict=True))


def ours(maps: Sequence[Map]) -> dict[str, float]:
    """The same by coseg."""
    return mean_scores(map_scores(grey, truth) for grey, truth in maps)


def seconds(job: Callable[[], object]) -> float:
    began = time.perf_counter()
    job()
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--maps", type=int, default=20)
    parser.add_argument("--size", default="375x500", help="height x width")
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    height, width = map(int, arguments.size.split("x"))
    maps = drawn_maps(arguments.maps, height, width)
    scores, expected = ours(maps), theirs(maps)
    times = [(seconds(lambda: ours(maps)), seconds(lambda: theirs(maps))) for _ in range(arguments.repeats)]
    best, best_theirs = (min(column) for column in zip(*times, strict=True))
    print(
        json.dumps(
            {
                "maps": len(maps),
                "size": [height, width],
                "coseg_ms": round(1000 * best / len(maps), 2),
                "pysodmetrics_ms": round(1000 * best_theirs / len(maps), 2),
                "ratio": round(best_theirs / best, 1),
                "largest_difference": max(abs(scores[name] - expected[name]) for name in COSOD_SCORES),
            }
        )
    )


if __name__ == "__main__":
    main()
