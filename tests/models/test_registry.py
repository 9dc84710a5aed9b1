"""Names of classes in files: those of today, older ones, and those of classes that are gone."""

from __future__ import annotations

from typing import Any

import pytest

from coseg.errors import CosegError
from coseg.models.encoders.vgg import VGG16Encoder
from coseg.models.registry import REMOVED, RENAMED, described_network, known_network, with_current_names

SIAMESE = "coseg.models.siamese.SiameseNetwork"


@pytest.mark.parametrize("name", RENAMED)
def test_an_older_name_is_that_of_today(name: str) -> None:
    description = {"_target_": SIAMESE, "encoder": {"_target_": name, "width": 0.125}}
    assert known_network(description)
    assert isinstance(described_network(description).encoder, VGG16Encoder)
    current = with_current_names([description])[0]
    assert current["encoder"] == {"_target_": RENAMED[name], "width": 0.125}
    assert description["encoder"]["_target_"] == name  # type: ignore[index]


@pytest.mark.parametrize("name", REMOVED)
def test_a_removed_encoder_has_a_sentence(name: str) -> None:
    description = {"_target_": SIAMESE, "encoder": {"_target_": name, "width": 0.125}}
    assert known_network(description)
    with pytest.raises(CosegError, match=rf"{name.rpartition('.')[2]}.*{REMOVED[name]}"):
        described_network(description)


def test_no_other_class_is_imported() -> None:
    for target in ("os.system", "coseg.models.encoders.base.Encoder", "coseg.no.Such"):
        assert not known_network({"_target_": target})
        with pytest.raises(CosegError):
            described_network({"_target_": target})


def test_a_renamed_setting_of_an_older_file() -> None:
    encoder = {"_target_": "coseg.models.encoders.vgg.VGG16Encoder", "width": 0.125}
    target = "coseg.models.embedding_matching.EmbeddingMatchingNetwork"
    network: Any = described_network({"_target_": target, "encoder": encoder, "decoder_channels": 12, "channels": 8})
    assert network.decoder.norm.num_features == 12
