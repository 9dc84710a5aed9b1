"""The paper's training on a GPU: pairs a second, memory, utilisation, and how long its 335,000 steps would take.

    python benchmarks/gpu.py [--steps S] [--pairs N] [Hydra overrides]

The training step of `experiment=voc_pairs` at 513 x 513 on a batch that is made before the clock starts, of noise: the
speed does not depend on what images show. Prints a line of JSON for each of float32, bfloat16, and both with
`torch.compile`. `flops_share` is what was reached of `--peak`, the operations a second that the maker states for that
precision. Where there is no GPU, it says so and ends with exit code 2; `--cpu` shows that the configuration works.
"""

from __future__ import annotations

import argparse
import json
import time
from contextlib import nullcontext, suppress
from statistics import median
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from coseg.cli.sentences import guard
from coseg.configs import compose_config
from coseg.data.readers.voc import VOC_CLASSES
from coseg.errors import CosegError
from coseg.training.fit import make_task, prepare_process

PAPER_STEPS = 335_000
"""10 epochs of 167,500 pairs in batches of 5."""

SETTINGS = ("experiment=voc_pairs", "model.encoder.weights=null")
"""Weights at random, which are as fast as ImageNet's and need no download."""

PRECISIONS = ("32-true", "bf16-mixed")


def ideal_hours(step_seconds: float, steps: int = PAPER_STEPS) -> float:
    """The hours of so many steps without loader, validation or checkpoints."""
    return steps * step_seconds / 3600


def training_exaflops(step_flops: float, steps: int = PAPER_STEPS) -> float:
    """10^18 operations of so many steps, a multiplication and an addition counted as two."""
    return steps * step_flops / 1e18


def random_batch(pairs: int, size: int, classes: int, device: torch.device) -> dict[str, torch.Tensor]:
    """A training batch of noise, with one common class a pair."""
    generator = torch.Generator().manual_seed(0)
    batch: dict[str, torch.Tensor] = {}
    for side in ("a", "b"):
        batch[f"image_{side}"] = torch.randint(256, (pairs, 3, size, size), dtype=torch.uint8, generator=generator)
        batch[f"labels_{side}"] = torch.randint(2, (pairs, size, size), dtype=torch.uint8, generator=generator)
        batch[f"target_{side}"] = batch[f"labels_{side}"]
    batch["pair"] = torch.arange(2 * pairs).view(pairs, 2)
    batch["common"] = torch.zeros(pairs, classes, dtype=torch.bool)
    batch["common"][:, 0] = True
    return {name: value.to(device) for name, value in batch.items()}


class Step:
    """A training step of `coseg-train`: forward, loss, backward, optimiser."""

    def __init__(self, config: Any, device: torch.device, precision: str, compiled: bool) -> None:
        config = config.copy()
        config.task.compile = compiled
        self.task = make_task(config, VOC_CLASSES).to(device)
        self.task.train()
        self.task.log = lambda *_, **__: None  # type: ignore[method-assign]  # there is no trainer
        self.optimizer = torch.optim.Adam(self.task.network.parameters(), lr=config.optimizer.lr)
        self.batch: Any = random_batch(config.data.batch_size, config.augmentation.size, len(VOC_CLASSES), device)
        self.device, self.half = device, precision == "bf16-mixed"

    def __call__(self) -> None:
        self.optimizer.zero_grad()
        with torch.autocast(self.device.type, torch.bfloat16) if self.half else nullcontext():
            loss = self.task.training_step(self.batch, 0)
        loss.backward()
        self.optimizer.step()


def synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def utilisation(device: torch.device) -> float | None:
    """Share of the last second or so in which the GPU computed; None where its driver's library is not installed."""
    if device.type == "cuda":
        with suppress(Exception):  # nvidia-ml-py is no dependency
            return torch.cuda.utilization(device) / 100
    return None


def flops_of(step: Step) -> float:
    """Operations of a step, counted by torch in convolutions and matrix products."""
    with FlopCounterMode(display=False) as counter:
        step()
    return float(counter.get_total_flops())


def measured(step: Step, steps: int, warm_up: int) -> dict[str, Any]:
    """Median time, memory and utilisation of steps after the first `warm_up`."""
    device = step.device
    for _ in range(warm_up):
        step()
    synchronise(device)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    seconds = []
    for _ in range(steps):
        started = time.perf_counter()
        step()
        synchronise(device)
        seconds.append(time.perf_counter() - started)
    used = utilisation(device)
    peak = torch.cuda.max_memory_allocated(device) / 1e9 if device.type == "cuda" else None
    return {"step_seconds": median(seconds), "peak_gb": peak, "utilisation": used}


def figures(measures: dict[str, Any], pairs: int, step_flops: float, peak: float | None) -> dict[str, Any]:
    """What is printed of a measurement: rates, and the ideal time of the paper's training."""
    seconds = measures["step_seconds"]
    return {
        **measures,
        "pairs_per_second": pairs / seconds,
        "teraflops_per_second": step_flops / seconds / 1e12,
        "flops_share": None if peak is None else step_flops / seconds / 1e12 / peak,
        "training_exaflops": training_exaflops(step_flops),
        "training_hours": ideal_hours(seconds),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--steps", type=int, default=20, help="steps that are timed")
    parser.add_argument("--pairs", type=int, default=5, help="pairs of a batch")
    parser.add_argument(
        "--peak", type=float, nargs=2, metavar="TFLOPS", help="of float32 and of bfloat16, by the maker"
    )
    parser.add_argument("--cpu", action="store_true", help="run on the CPU, without torch.compile")
    arguments, overrides = parser.parse_known_args()
    if not (torch.cuda.is_available() or arguments.cpu):
        raise CosegError("No GPU is at hand, and the paper's settings are for one: nothing was measured.")
    config = compose_config("train", [*SETTINGS, f"data.batch_size={arguments.pairs}", *overrides])
    prepare_process(config.threads)
    device = torch.device("cpu" if arguments.cpu else "cuda")
    step_flops = flops_of(Step(config, device, "32-true", False))
    for compiled in (False,) if arguments.cpu else (False, True):
        for precision, peak in zip(PRECISIONS, arguments.peak or (None, None), strict=True):
            step = Step(config, device, precision, compiled)
            measures = measured(step, arguments.steps, warm_up=1 if arguments.cpu else 5)
            result = {
                "device": "CPU" if arguments.cpu else torch.cuda.get_device_name(),
                "precision": precision,
                "compile": compiled,
                "pairs": arguments.pairs,
                **figures(measures, arguments.pairs, step_flops, peak),
            }
            print(json.dumps({k: float(f"{v:.4g}") if isinstance(v, float) else v for k, v in result.items()}))
            del step


if __name__ == "__main__":
    guard(main)
