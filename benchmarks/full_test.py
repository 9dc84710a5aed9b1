"""One full test as `coseg-test` makes it, against the plain loop over pairs, and where its time goes.

    python benchmarks/full_test.py [--images N] [--width W] [--device cpu|cuda] [--precision P] [Hydra overrides]

Overrides are those of `coseg-test` (pairs_at_once=8, feature_gb=1, dataset.reader.size=256) and, with ``model``, of
`coseg-train`. The network is VGG16 with cross-correlation, not trained; the images are generated shapes, and all pairs
that share a class are tested. Prints JSON, a line each:

- ``ours``: a whole test with partial and final results; seconds, seconds of the processor (which tell more on a busy
  machine), and peak memory above what the process held before.
- ``pair_loop``: both images of each pair read, encoded, matched, decoded and scored by themselves; with
  ``--loop-pairs P`` only the first P pairs, and the seconds scaled up.
- ``parts``: milliseconds an image (read, encode) and a pair (match, decode, score), and each as a share of their sum.
- ``ratio``: seconds of ours over those of the pair loop, and over images x encoding + pairs x co-segmenting, which is
  measured apart, one image and one pair at a time, half of it before and half after ours; the largest difference
  between a score of ours and of the pair loop (null where the loop saw fewer pairs).
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
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import Any

import torch

from coseg.cli.sentences import guard
from coseg.configs import compose_config
from coseg.data.pair_orders import AllPairs
from coseg.evaluation.iteration import PairIteration
from coseg.evaluation.lightning_test import PairTest
from coseg.evaluation.outcome import TestPlan, write_outcome
from coseg.evaluation.partial_results import PartialResults
from coseg.instantiate import build_network, plain
from coseg.metrics.baselines import BaselineScores
from coseg.metrics.mask_counts import predicted_mask
from coseg.metrics.pair_scores import SCORES, PairScores
from coseg.models.base import image_size
from coseg.reports.results import read_results
from coseg.training.fit import make_datamodule, make_trainer, prepare_process

SPLIT = "seen"


class Usage:
    """Seconds and peak memory of a block: of the GPU where there is one, else resident memory, sampled."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.seconds = self.cpu_seconds = math.nan
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
        self._began, self._cpu_began = time.perf_counter(), time.process_time()
        return self

    def __exit__(self, *_: object) -> None:
        synchronise(self.device)
        self.seconds = time.perf_counter() - self._began
        self.cpu_seconds = time.process_time() - self._cpu_began
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
        self.seconds: dict[str, float] = defaultdict(float)
        self.count: dict[str, int] = defaultdict(int)

    @contextmanager
    def of(self, name: str, count: int = 1) -> Iterator[None]:
        synchronise(self.device)
        began = time.perf_counter()
        yield
        synchronise(self.device)
        self.seconds[name] += time.perf_counter() - began
        self.count[name] += count

    def mean(self, name: str) -> float:
        return self.seconds[name] / self.count[name]


def synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def show(**result: Any) -> None:
    print(json.dumps({k: round(v, 4) if isinstance(v, float) else v for k, v in result.items()}), flush=True)


class Benchmark:
    """What all measurements share."""

    def __init__(self, arguments: argparse.Namespace, overrides: list[str]) -> None:
        model = [f"model.encoder.width={arguments.width}", *[word for word in overrides if word.startswith("model")]]
        self.network = build_network(plain(compose_config("train", model).model)).eval()
        self.config = compose_config(
            "test",
            [
                f"trainer.accelerator={'gpu' if arguments.device == 'cuda' else arguments.device}",
                f"trainer.precision={arguments.precision}",
                f"dataset.reader.{SPLIT}={arguments.images}",
                "panels=0",
                *[word for word in overrides if not word.startswith("model")],
            ],
        )
        prepare_process(self.config.threads)
        self.datamodule = make_datamodule(self.config, splits=dict.fromkeys(("train", "val", "test"), SPLIT))
        self.catalog = self.datamodule.catalog("test")
        order = AllPairs(self.catalog.presence, SPLIT)
        self.pairs = [order.pair(0, k) for k in range(len(order))]
        trainer = self.trainer()
        self.device = trainer.strategy.root_device
        self.network = trainer.precision_plugin.convert_module(self.network)
        self.precision: Callable[[], Any] = trainer.precision_plugin.forward_context

    def trainer(self) -> Any:
        return make_trainer(self.config, [], False, enable_checkpointing=False, enable_progress_bar=False)

    def ours(self) -> dict[str, Any]:
        """A whole test; its results."""
        protocol = self.config.protocol
        with tempfile.TemporaryDirectory() as folder:
            partial_results = PartialResults(Path(folder, "parts"), "benchmark")
            test = PairTest(
                self.network,
                self.datamodule,
                self.pairs,
                partial_results,
                protocol.void,
                feature_gb=self.config.feature_gb,
                at_once=self.config.pairs_at_once,
            )
            self.trainer().test(test, verbose=False)
            plan = TestPlan(
                Path(folder), protocol.name, protocol.void, "none", None, None, True, groups=False, panels=0
            )
            write_outcome(plan, self.catalog, self.network, partial_results.read(), lambda records: [])
            return read_results(Path(folder, "results.json"))

    @torch.inference_mode()
    def pair_loop(self, pairs: int) -> dict[str, float]:
        """The first pairs one by one; their scores."""
        void = self.config.protocol.void
        scores = PairScores(len(self.catalog.class_names), void).to(self.device)
        baselines = BaselineScores(void).to(self.device)
        self.network.to(self.device)
        for batch in islice(self.datamodule.test_dataloader(), pairs):
            batch = {key: value.to(self.device) for key, value in batch.items()}
            with self.precision():
                logits = self.network(batch["image_a"], batch["image_b"])
            a, b = (predicted_mask(side) for side in logits)
            scores.update(a, batch["target_a"], b, batch["target_b"], batch["common"])
            baselines.update(batch["target_a"], batch["target_b"])
        return {name: float(value) for name, value in scores.compute().items()}

    @torch.inference_mode()
    def apart(self, units: Units, images: range, pairs: int) -> None:
        """Encode these images and co-segment some of their pairs, one at a time."""
        self.network.to(self.device)
        with self.precision():
            decoded = [torch.from_numpy(self.catalog.image(i).transpose(2, 0, 1).copy())[None] for i in images]
            decoded = [image.to(self.device) for image in decoded]
            self.network.encode(decoded[0])  # warm
            features = []
            for image in decoded:
                with units.of("encode"):
                    features.append(self.network.encode(image))
            for k in range(pairs + 1):  # the first one warms up
                a, b = k % len(images), (k * 7 + 1) % len(images)
                with units.of("co-segment" if k else "warm"):
                    self.network.cosegment(features[a], features[b], image_size(decoded[a]), image_size(decoded[b]))

    @torch.inference_mode()
    def parts(self, pairs: int) -> Units:
        """What `ours` does to an image and to a pair, clocked piece by piece."""
        units = Units(self.device)
        for i in range(min(len(self.catalog), 20)):
            with units.of("read"):
                self.catalog.image(i)
                self.catalog.labels(i)
        network: Any = self.network
        nowhere = PartialResults(Path(), "")
        test = PairTest(network, self.datamodule, self.pairs[:pairs], nowhere, self.config.protocol.void)
        test.to(self.device)
        encode, cosegment, decode = network.encode, network.cosegment, network.decode

        def timed_encode(image: Any) -> Any:
            with units.of("encode"):
                return encode(image)

        def timed_decode(*arguments: Any) -> Any:
            with units.of("decode"):
                return decode(*arguments)

        def timed_cosegment(*arguments: Any) -> Any:
            with units.of("co-segment"):
                return cosegment(*arguments)

        network.decode, network.cosegment = timed_decode, timed_cosegment
        read = self.datamodule.image_loader
        pair_groups = PairIteration(
            test.keys,
            lambda indices: read("test", indices),
            timed_encode,
            self.config.feature_gb,
            self.config.pairs_at_once,
            self.device,
        )
        with self.precision():
            for group in pair_groups:
                with units.of("pair", len(group.pairs)):
                    test.score(group)
        del network.decode, network.cosegment
        for name in ("decode", "co-segment"):
            units.count[name] = units.count["pair"]
        units.seconds["match"] = units.seconds["co-segment"] - units.seconds["decode"]
        units.seconds["score"] = units.seconds["pair"] - units.seconds["co-segment"]
        units.count["match"] = units.count["score"] = units.count["pair"]
        return units


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--images", type=int, default=60)
    parser.add_argument("--width", type=float, default=1.0, help="of the encoder's channels")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--precision", default="32-true", help="any of Lightning's, such as bf16-mixed")
    parser.add_argument("--loop-pairs", type=int, default=None, help="of the pair loop; all, unless given")
    parser.add_argument("--apart-pairs", type=int, default=40, help="co-segmented apart")
    arguments, overrides = parser.parse_known_args()
    torch.manual_seed(0)
    benchmark = Benchmark(arguments, overrides)
    device, images, pairs = benchmark.device, len(benchmark.catalog), len(benchmark.pairs)
    setting = {
        "images": images,
        "pairs": pairs,
        "size": int(benchmark.catalog.image(0).shape[0]),
        "width": arguments.width,
        "precision": arguments.precision,
        "device": torch.cuda.get_device_name() if device.type == "cuda" else "CPU",
        "threads": torch.get_num_threads(),
    }

    apart = Units(device)
    benchmark.apart(apart, range(images // 2), arguments.apart_pairs // 2)
    with Usage(device) as ours:
        results = benchmark.ours()
    show(what="ours", **setting, seconds=ours.seconds, cpu_seconds=ours.cpu_seconds, peak_mb=ours.megabytes)
    benchmark.apart(apart, range(images // 2, images), arguments.apart_pairs // 2)

    looped = min(arguments.loop_pairs or pairs, pairs)
    with Usage(device) as loop:
        scores = benchmark.pair_loop(looped)
    loop_seconds = loop.seconds * pairs / looped
    loop_cpu = loop.cpu_seconds * pairs / looped
    show(what="pair_loop", pairs_run=looped, seconds=loop_seconds, cpu_seconds=loop_cpu, peak_mb=loop.megabytes)

    units = benchmark.parts(arguments.apart_pairs)
    costs = {name: units.mean(name) * images for name in ("read", "encode")}
    costs |= {name: units.mean(name) * pairs for name in ("match", "decode", "score")}
    show(
        what="parts",
        **{f"{name}_ms": 1e3 * units.mean(name) for name in costs},
        **{f"{name}_share": cost / sum(costs.values()) for name, cost in costs.items()},
    )
    bound = images * apart.mean("encode") + pairs * apart.mean("co-segment")
    differences = [abs(results[name] - scores[name]) for name in SCORES if results[name] is not None]
    show(
        what="ratio",
        to_pair_loop=ours.seconds / loop_seconds,
        to_encoding_and_cosegmenting=ours.seconds / bound,
        encode_ms=1e3 * apart.mean("encode"),
        cosegment_ms=1e3 * apart.mean("co-segment"),
        largest_difference=f"{max(differences):.1e}" if looped == pairs else None,
    )


if __name__ == "__main__":
    guard(main)
