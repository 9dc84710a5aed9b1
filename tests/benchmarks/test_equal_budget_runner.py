"""What a comparison runs, with commands that are pretended, and that it goes on where it was."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path

import pytest
from facts import mentions, naming

from benchmarks.equal_budget.__main__ import SETTINGS, TEST
from benchmarks.equal_budget.records import Cost, Finished, Gap, read_records, write_record
from benchmarks.equal_budget.runner import Comparison, Job
from benchmarks.equal_budget.tables import write_tables
from coseg.configs import parse_overrides
from coseg.errors import CosegError
from coseg.reports.records import PairRecord, write_records
from coseg.sweeps.processes import try_lock

SCORES = ("jaccard", "jaccard_class_mean", "jaccard_global", "jaccard_distractor", "pixel_accuracy")
RESULTS = {**dict.fromkeys(SCORES, 0.5), "intervals": {}, "checkpoint": "/somewhere"}
ENVIRONMENT = {"commit": "abc", "platform": "here", "threads": 2, "accelerator": None, "command": "coseg-train /a"}
COST = Cost(parameters=1000, batch=16, step_seconds=0.25, pair_seconds=0.125, peak_gb=1.5)
IOU = {"cross_correlation": 0.5, "siamese": 0.25, "use_add": 0.75}
"""Of every mask that a pretended test scores."""

TRAIN = SETTINGS["from_scratch"][0]
JOBS = [Job("models", "cross_correlation", 0), Job("models", "siamese", 0), Job("ablations", "use_add", 0)]


class Pretended(Comparison):
    """Leaves what the commands would, and writes down what was called."""

    def __init__(self, out: Path, fail: Sequence[str] = (), threads: int | None = None) -> None:
        super().__init__(out, 0.1, TRAIN, TEST, threads)
        self.calls: list[str] = []
        self.raw: list[Sequence[str]] = []
        self.fail = list(fail)

    def _cost(self, job: Job) -> Cost:
        path = self.out / "records" / "costs" / job.kind / f"{job.name}.json"
        if not path.is_file():
            self.calls.append(f"count {job.name}")
            write_record(path, COST)
        return super()._cost(job)

    def _call(self, command: str, overrides: Sequence[str], lock: int) -> None:
        os.fstat(lock)
        self.calls.append(f"{command} {' '.join(overrides)}")
        self.raw.append(overrides)
        if command in self.fail:
            raise CosegError("failed")
        if command == "train" and not overrides[0].startswith("resume"):
            name = next(each for each in overrides if each.startswith("name=")).removeprefix("name=")
            for kept in ("best", "last"):
                path = self.out / name / "2026-01-01" / "checkpoints" / f"{kept}.ckpt"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.touch()
            (path.parent.parent / "environment.json").write_text(json.dumps([{}, ENVIRONMENT]))
        elif command == "test":
            checkpoint = next(each for each in overrides if each.startswith("ckpt=")).removeprefix("ckpt=")
            run = Path(parse_overrides([f"ckpt={checkpoint}"])[0].value()).parent.parent
            (run / "test" / "voc").mkdir(parents=True)
            (run / "test" / "voc" / "results.json").write_text(json.dumps(RESULTS))
            iou = IOU[run.parent.parent.name]
            masks = [PairRecord(0, k, "a", f"b{k}", ("cat",), iou, iou, k == 1, False) for k in (1, 2, 3)]
            write_records(run / "test" / "voc", masks)


def test_each_job_is_counted_trained_and_tested_once(tmp_path: Path) -> None:
    comparison = Pretended(tmp_path)
    comparison.run(JOBS)
    assert [call.split()[0] for call in comparison.calls] == ["count"] * 3 + ["train", "test"] * 3
    train = comparison.calls[3].split()
    assert train[: len(TRAIN) + 2] == ["train", *TRAIN, "model=cross_correlation"]
    assert {"seed=0", "trainer.max_epochs=4", "data.pairs_per_epoch=96"} <= set(train)  # 24 steps of 16 pairs
    assert "model=cross_correlation ablation=use_add seed=0" in comparison.calls[7]
    models, ablations = ((tmp_path / f"{kind}.md").read_text() for kind in ("models", "ablations"))
    assert "| siamese |" in models and "| cross_correlation |" in models
    assert "| use_add |" in ablations and "| none |" in ablations and "siamese" not in ablations

    again = Pretended(tmp_path)
    again.run(JOBS)
    assert again.calls == []


def test_a_record_tells_all_and_no_folder_and_makes_the_tables_anywhere(tmp_path: Path) -> None:
    comparison = Pretended(tmp_path / "here", threads=1)
    comparison.run(JOBS)
    assert all("threads=1" in call.split() for call in comparison.calls[3:])
    models = read_records(tmp_path / "here" / "records" / "models", Finished)
    (record,) = [each for each in models if each.name == "siamese"]
    assert (record.steps, record.cost, record.minutes) == (24, COST, 0.1)
    assert record.environment == {key: ENVIRONMENT[key] for key in ("commit", "platform", "threads", "accelerator")}
    assert record.training == " ".join([*TRAIN, "model=siamese", "seed=0"])
    assert "/" not in json.dumps(record._asdict()).replace("test_pairs", "")

    (tmp_path / "here" / "records").rename(tmp_path / "there")
    write_tables(tmp_path / "there", tmp_path / "there")
    for kind in ("models", "ablations"):
        assert (tmp_path / "there" / f"{kind}.md").read_text() == (tmp_path / "here" / f"{kind}.md").read_text()
    assert mentions((tmp_path / "there" / "models.md").read_text(), "0.1 minutes", "`experiment=voc_mini")

    (tmp_path / "there" / "models" / "siamese-0.json").write_text("{}")
    with pytest.raises(CosegError, match=naming("siamese-0.json", "record")):
        write_tables(tmp_path / "there", tmp_path / "there")


def test_a_job_that_another_process_is_at_is_left_to_it(tmp_path: Path) -> None:
    other = try_lock(tmp_path / "models" / "siamese" / "0" / ".lock")
    assert other is not None
    comparison = Pretended(tmp_path)
    comparison.run(JOBS)
    assert [call for call in comparison.calls if call.startswith("train") and "model=siamese" in call] == []
    os.close(other)
    comparison = Pretended(tmp_path)
    comparison.run(JOBS)
    assert [call.split()[0] for call in comparison.calls] == ["train", "test"]


def test_steps_can_be_counted_before_anything_runs(tmp_path: Path) -> None:
    Pretended(tmp_path).run(JOBS, time_only=True)
    comparison = Pretended(tmp_path)
    comparison.run(JOBS[:1])
    assert [call.split()[0] for call in comparison.calls] == ["train", "test"]


def test_a_training_that_was_stopped_is_resumed(tmp_path: Path) -> None:
    run = tmp_path / "models" / "siamese" / "0" / "2026-01-01"
    (run / "checkpoints").mkdir(parents=True)
    for kept in ("best", "last"):
        (run / "checkpoints" / f"{kept}.ckpt").touch()
    (run / "environment.json").write_text(json.dumps([ENVIRONMENT]))
    comparison = Pretended(tmp_path, fail=["test"])
    with pytest.raises(CosegError):
        comparison.run([JOBS[1]])
    assert comparison.calls[:2] == ["count siamese", f"train resume='{run}'"]
    comparison = Pretended(tmp_path)
    comparison.run([JOBS[1]])
    assert [call.split()[0] for call in comparison.calls] == ["test"]


def test_each_is_compared_with_the_control_and_the_paper_and_an_ablation_with_no_change(tmp_path: Path) -> None:
    Pretended(tmp_path).run(JOBS)
    gaps = {kind: read_records(tmp_path / "records" / "differences" / kind, Gap) for kind in ("models", "ablations")}
    paper, addition = {"jaccard": [0.25] * 3, "jaccard_distractor": [0.25, None, None]}, [0.25] * 3
    assert gaps["models"] == [Gap("cross_correlation", "siamese", 0, paper)]
    assert [(gap.a, gap.b, gap.differences["jaccard"]) for gap in gaps["ablations"]] == [("use_add", "none", addition)]
    assert "| cross_correlation - siamese | +25.0 (+25.0 to +25.0) | +25.0 |" in (tmp_path / "models.md").read_text()

    (path,) = (tmp_path / "records" / "differences" / "ablations").glob("*.json")
    path.unlink()  # as of an earlier version, which has none
    (old,) = (tmp_path / "records" / "differences" / "models").glob("*.json")
    os.utime(old, (1, 1))  # its records were written after it, as if they had been run anew
    again = Pretended(tmp_path)
    again.run(JOBS)
    assert again.calls == [] and path.is_file()
    assert old.stat().st_mtime > 1


def test_a_machine_that_has_only_the_records_goes_on_with_the_differences(tmp_path: Path) -> None:
    """What others are compared with is neither trained nor tested again for that."""
    Pretended(tmp_path / "here").run(JOBS[:2])
    (tmp_path / "there").mkdir()
    (tmp_path / "here" / "records").rename(tmp_path / "there" / "records")
    there = Pretended(tmp_path / "there")
    there.run(JOBS)
    assert [call.split()[0] for call in there.calls] == ["count", "train", "test"]
    (gap,) = read_records(tmp_path / "there" / "records" / "differences" / "ablations", Gap)
    assert (gap.a, gap.b, gap.differences["jaccard"]) == ("use_add", "none", [0.25] * 3)


@pytest.mark.parametrize("name", ["a [b], c=d", "it's {here}"])
def test_hydra_reads_the_folder_as_it_is(tmp_path: Path, name: str) -> None:
    comparison = Pretended(tmp_path / name)
    comparison.run([JOBS[1]])
    words = [word for call in comparison.raw for word in call if word.startswith(("runs=", "ckpt="))]
    found = [override.value() for override in parse_overrides(words)]
    assert found[0] == str(tmp_path / name) and found[1].startswith(str(tmp_path / name / "models"))


@pytest.mark.parametrize("suffix", ["", "_from_scratch"])
def test_the_tables_of_the_results_are_those_of_the_records(tmp_path: Path, suffix: str) -> None:
    docs = Path(__file__).resolve().parents[2] / "docs"
    records = docs / "results" / f"comparison{suffix}"
    write_tables(records, tmp_path)
    page = (docs / f"results{suffix}.md").read_text(encoding="utf-8")
    tables = sorted(tmp_path.glob("*.md"))
    assert tables
    for path in tables:
        hint = f"{path.name} is another: python -m benchmarks.equal_budget --tables docs/results/{records.name}"
        assert path.read_text(encoding="utf-8") in page, hint
