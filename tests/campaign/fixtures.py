"""What the cases start from: pictures, data sets, a tiny run, a shared model and a study, each made once."""

from __future__ import annotations

import os
import re
import shutil
import signal
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
from layouts.groups import GroupItem, write_folder
from layouts.shapes import write_tree
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from campaign.zygote import Call, Ended, Zygote
from coseg.data.readers.groups import FOREGROUND
from coseg.data.readers.shapes import ShapesReader

DATA = (
    "dataset.reader.size=48", "dataset.reader.train=14", "dataset.reader.val=14", "dataset.reader.seen=14",
    "dataset.reader.unseen=8",
)  # fmt: skip
FEED = ("data.batch_size=2", "data.pairs_per_epoch=8", "data.val_pairs=3", "data.workers=0", "data.cache_gb=0")
NETWORK = ("model.encoder.width=0.0625", "model.encoder.stride=8", "model.input_size=null", "augmentation.size=48")
TRAINER = (
    "trainer.accelerator=cpu", "trainer.precision=32-true", "trainer.max_epochs=2", "trainer.log_every_n_steps=1",
    "panels=0", "threads=1",
)  # fmt: skip
LEARNING = ("optimizer.lr=2e-2", "task.jaccard=3", "schedule=constant")
"""With which so short a training has scores other than 0."""

TRAIN = (*DATA, *FEED, *NETWORK, *TRAINER, *LEARNING)
"""Overrides of a training of 8 steps and 2 validations: a second on one core."""

TEST = (*DATA, "data.workers=0", "trainer.accelerator=cpu", "threads=1", "panels=0")
"""Overrides of a test."""


def without_data(overrides: Sequence[str]) -> list[str]:
    """Overrides for another data set than the drawn shapes."""
    return [word for word in overrides if not word.startswith("dataset.")]


def picture(seed: int, width: int = 64, height: int = 48) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """A red disc on noise, and its mask of 0 and 1."""
    rng = np.random.default_rng(seed)
    image = rng.normal(rng.integers(60, 200, 3), 12, (height, width, 3)).clip(0, 255).astype(np.uint8)
    y, x = np.mgrid[:height, :width]
    truth = (x - rng.integers(width // 4, 3 * width // 4)) ** 2 + (y - rng.integers(height // 4, 3 * height // 4)) ** 2
    mask = (truth < (min(width, height) // 5) ** 2).astype(np.uint8)
    image[mask > 0] = 220, 40, 40
    return image, mask


def album(folder: Path, count: int = 2, width: int = 64, height: int = 48) -> Path:
    """Photographs ``0.jpg``, ``1.jpg``, … in a new folder."""
    folder.mkdir(parents=True)
    for number in range(count):
        Image.fromarray(picture(number, width, height)[0]).save(folder / f"{number}.jpg", quality=90)
    return folder


def text_picture(text: str) -> Image.Image:
    """A picture of a text."""
    image = Image.new("RGB", (64, 48), "white")
    ImageDraw.Draw(image).text((4, 4), text, "black")
    return image


class Fixtures:
    """Made when first asked for, in a folder of the campaign; cases work on copies.

    Args:
        folder: where.
        zygote: what runs the commands that make them.

    Raises:
        RuntimeError: a command failed on good input, from which no case can start.
    """

    def __init__(self, folder: Path, zygote: Zygote) -> None:
        self.folder = folder
        self._zygote = zygote
        self._problems: dict[str, set[str]] = {}
        folder.mkdir(parents=True, exist_ok=True)

    def must(self, command: str, *arguments: str, prepare: Callable[[], object] | None = None, code: int = 0) -> Ended:
        """Run a command that has to end with `code`."""
        ended = self._zygote.run(Call(command, arguments, self.folder, prepare=prepare), 300)
        if ended.code != code:
            raise RuntimeError(f"coseg-{command} {' '.join(arguments)} ended with {ended.code}: {ended.err}")
        return ended

    @cached_property
    def run(self) -> Path:
        """A finished training with the results of two tests."""
        path = self.folder / "run"
        self.must("train", *TRAIN, f"hydra.run.dir={path}")
        for split in ("seen", "unseen"):
            self.must("test", *TEST, f"ckpt={path / 'checkpoints' / 'best.ckpt'}", f"split={split}")
        return path

    @cached_property
    def stopped(self) -> Path:
        """A training that a signal stopped after 6 of its 8 steps."""
        path = self.folder / "stopped"
        self.must("train", *TRAIN, f"hydra.run.dir={path}", prepare=lambda: stop_in_step(6), code=128 + signal.SIGTERM)
        return path

    @cached_property
    def model(self) -> Path:
        """A shared model: the network of `run` as safetensors."""
        path = self.folder / "model"
        self.must("export", str(self.run), "--format", "safetensors", "--out", str(path))
        return path

    @cached_property
    def study(self) -> Path:
        """A study of two trials."""
        words = [f"study.runs={self.folder}", "study.trials=2", "model.kernel_sizes=[3],[1,3]", *TRAIN]
        self.must("sweep", *words, "trainer.max_epochs=1")
        return self.folder / "study"

    @cached_property
    def grid(self) -> Path:
        """A grid of two trainings by ``-m``."""
        path = self.folder / "grid"
        self.must(
            "train", "-m", *TRAIN, "trainer.max_epochs=1", "model.kernel_sizes=[3],[1,3]", f"hydra.sweep.dir={path}"
        )
        return path

    @cached_property
    def datasets(self) -> dict[str, Path]:
        """A small data set in the layout of each reader, by its name."""
        paths = {}
        reader = ShapesReader(size=48, train=14, val=14, seen=14)
        for layout in ("voc", "msrc", "icoseg", "internet"):
            paths[layout] = self.folder / "data" / layout
            write_tree(reader, paths[layout], layout)
        paths["folder"] = self.folder / "data" / "folder"
        items = [GroupItem("disc", image, mask * np.uint8(FOREGROUND)) for image, mask in map(picture, range(4))]
        write_folder(paths["folder"], items)
        return paths

    def check(self, layout: str, root: Path) -> list[str]:
        """Arguments of ``coseg-data`` with which every image and mask of a data set is looked at."""
        words = {"voc": ("--set", "split_val=false"), "msrc": ("--groups", "all"), "icoseg": ("--groups", "all")}
        return ["check", layout, "--root", str(root), *words.get(layout, ())]

    def new_problems(self, layout: str, root: Path, out: str) -> set[str]:
        """The problems of a damaged data set that the whole one has not: so small a one lacks images and groups."""
        if layout not in self._problems:
            whole = self.datasets[layout]
            ended = self._zygote.run(Call("data", self.check(layout, whole), self.folder), 300)
            self._problems[layout] = problems_of(ended.out, whole)
        return problems_of(out, root) - self._problems[layout]

    @cached_property
    def album(self) -> Path:
        """Two photographs."""
        return album(self.folder / "album")


def problems_of(out: str, root: Path) -> set[str]:
    """The lines of ``coseg-data check`` that are problems, whatever the name of the data set's folder."""
    lines = out.replace(str(root), "<root>").splitlines()
    return {line for line in lines if re.match(r"\S+: (?!note: |\d+ images)", line)}


def stop_in_step(number: int) -> None:
    """Send this process SIGTERM within its training batch `number`, counted from 1."""
    from coseg.training.task import CosegTask

    original, count = CosegTask.training_step, 0

    def step(self: CosegTask, *arguments: object) -> object:
        nonlocal count
        count += 1
        if count == number:
            os.kill(os.getpid(), signal.SIGTERM)
        return original(self, *arguments)  # type: ignore[arg-type]

    CosegTask.training_step = step  # type: ignore[assignment,method-assign]


def copied(source: Path, target: Path) -> Path:
    """A copy of a fixture, links as they are."""
    if source.is_dir():
        return Path(shutil.copytree(source, target, symlinks=True))
    return Path(shutil.copy2(source, target))
