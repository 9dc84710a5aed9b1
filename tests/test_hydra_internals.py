"""What coseg uses of Hydra and OmegaConf beyond their documentation does what it is used for."""

from __future__ import annotations

import pytest
from hydra import compose
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf

from coseg.configs import started
from coseg.hydra_internals import (
    IntervalSweep,
    child,
    entries,
    hydra_config,
    in_quotes,
    is_interpolation,
    is_null,
    parsed_override,
    parsed_overrides,
    unresolved_values,
)


def test_an_override() -> None:
    override = parsed_override("a.b=3")
    assert (override.key_or_group, override.value(), override.is_sweep_override()) == ("a.b", 3, False)
    assert isinstance(parsed_override("a=interval(0,1)").value(), IntervalSweep)
    assert parsed_override("~a").is_delete()
    with pytest.raises(HydraException):
        parsed_override("a=[1")
    with pytest.raises(ValueError, match="digits"):
        parsed_override("a=" + "1" * 5000)


def test_overrides_know_the_groups() -> None:
    with started():
        choice, value = parsed_overrides(["model=glob(siam*)", "seed=1"])
        assert (list(choice.sweep_string_iterator()), value.value()) == (["siamese"], 1)
        with pytest.raises(HydraException, match="a=\\[1"):
            parsed_overrides(["a=[1"])


def test_quotes() -> None:
    assert OmegaConf.create({"a": parsed_override(f"a={in_quotes('it is, [a]')}").value()}).a == "it is, [a]"


def test_the_configuration_of_hydra_inside_a_block() -> None:
    before = HydraConfig.instance().cfg
    with started():
        config = compose("network", return_hydra_config=True)
    with hydra_config(config):
        assert OmegaConf.create({"a": "${hydra:job.config_name}"}).a == "network"
    assert HydraConfig.instance().cfg is before


def test_nodes_that_are_not_resolved() -> None:
    config = OmegaConf.create({"a": "${b}", "b": 1, "c": ["${b}", 2], "d": None})
    assert isinstance(config, DictConfig)
    assert is_interpolation(child(config, "a")) and not is_interpolation(child(config, "b"))
    assert is_null(child(config, "d")) and not is_null(child(config, "a"))
    assert child(config, "absent") is None
    assert [is_interpolation(node) for node in entries(config.c)] == [True, False]
    assert list(unresolved_values(config.c))[1] == 2 and len(unresolved_values(config.c)) == 2
