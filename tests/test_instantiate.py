from __future__ import annotations

import pytest
import torch
from facts import naming
from omegaconf import OmegaConf

from coseg.errors import CosegError
from coseg.instantiate import build, build_network, make, plain, target_class, without_weights

LINEAR = {"_target_": "torch.nn.Linear", "in_features": 2, "out_features": 3}


def test_an_object_of_a_configuration() -> None:
    assert build(LINEAR, torch.nn.Linear, "model").weight.shape == (3, 2)
    assert make({"_target_": "torch.nn.Linear", "in_features": 2}, out_features=4).weight.shape == (4, 2)
    assert plain(OmegaConf.create({"a": "${b}", "b": [1]})) == {"a": [1], "b": [1]}


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({**LINEAR, "no_such": 1}, ("Linear", "no_such")),
        ({"_target_": "torch.nn.NoSuch"}, ("model", "torch.nn.NoSuch")),
        ({"_target_": "os.system", "command": "true"}, ("model", "os.system")),
        ({**LINEAR, "bias": {"_target_": "os.getcwd"}}, ("model", "os.getcwd")),
        ({"_target_": "torch.nn.ReLU"}, ("model", "ReLU", "Linear")),
    ],
)
def test_what_is_no_such_object_is_refused(config: dict[str, object], words: tuple[str, ...]) -> None:
    with pytest.raises(CosegError, match=naming(*words)):
        build(config, torch.nn.Linear, "model")


def test_a_configuration_without_a_class() -> None:
    with pytest.raises(CosegError, match="_target_"):
        target_class({}, "model")


def test_a_network_of_another_class_needs_trust() -> None:
    with pytest.raises(CosegError):
        build_network({"_target_": "my_parts.Network"})


def test_weights_are_left_out_on_all_levels() -> None:
    config = {"weights": "a", "encoder": {"weights": "b", "width": 1}}
    assert without_weights(config) == {"weights": None, "encoder": {"weights": None, "width": 1}}
