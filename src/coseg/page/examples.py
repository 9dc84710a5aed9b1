"""The example sets of the page: drawn shapes, a pure function of the seed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from coseg.data.readers.shapes import ShapesCatalog, ShapesReader

SEED = 5
SIZE = 256
GROUP = 5
PAIR, GROUP_NAME, NOTHING = "A pair", f"A group of {GROUP}", "A pair with nothing in common"


def draw_examples(folder: Path, seed: int = SEED) -> dict[str, list[Path]]:
    """Draw the example sets into `folder`, and tell the files of each: PNG, 256 x 256 pixels.

    A pair and a group that share one class, chosen as the first that the seed gives, and a pair that shares none.
    """
    catalog = ShapesReader(seed, SIZE, seen=60).read("seen")
    sets = {
        PAIR: _sharing(catalog, 2, skip=1),
        GROUP_NAME: _sharing(catalog, GROUP, skip=0),
        NOTHING: _strangers(catalog),
    }
    files: dict[str, list[Path]] = {}
    for name, images in sets.items():
        stem = {PAIR: "pair", GROUP_NAME: "group"}.get(name, "nothing")
        files[name] = [folder / f"{stem}_{number}.png" for number in range(1, len(images) + 1)]
        for path, image in zip(files[name], images, strict=True):
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(catalog.image(image)).save(path)
    return files


def _sharing(catalog: ShapesCatalog, count: int, skip: int) -> list[int]:
    """The first `count` images, each with other things beside, that share one class and nothing else.

    The classes are tried in their order, and `skip` of those that have such images are passed over.
    """
    contents = catalog.contents
    for k in np.flatnonzero(contents.sum(0)).tolist():
        chosen: list[int] = []
        others: NDArray[np.bool_] = np.zeros(contents.shape[1], np.bool_)
        others[k] = True
        for i in np.flatnonzero(contents[:, k]).tolist():
            without = contents[i].copy()
            without[k] = False
            if without.any() and not (without & others).any():
                chosen.append(i)
                others |= without
        if len(chosen) >= count:
            if skip == 0:
                return chosen[:count]
            skip -= 1
    raise ValueError(f"no class is shared by {count} images of seed {catalog.seed}")


def _strangers(catalog: ShapesCatalog) -> list[int]:
    """The first image, and the first after it that shares no class with it."""
    return [0, int(np.flatnonzero(~(catalog.contents & catalog.contents[0]).any(1))[0])]
