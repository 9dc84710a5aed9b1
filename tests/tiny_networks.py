"""Networks of a few thousand weights, and pictures of noise for them."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from coseg.hub.load import Pretrained
from coseg.hub.settings import settings_of
from coseg.instantiate import build_network
from coseg.models.base import CosegNetwork
from coseg.models.encoders.vgg import VGG16Encoder
from coseg.models.siamese import SiameseNetwork

ENCODER = {"_target_": "coseg.models.encoders.vgg.VGG16Encoder", "width": 0.125, "stride": 8, "weights": None}


def network_config(name: str = "cross_correlation.CrossCorrelationNetwork", **settings: Any) -> dict[str, Any]:
    """The configuration of a network, by default one that resizes images to 32 x 32."""
    return {"_target_": f"coseg.models.{name}", "encoder": ENCODER, "input_size": 32, **settings}


def tiny_network(config: dict[str, Any], seed: int = 0) -> CosegNetwork:
    """It, drawn from a seed, in evaluation mode, with batch statistics that are not those of a fresh one."""
    torch.manual_seed(seed)
    network = build_network(config)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.running_mean, -0.1, 0.1)
            torch.nn.init.uniform_(module.running_var, 0.3, 1.0)
    return network.eval()


def picture(height: int, width: int, seed: int = 0) -> NDArray[np.uint8]:
    """Noise, RGB."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def batch(pixels: NDArray[np.uint8]) -> torch.Tensor:
    """As networks take it: (1, 3, H, W)."""
    return torch.from_numpy(pixels).permute(2, 0, 1)[None]


def difference(a: CosegNetwork, b: CosegNetwork) -> float:
    """The largest difference of the logits of two networks."""
    images = batch(picture(40, 50)), batch(picture(30, 60, 1))
    with torch.no_grad():
        return max(float((x - y).abs().max()) for x, y in zip(a(*images), b(*images), strict=True))


def siamese(**settings: Any) -> SiameseNetwork:
    torch.manual_seed(0)
    return SiameseNetwork(VGG16Encoder(width=0.125, stride=8), **settings).eval()


def model_of(network: CosegNetwork) -> Pretrained:
    encoder = {"_target_": "coseg.models.encoders.vgg.VGG16Encoder", "width": 0.125, "stride": 8}
    kind = type(network)
    config = {
        "_target_": f"{kind.__module__}.{kind.__name__}",
        "encoder": encoder,
        "input_size": network.input_size,
    }
    return Pretrained(network, settings_of(config, network), "a test")
