"""The test of whole groups: all images of a class together."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from coseg.data.dataset import ImageItem
from coseg.evaluation.iteration import GroupIteration
from coseg.evaluation.lightning_test import NetworkTest
from coseg.evaluation.mask_files import SavedMasks
from coseg.evaluation.partial_results import Key
from coseg.progress import Progress

_FEW = 4
"""Images for which starting workers takes longer than reading them."""


class GroupTest(NetworkTest):
    """Scores the masks ``(class, image)``: the objects of one class in an image, segmented with all of its group.

    It calls `CosegNetwork.cosegment_group`; see `NetworkTest`.
    """

    unit = "mask"

    def share(self, rank: int, world: int) -> Sequence[Key]:
        """Whole groups, assigned in turn, the largest first."""
        sizes = np.bincount([k for k, _ in self.keys], minlength=self.presence.shape[1])
        mine = set(np.argsort(-sizes, kind="stable")[rank::world].tolist())
        return [key for key in self.keys if key[0] in mine]

    def images_in(self, keys: Sequence[Key]) -> set[int]:
        """See `NetworkTest.images_in`."""
        return set(np.flatnonzero(self.presence[:, sorted({k for k, _ in keys})].any(1)).tolist())

    def images_of(self, keys: NDArray[np.int64]) -> list[str]:
        """See `NetworkTest.images_of`."""
        ids = self.datamodule.catalog("test").ids
        return [ids[image] for image in keys[:, 1].tolist()]

    def score_all(self, keys: Sequence[Key], progress: Progress) -> None:
        """See `NetworkTest.score_all`."""
        wanted = set(keys)
        classes = sorted({k for k, _ in keys})
        groups = [np.flatnonzero(self.presence[:, k]).tolist() for k in classes]
        iteration = GroupIteration(groups, self.read, self.encode, self.feature_gb, self.device, self.known)
        for k, group in zip(classes, iteration, strict=True):
            common = np.zeros((1, self.presence.shape[1]), bool)
            common[0, k] = True
            if isinstance(self.network, SavedMasks):
                masks: Iterable[Tensor] = self.network.group_logits(k, group.images, group.sizes, self.device)
            else:
                masks = self.network.cosegment_group(group.features, group.sizes)
            for position, logits in enumerate(masks):
                key = k, group.images[position]
                if key in wanted:  # the rest were finished before an interruption
                    self.count(np.array([key]), common, [((key[1],), logits, group.labels[position])])
                    progress.add(1)
                self.pause()

    def read(self, images: Iterable[int]) -> Iterable[ImageItem]:
        """See `NetworkTest.read`."""
        images = list(images)
        if len(images) >= _FEW:
            return super().read(images)
        return self.datamodule.image_loader("test", images, self.device.type == "cuda", workers=0)
