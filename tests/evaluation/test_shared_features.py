"""Features that processes share: who encodes what, files, bounds, and what is not there."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from coseg.data.dataset import ImageItem
from coseg.evaluation.iteration import PairIteration
from coseg.evaluation.shared_features import SharedFeatures, encoders
from coseg.models.features import tensors

CPU = torch.device("cpu")


def read(images: Iterable[int]) -> list[ImageItem]:
    return [
        ImageItem(i, torch.full((3, 4, 5), i, dtype=torch.uint8), torch.zeros(4, 5, dtype=torch.uint8)) for i in images
    ]


class Encoder:
    """Levels of two data types, in nested tuples; it counts the images."""

    def __init__(self) -> None:
        self.encoded: list[int] = []

    def __call__(self, image: Tensor) -> Any:
        self.encoded.append(int(image[0, 0, 0, 0]))
        return image.float() / 3, (image.to(torch.bfloat16), image)


def test_an_image_that_one_process_needs_is_its_own() -> None:
    assert encoders([{0, 1}, {2}, set()]) == {}


def test_images_are_encoded_by_one_that_needs_them_evenly() -> None:
    needed = [{0, 1, 2, 3}, {1, 2, 3, 4, 5}, {2, 3, 9}]
    chosen = encoders(needed)
    assert set(chosen) == {1, 2, 3}
    assert all(image in needed[rank] for image, rank in chosen.items())
    loads = [list(chosen.values()).count(rank) for rank in range(3)]
    assert max(loads) - min(loads) <= 1


def test_processes_encode_every_image_once_and_have_the_features_of_one(tmp_path: Path) -> None:
    pairs = list(combinations(range(12), 2))
    shares = [pairs[rank * len(pairs) // 4 : (rank + 1) * len(pairs) // 4] for rank in range(4)]
    needed = [{image for pair in share for image in pair} for share in shares]
    assert sum(map(len, needed)) > 1.3 * 12
    encode, alone = Encoder(), Encoder()
    stores = [SharedFeatures(tmp_path / "features", 1) for _ in shares]
    for rank, store in enumerate(stores):
        store.write(read(i for i, process in encoders(needed).items() if process == rank), encode, CPU)
    seen = {}
    for share, store in zip(shares, stores, strict=True):

        def known(image: int, store: SharedFeatures = store) -> Any:
            return store.read(image, CPU)

        for group in PairIteration(share, read, encode, 1.0, known=known):
            seen[group.pairs[0]] = group
    assert sorted(encode.encoded) == list(range(12))
    for group in PairIteration(pairs, read, alone, 1.0):
        for features in ("features_a", "features_b"):
            both = zip(tensors(getattr(group, features)), tensors(getattr(seen[group.pairs[0]], features)), strict=True)
            for one, other in both:
                assert one.dtype == other.dtype and torch.equal(one, other)
    stores[0].remove()
    assert not (tmp_path / "features").exists()


def test_past_the_bound_nothing_is_written(tmp_path: Path) -> None:
    encode = Encoder()
    store = SharedFeatures(tmp_path / "features", 1e-9 * 60 * 7 * 2.5)  # an image's: 60 values of 4, 2 and 1 bytes
    store.write(read(range(9)), encode, CPU)
    assert sorted(path.name for path in store.folder.iterdir()) == ["0.pt", "1.pt"]
    assert encode.encoded == [0, 1, 2]
    assert store.read(5, CPU) is None


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:100])


def other_than_features(path: Path) -> None:
    path.write_bytes(b"import os")


@pytest.mark.parametrize("damage", [Path.unlink, truncated, other_than_features])
def test_what_cannot_be_read_is_not_known(tmp_path: Path, damage: Callable[[Path], None]) -> None:
    store = SharedFeatures(tmp_path, 1)
    store.write(read([3]), Encoder(), CPU)
    assert store.read(3, CPU) is not None
    damage(tmp_path / "3.pt")
    assert store.read(3, CPU) is None


def test_a_folder_that_cannot_be_written_is_no_error(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "features").write_text("a file")
    store = SharedFeatures(tmp_path / "features", 1)
    store.write(read([0]), Encoder(), CPU)
    assert store.read(0, CPU) is None and "features" in caplog.text
