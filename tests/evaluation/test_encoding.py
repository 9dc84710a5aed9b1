"""Encoding in float32 for half precision; features that processes share: who encodes what, files, bounds."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Iterable
from itertools import combinations
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from torch import Tensor, nn

from coseg.data.dataset import ImageItem
from coseg.errors import CosegError
from coseg.evaluation.encoding import FullPrecision, SharedFeatures, encoders, fastest_layout, half_type
from coseg.evaluation.iteration import PairIteration
from coseg.models.base import CosegNetwork
from coseg.models.cross_correlation import CrossCorrelationNetwork
from coseg.models.encoders.vgg import VGG16Encoder
from coseg.models.features import deepest, tensors
from coseg.models.mirrored import MirroredNetwork
from coseg.models.siamese import SiameseNetwork
from coseg.models.thresholded import ThresholdedNetwork

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("precision", "dtype"),
    [
        ("bf16-true", torch.bfloat16),
        ("bf16-mixed", torch.bfloat16),
        ("16-true", torch.float16),
        ("16-mixed", torch.float16),
        ("32-true", None),
        ("64-true", None),
        ("transformer-engine", None),
    ],
)
def test_which_precisions_are_half(precision: str, dtype: torch.dtype | None) -> None:
    assert half_type(precision) is dtype


@pytest.mark.parametrize("precision", ["bf16-mixed", "bf16-true"])
def test_features_are_those_in_float32_rounded_once(precision: str) -> None:
    network = CrossCorrelationNetwork(VGG16Encoder(width=0.125), kernel_sizes=[3])
    images = torch.randint(256, (1, 3, 32, 48), dtype=torch.uint8)
    trainer = L.Trainer(accelerator="cpu", precision=precision, logger=False)  # type: ignore[arg-type]
    full = FullPrecision(network, torch.bfloat16)
    assert not network.training
    with torch.inference_mode():
        for method in ("encode", "encode_for_pairs"):
            wanted = getattr(network, method)(images)
            with trainer.precision_plugin.forward_context():
                features = getattr(full, method)(images)
            for level, level_in_float32 in zip(tensors(features), tensors(wanted), strict=True):
                assert level.dtype == torch.bfloat16
                torch.testing.assert_close(level, level_in_float32.bfloat16(), rtol=0, atol=0)
    assert torch.get_default_dtype() == torch.float32


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


def test_batch_norm_stays_in_float32() -> None:
    """Its numbers are those of the network, and it is all that is in float32: maps stay in half precision."""
    network = CrossCorrelationNetwork(VGG16Encoder(width=0.125), kernel_sizes=[3])
    norms = {name: module for name, module in network.named_modules() if isinstance(module, nn.BatchNorm2d)}
    for norm in norms.values():
        norm.running_mean.normal_()  # type: ignore[union-attr]
        norm.weight.data.uniform_(0.5, 1.5)
    full = FullPrecision(network, torch.bfloat16)
    half = copy.deepcopy(network).bfloat16()
    full.join(half, CPU, torch.channels_last)
    for name, value in half.state_dict().items():
        of_norm = name.rpartition(".")[0] in norms
        assert value.dtype == (torch.float32 if of_norm else torch.bfloat16) or not value.is_floating_point()
        assert torch.equal(value, network.state_dict()[name]) or not of_norm
    decoded: list[torch.dtype] = []
    for layer in half.decoder.modules():
        layer.register_forward_hook(lambda *call: decoded.append(call[-1].dtype))
    image = torch.randint(256, (1, 3, 32, 48), dtype=torch.uint8)
    with torch.inference_mode():
        features = full.encode_for_pairs(image)
        logits, _ = half.cosegment(features, features, (32, 48), (32, 48))
    assert logits.dtype == torch.float32 and set(decoded) == {torch.bfloat16}


@pytest.mark.parametrize(
    "wrap", [lambda network: network, MirroredNetwork, lambda network: ThresholdedNetwork(network, 0.4)]
)
def test_logits_that_no_partner_changes_are_in_float32(wrap: Callable[[CosegNetwork], CosegNetwork]) -> None:
    """What a Siamese network keeps of an image are its logits: half precision would make some of them equal."""
    network = wrap(SiameseNetwork(VGG16Encoder(width=0.125)))
    full = FullPrecision(network, torch.bfloat16)
    half = full.for_pairs("bf16-true").bfloat16()
    images = [torch.randint(256, (1, 3, 32, 48), dtype=torch.uint8) for _ in range(2)]
    sizes = (32, 48), (32, 48)
    with torch.inference_mode():
        wanted = network.cosegment(*map(network.encode_for_pairs, images), *sizes)
        logits = half.cosegment(*map(full.encode_for_pairs, images), *sizes)
        assert deepest(full.encode(images[0])).dtype == torch.bfloat16  # of which groups are decoded
    for mine, true in zip(logits, wanted, strict=True):
        torch.testing.assert_close(mine, true, rtol=0, atol=0)


class Held(CrossCorrelationNetwork):
    """A network that can't be copied."""

    def __init__(self) -> None:
        super().__init__(VGG16Encoder(width=0.125), kernel_sizes=[3])
        self.lock = threading.Lock()


def test_mixed_precision_needs_no_copy() -> None:
    full = FullPrecision(Held(), torch.bfloat16)
    assert full.for_pairs("bf16-mixed") is full.network
    full.join(full.network, CPU, torch.channels_last)
    with pytest.raises(CosegError, match=r"bf16-true.*Held.*lock.*bf16-mixed"):
        full.for_pairs("bf16-true")


class Scaled(nn.BatchNorm2d):
    """Batch norm that takes numbers of one type."""

    def forward(self, input: Tensor) -> Tensor:
        return torch.addcmul(self.bias[:, None, None], input, self.weight[:, None, None])


class Matching(CrossCorrelationNetwork):
    """With layers of a user's own before the decoder."""

    def __init__(self) -> None:
        super().__init__(VGG16Encoder(width=0.125), kernel_sizes=[3])
        self.scaled, self.scan = Scaled(3), nn.Conv3d(1, 1, 3)


def test_layers_of_a_user_stay_in_half_precision() -> None:
    full = FullPrecision(Matching(), torch.bfloat16)
    half: Any = full.for_pairs("bf16-true").bfloat16()
    layout = fastest_layout(half, CPU)
    full.join(half.to(memory_format=layout), CPU, layout)
    assert half.scaled(torch.zeros(1, 3, 4, 4, dtype=torch.bfloat16)).dtype == torch.bfloat16
    assert half.decoder.blocks[1].weight.dtype == full.network.get_parameter("scan.weight").dtype == torch.float32
    assert fastest_layout(full.network.get_submodule("decoder"), CPU) == torch.channels_last


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
