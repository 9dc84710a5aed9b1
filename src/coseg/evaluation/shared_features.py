"""Features of images that several processes of one test need: encoded by one of them, read by the others."""

from __future__ import annotations

import logging
import pickle
import shutil
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from coseg.data.dataset import ImageItem
from coseg.files.writing import atomic_path
from coseg.models.features import map_levels, size_in_bytes

log = logging.getLogger(__name__)

SHARED = "features"
"""The folder of the files, beside the partial results: all processes, of other machines too, read and write there."""


def encoders(needed: Sequence[Iterable[int]]) -> dict[int, int]:
    """Which process encodes an image that several need: among these, the one that has the fewest to encode so far.

    Args:
        needed: of each process the images.

    Returns:
        The process of each image that two or more need.
    """
    by_image: dict[int, list[int]] = {}
    for rank, images in enumerate(needed):
        for image in images:
            by_image.setdefault(image, []).append(rank)
    load = [0] * len(needed)  # what one process alone needs is encoded later, as its pairs are scored
    result: dict[int, int] = {}
    for image in sorted(image for image, ranks in by_image.items() if len(ranks) > 1):
        result[image] = min(by_image[image], key=lambda rank: load[rank])
        load[result[image]] += 1
    return result


class SharedFeatures:
    """Features in files, one for each image, of the encoder as it is: they are removed when the test ends.

    Nothing depends on them. What is not there, since the bound was reached or another machine does not see the folder,
    is encoded by each process that needs it.

    Args:
        folder: of the files.
        gigabytes: bound on the files that this process writes.
    """

    def __init__(self, folder: Path, gigabytes: float) -> None:
        self.folder = folder
        self._left = int(gigabytes * 1e9)

    def write(self, items: Iterable[ImageItem], encode: Callable[[Tensor], Any], device: torch.device) -> None:
        """Encode these images, and write their features, until the bound or the end of the disk is reached."""
        for item in items:
            features = map_levels(lambda level: level.cpu(), encode(item.image[None].to(device)))
            self._left -= size_in_bytes(features)
            if self._left < 0:
                log.info(f"{self.folder} has reached shared_gb: each process encodes the images that are not in it")
                return
            try:
                self.folder.mkdir(parents=True, exist_ok=True)
                with atomic_path(self._path(item.i)) as path:
                    torch.save(features, path)
            except OSError as error:
                log.warning(
                    f"{self.folder} can't be written ({error.strerror or error}): each process encodes by itself"
                )
                return

    def read(self, image: int, device: torch.device) -> Any | None:
        """The features of an image, a batch of one; None if they are not there."""
        path = self._path(image)
        try:
            features = torch.load(path, map_location="cpu", weights_only=True)
        except (OSError, RuntimeError, EOFError, pickle.UnpicklingError):
            return None
        return map_levels(lambda level: level.to(device), features)

    def remove(self) -> None:
        """Delete all of them, those of a killed test included."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _path(self, image: int) -> Path:
        return self.folder / f"{image}.pt"
