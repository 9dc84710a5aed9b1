"""Whether the images of a group have a common object: which pairs of them are looked at, and what is made of those.

To look at all pairs would cost the square of the number of images, so each image is compared with a few others. The
more pairs there are, the more their mean tells: a mean that leaves it open for three images is plain for twenty.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from coseg.data.permutation import Permutation
from coseg.inference.evidence import evidence_of
from coseg.models.network import CosegNetwork

NEIGHBOURS = 4
"""In a group each image is compared with so many others on either side, at most."""

LARGEST = 20
"""Images; a group of more counts as one of so many, since larger ones were not measured."""

GROUP_EVIDENCE = ("pair_logit", "pair_logit_by_size")
"""What `group_evidence` gives, in this order."""


def neighbours(n: int) -> list[tuple[int, int]]:
    """The pairs (i, j), i < j, of n images that are looked at: all of up to 9 images, 4 n of more.

    The images stand in a ring, each beside `NEIGHBOURS` on either side, so that each weighs the same. Their order in
    it is drawn, the same for each n: files are often sorted by what they show, and the images that come before and
    after one are then more alike than the group is.

    >>> neighbours(4)
    [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)]
    >>> len(neighbours(200))
    800
    """
    order = Permutation(n, seed=0)
    ring = [order[k] for k in range(n)]
    steps = range(1, min(NEIGHBOURS, n // 2) + 1)
    pairs = ((ring[k], ring[(k + step) % n]) for k in range(n) for step in steps)
    return sorted({(min(pair), max(pair)) for pair in pairs})


def evidence_of_neighbours(
    network: CosegNetwork, features: Sequence[Any], probabilities: Sequence[NDArray[np.float16]], device: torch.device
) -> Tensor:
    """The evidence of each pair of `neighbours`, float32 (pairs, numbers); of two images that is one pair.

    Args:
        network: see `coseg.inference.evidence.evidence_of`.
        features: what it encoded of each image.
        probabilities: of each image's pixels to be of what is common to all, (h, w), 0..1.
        device: of the network.
    """
    found = []
    for i, j in neighbours(len(features)):
        maps = (torch.from_numpy(probabilities[k]).to(device) for k in (i, j))
        found.append(evidence_of(network, features[i], features[j], *maps).cpu())
    return torch.stack(found)


def group_evidence(logits: Tensor, n: int) -> Tensor:
    """What tells whether n images have a common object, from the logits of the pairs of `neighbours`, float64 (2,).

    - ``pair_logit``: their mean.
    - ``pair_logit_by_size``: it times the logarithm of n / 2, where n counts as `LARGEST` at most.
    """
    mean = logits.double().mean()
    return torch.stack((mean, mean * math.log(min(n, LARGEST) / 2)))
