"""Tests of all pairs as `coseg-test` makes them, against the plain loop over pairs, and where their time goes.

    python benchmarks/full_test.py [--images N] [--all-pairs] [--precisions P,P] [--width W] [--ckpt FILE]
        [--device cpu|cuda] [Hydra overrides]

Overrides are those of `coseg-test` (pairs_at_once=8, feature_gb=1, dataset.reader.size=256) and, with ``model``, of
`coseg-train`. The network is the paper's, VGG16 at a stride of 16 with cross-correlation, not trained, or that of a
checkpoint; the images are generated shapes, and the pairs those that share a class, or with ``--all-pairs`` any two
images. Seconds are those of the processor with threads=1 on a CPU, so that other work on the machine matters less, else
of the clock. Prints JSON, a line each:

- ``pair_loop``: the plain module in float32, as anybody would call it: both images of each pair encoded, matched,
  decoded and scored by themselves, with the images in memory; with ``--loop-pairs P`` only P pairs, spread over all,
  and the seconds scaled up.
- ``test``, for each precision: a whole test, with reading and partial and final results; seconds, peak memory above
  what the process held before, how many times faster than the loop, and the largest difference between its scores and
  those of the loop, over the pairs of the loop, and those of the first precision, over all.
- ``parts``, for each precision: milliseconds an image (read, encode) and a pair (match, decode, score), and each as a
  share of their sum.
- ``limits``, likewise: milliseconds of the matrix products that a part amounts to. A convolution amounts to the
  product of (positions, k² input channels) and (k² input channels, output channels), with its own number of channels
  each; it is one of `torch.mm` in the type of the pairs, of what is encoded in float32. Of the scores it is a copy of
  the logits and label maps.
  ``to_limits`` is the whole test over images x encode + pairs x (match + decode + score).
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import json
import math
import os
import tempfile
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.overrides import TorchFunctionMode

from coseg.cli.sentences import guard
from coseg.configs import compose_config
from coseg.data.pair_orders import AllPairs
from coseg.evaluation.iteration import PairGroup
from coseg.evaluation.lightning_test import PairTest
from coseg.evaluation.outcome import TestPlan, write_outcome
from coseg.evaluation.partial_results import PartialResults
from coseg.hub.load import load_network
from coseg.instantiate import build_network, plain
from coseg.labels import pair_targets
from coseg.metrics.baselines import BaselineScores
from coseg.metrics.mask_counts import KEY, counts_from_table, predicted_mask
from coseg.metrics.pair_scores import SCORES, PairScores
from coseg.models.features import concatenate, deepest, repeat
from coseg.training.fit import make_datamodule, make_trainer, prepare_process

SPLIT = "seen"


class Usage:
    """Seconds and peak memory of a block: of the GPU where there is one, else resident memory, sampled."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.seconds = math.nan
        self.megabytes: float | None = None

    def __enter__(self) -> Usage:
        synchronise(self.device)
        gc.collect()
        with suppress(OSError, AttributeError):  # freed memory that glibc kept would hide what the block takes
            ctypes.CDLL("libc.so.6").malloc_trim(0)
        self._before = self._peak = self._now()
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self._thread.start()
        self._clock = clock(self.device)
        self._began = self._clock()
        return self

    def __exit__(self, *_: object) -> None:
        synchronise(self.device)
        self.seconds = self._clock() - self._began
        self._stop.set()
        self._thread.join()
        peak = torch.cuda.max_memory_allocated() if self.device.type == "cuda" else self._peak
        if peak:
            self.megabytes = round((peak - self._before) / 1e6, 1)

    def _now(self) -> int:
        if self.device.type == "cuda":
            return torch.cuda.memory_allocated()
        statm = Path("/proc/self/statm")
        return int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") if statm.exists() else 0

    def _sample(self) -> None:
        while not self._stop.wait(0.02):
            self._peak = max(self._peak, self._now())


class Units:
    """Seconds and calls by name."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.clock = clock(device)
        self.seconds: dict[str, float] = defaultdict(float)
        self.count: dict[str, int] = defaultdict(int)

    @contextmanager
    def of(self, name: str, count: int = 1) -> Iterator[None]:
        synchronise(self.device)
        began = self.clock()
        yield
        synchronise(self.device)
        self.seconds[name] += self.clock() - began
        self.count[name] += count

    def mean(self, name: str) -> float:
        return self.seconds[name] / self.count[name]


class Products(TorchFunctionMode):
    """The matrix products that the convolutions within amount to, and how often each."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes: Counter[tuple[int, int, int, bool]] = Counter()  # rows, inner, columns, and whether in groups

    def __torch_function__(self, function: Any, types: Any, arguments: Any = (), options: Any = None) -> Any:
        result = function(*arguments, **(options or {}))
        if function is torch.conv2d:
            inputs, weight = arguments[:2]
            rows = result.numel() // result.shape[1]
            self.sizes[rows, weight[0].numel(), weight.shape[0], weight.shape[1] < inputs.shape[1]] += 1
        return result

    def seconds(self, grouped: bool, dtype: torch.dtype, device: torch.device, repeats: int = 5) -> float:
        """What those of grouped convolutions, or of the others, take as products of `torch.mm`, each at its fastest."""
        now, total = clock(device), 0.0
        for (rows, inner, columns, in_groups), count in self.sizes.items():
            if in_groups != grouped:
                continue
            a, b = torch.randn(rows, inner, dtype=dtype, device=device), torch.randn(inner, columns, device=device)
            b, times = b.to(dtype), []
            for _ in range(repeats):
                synchronise(device)
                began = now()
                torch.mm(a, b)
                synchronise(device)
                times.append(now() - began)
            total += count * min(times)
        return total


def clock(device: torch.device) -> Callable[[], float]:
    """Seconds of the processor, where one thread of it does everything."""
    return time.process_time if device.type == "cpu" and torch.get_num_threads() == 1 else time.perf_counter


def synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def show(**result: Any) -> None:
    print(json.dumps({k: round(v, 4) if isinstance(v, float) else v for k, v in result.items()}), flush=True)


class Benchmark:
    """What all measurements share.

    Args:
        arguments: of the command line.
        overrides: of Hydra.
        precision: any of Lightning's.
    """

    def __init__(self, arguments: argparse.Namespace, overrides: list[str], precision: str) -> None:
        model = [f"model.encoder.width={arguments.width}", "model.encoder.stride=16", "model.kernel_sizes=[3,5,7]"]
        model += [word for word in overrides if word.startswith("model")]
        torch.manual_seed(0)
        if arguments.ckpt is None:
            self.network: Any = build_network(plain(compose_config("train", model).model)).eval()
        else:
            self.network = load_network(arguments.ckpt).eval().to(memory_format=torch.contiguous_format)
        self.network.input_size = None
        self.config = compose_config(
            "test",
            [
                f"trainer.accelerator={'gpu' if arguments.device == 'cuda' else arguments.device}",
                f"trainer.precision={precision}",
                f"dataset.reader.{SPLIT}={arguments.images}",
                "panels=0",
                *[word for word in overrides if not word.startswith("model")],
            ],
        )
        prepare_process(self.config.threads)
        self.void = self.config.protocol.void
        self.datamodule = make_datamodule(self.config, splits=dict.fromkeys(("train", "val", "test"), SPLIT))
        self.catalog = self.datamodule.catalog("test")
        if arguments.all_pairs:
            self.pairs = list(combinations(range(len(self.catalog)), 2))
        else:
            order = AllPairs(self.catalog.presence, SPLIT)
            self.pairs = [order.pair(0, k) for k in range(len(order))]
        trainer = self.trainer()
        self.device = trainer.strategy.root_device
        self.network = self.network.to(self.device)

    def trainer(self) -> Any:
        return make_trainer(self.config, [], False, enable_checkpointing=False, enable_progress_bar=False)

    def test(self, folder: Path) -> NDArray[np.int64]:
        """A whole test; its table of counts."""
        partial_results = PartialResults(folder / "parts", "benchmark")
        limits = {"feature_gb": self.config.feature_gb, "at_once": self.config.pairs_at_once}
        test = PairTest(self.network, self.datamodule, self.pairs, partial_results, self.void, **limits)
        self.trainer().test(test, verbose=False)
        parts = partial_results.read()
        plan = TestPlan(folder, self.config.protocol.name, self.void, "none", None, None, True, groups=False, panels=0)
        write_outcome(plan, self.catalog, self.network, parts, lambda records: [])
        return np.concatenate([part.table for part in parts])

    def common(self, pairs: NDArray[np.int64]) -> Tensor:
        """The common classes of pairs (N, 2), bool (N, K)."""
        presence = self.catalog.presence
        return torch.from_numpy(presence[pairs[:, 0]] & presence[pairs[:, 1]])

    def scores(self, table: NDArray[np.int64], pairs: list[tuple[int, int]]) -> dict[str, float]:
        """The scores of some of the pairs of a table."""
        chosen = set(pairs)
        table = table[[tuple(key) in chosen for key in table[:, :KEY].tolist()]]
        scores = PairScores(len(self.catalog.class_names), self.void)
        scores.add_counts(counts_from_table(torch.from_numpy(table)), self.common(table[:, :KEY]))
        return {name: float(value) for name, value in scores.compute().items()}

    @torch.inference_mode()
    def pair_loop(self, pairs: list[tuple[int, int]], images: list[Tensor], labels: list[Tensor]) -> dict[str, float]:
        """The pairs one by one; their scores."""
        scores = PairScores(len(self.catalog.class_names), self.void).to(self.device)
        baselines = BaselineScores(self.void).to(self.device)
        for i, j in pairs:
            logits = self.network(images[i].to(self.device), images[j].to(self.device))
            common = self.common(np.array([(i, j)])).to(self.device)
            targets = [pair_targets(labels[k].to(self.device), common) for k in (i, j)]
            a, b = (predicted_mask(side) for side in logits)
            scores.update(a, targets[0], b, targets[1], common)
            baselines.update(*targets)
        return {name: float(value) for name, value in scores.compute().items()}

    @torch.inference_mode()
    def parts(self, pairs: int) -> tuple[dict[str, float], dict[str, float]]:
        """Seconds of what `test` does to an image and to a pair, clocked piece by piece; and their limits."""
        units, trainer = Units(self.device), self.trainer()
        count = min(self.config.pairs_at_once, len(self.catalog) - 1)
        for i in range(min(len(self.catalog), 20)):
            with units.of("read"):
                self.catalog.image(i)
                self.catalog.labels(i)
        test = PairTest(self.network, self.datamodule, [], PartialResults(Path(), ""), self.void)
        test.trainer = trainer
        test.setup("test")
        trainer.precision_plugin.convert_module(test.to(self.device))
        network: Any = test.network
        if test.full_precision is not None:
            test.full_precision.join(network, self.device, torch.channels_last)
        methods = {"co-segment": network.cosegment, "decode": network.decode}

        def clocked(name: str) -> Callable[..., Any]:
            def call(*arguments: Any) -> Any:
                with units.of(name, count):
                    return methods[name](*arguments)

            return call

        with trainer.precision_plugin.forward_context():
            items = list(self.datamodule.image_loader("test", range(count + 1)))
            images = [item.image[None].to(self.device) for item in items]
            labels = [item.labels[None].to(self.device) for item in items]
            features = []
            test.features(images[0])  # warm
            for image in images:
                with units.of("encode"):
                    features.append(test.features(image))
            group = PairGroup(
                [(i, count) for i in range(count)],
                concatenate(features[:count]),
                repeat(features[count], count),
                torch.cat(labels[:count]),
                repeat(labels[count], count),
            )
            test.score(group)  # warm, with the baselines, which are computed once an image
            with Products() as of_image:
                test.features(images[0])
            with Products() as of_pairs:
                logits = network.cosegment(group.features_a, group.features_b, *group.sizes)
            for _ in range(-(-pairs // count)):
                with units.of("scored maps", count):
                    _ = [maps.clone() for maps in (*logits, group.labels_a, group.labels_b)]
                network.cosegment, network.decode = map(clocked, methods)
                with units.of("pair", count):
                    test.score(group)
                del network.cosegment, network.decode
        means = {name: units.mean(name) for name in units.seconds}
        parts = {"read": means["read"], "encode": means["encode"], "match": means["co-segment"] - means["decode"]}
        parts |= {"decode": means["decode"], "score": means["pair"] - means["co-segment"]}
        dtype = deepest(features[0]).dtype
        limits = {"encode": of_image.seconds(False, torch.float32, self.device)}
        limits |= {"match": of_pairs.seconds(True, dtype, self.device) / count}
        limits |= {"decode": of_pairs.seconds(False, dtype, self.device) / count, "score": means["scored maps"]}
        return parts, limits


def largest_difference(scores: dict[str, float], wanted: dict[str, float]) -> str:
    """Of any two scores of one name."""
    return f"{max(abs(scores[name] - wanted[name]) for name in SCORES if not math.isnan(wanted[name])):.1e}"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--images", type=int, default=60)
    parser.add_argument("--all-pairs", action="store_true", help="any two images, not those that share a class alone")
    parser.add_argument("--width", type=float, default=1.0, help="of the encoder's channels")
    parser.add_argument("--ckpt", help="of a trained network, which is tested without its input size")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--precisions", default="32-true", help="any of Lightning's, such as 32-true,bf16-true")
    parser.add_argument("--loop-pairs", type=int, default=None, help="of the pair loop; all, unless given")
    parser.add_argument("--part-pairs", type=int, default=40, help="of the measurement of parts")
    arguments, overrides = parser.parse_known_args()
    benchmark = Benchmark(arguments, overrides, "32-true")
    device, pairs, catalog = benchmark.device, benchmark.pairs, benchmark.catalog
    show(
        what="setting",
        images=len(catalog),
        pairs=len(pairs),
        size=int(catalog.image(0).shape[0]),
        width=arguments.width,
        device=torch.cuda.get_device_name() if device.type == "cuda" else "CPU",
        threads=torch.get_num_threads(),
        processor_seconds=clock(device) is time.process_time,
    )
    images = [torch.from_numpy(catalog.image(i).transpose(2, 0, 1).copy())[None] for i in range(len(catalog))]
    labels = [torch.from_numpy(catalog.labels(i).copy())[None] for i in range(len(catalog))]
    looped = pairs[:: max(1, len(pairs) // (arguments.loop_pairs or len(pairs)))][: arguments.loop_pairs]
    benchmark.pair_loop(looped[:1], images, labels)  # warm
    with Usage(device) as loop:
        wanted = benchmark.pair_loop(looped, images, labels)
    loop_seconds = loop.seconds * len(pairs) / len(looped)
    show(what="pair_loop", pairs_run=len(looped), seconds=loop_seconds, pair_ms=1e3 * loop.seconds / len(looped))
    first: dict[str, float] | None = None
    for precision in arguments.precisions.split(","):
        benchmark = Benchmark(arguments, overrides, precision)
        with tempfile.TemporaryDirectory() as folder, Usage(device) as usage:
            table = benchmark.test(Path(folder))
        scores = benchmark.scores(table, pairs)
        first = first or scores
        show(
            what="test",
            precision=precision,
            seconds=usage.seconds,
            peak_mb=usage.megabytes,
            times_faster_than_loop=loop_seconds / usage.seconds,
            to_scores_of_loop=largest_difference(benchmark.scores(table, looped), wanted),
            to_scores_of_first_precision=largest_difference(scores, first),
        )
        parts, limits = benchmark.parts(arguments.part_pairs)
        times = {name: len(images) if name in ("read", "encode") else len(pairs) for name in parts}
        whole = sum(times[name] * parts[name] for name in parts)
        show(
            what="parts",
            precision=precision,
            **{f"{name}_ms": 1e3 * seconds for name, seconds in parts.items()},
            **{f"{name}_share": times[name] * seconds / whole for name, seconds in parts.items()},
        )
        show(
            what="limits",
            precision=precision,
            **{f"{name}_ms": 1e3 * seconds for name, seconds in limits.items()},
            to_limits=usage.seconds / sum(times[name] * limits[name] for name in limits),
        )


if __name__ == "__main__":
    guard(main)
