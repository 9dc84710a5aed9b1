"""The test of groups: all images of a class together, each against all others."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from coseg.data.dataset import ImageItem
from coseg.evaluation.group_visits import GroupVisits
from coseg.evaluation.journal import Key
from coseg.training.progress import ScoreProgress
from coseg.training.testing import NetworkTest

_FEW = 4
"""Images for which it does not pay to start workers."""


class GroupTest(NetworkTest):
    """Scores the masks ``(class, image)``: the objects of one class in an image, found together with all of its group.

    The seam is `CosegNetwork.cosegment_group`; see `NetworkTest`.
    """

    unit = "mask"

    def share(self, rank: int, world: int) -> Sequence[Key]:
        """Whole groups, those with the most images first, in turn."""
        sizes = np.bincount([k for k, _ in self.keys], minlength=self.presence.shape[1])
        mine = set(np.argsort(-sizes, kind="stable")[rank::world].tolist())
        return [key for key in self.keys if key[0] in mine]

    def images_of(self, keys: NDArray[np.int64]) -> list[str]:
        """See `NetworkTest.images_of`."""
        ids = self.datamodule.catalog("test").ids
        return [ids[image] for image in keys[:, 1].tolist()]

    def score_all(self, keys: Sequence[Key], progress: ScoreProgress) -> None:
        """See `NetworkTest.score_all`."""
        wanted = set(keys)
        classes = sorted({k for k, _ in keys})
        groups = [np.flatnonzero(self.presence[:, k]).tolist() for k in classes]
        visits = GroupVisits(groups, self._read, self.encode, self.feature_gb, self.device)
        for k, group in zip(classes, visits, strict=True):
            common = np.zeros((1, self.presence.shape[1]), bool)
            common[0, k] = True
            for at, logits in enumerate(self.network.cosegment_group(group.features, group.sizes)):
                key = k, group.images[at]
                if key in wanted:  # the others were finished before an interruption
                    self.count(np.array([key]), common, [((key[1],), logits, group.labels[at])])
                    progress.add(1)
                self.pause()

    def _read(self, images: Iterable[int]) -> Iterable[ImageItem]:
        images = list(images)
        load = partial(self.datamodule.image_loader, "test", pin_memory=self.device.type == "cuda")
        return load(images, workers=0) if len(images) < _FEW else load(images)


def group_masks(presence: NDArray[np.bool_]) -> list[Key]:
    """What a test of all groups scores: each class that two images or more hold, with each of these images.

    Args:
        presence: bool (N, K).
    """
    classes = np.flatnonzero(presence.sum(0) > 1).tolist()
    return [(k, i) for k in classes for i in np.flatnonzero(presence[:, k]).tolist()]
