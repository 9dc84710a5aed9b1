from __future__ import annotations

from typing import Any

import pytest
import torch
from facts import naming

from coseg.errors import CosegError
from coseg.export.runtime import compare, require_close
from coseg.models.encoders.vgg import VGG16Encoder
from coseg.models.siamese import SiameseNetwork


def siamese(**settings: Any) -> SiameseNetwork:
    torch.manual_seed(0)
    return SiameseNetwork(VGG16Encoder(width=0.125, stride=8), **settings).eval()


def test_a_difference_is_found_and_refused() -> None:
    network, other = siamese(), siamese()
    sizes = [(16, 16), (24, 40)]
    assert require_close(compare(network, other, sizes), "onnx") == 0
    with torch.no_grad():
        other.decoder.logits.bias += 2e-4  # type: ignore[union-attr, operator]
    found = compare(network, other, sizes)
    assert {words for words, _ in found} >= {"2 of 16 x 16 with 24 x 40", "3 of 24 x 40 with 16 x 16"}
    with pytest.raises(CosegError, match=naming("onnx", "differ", "0.0002")):
        require_close(found, "onnx")
    with pytest.raises(CosegError, match=naming("onnx", "differ", "inf")):
        require_close([("1 of 8 x 8 with 8 x 8", float("nan"))], "onnx")
