"""Every shipped network with every shipped encoder: a new configuration of either is tried with nothing to add here."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf
from torch import Tensor

from coseg.models.network import CosegNetwork
from coseg.training.build import build_network

CONF = Path(__file__).resolve().parents[2] / "conf"
MODELS, ENCODERS = (sorted(path.stem for path in (CONF / group).glob("*.yaml")) for group in ("model", "encoder"))
TIMM = [name for name in ENCODERS if "model_name" in OmegaConf.load(CONF / "encoder" / f"{name}.yaml")]
SMALL = {
    "efficientnet_lite0": {"out_indices": [1, 2]},
    "efficientnet_lite1": {"out_indices": [1, 2, 3]},
    "efficientnet_lite2": {"out_indices": [1, 2, 3]},
    "dinov3_vits16": {"out_indices": [0]},
    "resnet50": {"width": 0.125, "blocks": [1, 1, 1, 1]},
    "convnext_tiny": {"width": 0.125, "blocks": [1, 1, 2, 1]},
    "vit": {"dim": 24, "depth": 2, "heads": 2, "grid": 4, "registers": 1},
}


def read(group: str, name: str) -> dict[str, Any]:
    config = OmegaConf.to_container(OmegaConf.load(CONF / group / f"{name}.yaml"))
    assert isinstance(config, dict)
    base = [name for name in config.get("defaults", []) if isinstance(name, str) and name != "_self_"]
    config = {key: value for name in base for key, value in read(group, name).items()} | config
    return {str(key): value for key, value in config.items() if key != "defaults"}


@pytest.fixture(scope="module", params=itertools.product(MODELS, ENCODERS), ids=" ".join)
def network(request: pytest.FixtureRequest) -> CosegNetwork:
    """In evaluation, the statistics of its batch norm those of one batch."""
    model, encoder = request.param
    config = read("model", model)
    small = SMALL.get(encoder, {} if encoder in TIMM else {"width": 0.125})
    config["encoder"] = read("encoder", encoder) | small
    if config["input_size"] is not None:
        config["input_size"] = 48
    torch.manual_seed(0)
    network = build_network(config)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 1.0
    with torch.no_grad():
        network.train()(photo(48, 48, 3), photo(48, 48, 4))
    return network.eval()


def photo(height: int, width: int, seed: int) -> Tensor:
    return torch.rand(2, 3, height, width, generator=torch.Generator().manual_seed(seed))


A, B = photo(33, 47, 1), photo(17, 5, 2)


def close(found: Tensor, wanted: Tensor) -> None:
    torch.testing.assert_close(found, wanted, atol=1e-4, rtol=1e-4)


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
        assert all(each.isfinite().all() for each in network(A[..., :1, :1], B[..., :1, :1]))


def test_trains(network: CosegNetwork) -> None:
    network.train()
    with torch.autocast("cpu", torch.bfloat16):
        logits_a, logits_b = network(A, photo(33, 47, 2))
    (logits_a.square().mean() + logits_b.square().mean()).backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name
    network.zero_grad()
    network.eval()
