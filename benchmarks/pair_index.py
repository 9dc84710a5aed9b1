"""From a data set of COCO's size to its pairs: 120,000 images, 80 classes, about 3 classes an image.

    python benchmarks/pair_index.py [--images N] [--classes K] [--seed S]

Prints three lines of JSON. Of `PairIndex`: seconds to build, the peak of memory that building takes beyond the table
itself (`tracemalloc`), the peak of the whole process with numpy and the table, and milliseconds for one access at
random. Of a first and a second start, with a file of instances as large as COCO's and with as many label maps of
500 x 375 pixels in VOC's layout: seconds of the processor until the pairs can be indexed (`coseg.data.presence` keeps
what the first start reads), and their ratio. The files are in a temporary folder; links stand for copies.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import sys
import tempfile
import time
import tracemalloc
from pathlib import Path

import numpy as np
from PIL import Image

from coseg.data.catalog import Reader
from coseg.data.pair_index import PairIndex, Permutation
from coseg.data.readers.coco import CocoReader
from coseg.data.readers.voc import VocReader
from coseg.files import tables

MASKS = 200
"""Different label maps."""

LINKS = 10_000
"""Links to one file, fewer than any file system allows."""


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


def write_instances(root: Path, table: np.ndarray, seed: int) -> None:
    """Two polygons of 30 points for each class of an image: 450 MB of 120,000 images; the photographs are empty."""
    points = np.random.default_rng(seed).random((100, 60)).round(4) * 400
    polygons = [json.dumps([polygon.round(2).tolist()]) for polygon in points]
    images, classes = table.shape
    (root / "train").mkdir(parents=True)
    with (root / "train.json").open("w") as file:
        entries = []
        for i in range(images):
            (root / "train" / f"{i:012d}.jpg").touch()
            entries.append({"id": i, "file_name": f"{i:012d}.jpg", "height": 480, "width": 640})
        categories = [{"id": k, "name": f"class {k}"} for k in range(classes)]
        file.write(f'{{"images": {json.dumps(entries)}, "categories": {json.dumps(categories)}, "annotations": [')
        for n, (i, k) in enumerate(np.repeat(np.argwhere(table), 2, axis=0).tolist()):
            head = f'{{"id": {n}, "image_id": {i}, "category_id": {k}, "iscrowd": 0, "area": {100 + n % 999}.5, '
            file.write(f'{", " if n else ""}{head}"bbox": [1, 2, 3, 4], "segmentation": {polygons[n % 100]}}}')
        file.write("]}")


def write_label_maps(root: Path, table: np.ndarray) -> None:
    """Label maps of 500 x 375 pixels, `MASKS` different ones, in the layout of VOC and with its 20 classes."""
    for part in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
        (root / part).mkdir(parents=True)
    names = [f"{i:06d}" for i in range(len(table))]
    (root / "ImageSets" / "Segmentation" / "train.txt").write_text("\n".join(names))
    for i, name in enumerate(names):
        mask, photograph = root / "SegmentationClass" / f"{name}.png", root / "JPEGImages" / f"{name}.jpg"
        if i < MASKS:
            labels = np.zeros((375, 500), np.uint8)
            for place, k in enumerate(np.flatnonzero(table[i, :20])[:12]):
                labels[20:300, 40 * place : 40 * place + 30] = k + 1
            Image.fromarray(labels).save(mask)
        else:
            os.link(root / "SegmentationClass" / f"{names[i % MASKS]}.png", mask)
        if i % LINKS == 0:
            Image.new("RGB", (500, 375), "grey").save(photograph)
        else:
            os.link(root / "JPEGImages" / f"{names[i - i % LINKS]}.jpg", photograph)


def starts(what: str, reader: Reader, cache: Path) -> dict[str, object]:
    """Seconds of the processor of a first and of a second start."""
    os.environ[tables.VARIABLE], tables.WORTH = str(cache), 0.0
    seconds, presence = [], []
    for _ in range(2):
        started = time.process_time()
        catalog = reader.read("train")
        PairIndex(catalog.presence)
        seconds.append(time.process_time() - started)
        presence.append(catalog.presence)
    assert np.array_equal(*presence)
    return {
        "start": what,
        "images": len(catalog),
        "first_s": round(seconds[0], 2),
        "second_s": round(seconds[1], 2),
        "ratio": round(seconds[0] / seconds[1], 1),
        "cache_mib": round(sum(path.stat().st_size for path in cache.iterdir()) / 2**20, 1),
    }


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
    with tempfile.TemporaryDirectory() as folder:
        write_instances(Path(folder, "coco"), table, arguments.seed)
        print(json.dumps(starts("instances", CocoReader(Path(folder, "coco")), Path(folder, "first"))))
        write_label_maps(Path(folder, "voc"), table)
        reader = VocReader(Path(folder, "voc"), split_val=False)
        print(json.dumps(starts("label maps", reader, Path(folder, "second"))))


if __name__ == "__main__":
    main()
