"""Compare exported graphs, in their own runtime, with the network that they are made from."""

from __future__ import annotations

import copy
from itertools import product

import torch
from torch import Tensor

from coseg.errors import CosegError
from coseg.export.graphs import Graphs
from coseg.models.network import CosegNetwork, Size, image_size

TOLERANCE = 1e-4
"""By which a logit may differ, in float32."""


def sizes_of(graphs: Graphs) -> list[Size]:
    """The sizes of images that are compared: the smallest, some that are no multiples of the stride, wide and high."""
    if graphs.size is not None:
        return [(graphs.size, graphs.size)]
    s = graphs.stride
    return [(4 * s, 4 * s), (s + 1, 6 * s + 3), (7 * s - 1, 3 * s), (5 * s + 2, 5 * s + 2)]


def compare(network: CosegNetwork, exported: CosegNetwork, graphs: Graphs) -> list[tuple[str, float]]:
    """The largest difference of a logit for every pair of sizes, of 1, 2 and 3 pairs.

    Args:
        network: in evaluation mode, float32, on the CPU.
        exported: the graphs.
        graphs: what they were made from.

    Returns:
        What was compared, in words, and the difference.
    """
    network = copy.deepcopy(network)
    if graphs.size is None:
        network.input_size = None  # the size of the images is what is varied
    found = []
    for number, (size_a, size_b) in enumerate(product(sizes_of(graphs), repeat=2)):
        batch = 1 + number % 3
        images = [_images(number + side, batch, size) for side, size in enumerate((size_a, size_b))]
        with torch.no_grad():
            logits = network(*images), exported(*images)
        worst = max(float((mine - theirs).abs().max()) for mine, theirs in zip(*logits, strict=True))
        found.append((f"{batch} x {_words(images[0])} with {_words(images[1])}", worst))
    if graphs.size is not None:  # one size: the batch alone is varied
        pass
    return found


def require_close(found: list[tuple[str, float]], what: str) -> float:
    """The largest difference.

    Raises:
        CosegError: it is above `TOLERANCE`, or not a number.
    """
    worst, where = max(((difference if difference == difference else torch.inf, name) for name, difference in found))
    if worst > TOLERANCE:
        raise CosegError(
            f"The {what} graphs differ from the network by {worst:.2g} in a logit ({where} pixels), more than "
            f"{TOLERANCE:.0e}: nothing was written. Please report it, with the network's configuration."
        )
    return worst


def _images(seed: int, batch: int, size: Size) -> Tensor:
    """Smooth colours under noise, uint8 (B, 3, H, W): nearer to photographs than noise alone."""
    made = torch.Generator().manual_seed(seed)
    coarse = torch.rand(batch, 3, 4, 4, generator=made)
    smooth = torch.nn.functional.interpolate(coarse, size, mode="bilinear", align_corners=False)
    noise = 0.1 * torch.randn(batch, 3, *size, generator=made)
    return ((smooth + noise).clamp(0, 1) * 255).round().to(torch.uint8)


def _words(images: Tensor) -> str:
    height, width = image_size(images)
    return f"{height}x{width}"
