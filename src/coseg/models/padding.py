"""Padding by reflection, of maps of any size."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def pad_by_reflection(images: Tensor, left: int, right: int, top: int, bottom: int) -> Tensor:
    """Pad (B, C, H, W); on an axis that is too short to be reflected, by repeating the border."""
    height, width = images.shape[-2:]
    for size, pad in ((width, (left, right, 0, 0)), (height, (0, 0, top, bottom))):
        if any(pad):
            images = F.pad(images, pad, mode="reflect" if max(pad) < size else "replicate")
    return images
