from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from omegaconf import OmegaConf

ONE_EPOCH = ("panels=0", "trainer.max_epochs=1", "data.pairs_per_epoch=8")
Command = Callable[..., tuple[int, str, str]]


def test_a_sweep_makes_a_run_of_each_job(
    command: Command, tmp_path: Path, tiny_overrides: dict[str, tuple[str, ...]]
) -> None:
    arguments = (*tiny_overrides["train"], *ONE_EPOCH, "model.kernel_sizes=[3],[3,5]")
    code, _, err = command("train", "-m", *arguments)
    assert code == 0, err
    (sweep,) = tmp_path.glob("runs/shapes/sweeps/*")
    found = {path.parent.name: OmegaConf.load(path).model.kernel_sizes for path in sweep.glob("*/config.yaml")}
    assert found == {"0": [3], "1": [3, 5]}
    for job in ("0", "1"):
        assert (sweep / job / "checkpoints" / "best.ckpt").is_file()
        assert f"run directory: {sweep / job}" in (sweep / job / "train.log").read_text()


def test_a_failed_job_does_not_end_the_sweep(
    command: Command, tmp_path: Path, tiny_overrides: dict[str, tuple[str, ...]]
) -> None:
    arguments = (*tiny_overrides["train"], *ONE_EPOCH, "model.kernel_sizes=[3],[4],[3,5]")
    code, _, err = command("train", "-m", *arguments)
    assert code != 0
    (line,) = [line for line in err.splitlines() if line.startswith("job ")]
    assert line.startswith("job 1: model.kernel_sizes")
    assert "Traceback" not in err
    (sweep,) = tmp_path.glob("runs/shapes/sweeps/*")
    assert sorted(path.name for path in sweep.iterdir() if path.is_dir()) == ["0", "2"]
    assert (sweep / "2" / "checkpoints" / "best.ckpt").is_file()


def test_plain_ddp_is_refused_in_a_sweep(
    command: Command, tmp_path: Path, tiny_overrides: dict[str, tuple[str, ...]]
) -> None:
    arguments = (*tiny_overrides["train"], *ONE_EPOCH, "seed=0,1", "trainer.strategy=ddp", "trainer.devices=2")
    code, _, err = command("train", "-m", *arguments)
    assert code == 2
    assert err.count("trainer.strategy=ddp_spawn") == 2
    assert not list(tmp_path.rglob("checkpoints"))
