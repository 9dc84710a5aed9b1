"""``srun coseg-test`` on a real SLURM, what is refused there, and the batch scripts of the documentation."""

from __future__ import annotations

import json
import shlex
import sys
from collections import Counter
from pathlib import Path

import pytest
from fenced import blocks
from metrics_file import read_losses
from PIL import Image
from slurm_jobs import Slurm, command
from tiny_networks import picture

pytestmark = pytest.mark.slow

Overrides = dict[str, tuple[str, ...]]

PAGE = Path(__file__).parents[2] / "docs" / "scale.md"

COUNTING = """
import os

from coseg.models.cross_correlation import CrossCorrelationNetwork


class Counting(CrossCorrelationNetwork):
    def encode(self, image):
        with open(os.environ["ENCODED"], "a") as file:
            file.write(f"{os.getpid()}\\n")
        return super().encode(image)
"""


def scores_of(run: Path, name: str) -> tuple[object, str]:
    """The scores of a test, without times and names, and those of each pair."""
    folder = run / "test" / f"shapes-seen-{name}"
    scores = json.loads((folder / "results.json").read_text())
    for key in ("seconds", "protocol", "checksum", "run"):
        scores.pop(key, None)
    assert not list(folder.glob("features*"))
    return scores, (folder / "pairs.csv").read_text()


def test_tasks_score_as_one_process_and_encode_each_image_once(slurm: Slurm, tiny_overrides: Overrides) -> None:
    (slurm.folder / "counting.py").write_text(COUNTING)
    encoded = slurm.folder / "encoded"
    slurm.environment = slurm.environment | {"ENCODED": str(encoded)}
    words = ("model._target_=counting.Counting", "panels=0", "trainer.max_epochs=1", "name=run")
    slurm.call(*shlex.split(command("train", *tiny_overrides["train"], *words)))
    (run,) = slurm.folder.glob("runs/run/*")
    checkpoint = (f"ckpt={run / 'checkpoints' / 'best.ckpt'}", "trust=true", "split=seen", "panels=0")
    settings = (*tiny_overrides["test"], *checkpoint)
    lines: dict[str, list[str]] = {}
    for tasks in (1, 2, 4):
        encoded.unlink(missing_ok=True)
        launcher = ("srun", "--kill-on-bad-exit", f"--ntasks-per-node={tasks}") if tasks > 1 else ()
        trainer = ("trainer=slurm",) if tasks > 1 else ()
        slurm.call(*launcher, *shlex.split(command("test", *trainer, *settings, f"protocol.name=of{tasks}")))
        lines[str(tasks)] = encoded.read_text().split()
        assert len(lines[str(tasks)]) <= 1.3 * 16 and len(Counter(lines[str(tasks)])) == tasks
        assert scores_of(run, f"of{tasks}") == scores_of(run, "of1")
    assert len(lines["1"]) == 16, "the images of the split"


def test_a_test_that_is_stopped_ahead_of_the_time_limit_goes_on(slurm: Slurm, tiny_overrides: Overrides) -> None:
    slurm.call(*shlex.split(command("train", *tiny_overrides["train"], "panels=0", "trainer.max_epochs=1", "name=run")))
    (run,) = slurm.folder.glob("runs/run/*")
    settings = (*tiny_overrides["test"], f"ckpt={run / 'checkpoints' / 'best.ckpt'}", "split=seen", "panels=0")
    settings = (*settings, "dataset.reader.seen=70", "dataset.reader.size=64")
    slurm.call(*shlex.split(command("test", *settings, "protocol.name=one")))
    line = command("test", "trainer=slurm", *settings, "protocol.name=two")
    job = slurm.submit(f"srun --kill-on-bad-exit {line}", "--requeue", "--ntasks-per-node=2")
    slurm.wait(job, lambda: bool(list(run.glob("test/*-two/parts/*"))))
    slurm.call("scancel", "--signal=USR1", job)
    out = slurm.finish(job)
    assert slurm.restarts(job) == 1 and out.count("queued") == 1 and "Traceback" not in out
    assert scores_of(run, "two") == scores_of(run, "one")


def test_tasks_in_the_wrong_number_are_refused(slurm: Slurm, tiny_overrides: Overrides) -> None:
    """And those that Lightning would each take for the only one."""
    line = shlex.split(command("test", *tiny_overrides["test"], "ckpt=none.ckpt", "trainer=slurm"))
    for launcher, words in {
        ("srun", "--ntasks=2"): "--ntasks-per-node",
        ("srun", "--ntasks-per-node=2"): "trainer.devices=2",
        ("salloc", "--job-name=interactive", "--ntasks-per-node=2", "srun"): "--job-name",
        ("salloc", "--job-name=coseg", "--ntasks-per-node=2"): "srun",
    }.items():
        changed = ("trainer.devices=3",) if words == "trainer.devices=2" else ()
        ran = slurm.run(*launcher, *line, *changed)
        assert ran.returncode == 2 and words in ran.stderr and "Traceback" not in ran.stderr, ran.stderr
    assert list(slurm.folder.iterdir()) == []


def scripts() -> dict[str, str]:
    """The batch scripts of the page, by the command that they run."""
    texts = [block.text + "\n" for block in blocks(PAGE) if "#SBATCH" in block.text]
    return {text.partition("srun --kill-on-bad-exit ")[2].split()[0]: text for text in texts}


SMALL = ("--nodes=1", "--ntasks-per-node=2", "--cpus-per-task=2", "--time=10")
"""Of this cluster, which has no GPUs."""


def test_the_batch_script_of_a_training(slurm: Slurm, tiny_overrides: Overrides) -> None:
    slurm.environment = slurm.environment | {"PATH": f"{Path(sys.executable).parent}:{slurm.environment['PATH']}"}
    text, words = scripts()["coseg-train"], shlex.join([*tiny_overrides["train"], "panels=0", "trainer.max_epochs=1"])
    data = "experiment=voc_pairs dataset.root=VOCdevkit/VOC2012 trainer=slurm"
    assert text.count(data) == text.count("#SBATCH --gpus-per-node=4\n") == 1
    text = text.replace(data, f"trainer=slurm {words}").replace("#SBATCH --gpus-per-node=4\n", "")
    job = slurm.submit_script(text, *SMALL)
    out = slurm.finish(job)
    (run,) = slurm.folder.glob("runs/*/*")
    assert run.name.startswith(f"slurm-{job}-") and (run / "finished.json").is_file(), out
    assert [step for step, _ in read_losses(run)] == [0, 1]


def test_the_batch_script_of_an_album(slurm: Slurm) -> None:
    slurm.environment = slurm.environment | {"PATH": f"{Path(sys.executable).parent}:{slurm.environment['PATH']}"}
    (slurm.folder / "album").mkdir()
    for k in range(4):
        Image.fromarray(picture(60, 80, k)).save(slurm.folder / "album" / f"{k}.png")
    out = slurm.finish(slurm.submit_script(scripts()["coseg-predict"], *SMALL))
    assert out.count("Segmenting with") == 1
    assert len(list(slurm.folder.glob("cutouts/*"))) == 13
