"""Compare exported graphs, in their own runtime, with the network that they are made from."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import torch
import torch.nn.functional as F
from torch import Tensor

from coseg.errors import CosegError
from coseg.models.network import CosegNetwork, Size

TOLERANCE = 1e-4
"""By which a logit may differ, in float32."""


def sizes_of(stride: int, size: int | None) -> list[Size]:
    """The sizes of images that are compared: small ones, some that are no multiples of the stride, wide and high.

    Graphs of one `size` take that alone.
    """
    if size is not None:
        return [(size, size)]
    return [(4 * stride, 4 * stride), (stride + 1, 6 * stride + 3), (7 * stride - 1, 3 * stride)]


def compare(network: CosegNetwork, exported: CosegNetwork, sizes: Sequence[Size]) -> list[tuple[str, float]]:
    """The largest difference of a logit for every two sizes, of 1, 2 and 3 pairs in a batch by turns.

    Args:
        network: in evaluation mode, float32, on the CPU, without an input size where `exported` has none.
        exported: the graphs.
        sizes: of the images.

    Returns:
        What was compared, in words, and the difference.
    """
    found = []
    choices = list(product(sizes, repeat=2))
    for number in range(max(3, len(choices))):
        size_a, size_b = choices[number % len(choices)]
        batch = 1 + number % 3
        images = [_images(number, batch, size_a), _images(100 + number, batch, size_b)]
        with torch.no_grad():
            logits = network(*images), exported(*images)
        worst = max(float((mine - theirs).abs().max()) for mine, theirs in zip(*logits, strict=True))
        found.append((f"{batch} of {_words(size_a)} with {_words(size_b)}", worst))
    return found


def require_close(found: list[tuple[str, float]], what: str) -> float:
    """The largest difference.

    Raises:
        CosegError: it is above `TOLERANCE`, or not a number.
    """
    worst, where = max(((difference if difference == difference else torch.inf, name) for name, difference in found))
    if worst > TOLERANCE:
        raise CosegError(
            f"What was exported as {what} differs from the network by {worst:.2g} in a logit ({where} pixels), more "
            f"than {TOLERANCE:.0e}: nothing was written. Choose another --format, and report it with the network's "
            "configuration."
        )
    return worst


def _images(seed: int, batch: int, size: Size) -> Tensor:
    """Smooth colours under noise, uint8 (B, 3, H, W): nearer to photographs than noise alone."""
    made = torch.Generator().manual_seed(seed)
    coarse = torch.rand(batch, 3, 4, 4, generator=made)
    smooth = F.interpolate(coarse, size, mode="bilinear", align_corners=False)
    noise = 0.1 * torch.randn(batch, 3, *size, generator=made)
    return ((smooth + noise).clamp(0, 1) * 255).round().to(torch.uint8)


def _words(size: Size) -> str:
    return f"{size[0]} x {size[1]}"
