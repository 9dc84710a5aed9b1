"""Each pair is visited once, each image is read and encoded as seldom as the memory allows."""

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
from coseg.evaluation.visits import PairVisits
from coseg.training.build import build_network, plain

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


def visited(recorder: Recorder, pairs: list[tuple[int, int]], images: float, at_once: int = 3) -> list[tuple[int, int]]:
    """All pairs in the order of the visits, with room for so many images; what each group holds is checked."""
    seen = []
    visits = PairVisits(pairs, recorder.read, recorder.encode, images * BYTES / 1e9, at_once)
    for group in visits:
        assert 1 <= len(group.pairs) <= at_once and group.sizes == ((SIDE, SIDE), (SIDE, SIDE))
        i, j = (torch.tensor(side) for side in zip(*group.pairs, strict=True))
        for side, features, labels in ((i, group.features_a, group.labels_a), (j, group.features_b, group.labels_b)):
            assert torch.equal(features[0][:, 0, 0, 0], side.float())
            assert torch.equal(features[1][0][:, 0, 0, 0], side.float() + 1)
            assert torch.equal(labels[:, 0, 0], side.to(torch.uint8))
        seen += group.pairs
        assert sum(each.bytes for each in visits._held.values()) <= max(images - 1, 1) * BYTES
    return seen


@pytest.mark.parametrize("at_once", [1, 4])
def test_each_image_once_while_they_fit(at_once: int) -> None:
    recorder = Recorder()
    pairs = list(combinations(range(12), 2))
    assert sorted(visited(recorder, pairs, 12, at_once)) == pairs
    assert recorder.encoded == recorder.read_count == {k: 1 for k in range(12)}


@pytest.mark.parametrize("room", [0, 2, 3, 5, 9, 11])
def test_past_the_bound_images_return_as_often_as_is_told(room: int) -> None:
    recorder = Recorder()
    pairs = list(combinations(range(20), 2))
    assert sorted(visited(recorder, pairs, room)) == pairs
    stretches = -(-20 // max(room - 1, 1))
    assert max(recorder.encoded.values()) <= stretches
    assert recorder.encoded.total() <= 20 * (stretches + 1) / 2
    assert recorder.encoded == recorder.read_count


def test_images_leave_after_their_last_pair() -> None:
    groups = [range(0, 5), range(5, 9), range(9, 14)]
    pairs = [pair for group in groups for pair in combinations(group, 2)]
    recorder = Recorder()
    assert sorted(visited(recorder, pairs, 6)) == pairs
    assert set(recorder.encoded.values()) == {1}


@pytest.mark.parametrize("room", [2, 4, 30])
def test_any_set_of_pairs(room: int) -> None:
    every = list(combinations(range(30), 2))
    rng = np.random.default_rng(room)
    pairs = [every[k] for k in rng.permutation(len(every))[:60]]
    recorder = Recorder()
    assert sorted(visited(recorder, pairs, room)) == sorted(pairs)
    assert set(recorder.encoded) == {k for pair in pairs for k in pair}
    assert visited(recorder, [], room) == []


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
    assert sorted(visited(recorder, pairs, 3)) == pairs


@pytest.mark.parametrize("model", MODELS)
def test_groups_give_the_logits_of_each_pair(model: str, compose: Callable[..., DictConfig]) -> None:
    """Whatever network has the seam."""
    torch.manual_seed(0)
    config = plain(compose("train", "experiment=voc_pairs", f"model={model}").model)
    config["encoder"] |= {"weights": None} | ({"width": 0.125} if "width" in config["encoder"] else {})
    if config["input_size"] is not None:
        config["input_size"] = 48
    network = build_network(config).eval()
    generator = torch.Generator().manual_seed(1)
    sizes = [(48, 40), (40, 48), (48, 40), (33, 50), (48, 40), (40, 48), (48, 40)]
    images = [torch.randint(256, (3, *size), generator=generator, dtype=torch.uint8) for size in sizes]

    def read(indices: Iterable[int]) -> Iterator[ImageItem]:
        for index in indices:
            yield ImageItem(index, images[index], images[index][0])

    pairs = list(combinations(range(len(images)), 2))
    largest = 0
    with torch.inference_mode():
        for group in PairVisits(pairs, read, network.encode, 1.0, at_once=3):
            largest = max(largest, len(group.pairs))
            logits = network.cosegment(group.features_a, group.features_b, *group.sizes)
            for k, (i, j) in enumerate(group.pairs):
                for side, expected in zip(logits, network(images[i][None], images[j][None]), strict=True):
                    torch.testing.assert_close(side[k : k + 1], expected, atol=1e-5, rtol=0)
    assert largest == 3
