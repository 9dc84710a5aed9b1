"""Clique batches: some images of a class, and all pairs among them, so that each image is encoded once for many."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations, pairwise
from typing import NamedTuple, TypedDict

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from coseg.data.catalog import Catalog
from coseg.data.dataset import Transform
from coseg.data.permutation import Permutation, mix
from coseg.data.sampler import PairSampler
from coseg.errors import CosegError


class CliqueDraw(NamedTuple):
    """One clique: the class `k`, images of it in ascending order, and the seed of their augmentation."""

    k: int
    images: tuple[int, ...]
    seed: int


class Clique(NamedTuple):
    """M augmented images of one class: `images` uint8 (M, 3, H, W), `labels` uint8 (M, H, W) and their `draw`."""

    images: Tensor
    labels: Tensor
    draw: CliqueDraw


class CliqueBatch(TypedDict):
    """M images of one size, and P pairs of them.

    `images`: uint8 (M, 3, H, W).
    `labels`: uint8 (M, H, W), label maps: 0 background, k + 1 class k, 255 void.
    `image`: int64 (M,), the indices of the images in the catalog.
    `pairs`: int64 (P, 2), places in this batch.
    `common`: bool (P, K), the classes that both images of a pair hold.
    """

    images: Tensor
    labels: Tensor
    image: Tensor
    pairs: Tensor
    common: Tensor


def checked_clique(size: int | None) -> int | None:
    """`size`, which the user set as ``data.clique``.

    Raises:
        CosegError: it is neither None nor a number of images, 2 or more.
    """
    if size is not None and (not isinstance(size, int) or isinstance(size, bool) or size < 2):
        raise CosegError(
            f"data.clique is '{size}', but must be a number of images, 2 or more; data/sampler=pairs draws pairs."
        )
    return size


def pairs_of(size: int) -> int:
    """How many pairs a clique of so many images has."""
    return size * (size - 1) // 2


class CliqueSampler(Sampler[CliqueDraw]):
    """Cliques of one epoch for one process: each grows from a pair, whose class is drawn where it shares several.

    The further images are drawn from those of the class without replacement, by a hash of the pair's seed; where the
    class has fewer than `size` images, all of them are the clique. So whatever order pairs come in, and however they
    are shared by processes and resumed, holds for cliques, too.

    Args:
        pairs: gives a pair for each clique.
        presence: bool (N, K), of the catalog.
        size: images of a clique, 2 or more.
    """

    def __init__(self, pairs: PairSampler, presence: NDArray[np.bool_], size: int) -> None:
        self.pairs = pairs
        self.presence = presence
        self.size = size

    def set_epoch(self, epoch: int) -> None:
        """Called by Lightning before each epoch."""
        self.pairs.set_epoch(epoch)

    def __len__(self) -> int:
        return len(self.pairs)

    def __iter__(self) -> Iterator[CliqueDraw]:
        for i, j, seed in self.pairs:
            shared = np.flatnonzero(self.presence[i] & self.presence[j])
            k = int(shared[mix(seed, 0) % len(shared)])
            others = [image for image in np.flatnonzero(self.presence[:, k]).tolist() if image not in (i, j)]
            count = min(self.size - 2, len(others))
            order = Permutation(len(others), mix(seed, 1)) if count else ()
            more = [others[order[t]] for t in range(count)]
            yield CliqueDraw(k, tuple(sorted((i, j, *more))), seed)


class CliqueDataset(Dataset[Clique]):
    """Map-style data set whose keys are `CliqueDraw`s, so that an item depends on its key alone.

    Args:
        catalog: the images.
        transform: applied to each image on its own, so that all have one size.
    """

    def __init__(self, catalog: Catalog, transform: Transform) -> None:
        self.catalog = catalog
        self.transform = transform

    def __getitem__(self, draw: CliqueDraw) -> Clique:
        wanted = np.array([draw.k + 1])
        images, labels = [], []
        for t, i in enumerate(draw.images):
            seed = mix(draw.seed, 2, t)
            image, label = self.transform(self.catalog.image(i), self.catalog.labels(i), wanted, seed)
            images.append(image.transpose(2, 0, 1))
            labels.append(label)
        return Clique(torch.from_numpy(np.stack(images)), torch.from_numpy(np.stack(labels)), draw)


class CliqueCollate:
    """Joins cliques to a batch with all their pairs and, where asked for, pairs across cliques that share no class.

    Args:
        presence: bool (N, K), of the catalog.
        negatives: share of the pairs that have no common class, 0 to below 1; fewer where the batch has not so many.
            They cost no encoding.

    Raises:
        CosegError: `negatives` is 1.
    """

    def __init__(self, presence: NDArray[np.bool_], negatives: float = 0.0) -> None:
        if negatives >= 1:
            raise CosegError("data.negatives=1 leaves no pair with a common class, of which cliques are: take less.")
        self.presence = presence
        self.negatives = negatives

    def __call__(self, cliques: Sequence[Clique]) -> CliqueBatch:
        pairs: list[tuple[int, int]] = []
        starts = np.cumsum([0, *(len(clique.images) for clique in cliques)]).tolist()
        for start, end in pairwise(starts):
            pairs += combinations(range(start, end), 2)
        image = np.array([i for clique in cliques for i in clique.draw.images])
        count = round(self.negatives / (1 - self.negatives) * len(pairs))
        if count:
            places = np.repeat(np.arange(len(cliques)), np.diff(starts))
            a, b = np.triu_indices(len(image), 1)
            shares = (self.presence[image[a]] & self.presence[image[b]]).any(1)
            apart = np.flatnonzero((places[a] != places[b]) & ~shares)
            order = Permutation(max(1, len(apart)), mix(*(clique.draw.seed for clique in cliques)))
            chosen = apart[[order[k] for k in range(min(count, len(apart)))]]
            pairs += zip(a[chosen].tolist(), b[chosen].tolist(), strict=True)
        index = np.array(pairs)
        common = self.presence[image[index[:, 0]]] & self.presence[image[index[:, 1]]]
        return CliqueBatch(
            images=torch.cat([clique.images for clique in cliques]),
            labels=torch.cat([clique.labels for clique in cliques]),
            image=torch.from_numpy(image),
            pairs=torch.from_numpy(index),
            common=torch.from_numpy(common),
        )
