"""Of two processes one meets a loss, or logits, that are not finite: both end with the sentence, and none waits."""

from __future__ import annotations

import os
import socket
import time
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.multiprocessing

SECONDS = 240


def _rank(rank: int, folder: str, port: int, overrides: tuple[str, ...]) -> None:
    os.environ.update(
        {"RANK": str(rank), "LOCAL_RANK": str(rank), "GROUP_RANK": "0", "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2",
         "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "TORCHELASTIC_RUN_ID": "test"}
    )  # fmt: skip
    from coseg.configs import compose_config
    from coseg.errors import CosegError
    from coseg.training.fit import fit, prepare_process
    from coseg.training.task import CosegTask

    prepare_process(1)
    training, validating = CosegTask.training_step, CosegTask.validation_step

    def step(self: CosegTask, batch: Any, batch_idx: int) -> Any:
        return training(self, batch, batch_idx) * (float("nan") if rank == 1 and self.global_step == 1 else 1)

    def validate(self: CosegTask, batch: Any, batch_idx: int) -> None:
        if rank == 1:
            with torch.no_grad():
                list(self.network.parameters())[-1].fill_(float("inf"))
        validating(self, batch, batch_idx)

    for name, attribute, patch in (("loss", "training_step", step), ("logits", "validation_step", validate)):
        config = compose_config("train", [*overrides, "panels=0", "trainer.devices=2", "trainer.strategy=ddp"])
        original = getattr(CosegTask, attribute)
        setattr(CosegTask, attribute, patch)
        try:
            fit(config, Path(folder, name))
        except CosegError as error:
            Path(folder, f"{name}-{rank}.txt").write_text(str(error))
        setattr(CosegTask, attribute, original)


@pytest.mark.slow
def test_both_processes_end(tmp_path: Path, tiny_overrides: dict[str, tuple[str, ...]]) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    context = torch.multiprocessing.spawn(_rank, (str(tmp_path), port, tiny_overrides["train"]), nprocs=2, join=False)
    end = time.monotonic() + SECONDS
    try:
        while not context.join(timeout=1):
            assert time.monotonic() < end, "a process waits for the other"
    finally:
        for process in context.processes:
            process.kill()
    for name, words in (("loss", "loss of step 1 "), ("logits", "not finite")):
        told = [(tmp_path / f"{name}-{rank}.txt").read_text() for rank in (0, 1)]
        assert told[0] == told[1] and words in told[0]
        assert not list((tmp_path / name).glob("checkpoints/*.ckpt"))
