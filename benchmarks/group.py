"""What it costs to co-segment a group of n images: linear in n, where all pairs are quadratic.

    python benchmarks/group.py [--images 50 100 200] [--width 0.25] [--size 96] [--repeats 3]

Features are encoded before the clock starts. Prints one line of JSON for each n: seconds of `cosegment_group` (the
median of the repeats) and seconds an image, beside those of all pairs one by one, estimated from 20 of them. The last
line has the exponent of n that fits the group's seconds: 1 is linear.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from statistics import median

import numpy as np
import torch

from coseg.models.cross_correlation import CrossCorrelationNetwork
from coseg.models.encoders.vgg import VGG16Encoder

PAIRS = 20


def seconds(job: Callable[[], object], repeats: int) -> float:
    """The median time of a job, after one run that is not timed."""
    times = []
    for _ in range(repeats + 1):
        began = time.perf_counter()
        job()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        times.append(time.perf_counter() - began)
    return median(times[1:])


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--images", type=int, nargs="+", default=[50, 100, 200])
    parser.add_argument("--width", type=float, default=0.25)
    parser.add_argument("--size", type=int, default=96)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()

    torch.manual_seed(0)
    network = CrossCorrelationNetwork(VGG16Encoder(width=arguments.width, stride=8)).eval().to(arguments.device)
    size = (arguments.size, arguments.size)
    group_seconds = []
    with torch.inference_mode():
        images = torch.rand(max(arguments.images), 3, *size, device=arguments.device)
        features = [network.encode(image[None]) for image in images]

        def some_pairs() -> None:
            for k in range(PAIRS):
                network.cosegment(features[k % len(features)], features[(k + 1) % len(features)], size, size)

        pair = seconds(some_pairs, arguments.repeats) / PAIRS
        for n in arguments.images:

            def group(n: int = n) -> None:
                for _ in network.cosegment_group(features[:n], [size] * n):  # they are made as they are asked for
                    pass

            taken = seconds(group, arguments.repeats)
            group_seconds.append(taken)
            print(
                json.dumps(
                    {
                        "images": n,
                        "group_s": round(taken, 3),
                        "group_ms_an_image": round(1000 * taken / n, 2),
                        "pairs": n * (n - 1) // 2,
                        "pairs_s": round(pair * n * (n - 1) / 2, 2),
                        "ratio": round(pair * n * (n - 1) / 2 / taken, 1),
                    }
                )
            )
    if len(group_seconds) > 1:
        exponent = np.polyfit(np.log(arguments.images), np.log(group_seconds), 1)[0]
        print(json.dumps({"exponent": round(float(exponent), 3)}))


if __name__ == "__main__":
    main()
