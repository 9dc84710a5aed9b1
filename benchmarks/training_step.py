"""A training step of `coseg-train` against the same network in a bare PyTorch loop.

    python benchmarks/training_step.py [--pairs N] [--steps S] [Hydra overrides]

Both get the same batches, made before the clock starts, so that the loader is no part of it. Runs alternate (one of
each makes a pair of runs), the first step of each run is left out, and the ratio of their medians is taken pair by
pair. Prints one line of JSON: the median ratio, its 95 % bootstrap interval, and the seconds of a step of each, by the
clock; and the ratio and interval of the seconds of the processor, which other work on the machine changes less.
"""

from __future__ import annotations

import argparse
import json
import time
from contextlib import nullcontext
from statistics import median
from typing import Any

import lightning as L
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback
from numpy.typing import NDArray
from torch.utils.data import DataLoader

from coseg.cli.sentences import guard
from coseg.configs import compose_config
from coseg.training.devices import chosen_precision
from coseg.training.fit import make_datamodule, make_task, make_trainer, prepare_process
from coseg.training.losses import pair_loss


class Clock(Callback):
    """When each step ended, by the clock and in seconds of the processor."""

    def __init__(self) -> None:
        self.ends: list[tuple[float, float]] = []

    def on_train_batch_end(self, *_: Any) -> None:
        synchronise()
        self.ends.append((time.perf_counter(), time.process_time()))


def synchronise() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def step_seconds(clock: Clock) -> NDArray[np.float64]:
    """Median seconds (2,) of a step by the clock and of the processor, the first step left out."""
    return np.median(np.diff(clock.ends, axis=0), 0)


def lightning_run(config: Any, batches: list[Any]) -> NDArray[np.float64]:
    """Seconds (2,) of a step of the `Trainer` with the callbacks that a run has during a step."""
    clock = Clock()
    task = make_task(config, [])
    trainer = make_trainer(config, [clock], False, max_epochs=1, enable_checkpointing=False, limit_val_batches=0)
    trainer.fit(task, train_dataloaders=DataLoader(batches, batch_size=None))
    return step_seconds(clock)


def bare_run(config: Any, batches: list[Any]) -> NDArray[np.float64]:
    """Seconds (2,) of a step of a plain loop over the same network, loss, optimiser and precision."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    task = make_task(config, []).to(device)
    optimizer = torch.optim.AdamW(task.network.parameters(), lr=1e-3)
    half = chosen_precision(config.trainer.precision, config.trainer.accelerator) == "bf16-mixed"
    clip = config.trainer.gradient_clip_val
    task.train()
    clock = Clock()
    for batch in batches:
        batch = {key: value.to(device) for key, value in batch.items()}
        optimizer.zero_grad()
        with torch.autocast(device.type, torch.bfloat16) if half else nullcontext():
            logits = task.network(batch["image_a"], batch["image_b"])
            targets = batch["target_a"], batch["target_b"]
            loss_a, loss_b = (pair_loss(*side, config.task.void) for side in zip(logits, targets, strict=True))
            loss = loss_a + loss_b
        loss.backward()
        if clip:
            torch.nn.utils.clip_grad_norm_(task.network.parameters(), clip)
        optimizer.step()
        clock.on_train_batch_end()
    return step_seconds(clock)


def ratio_and_interval(ratios: NDArray[np.float64]) -> tuple[float, list[float]]:
    """The median, and its 95 % bootstrap interval."""
    resamples = np.random.default_rng(0).choice(ratios, (10_000, len(ratios)))
    low, high = np.quantile(np.median(resamples, 1), (0.025, 0.975))
    return round(float(np.median(ratios)), 4), [round(float(low), 4), round(float(high), 4)]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--pairs", type=int, default=9, help="pairs of runs")
    parser.add_argument("--steps", type=int, default=12, help="steps of a run")
    arguments, overrides = parser.parse_known_args()
    config = compose_config(
        "train", [*overrides, "data.workers=0", "schedule=constant", "task.semantic=0", "task.jaccard=0"]
    )
    prepare_process(config.threads)
    L.seed_everything(0, verbose=False)
    datamodule = make_datamodule(config)
    datamodule.setup("fit")
    loader = iter(datamodule.train_dataloader())
    batches = [next(loader) for _ in range(arguments.steps)]

    runs = [(lightning_run(config, batches), bare_run(config, batches)) for _ in range(arguments.pairs + 1)][1:]
    ratios = np.array([ours / bare for ours, bare in runs])
    ratio, interval = ratio_and_interval(ratios[:, 0])
    processor_ratio, processor_interval = ratio_and_interval(ratios[:, 1])
    result = {
        "ratio": ratio,
        "interval": interval,
        "processor_ratio": processor_ratio,
        "processor_interval": processor_interval,
        "lightning_seconds": round(median(float(ours[0]) for ours, _ in runs), 4),
        "bare_seconds": round(median(float(bare[0]) for _, bare in runs), 4),
        "pairs_of_runs": len(runs),
        "batch_size": datamodule.batch_size,
        "threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU",
    }
    print(json.dumps(result))


if __name__ == "__main__":
    guard(main)
