from pathlib import Path

import albumentations as A
import numpy as np
import pytest
from facts import naming
from hydra.utils import instantiate
from omegaconf import OmegaConf

from coseg.data.augmentation import Augmentation, as_transform
from coseg.errors import CosegError

CONFIGS = sorted((Path(__file__).parents[2] / "conf" / "augmentation").glob("*.yaml"))
SIZE = 48

WANTED = np.array([1])

COLOURS = {0: (0, 0, 200), 1: (200, 0, 0), 2: (0, 200, 0), 255: (0, 0, 0)}
"""Background blue, common red, other green, void black, like the padding of the shipped pipelines."""


def picture(height=90, width=120):
    """An image that shows its target: blocks of 15 pixels."""
    blocks = np.random.default_rng(0).choice([0, 0, 1, 2, 255], (height // 15, width // 15)).astype(np.uint8)
    target = blocks.repeat(15, axis=0).repeat(15, axis=1)
    return painted(target), target


def painted(target):
    image = np.zeros((*target.shape, 3), np.uint8)
    for value, colour in COLOURS.items():
        image[target == value] = colour
    return image


def shown(image):
    """The target that an image shows, by its strongest channel."""
    values = np.array([1, 2, 0], np.uint8)[image.argmax(axis=2)]
    values[image.max(axis=2) < 70] = 255
    return values


def shipped(path, **changes):
    config = OmegaConf.create({"augmentation": OmegaConf.load(path)})
    config.augmentation.update({"size": SIZE, **changes})
    return instantiate(OmegaConf.to_container(config.augmentation, resolve=True), _convert_="all")


def equal(first, second):
    return all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


# the shipped pipelines


def test_pipelines_are_found():
    assert {path.stem for path in CONFIGS} >= {"none", "flip", "crop", "paper"}


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
@pytest.mark.parametrize("shape", [(90, 120), (30, 45), (48, 48)])
def test_shipped_pipelines_end_at_the_training_size(path, shape):
    augmentation = shipped(path)
    image, target = picture(*[-(-side // 15) * 15 for side in shape])
    image, target = image[: shape[0], : shape[1]], target[: shape[0], : shape[1]]
    before = image.copy(), target.copy()
    for seed in range(5):
        out, mask = augmentation(image, target, WANTED, seed)
        assert (out.shape, out.dtype) == ((SIZE, SIZE, 3), np.uint8)
        assert (mask.shape, mask.dtype) == ((SIZE, SIZE), np.uint8)
        assert set(np.unique(mask)) <= {0, 1, 2, 255}
    assert equal((image, target), before)  # the catalog's arrays are left alone


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_mask_stays_on_the_image(path):
    moving = [each for each in shipped(path).pipeline.transforms if not isinstance(each, A.ImageOnlyTransform)]
    augmentation = Augmentation(moving, SIZE)  # other colours would not show what the blocks are
    image, target = picture()
    agreement, displaced = [], []
    for seed in range(20):
        out, mask = augmentation(image, target, WANTED, seed)
        agreement.append((shown(out) == mask).mean())
        displaced.append((shown(out) == mask[:, ::-1]).mean())
    assert min(agreement) > 0.85  # but for interpolation at the borders of blocks
    assert np.mean(agreement) > 0.92
    assert np.mean(displaced) < 0.6


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_equal_seeds_give_equal_results(path):
    image, target = picture()
    augmentation, other = shipped(path), shipped(path)
    results = [augmentation(image, target, WANTED, seed) for seed in range(12)]
    for seed in reversed(range(12)):  # whatever was drawn before
        assert equal(other(image, target, WANTED, seed), results[seed])
    kinds = sum(not equal(result, results[0]) for result in results)
    if path.stem == "none":
        assert kinds == 0
    else:
        assert kinds >= 2


def test_neighbouring_seeds_differ():
    image, target = picture()
    augmentation = shipped(next(path for path in CONFIGS if path.stem == "crop"))
    results = {augmentation(image, target, WANTED, seed)[0].tobytes() for seed in range(30)}
    assert len(results) == 30


# drawing again


class Counted:
    def __init__(self, pipeline):
        self.pipeline = pipeline
        self.calls = 0

    def set_random_seed(self, seed):
        self.pipeline.set_random_seed(seed)

    def __call__(self, **data):
        self.calls += 1
        return self.pipeline(**data)


def cropping(tries, transform=None):
    augmentation = Augmentation([transform or A.RandomCrop(height=30, width=30)], size=30, tries=tries)
    augmentation.pipeline = Counted(augmentation.pipeline)
    return augmentation


def corner(value=1):
    """An object in a corner of an image, which few crops show."""
    target = np.zeros((100, 100), np.uint8)
    target[:25, :25] = value
    return painted(target), target


def test_a_crop_that_loses_the_common_object_is_drawn_again():
    image, target = corner()
    once, often = cropping(1), cropping(100)
    lost = [not (once(image, target, WANTED, seed)[1] == 1).any() for seed in range(40)]
    assert 10 < sum(lost) < 40
    for seed in range(40):
        out, mask = often(image, target, WANTED, seed)
        assert (mask == 1).any()
        assert np.array_equal(shown(out), mask)
        if not lost[seed]:
            assert equal((out, mask), once(image, target, WANTED, seed))  # tries don't change a draw that is good
    assert once.pipeline.calls == 40 + 40 - sum(lost)
    assert 40 + sum(lost) <= often.pipeline.calls < 40 * 30


def test_tries_are_bounded_and_the_last_draw_is_kept():
    image, target = corner()
    augmentation = cropping(7, A.Crop(x_min=60, y_min=60, x_max=90, y_max=90))
    _, mask = augmentation(image, target, WANTED, 0)
    assert not mask.any()
    assert augmentation.pipeline.calls == 7


@pytest.mark.parametrize("value", [2, 255])
def test_without_a_common_object_one_draw_is_enough(value):
    augmentation = cropping(7)
    for seed in range(10):
        augmentation(*corner(value), WANTED, seed)
    assert augmentation.pipeline.calls == 10


# what is refused


def test_transforms_that_end_at_another_size():
    with pytest.raises(CosegError, match=naming("(30, 30)", "augmentation.size", 40)):
        Augmentation([A.Resize(height=30, width=30)], size=40)(*picture(), WANTED, 0)


@pytest.mark.parametrize("tries", [0, -1])
def test_no_tries(tries):
    with pytest.raises(CosegError, match=naming("augmentation.tries", tries, 1)):
        Augmentation([], size=10, tries=tries)


def test_transforms_that_give_no_bytes():
    with pytest.raises(CosegError, match=naming("float32", "uint8", "Normalize")):
        Augmentation([A.Normalize()])(*picture(), WANTED, 0)


# albumentations as it is


@pytest.mark.parametrize("wrap", [list, A.Compose, lambda transforms: A.Compose(transforms, seed=3)])
def test_a_pipeline_of_albumentations(wrap):
    """Equal seeds give equal images, whatever was drawn before, and other seeds others."""
    transforms = [A.RandomCrop(40, 40), A.HorizontalFlip()]
    augmentation, other = as_transform(wrap(transforms)), as_transform(wrap(transforms))
    images = [augmentation(*picture(), WANTED, seed)[0] for seed in (0, 1, 0)]
    assert images[0].shape == (40, 40, 3)
    assert (images[0] == images[2]).all() and (images[0] != images[1]).any()
    assert (other(*picture(), WANTED, 1)[0] == images[1]).all()


def test_what_is_no_augmentation():
    function = as_transform(lambda image, labels, wanted, seed: (image, labels))
    assert not isinstance(function, Augmentation) and as_transform(None) is None
    assert as_transform(A.Resize(20, 20))(*picture(), WANTED, 0)[1].shape == (20, 20)
    with pytest.raises(CosegError, match=naming("augmentation", "int", "albumentations")):
        as_transform(3)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_seeding_is_albumentations_own(path):
    """The second call and later ones set the generators in another way than the first."""
    augmentation = shipped(path, tries=1)
    seeds = (3, 3, 2**40, 7)
    own = [int(np.random.SeedSequence(seed).generate_state(1)[0]) for seed in seeds]
    image, labels = picture()
    results = [augmentation(image, labels, WANTED, seed) for seed in seeds]
    for seed, result in zip(own, results, strict=True):
        augmentation.pipeline.set_random_seed(seed)
        expected = augmentation.pipeline(image=image, mask=labels)
        assert equal(result, (expected["image"], expected["mask"]))


def test_a_transform_that_is_in_a_pipeline_twice_goes_on_with_its_numbers():
    flip = A.HorizontalFlip(p=0.5)
    augmentation = Augmentation([flip, A.Transpose(p=0.5), flip], tries=1)
    image, labels = picture(60, 60)
    results = [augmentation(image, labels, WANTED, seed) for seed in range(9)]
    for seed, result in enumerate(results):
        augmentation.pipeline.set_random_seed(int(np.random.SeedSequence(seed).generate_state(1)[0]))
        expected = augmentation.pipeline(image=image, mask=labels)
        assert equal(result, (expected["image"], expected["mask"]))
    assert len({result[0].tobytes() for result in results}) > 2


def test_a_pipeline_that_does_more_than_call_its_transforms_does_it():
    image, labels = picture()
    half = as_transform(A.Compose([A.HorizontalFlip(p=1)], p=0.5))  # as a whole, or not at all
    flipped = [not equal(half(image, labels, WANTED, seed), (image, labels)) for seed in range(30)]
    assert 5 < sum(flipped) < 25
    plain = as_transform([A.HorizontalFlip(p=0.5)])
    for seed in range(3):
        assert plain(image, labels, WANTED, seed)[0].shape == image.shape
        with pytest.raises(ValueError, match="shape"):  # of albumentations, for a label map of another size
            plain(image, labels[:-1], WANTED, seed)


def test_a_pipeline_within_a_pipeline_is_seeded_too():
    inner = A.OneOf([A.HorizontalFlip(p=1), A.VerticalFlip(p=1), A.Transpose(p=1)], p=0.8)
    augmentation = as_transform([inner, A.GaussNoise(p=0.5)])
    image, labels = picture(60, 60)
    results = [[augmentation(image, labels, WANTED, seed) for seed in range(8)] for _ in range(2)]
    assert all(equal(first, second) for first, second in zip(*results, strict=True))
    assert len({result[0].tobytes() for result in results[0]}) > 3


class Grey(A.ImageOnlyTransform):
    """Fills an image with a number of a generator of its own, which seeding sets."""

    def set_random_seed(self, seed):
        super().set_random_seed(seed)
        self.numbers = np.random.default_rng(None if seed is None else seed + 1)

    def apply(self, image, **_):
        return np.full_like(image, self.numbers.integers(255))


class Seeded(A.ImageOnlyTransform):
    """Fills an image with a number that its seed alone gives."""

    def apply(self, image, **_):
        return np.full_like(image, np.random.default_rng(self.seed).integers(255))


@pytest.mark.parametrize("transform", [Grey, Seeded])
def test_a_transform_with_seeding_of_its_own(transform):
    image, labels = picture()
    augmentation, other = (as_transform([A.HorizontalFlip(), transform(p=1)]) for _ in range(2))
    results = [augmentation(image, labels, WANTED, seed) for seed in range(6)]
    for seed in reversed(range(6)):  # whatever was made before
        assert equal(other(image, labels, WANTED, seed), results[seed])
    assert len({result[0].tobytes() for result in results}) > 3
