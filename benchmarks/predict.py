"""What `coseg-predict` costs on photographs as cameras make them: seconds and peak memory, everything written.

    python benchmarks/predict.py [--images 50 100 200] [--megapixels 12] [--pair 48] [--checkpoint MODEL] [--size 160]
      [--file jpg|png16] [--fill] [--words="--soft-edges --format webp --crop"]

The photographs are drawn (`shapes`, enlarged; JPEG, or PNG of 16 bits); with ``--fill`` each shows the part of the
drawing around its largest object. ``--words`` are further words for `coseg-predict`. Each command runs in a process
of its own, start included, and prints a line of JSON: seconds, seconds of CPU, and the largest resident memory in MB.
Then the exponent of n that fits the seconds of the groups without those of the start (of the CPU too, which other
work on the machine disturbs less): 1 is linear; and a pair of photographs of `--pair` megapixels. ``--pair 0`` leaves
it out, ``--images`` alone the groups.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from coseg.data.readers.shapes import ShapesReader
from coseg.labels import VOID

DRAWN = 384
"""Side at which shapes are drawn before they are enlarged."""


def photographs(folder: Path, count: int, megapixels: float, suffix: str, fill: bool) -> list[Path]:
    """`count` files of 4:3; with `fill`, their largest object fills most of them."""
    folder.mkdir()
    height = round(math.sqrt(megapixels * 1e6 * 3 / 4))
    catalog = ShapesReader(size=DRAWN, seen=max(count, 2)).read("seen")
    files = []
    for k in range(count):
        files.append(folder / f"{k:03}.{suffix.removesuffix('16')}")
        drawn = Image.fromarray(catalog.image(k))
        if fill:
            drawn = drawn.crop(around_largest(catalog.labels(k)))
        picture = drawn.resize((round(height * 4 / 3), height), Image.Resampling.BILINEAR)
        if suffix == "png16":
            cv2.imwrite(str(files[-1]), np.asarray(picture)[..., ::-1].astype(np.uint16) * 257)
        else:
            picture.save(files[-1], quality=90)
    return files


def around_largest(labels: NDArray[np.uint8]) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of the largest object of a label map (H, W)."""
    sizes = np.bincount(labels[(labels > 0) & (labels < VOID)])
    rows, columns = np.nonzero(labels == sizes.argmax())
    return int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1


def cost(arguments: list[str]) -> dict[str, float]:
    """Run the command; what it took.

    Raises:
        SystemExit: it failed.
    """
    began = time.perf_counter()
    # The command line's own entry point, so that the start is measured as a user has it.
    code = "import sys; from coseg.cli.predict import main; main(sys.argv[1:])"
    process = subprocess.Popen([sys.executable, "-c", code, *arguments, "--quiet"])
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"coseg-predict ended with exit code {process.returncode}")
    unit = 1e6 if sys.platform == "darwin" else 1e3
    return {
        "seconds": round(time.perf_counter() - began, 1),
        "cpu_seconds": round(used.ru_utime + used.ru_stime, 1),
        "peak_mb": round(used.ru_maxrss / unit),
    }


def exponent(counts: list[int], seconds: list[float]) -> float:
    """Of the power of n that fits what n images take; the start, taken from a line through all, does not count."""
    start = max(0.0, float(np.polyfit(counts, seconds, 1)[1]))
    return round(float(np.polyfit(np.log(counts), np.log(np.array(seconds) - min(start, 0.9 * min(seconds))), 1)[0]), 3)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--images", type=int, nargs="*", default=[50, 100, 200])
    parser.add_argument("--megapixels", type=float, default=12)
    parser.add_argument("--pair", type=float, default=48, metavar="MEGAPIXELS")
    parser.add_argument("--checkpoint")
    parser.add_argument("--size")
    parser.add_argument("--file", choices=("jpg", "png16"), default="jpg")
    parser.add_argument("--fill", action="store_true")
    parser.add_argument("--words", type=shlex.split, default=[])
    options = parser.parse_args()
    model = ["--checkpoint", options.checkpoint] if options.checkpoint else []
    model += [*(["--size", options.size] if options.size else []), *options.words]

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        drawing = options.file, options.fill
        files = photographs(folder / "group", max(options.images, default=0), options.megapixels, *drawing)
        taken = []
        for count in options.images:
            out = folder / f"out-{count}"
            taken.append(cost([*map(str, files[:count]), "--out", str(out), *model]))
            written = sum(1 for path in out.iterdir())
            line = {"images": count, "megapixels": options.megapixels, **taken[-1], "files": written}
            print(json.dumps(line), flush=True)
        if len(taken) > 1:
            fits = {key: exponent(options.images, [run[key] for run in taken]) for key in ("seconds", "cpu_seconds")}
            print(json.dumps({"exponent": fits["seconds"], "exponent_cpu": fits["cpu_seconds"]}), flush=True)
        if options.pair:
            files = photographs(folder / "pair", 2, options.pair, *drawing)
            figures = cost([*map(str, files), "--out", str(folder / "out-pair"), *model])
            print(json.dumps({"images": 2, "megapixels": options.pair, **figures}), flush=True)


if __name__ == "__main__":
    main()
