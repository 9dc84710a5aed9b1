"""Augmentation of one image of a pair, the same numbers in whatever process it runs."""

from __future__ import annotations

import os
from typing import Any, Protocol

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # albumentations asks the network for a newer version otherwise

import albumentations as A
import numpy as np
from numpy.typing import NDArray

from coseg.errors import CosegError


class _Pipeline(Protocol):
    def set_random_seed(self, seed: int) -> None: ...

    def __call__(self, **data: Any) -> dict[str, Any]: ...


class Augmentation:
    """An albumentations pipeline applied to an image and its label map.

    The pipeline is seeded afresh before each image: left to itself, albumentations repeats the same random numbers in
    every forked worker. When a sample loses the common object (a crop beside it), the image is sampled again, at most
    `tries` times in all; the last sample is kept, with its empty mask.

    Args:
        transforms: albumentations transforms, in order; or a pipeline of them, ``albumentations.Compose([...])``.
        size: side in pixels of the square that they must end at, so that images make a batch; None is not checked.
        tries: how often an image is sampled at most, 1 or more.

    Raises:
        CosegError: `tries` is below 1, or the transforms end at another size.
    """

    def __init__(self, transforms: Any, size: int | None = None, tries: int = 10) -> None:
        if tries < 1:
            raise CosegError(f"augmentation.tries is {tries}, but must be 1 or more.")
        if not isinstance(transforms, A.Compose):
            transforms = A.Compose(list(transforms) if isinstance(transforms, list | tuple) else [transforms])
        self.pipeline: _Pipeline = transforms
        self.size = size
        self.tries = tries

    def __call__(
        self, image: NDArray[np.uint8], labels: NDArray[np.uint8], wanted: NDArray[np.intp], seed: int
    ) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """An augmented image and label map, uint8 (size, size, 3) and (size, size); a pure function of the arguments.

        Args:
            image: uint8 (H, W, 3).
            labels: uint8 (H, W).
            wanted: labels of which at least one should stay in the picture.
            seed: of the random numbers.
        """
        table = np.zeros(256, np.bool_)
        table[wanted] = True
        present = bool(table[labels].any())
        seeds = np.random.SeedSequence(seed).generate_state(self.tries)
        for sample_seed in seeds:
            self.pipeline.set_random_seed(int(sample_seed))
            sample = self.pipeline(image=image, mask=labels)
            if not present or table[sample["mask"]].any():
                break
        if getattr(sample["image"], "dtype", None) != np.uint8:
            raise CosegError(
                f"augmentation.transforms give an image of {getattr(sample['image'], 'dtype', type(sample['image']))}, "
                "but must give an array of uint8: leave out Normalize, ToFloat and ToTensorV2, encoders normalise."
            )
        if self.size is not None and sample["mask"].shape != (self.size, self.size):
            raise CosegError(
                f"augmentation.transforms end at {sample['mask'].shape}, but augmentation.size is {self.size}: "
                "let the last of them crop or resize to that size."
            )
        return sample["image"], sample["mask"]


def as_transform(augmentation: Any) -> Any:
    """`augmentation` as a data set takes it: transforms and pipelines of albumentations become an `Augmentation`.

    Raises:
        CosegError: it is nothing that can be called.
    """
    if isinstance(augmentation, list | tuple) or hasattr(augmentation, "set_random_seed"):
        return Augmentation(augmentation)
    if augmentation is not None and not callable(augmentation):
        raise CosegError(
            f"augmentation is a {type(augmentation).__name__}, but must be an albumentations pipeline, a list of its "
            "transforms, or a function (image, labels, wanted, seed) -> (image, labels)."
        )
    return augmentation
