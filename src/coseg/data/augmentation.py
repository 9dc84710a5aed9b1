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
        self._chain: list[Any] | None = None  # the transforms, where they need no pipeline around them; see `_plain`

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
            sample = self._sample(image, labels, int(sample_seed))
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

    def _sample(self, image: NDArray[np.uint8], labels: NDArray[np.uint8], seed: int) -> dict[str, Any]:
        """What the pipeline makes of an image and its labels after `set_random_seed`; plain ones in less time.

        Albumentations makes new generators for each transform, all in the same state, and its pipeline checks the data
        and the processors of points, of which there are none. Here the generators that the transforms have from the
        first time are put into that state, and the transforms are called one after the other.
        """
        if self._chain and getattr(labels, "shape", None) == image.shape[:2]:
            state = np.random.PCG64(seed).state
            data: dict[str, Any] = {"image": image, "mask": labels}
            for transform in self._chain:
                transform.seed = seed
                transform.random_generator.bit_generator.state = state
                transform.py_random.seed(seed)
            for transform in self._chain:  # afterwards: one may be in it twice
                data = transform(**data)
            return data
        self.pipeline.set_random_seed(seed)
        if self._chain is None:
            self._chain = _plain(self.pipeline)
        return self.pipeline(image=image, mask=labels)


def _plain(pipeline: Any) -> list[Any]:
    """The transforms of a pipeline that only calls them; empty: it does more, or one is seeded in a way of its own."""
    transforms: list[Any] = list(getattr(pipeline, "transforms", ()))
    nothing_else = type(pipeline) is A.Compose and pipeline.p >= 1 and not pipeline.processors
    return transforms if nothing_else and all(map(_is_seeded_plainly, transforms)) else []


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
