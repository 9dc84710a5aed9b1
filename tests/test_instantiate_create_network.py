"""Networks by name, without a command."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

import coseg
from coseg.errors import CosegError
from coseg.instantiate import create_network
from coseg.models.encoders.timm import TimmEncoder
from coseg.models.siamese import SiameseNetwork


class OwnNetwork(SiameseNetwork):
    """Of a user."""


def test_a_network_with_a_chosen_encoder_and_settings() -> None:
    network = create_network("cross_correlation", encoder="resnet50", kernel_sizes=[3])
    assert isinstance(network, coseg.CosegNetwork)
    assert isinstance(network.encoder, TimmEncoder) and network.encoder.stride == 16  # type: ignore[unreachable]
    assert network.correlation.kernel_sizes == (3,)


def test_settings_of_the_encoder_and_its_default() -> None:
    network = create_network("semantic_attention", encoder_width=0.125, encoder_batch_norm=True)
    assert (network.encoder.stride, network.encoder.out_channels) == (32, 64)  # its own, vgg16
    with torch.no_grad():
        assert network.eval()(*torch.rand(2, 1, 3, 33, 40))[0].shape == (1, 2, 33, 40)


def test_configurations_in_place_of_names() -> None:
    encoder = {"_target_": "coseg.models.encoder.VGG16Encoder", "width": 0.125}  # of an older version
    config = {"_target_": "coseg.models.siamese.SiameseNetwork", "encoder": encoder}
    assert create_network(config, input_size=32).input_size == 32
    assert create_network("siamese", encoder).encoder.out_channels == 64
    own = create_network({"_target_": f"{__name__}.OwnNetwork"}, "vgg16_bn_small", encoder_width=0.125)
    assert type(own).__name__ == "OwnNetwork"


@pytest.mark.parametrize(
    ("arguments", "settings", "words"),
    [
        (("crosscorrelation",), {}, "cross_correlation, .*siamese"),
        (("siamese", "resnet51"), {}, "resnet50"),
        (("siamese",), {"kernel_sizes": [3]}, "SiameseNetwork has no setting 'kernel_sizes'"),
        (("siamese",), {"encoder_depth": 3}, "has no setting 'depth'"),
        (({"encoder": {}},), {}, "_target_"),
    ],
)
def test_what_there_is_not_is_named(arguments: tuple[object, ...], settings: dict[str, object], words: str) -> None:
    with pytest.raises(CosegError, match=words):
        create_network(*arguments, **settings)  # type: ignore[arg-type]


def test_importing_coseg_imports_no_torch() -> None:
    code = "import sys, coseg; assert 'torch' not in sys.modules; dir(coseg); assert 'hydra' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
