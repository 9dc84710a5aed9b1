"""A network whose answer is known, and photographs for it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from coseg.models.base import CosegNetwork


class RedNetwork(CosegNetwork):
    """Marks the pixels that have more red than blue; two images share something if there is red in both."""

    def encode(self, images: Tensor) -> Tensor:
        if images.shape[-1] == 66:
            raise KeyboardInterrupt
        return images.float()

    def cosegment(
        self, features_a: Tensor, features_b: Tensor, size_a: tuple[int, int], size_b: tuple[int, int]
    ) -> tuple[Tensor, Tensor]:
        a, b = (torch.stack((each[:, 2], each[:, 0]), 1) / 20 for each in (features_a, features_b))
        return a, b


def picture(path: str, red: int = 20, size: tuple[int, int] = (64, 40)) -> Path:
    """A photograph of blue whose left `red` columns are red."""
    pixels = np.full((size[1], size[0], 3), (0, 0, 255), np.uint8)
    pixels[:, :red] = (255, 0, 0)
    file = Path(path)
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(file)
    return file


def written(folder: str = "coseg-output") -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in Path(folder).rglob("*") if path.is_file())
