"""Several machines without what starts them, and settings of a resumed run that are absurd."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from coseg.errors import CosegError
from coseg.training.nodes import STARTED, require_launcher


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing has started this process."""
    for name in STARTED:
        monkeypatch.delenv(name, raising=False)


def test_several_machines_need_a_launcher(command: Callable[..., tuple[int, str, str]], tmp_path: Path) -> None:
    code, _, err = command("train", "+trainer.num_nodes=2", "runs=runs")
    assert code == 2
    assert "torchrun" in err and "srun" in err and "num_nodes=2" in err and "Traceback" not in err
    assert not list(tmp_path.rglob("metrics.csv"))


@pytest.mark.parametrize("name", STARTED)
def test_a_launcher_is_known_by_its_variables(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    require_launcher({"num_nodes": 1})
    require_launcher({})
    with pytest.raises(CosegError, match="launcher"):
        require_launcher({"num_nodes": 2})
    monkeypatch.setenv(name, "1")
    require_launcher({"num_nodes": 2})


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [
        ("batch_size: 4", "batch_size: 1000000000", "batch"),
        ("batch_size: 4", "batch_size: 100000000000", "data.batch_size"),
        ("size: 48", "size: 1000000000", "size"),
        ("threads: 1", "threads: 1000000000", "threads"),
        ("workers: 0", "workers: 1000000000", "data.workers"),
        ("max_epochs: 2", "max_epochs: 3\n  num_nodes: 2", "num_nodes"),
    ],
)
def test_a_resumed_configuration_is_checked_as_any(
    old: str, new: str, key: str, trained: Path, tmp_path: Path, command: Callable[..., tuple[int, str, str]]
) -> None:
    folder = shutil.copytree(trained, tmp_path / "run", ignore=shutil.ignore_patterns("test"))
    (folder / "finished.json").unlink()
    path = folder / "config.yaml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    before = {file: file.stat().st_mtime_ns for file in folder.rglob("*")}
    code, _, err = command("train", f"resume={folder}")
    assert code == 2 and key in err and "Traceback" not in err
    assert {file: file.stat().st_mtime_ns for file in folder.rglob("*")} == before


@pytest.mark.parametrize("value", ["maybe", "null", "2", "[true]", "yes please"])
def test_trust_is_true_or_false(value: str, command: Callable[..., tuple[int, str, str]]) -> None:
    code, _, err = command("train", f"trust={value}")
    assert code == 2 and "trust" in err and "true or false" in err
