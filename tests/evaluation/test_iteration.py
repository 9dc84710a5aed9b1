"""Each pair and group comes once; each image is read and encoded as few times as the memory allows."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import torch
from omegaconf import DictConfig
from torch import Tensor

from coseg.data.dataset import ImageItem
from coseg.evaluation.iteration import GroupIteration, PairIteration
from coseg.instantiate import build_network, plain
from coseg.models.base import PairClassifier

MODELS = sorted(path.stem for path in (Path(__file__).resolve().parents[2] / "conf" / "model").glob("*.yaml"))

SIDE = 10
BYTES = 3 * SIDE * SIDE * 2 * 4 + SIDE * SIDE  # two float32 copies of the image, and the label map


class Recorder:
    """Images whose pixels are their index, and a count of how often each was read and encoded."""

    def __init__(self) -> None:
        self.read_count: Counter[int] = Counter()
        self.encoded: Counter[int] = Counter()

    def read(self, indices: Iterable[int]) -> Iterator[ImageItem]:
        for index in indices:
            self.read_count[index] += 1
            pixels = torch.full((3, SIDE, SIDE), index, dtype=torch.uint8)
            yield ImageItem(index, pixels, pixels[0])

    def encode(self, image: Tensor) -> tuple[Tensor, tuple[Tensor]]:
        self.encoded[int(image.max())] += 1
        return image.float(), (image.float() + 1,)


def paired(recorder: Recorder, pairs: list[tuple[int, int]], images: float, at_once: int = 3) -> list[tuple[int, int]]:
    """All pairs in the order of the iteration, with room for so many images; what each group holds is checked."""
    seen = []
    iteration = PairIteration(pairs, recorder.read, recorder.encode, images * BYTES / 1e9, at_once)
    for group in iteration:
        assert 1 <= len(group.pairs) <= at_once and group.sizes == ((SIDE, SIDE), (SIDE, SIDE))
        i, j = (torch.tensor(side) for side in zip(*group.pairs, strict=True))
        for side, features, labels in ((i, group.features_a, group.labels_a), (j, group.features_b, group.labels_b)):
            assert torch.equal(features[0][:, 0, 0, 0], side.float())
            assert torch.equal(features[1][0][:, 0, 0, 0], side.float() + 1)
            assert torch.equal(labels[:, 0, 0], side.to(torch.uint8))
        seen += group.pairs
        assert sum(image.bytes for image in iteration._held.values()) <= max(images - 1, 1) * BYTES
    return seen


@pytest.mark.parametrize("at_once", [1, 4])
def test_each_image_once_while_they_fit(at_once: int) -> None:
    recorder = Recorder()
    pairs = list(combinations(range(12), 2))
    assert sorted(paired(recorder, pairs, 12, at_once)) == pairs
    assert recorder.encoded == recorder.read_count == {k: 1 for k in range(12)}


@pytest.mark.parametrize("room", [0, 2, 3, 5, 9, 11])
def test_past_the_bound_images_return_as_often_as_is_told(room: int) -> None:
    recorder = Recorder()
    pairs = list(combinations(range(20), 2))
    assert sorted(paired(recorder, pairs, room)) == pairs
    stretches = -(-20 // max(room - 1, 1))
    assert max(recorder.encoded.values()) <= stretches
    assert recorder.encoded.total() <= 20 * (stretches + 1) / 2
    assert recorder.encoded == recorder.read_count


def test_images_leave_after_their_last_pair() -> None:
    groups = [range(0, 5), range(5, 9), range(9, 14)]
    pairs = [pair for group in groups for pair in combinations(group, 2)]
    recorder = Recorder()
    assert sorted(paired(recorder, pairs, 6)) == pairs
    assert set(recorder.encoded.values()) == {1}


@pytest.mark.parametrize("room", [2, 4, 30])
def test_any_set_of_pairs(room: int) -> None:
    every = list(combinations(range(30), 2))
    rng = np.random.default_rng(room)
    pairs = [every[k] for k in rng.permutation(len(every))[:60]]
    recorder = Recorder()
    assert sorted(paired(recorder, pairs, room)) == sorted(pairs)
    assert set(recorder.encoded) == {k for pair in pairs for k in pair}
    assert paired(recorder, [], room) == []


def test_images_read_in_advance_do_no_harm() -> None:
    class Ahead(Recorder):
        def read(self, indices: Iterable[int]) -> Iterator[ImageItem]:
            waiting: list[ImageItem] = []
            for item in super().read(indices):
                waiting.append(item)
                if len(waiting) > 3:
                    yield waiting.pop(0)
            yield from waiting

    pairs = [pair for group in (range(0, 7), range(7, 15)) for pair in combinations(group, 2)]
    recorder = Ahead()
    assert sorted(paired(recorder, pairs, 3)) == pairs


@pytest.mark.parametrize("model", MODELS)
def test_groups_give_the_logits_of_each_pair(model: str, compose: Callable[..., DictConfig]) -> None:
    """For every network."""
    torch.manual_seed(0)
    config = plain(compose("train", "experiment=voc_pairs", f"model={model}").model)
    config["encoder"] |= {"weights": None} | ({"width": 0.125} if "width" in config["encoder"] else {})
    if config["input_size"] is not None:
        config["input_size"] = 48
    network = build_network(config).eval()
    precise = torch.float32 if isinstance(network, PairClassifier) else torch.float64  # its classifier is in float32
    network = network.to(precise)  # so that only mistakes differ, not roundings
    generator = torch.Generator().manual_seed(1)
    sizes = [(48, 40), (40, 48), (48, 40), (33, 50), (48, 40), (40, 48), (48, 40)]
    images = [torch.rand((3, *size), generator=generator, dtype=precise) for size in sizes]

    def read(indices: Iterable[int]) -> Iterator[ImageItem]:
        for index in indices:
            yield ImageItem(index, images[index], images[index][0])

    pairs = list(combinations(range(len(images)), 2))
    largest = 0
    with torch.inference_mode():
        for group in PairIteration(pairs, read, network.encode_for_pairs, 1.0, at_once=3):
            largest = max(largest, len(group.pairs))
            logits = network.cosegment(group.features_a, group.features_b, *group.sizes)
            for k, (i, j) in enumerate(group.pairs):
                for side, expected in zip(logits, network(images[i][None], images[j][None]), strict=True):
                    torch.testing.assert_close(side[k : k + 1], expected, atol=1e-5, rtol=0)
                if isinstance(network, PairClassifier):
                    decision = network.classify(*(network.encode(images[image][None]) for image in (i, j)))
                    torch.testing.assert_close(
                        network.classify(group.features_a, group.features_b)[k : k + 1], decision, atol=1e-5, rtol=0
                    )
    assert largest == 3


IMAGE_BYTES = 5 * 4 + 6 * 7  # five numbers, and a label map


class Images:
    """Counts what is read and encoded."""

    def __init__(self) -> None:
        self.read_images: Counter[int] = Counter()
        self.encoded: Counter[int] = Counter()

    def read(self, indices: Iterable[int]) -> Iterator[ImageItem]:
        for i in indices:
            self.read_images[i] += 1
            yield ImageItem(i, torch.full((3, 6, 7), i, dtype=torch.uint8), torch.full((6, 7), i, dtype=torch.uint8))

    def encode(self, image: Tensor) -> Tensor:
        i = int(image.flatten()[0])
        self.encoded[i] += 1
        return torch.full((1, 5), float(i))


def check_groups(images: Images, groups: list[list[int]], gigabytes: float) -> None:
    """Ask for everything as `cosegment_group` and the scoring do, and check it."""
    for group, expected in zip(GroupIteration(groups, images.read, images.encode, gigabytes), groups, strict=True):
        assert list(group.images) == expected and len(group.features) == len(expected)
        assert [float(features[0, 0]) for features in group.features] == expected
        for k, (features, size) in enumerate(zip(group.features, group.sizes, strict=True)):
            assert float(features[0, 0]) == expected[k] and size == (6, 7)
            assert group.labels[k].shape == (1, 6, 7) and int(group.labels[k][0, 0, 0]) == expected[k]


def test_what_fits_is_read_and_encoded_once() -> None:
    images = Images()
    check_groups(images, [[0, 1, 2], [2, 3], [0, 3]], 1.0)
    assert images.encoded == images.read_images == Counter(range(4))


@pytest.mark.parametrize("fit", [0, 2, 3])
def test_past_the_bound_an_image_is_encoded_each_time(fit: int) -> None:
    images = Images()
    group = list(range(5))
    check_groups(images, [group], (fit + 0.5) * IMAGE_BYTES / 1e9)
    assert [images.encoded[i] for i in group] == [1] * fit + [2] * (5 - fit)


def test_images_of_later_groups_make_room() -> None:
    """The first group's images are wanted again by the third, but the second needs their place."""
    images = Images()
    check_groups(images, [[0, 1], [2, 3], [0, 1]], 2.5 * IMAGE_BYTES / 1e9)
    assert images.encoded == Counter({0: 2, 1: 2, 2: 1, 3: 1})


def test_single_images_and_stretches_can_be_asked_for() -> None:
    images = Images()
    for group in GroupIteration([[4, 5, 6]], images.read, images.encode, 1.0):
        assert group.sizes[1] == (6, 7)  # before its features were
        assert float(group.features[-1][0, 0]) == 6
        assert [float(features[0, 0]) for features in group.features[1:]] == [5, 6]
    assert images.encoded == Counter([5, 6])
