"""The embedded data set: pictures of objects with a silhouette and a surface, drawn from a seed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from coseg.data.catalog import Catalog, Reader
from coseg.data.drawing.compose import ObjectSpec, Placed, arrange, label_map, paint
from coseg.errors import CosegError


class ShapeClass(NamedTuple):
    """An object class: its silhouette, which also names it, and its surface. Colours say nothing about the class."""

    silhouette: str
    surface: str


SEEN = (
    ShapeClass("disc", "checker"),
    ShapeClass("triangle", "rings"),
    ShapeClass("square", "dots"),
    ShapeClass("star", "plain"),
    ShapeClass("cross", "zigzag"),
    ShapeClass("crescent", "speckle"),
    ShapeClass("ring", "stripes"),
    ShapeClass("heart", "gradient"),
    ShapeClass("arrow", "grid"),
    ShapeClass("hexagon", "waves"),
    ShapeClass("gear", "noise"),
    ShapeClass("bolt", "dots"),
)
"""The classes of the splits `train`, `val` and `seen`: labels 1 to 12."""

UNSEEN = (
    ShapeClass("drop", "rings"),
    ShapeClass("leaf", "stripes"),
    ShapeClass("key", "checker"),
    ShapeClass("mug", "zigzag"),
)
"""The classes of the split `unseen`: labels 13 to 16. No other split shows them."""

CLASSES = SEEN + UNSEEN

_GEOMETRY, _PAINT, _PLAN = range(3)


class ShapesCatalog(Catalog):
    """Images that are drawn when they are asked for: a pure function of seed, split, index and size.

    `contents`, bool (N, K), says which classes an image shows. In `train`, `val` and `seen`, `presence` is the same. In
    `unseen`, `presence` leaves out the seen classes, though label maps hold them: pairs are then formed by unseen
    classes alone, and an object of a seen class is an object that is not common, whatever the partner shows.
    """

    def __init__(self, seed: int, split: str, size: int, plan: Sequence[tuple[int, ...]]) -> None:
        contents = np.zeros((len(plan), len(CLASSES)), np.bool_)
        for i, classes in enumerate(plan):
            contents[i, list(classes)] = True
        presence = contents.copy()
        if split == "unseen":
            presence[:, : len(SEEN)] = False
        ids = [f"{split}_{i:06d}" for i in range(len(plan))]
        super().__init__(ShapesReader.name, split, ids, [c.silhouette for c in CLASSES], presence)
        self.contents = contents
        self.seed = seed
        self.size = size
        self.plan = tuple(plan)

    def image(self, i: int) -> NDArray[np.uint8]:
        """Image `i`, RGB uint8 (size, size, 3)."""
        return paint(self._arranged(i), self.size, _generator(self.seed, self.split, _PAINT, i))

    def labels(self, i: int) -> NDArray[np.uint8]:
        """The label map of image `i`, uint8 (size, size), without void."""
        return label_map(self._arranged(i), self.size)

    def _arranged(self, i: int) -> list[Placed]:
        specs = [ObjectSpec(k + 1, *CLASSES[k]) for k in self.plan[i]]
        return arrange(specs, self.size, _generator(self.seed, self.split, _GEOMETRY, i))


class ShapesReader(Reader):
    """A small co-segmentation task that needs no file.

    Sixteen classes, each a silhouette with a surface, in any pose, size and colour on textured backgrounds; one to
    three objects of different classes in an image. Twelve classes make up `train`, `val` and `seen` (the test of seen
    classes). In `unseen` the common object is of one of the four others; beside it are objects of seen classes, or
    another unseen one.

    Args:
        seed: another seed, another data set of the same design.
        size: side of the images in pixels, 48 to 1024.
        train, val, seen, unseen: how many images each split has, 2 to 1,000,000.

    Raises:
        CosegError: a value is out of its range.
    """

    name = "shapes"
    splits = ("train", "val", "seen", "unseen")

    def __init__(
        self, seed: int = 0, size: int = 96, train: int = 1200, val: int = 100, seen: int = 100, unseen: int = 80
    ) -> None:
        self.seed = _bounded("seed", seed, 0, 2**32 - 1)
        self.size = _bounded("size", size, 48, 1024)
        counts = {"train": train, "val": val, "seen": seen, "unseen": unseen}
        self.counts = {split: _bounded(split, count, 2, 1_000_000) for split, count in counts.items()}

    def read(self, split: str) -> ShapesCatalog:
        """The catalog of one split.

        Raises:
            CosegError: there is no such split.
        """
        self.check_split(split)
        plan = _plan_unseen if split == "unseen" else _plan_seen
        rng = _generator(self.seed, split, _PLAN)
        return ShapesCatalog(self.seed, split, self.size, plan(self.counts[split], rng))


def _bounded(what: str, value: int, low: int, high: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise CosegError(f"{what} of the data set shapes is {value}, but must be a whole number from {low} to {high}.")
    return value


def _generator(seed: int, split: str, purpose: int, i: int = 0) -> np.random.Generator:
    """The stream of random numbers of one image and purpose. Streams don't depend on each other."""
    key = (ShapesReader.splits.index(split), purpose, i)
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed, spawn_key=key)))


class _Deck:
    """Deals the numbers 0 to n - 1 in random order, all of them before any comes again."""

    def __init__(self, n: int, rng: np.random.Generator) -> None:
        self.n = n
        self.rng = rng
        self.cards: list[int] = []

    def deal(self, without: Sequence[int] = ()) -> int:
        """The next number that is not among `without`."""
        if all(card in without for card in self.cards):
            self.cards.extend(self.rng.permutation(self.n).tolist())
        return self.cards.pop(next(k for k, card in enumerate(self.cards) if card not in without))


def _shuffled(classes: list[int], rng: np.random.Generator) -> tuple[int, ...]:
    # Later objects may cover the edge of earlier ones: no class should always lie on top.
    return tuple(classes[k] for k in rng.permutation(len(classes)).tolist())


def _plan_seen(n: int, rng: np.random.Generator) -> list[tuple[int, ...]]:
    """The classes of each image: one (15 %), two (45 %) or three (40 %), every class about as often."""
    deck = _Deck(len(SEEN), rng)
    plan = []
    # A stream of their own for the counts: a longer split then begins with the same images.
    for count in rng.spawn(1)[0].choice((1, 2, 3), n, p=(0.15, 0.45, 0.4)).tolist():
        classes: list[int] = []
        while len(classes) < count:
            classes.append(deck.deal(without=classes))
        plan.append(_shuffled(classes, rng))
    return plan


def _plan_unseen(n: int, rng: np.random.Generator) -> list[tuple[int, ...]]:
    """The classes of each image: an unseen class with no, one or two seen ones, or with another unseen class.

    Each unseen class has its own deck of seen classes, so that two images with a common class seldom also share a seen
    one, which counts as not common.
    """
    primary = _Deck(len(UNSEEN), rng)
    beside = [_Deck(len(SEEN), rng) for _ in UNSEEN]
    plan = []
    choices, shares = ("none", "seen", "two seen", "unseen"), (0.06, 0.49, 0.19, 0.26)
    for company in rng.spawn(1)[0].choice(choices, n, p=shares).tolist():
        first = primary.deal()
        classes = [len(SEEN) + first]
        if company == "unseen":
            classes.append(len(SEEN) + primary.deal(without=[first]))
        elif company != "none":
            for _ in range(2 if company == "two seen" else 1):
                classes.append(beside[first].deal(without=classes))
        plan.append(_shuffled(classes, rng))
    return plan
