"""The test of pairs: each image is encoded once, however many pairs it is in."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from coseg.evaluation.journal import Key
from coseg.evaluation.visits import PairGroup, PairVisits
from coseg.models.deciding import DecidingNetwork
from coseg.training.progress import ScoreProgress
from coseg.training.testing import NetworkTest


class PairTest(NetworkTest):
    """Scores the pairs ``(i, j)``, ``i < j``; see `NetworkTest`."""

    unit = "pair"

    def share(self, rank: int, world: int) -> Sequence[Key]:
        """A stretch of the pairs rather than every so-manieth: its first images are in no other process's.

        Pairs within groups hardly share images with other processes. Where most images have pairs with most others,
        second images are encoded by several: of the 725 images of VOC's test two processes together encode 1,210 and
        four 2,169, beside 37,700 pairs to match and decode. Blocks of images rather than stretches would save nothing
        of it with two or four processes, and a sixth with eight.
        """
        count = len(self.keys)
        return self.keys[rank * count // world : (rank + 1) * count // world]

    def images_of(self, keys: NDArray[np.int64]) -> list[str]:
        """See `NetworkTest.images_of`."""
        ids = self.datamodule.catalog("test").ids
        return [ids[image] for image in keys.flatten().tolist()]

    def score_all(self, keys: Sequence[Key], progress: ScoreProgress) -> None:
        """See `NetworkTest.score_all`."""
        read = partial(self.datamodule.image_loader, "test", pin_memory=self.device.type == "cuda")
        for group in PairVisits(keys, read, self.encode, self.feature_gb, self.at_once, self.device):
            self.score(group)
            progress.add(len(group.pairs))
            self.pause()

    def score(self, group: PairGroup) -> None:
        """Count the pixels of both masks of each pair of a group, and keep what is decided on it."""
        logits_a, logits_b = self.network.cosegment(group.features_a, group.features_b, *group.sizes)
        pairs = np.array(group.pairs)
        common = self.presence[pairs[:, 0]] & self.presence[pairs[:, 1]]
        sides = (pairs[:, 0], logits_a, group.labels_a), (pairs[:, 1], logits_b, group.labels_b)
        decision = None
        if isinstance(self.network, DecidingNetwork):
            decision = self.network.decide(group.features_a, group.features_b)
        self.count(pairs, common, sides, decision)
