"""Composing configurations: paths, names of groups, errors of overrides."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from facts import naming
from hydra.errors import HydraException
from omegaconf import DictConfig

from coseg.configs import choices, compose_config, config_folder, given_config_dir, groups_name, parse_overrides
from coseg.errors import CosegError


def test_choices_are_the_files_of_a_group() -> None:
    assert choices("optimizer") == ["adam", "adamw"]
    assert choices("no_such_group") == []
    assert (config_folder() / "train.yaml").is_file()


@pytest.mark.parametrize(
    ("words", "folder"),
    [
        (["--config-dir", "a"], Path("a")),
        (["seed=1", "-cd", "a"], Path("a")),
        (["--config-dir=a"], Path("a")),
        (["--config-dir"], None),
        (["seed=1"], None),
    ],
)
def test_the_config_dir_of_a_command_line(words: list[str], folder: Path | None) -> None:
    assert given_config_dir(words) == folder


def test_a_group_takes_names_alone() -> None:
    for word in ("model=null", "model=3", "hydra=null"):
        with pytest.raises(CosegError, match="must be a name"):
            compose_config("train", [word])


def test_a_config_dir_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(CosegError, match="--config-dir"):
        compose_config("train", [], tmp_path / "absent")


def test_an_override_that_needs_quotes_has_a_note() -> None:
    with pytest.raises(HydraException) as refused:
        compose_config("train", ["runs=/a (b)"])
    assert "quotes" in refused.value.__notes__[0]


def test_overrides_of_a_sweep() -> None:
    plain, sweep = parse_overrides(["seed=1", "model.kernel_sizes=[3],[3,5]"])
    assert (plain.is_sweep_override(), sweep.is_sweep_override()) == (False, True)


def test_the_split_of_groups() -> None:
    assert groups_name("test") == "test" and groups_name(["a", "b"]) == "a+b"
    assert groups_name(["x" * 40, "y" * 40]).startswith("2_groups-")
    for groups in ([], ["a", "a"]):
        with pytest.raises(CosegError, match=naming("dataset.groups")):
            groups_name(groups)


def test_a_root_is_kept_absolute(
    compose: Callable[..., DictConfig], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run is resumed, and its configuration read, from any directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("COSEG_VOC_ROOT", raising=False)
    monkeypatch.setenv("HOME", "/home/somebody")
    roots = {"photographs": str(tmp_path / "photographs"), "'~/voc'": "/home/somebody/voc", "null": None}
    for given, kept in roots.items():
        config = compose("train", "experiment=voc_mini", f"dataset.root={given}")
        assert config.data.reader.root == kept
