"""Groups of images of a data set whose classes are known: such as share a class, and such as share nothing.

- A group that shares something: images that all hold one class. It is drawn as a class of an image that is drawn.
- A group that shares nothing: no class is in more than a fifth of its images (rounded up): of five in one, of ten in
  two. That no two of them share anything would be a clearer word, but data sets have too few classes for large ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from coseg.data.permutation import mix
from coseg.errors import CosegError

SIZES = (3, 5, 10, 20)
"""Images in a group."""

_TRIES = 3  # for each group that is wanted: where there are few, the same ones are drawn again


class Group(NamedTuple):
    """Images of a catalog.

    Attributes:
        images: their numbers, ascending.
        common: whether they share a class.
    """

    images: tuple[int, ...]
    common: bool


def draw_groups(presence: NDArray[np.bool_], count: int, seed: int = 0, sizes: Sequence[int] = SIZES) -> list[Group]:
    """`count` groups of each kind and size, no two alike; where there are not so many, fewer, as many of each kind.

    Args:
        presence: bool (N, K), which image holds which class; images without any are in no group.
        count: see above.
        seed: of the draw.
        sizes: of the groups.

    Raises:
        CosegError: `count` is not positive.
    """
    if count < 1:
        raise CosegError(f"The number of groups is {count}, but must be positive: 60, say.")
    drawn = []
    for size in sizes:
        rng = np.random.default_rng(mix(seed, size))
        kinds: list[dict[Group, None]] = [{}, {}]  # in the order of the draw
        for found, draw in zip(kinds, (_sharing, _apart), strict=True):
            for _ in range(_TRIES * count):
                if len(found) < count and (group := draw(presence, size, rng)) is not None:
                    found[group] = None
        fewer = min(map(len, kinds))
        drawn += [group for found in kinds for group in list(found)[:fewer]]
    return drawn


def _sharing(presence: NDArray[np.bool_], size: int, rng: np.random.Generator) -> Group | None:
    large = presence & (presence.sum(0) >= size)
    images = np.flatnonzero(large.any(1))
    if not len(images):
        return None
    of = rng.choice(np.flatnonzero(large[rng.choice(images)]))
    chosen = rng.choice(np.flatnonzero(presence[:, of]), size, replace=False)
    return Group(tuple(sorted(chosen.tolist())), True)


def _apart(presence: NDArray[np.bool_], size: int, rng: np.random.Generator) -> Group | None:
    most = -(-size // 5)
    room = np.full(presence.shape[1], most)
    chosen: list[int] = []
    for i in rng.permutation(np.flatnonzero(presence.any(1))).tolist():
        if (room[presence[i]] > 0).all():
            room -= presence[i]
            chosen.append(i)
            if len(chosen) == size:
                return Group(tuple(sorted(chosen)), False)
    return None
