"""Training, a test and `coseg-predict` by 1, 2 and 4 processes of one machine, started by torchrun as on several.

    python benchmarks/scaling.py [--processes 1 2 4] [--what train test predict] [--pairs 256] [--images 60]
        [--size 160] [--repeats 1]

Each process computes with one thread. The data are generated shapes: pairs that a network of `experiment=shapes` trains
on, all pairs of the images of a split that the bundled model is tested on, and photographs of 2 megapixels that are
segmented as one group. Prints JSON, a line for each number of processes and each work: seconds without the start of the
processes (those of a run with almost nothing to do are subtracted), units a second, and their ratio to that of one
process; the median of `--repeats` rounds, which run in turn.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from coseg.data.readers.shapes import ShapesReader

MEGAPIXELS = 2.0
LITTLE = {"train": 16, "test": 8, "predict": 3}
"""Pairs of a training, and images of the rest, in a run that measures the start: a multiple of all batches."""


def launched(processes: int, command: str, words: Sequence[str], folder: Path) -> float:
    """The seconds of a command by so many processes.

    Raises:
        SystemExit: it failed.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    start = [sys.executable]
    if processes > 1:
        start += ["-m", "torch.distributed.run", f"--nproc-per-node={processes}", f"--master-port={port}"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    began = time.perf_counter()
    ran = subprocess.run(
        [*start, "-m", f"coseg.cli.{command}", *words], cwd=folder, env=environment, capture_output=True, text=True
    )
    if ran.returncode:
        raise SystemExit(f"coseg-{command} by {processes} processes ended with {ran.returncode}: {ran.stderr[-2000:]}")
    return time.perf_counter() - began


def photographs(folder: Path, count: int) -> Path:
    """A folder of so many photographs of 4:3."""
    folder.mkdir(parents=True)
    height = round(math.sqrt(MEGAPIXELS * 1e6 * 3 / 4))
    catalog = ShapesReader(size=384, seen=count).read("seen")
    for k in range(count):
        drawn = Image.fromarray(np.asarray(catalog.image(k)))
        drawn.resize((round(height * 4 / 3), height)).save(folder / f"{k:04}.jpg", quality=90)
    return folder


def work(what: str, processes: int, count: int, size: int, folder: Path) -> tuple[float, int]:
    """The seconds of a work by so many processes, and how many units it is of: pairs or images."""
    several = ("trainer=ddp", "trainer.accelerator=cpu") if processes > 1 else ("trainer.accelerator=cpu",)
    shutil.rmtree(folder / "runs", ignore_errors=True)
    shutil.rmtree(folder / "out", ignore_errors=True)
    if what == "predict":
        album = folder / f"album-{count}"
        if not album.exists():
            photographs(album, count)
        return launched(processes, "predict", (str(album), "--out", "out", "--device", "cpu", "--quiet"), folder), count
    common = (*several, "threads=1", "data.workers=0", "panels=0")
    if what == "train":
        batch = 16 // processes  # the same steps, whatever the number of processes
        words = (
            "experiment=shapes", *common, f"data.pairs_per_epoch={count}", f"data.batch_size={batch}",
            f"augmentation.size={size}", "data.val_pairs=1", "trainer.max_epochs=1", "name=run",
        )  # fmt: skip
        return launched(processes, "train", words, folder), count
    words = (*common, "ckpt=bundled", "split=seen", f"dataset.reader.seen={count}", f"dataset.reader.size={size}")
    seconds = launched(processes, "test", words, folder)
    (results,) = folder.glob("runs/**/results.json")
    return seconds, int(json.loads(results.read_text())["pairs"])


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--what", nargs="+", choices=LITTLE, default=list(LITTLE))
    parser.add_argument("--pairs", type=int, default=256, help="of a training, a multiple of 16")
    parser.add_argument("--images", type=int, default=60, help="of a test and of an album")
    parser.add_argument("--size", type=int, default=160)
    parser.add_argument("--repeats", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for what in options.what:
            count = options.pairs if what == "train" else options.images
            rates: dict[int, list[float]] = {processes: [] for processes in options.processes}
            taken: dict[int, list[float]] = {processes: [] for processes in options.processes}
            for _ in range(options.repeats):
                for processes in options.processes:
                    start, _ = work(what, processes, LITTLE[what], options.size, folder)
                    seconds, units = work(what, processes, count, options.size, folder)
                    taken[processes].append(max(seconds - start, 1e-3))
                    rates[processes].append(units / taken[processes][-1])
            one = statistics.median(rates[options.processes[0]])
            for processes in options.processes:
                rate = statistics.median(rates[processes])
                line = {
                    "what": what,
                    "processes": processes,
                    "units": units,
                    "seconds": round(statistics.median(taken[processes]), 2),
                    "a_second": round(rate, 2),
                    "ratio": round(rate / one, 2),
                }
                print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
