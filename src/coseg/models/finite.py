"""Logits that are not finite numbers are refused: whatever is made of them is no answer."""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor

from coseg.errors import CosegError

LONGEST = 8
"""Images that a sentence names at most."""

REMEDIES = (
    "lower optimizer.lr, clip the gradients (trainer.gradient_clip_val=1), or train in full precision "
    "(trainer.precision=32-true)"
)
"""What helps a training whose numbers stop being finite."""


def all_finite(*tensors: Tensor | None) -> bool:
    """Whether all numbers are finite; None counts as none."""
    return all(bool(tensor.isfinite().all()) for tensor in tensors if tensor is not None)


def refusal(what: str, images: Iterable[str]) -> CosegError:
    """The sentence for logits that are not finite.

    Args:
        what: the network, or the checkpoint that it is from.
        images: the ids of those that gave them.
    """
    names = list(dict.fromkeys(images))
    more = f" and {len(names) - LONGEST} more images" if len(names) > LONGEST else ""
    return CosegError(
        f"{what} gives logits that are not finite numbers for {', '.join(names[:LONGEST])}{more}: its weights are "
        f"broken, or the precision is too low for it. Take another checkpoint or trainer.precision=32-true; in "
        f"training, {REMEDIES}."
    )
