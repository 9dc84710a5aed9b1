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
        self._holders: list[Any] | None = None  # of random generators; empty: they are not set one by one

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
        seeds = np.random.SeedSequence(seed).generate_state(self.tries)
        for count, sample_seed in enumerate(seeds, start=1):
            self._seed(int(sample_seed))
            sample = self.pipeline(image=image, mask=labels)
            if count == self.tries or _shows(sample["mask"], wanted) or not _shows(labels, wanted):
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

    def _seed(self, seed: int) -> None:
        """`set_random_seed` of the pipeline, in a third of the time.

        Albumentations makes new generators for each transform, all in the same state. Here those that the pipeline and
        its transforms have from the first time are put into it, unless one of them has a way of its own.
        """
        holders = self._holders
        if holders is None:
            self.pipeline.set_random_seed(seed)
            transforms: list[Any] = list(getattr(self.pipeline, "transforms", ()))
            plain = type(self.pipeline) is A.Compose and all(map(_is_seeded_plainly, transforms))
            self._holders = [self.pipeline, *transforms] if plain else []
        elif not holders:
            self.pipeline.set_random_seed(seed)
        else:
            state = np.random.PCG64(seed).state
            for holder in holders:
                holder.seed = seed
                holder.random_generator.bit_generator.state = state
                holder.py_random.seed(seed)


def _is_seeded_plainly(transform: Any) -> bool:
    """Whether a transform is seeded as albumentations does it: a user's may do more."""
    return isinstance(transform, A.BasicTransform) and all(
        getattr(getattr(transform, name), "__func__", None) is getattr(A.BasicTransform, name)
        for name in ("set_random_seed", "set_random_state")
    )


def _shows(labels: NDArray[np.uint8], wanted: NDArray[np.intp]) -> bool:
    """Whether a label map has a pixel of one of the labels."""
    return any((labels == label).any() for label in wanted)


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
