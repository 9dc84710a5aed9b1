"""``trainer=fsdp``: processes that divide the weights among them train as those that each hold all of them."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from machines import children, torchrun, wait_for
from metrics_file import read_losses
from omegaconf import DictConfig

from coseg.errors import CosegError
from coseg.evaluation.score import score
from coseg.files.plain_data import read_json
from coseg.hub.load import load_pretrained
from coseg.lightning_internals import ShardedStrategy, blocks_of
from coseg.training.fit import fit, make_trainer
from coseg.training.task import load_task

Compose = Callable[..., DictConfig]
Overrides = dict[str, tuple[str, ...]]


def test_the_smallest_large_elements_are_gathered_by_themselves() -> None:
    def block(width: int) -> torch.nn.Module:
        return torch.nn.Sequential(torch.nn.Linear(width, width), torch.nn.ReLU())

    large, small = block(40), block(10)
    encoder = torch.nn.ModuleDict({"stem": torch.nn.Linear(90, 90), "blocks": torch.nn.ModuleList([large, small])})
    assert blocks_of(encoder, 1000) == [large[0]], "not the stem, which is in no list, nor what holds a large element"
    assert blocks_of(encoder, 100) == [large[0], small[0]]
    assert blocks_of(encoder, 10_000) == []


def test_the_configuration_makes_a_trainer_that_refuses_the_moving_average(
    compose: Compose, tiny_overrides: Overrides, tmp_path: Path
) -> None:
    words = ("train", "trainer=fsdp", *tiny_overrides["train"], "trainer.devices=1", "panels=0")
    trainer = make_trainer(compose(*words), [], False)
    assert isinstance(trainer.strategy, ShardedStrategy) and trainer.strategy.min_parameters == 1_000_000
    with pytest.raises(CosegError, match=r"callbacks=ema.*trainer=fsdp"):
        fit(compose(*words, "callbacks=ema"), tmp_path / "run")


def test_a_test_refuses_it(
    command: Callable[..., Any], tiny_overrides: Overrides, trained: Path, tmp_path: Path
) -> None:
    words = (*tiny_overrides["test"], f"ckpt={trained / 'checkpoints' / 'best.ckpt'}", f"runs={tmp_path}")
    ended = command("test", "trainer=fsdp", *words, "trainer.devices=1", "split=seen", "panels=0")
    assert ended.code == 2 and "trainer=ddp" in ended.err and "Traceback" not in ended.err
    assert not list(tmp_path.rglob("results.json"))


@pytest.mark.slow
@pytest.mark.parametrize("frozen", [False, True])
def test_two_machines_train_resume_and_test_as_with_whole_weights(
    frozen: bool, compose: Compose, tiny_overrides: Overrides, tmp_path: Path
) -> None:
    words = (
        *tiny_overrides["train"], "panels=0", "trainer.gradient_clip_val=0.1", "+optimizer.eps=0.1",
        "optimizer.lr=0.01", "trainer.max_epochs=6",
        f"model.encoder.frozen={str(frozen).lower()}",
    )  # fmt: skip
    sharded = ("trainer=fsdp", *words, "trainer.strategy.min_parameters=5000")

    def trained(name: str, *settings: str, code: int = 0, **meanwhile: Any) -> Path:
        ended = torchrun(tmp_path, 2, *settings, **meanwhile)
        assert [one.code for one in ended] == [code, code], [one.text for one in ended]
        (run,) = tmp_path.glob(f"runs/{name}/*")
        return run

    def stop(launchers: list[subprocess.Popen[bytes]]) -> None:
        wait_for(lambda: list(tmp_path.glob("runs/part/*/checkpoints/last.ckpt")), launchers)
        (pid,) = children(launchers[-1].pid)
        os.kill(pid, signal.SIGTERM)

    whole = trained("whole", *sharded, "name=whole", "panels=2")
    assert len(list(whole.rglob("epoch-*.png"))) == 6
    ddp = trained("ddp", "trainer=ddp", *words, "name=ddp")
    losses = [torch.tensor([float(loss) for _, loss in read_losses(run)]) for run in (whole, ddp)]
    assert len(losses[0]) == 12 and torch.allclose(*losses, rtol=1e-4)
    jaccards = [read_json(run / "finished.json", "")["jaccard"] for run in (whole, ddp)]
    assert jaccards[0] == pytest.approx(jaccards[1], abs=1e-3)
    part = trained("part", *sharded, "name=part", "checkpoint_minutes=0.005", code=143, meanwhile=stop)
    assert not (part / "finished.json").exists()
    assert trained("part", f"resume={part}") == part
    assert read_losses(part) == read_losses(whole)

    states = [load_task(run / "checkpoints" / "last.ckpt").state_dict() for run in (whole, part, ddp)]
    assert states[0].keys() == states[1].keys() == states[2].keys()
    for name, value in states[0].items():
        assert torch.equal(value, states[1][name]) and torch.allclose(value, states[2][name], atol=1e-3), name
    ckpt = whole / "checkpoints" / "best.ckpt"
    (folder,) = score(compose("test", *tiny_overrides["test"], "split=seen", "panels=0", f"ckpt={ckpt}"))
    assert (folder / "results.json").is_file()
    assert load_pretrained(str(ckpt)).network.encoder.frozen == frozen
