"""A part of the campaign; `python tests/campaign/run.py` runs all of it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from campaign.cases import Case, judged, try_case
from campaign.damage import DAMAGES
from campaign.fixtures import TRAIN, Fixtures
from campaign.inputs import cases
from campaign.report import BEGIN, END, write_markdown
from campaign.zygote import Ended, Zygote


def test_there_are_enough_cases_and_no_two_of_one_name() -> None:
    names = [(case.group, case.name) for case in cases()]
    assert len(names) >= 300
    assert len(set(names)) == len(names)


def test_what_is_judged(tmp_path: Path) -> None:
    case = Case("group", "name", "train", lambda folder, fixtures, rng: [])
    assert judged(case, Ended(2, "", "a sentence", 0.1), tmp_path) == "right"
    assert judged(case, Ended(0, "", "", 0.1), tmp_path) == "exit code 0"
    assert judged(case, Ended(1, "", "Traceback (most recent call last):\n", 0.1), tmp_path) == "traceback"
    assert judged(case, Ended(-9, "", "", 60, late=True), tmp_path) == "hang"
    assert judged(case, Ended(1, "", "Could not override 'a'.", 0.1), tmp_path) == "hydra"
    (tmp_path / ".last.12-0123abcd.ckpt").touch()
    assert judged(case, Ended(2, "", "a sentence", 0.1), tmp_path).startswith("left")
    (tmp_path / "canary").touch()
    assert judged(case, Ended(2, "", "a sentence", 0.1), tmp_path) == "ran code"


def test_some_bad_inputs_in_forks_of_this_process(tmp_path: Path) -> None:
    zygote = Zygote(tmp_path / "outputs")
    fixtures = Fixtures(tmp_path / "fixtures", zygote)

    def album(folder: Path, fixtures: Fixtures, rng: np.random.Generator) -> list[str]:
        DAMAGES["empty"](fixtures.album / "0.jpg", rng)
        return [str(fixtures.album)]

    tried = [
        Case("smoke", "value", "train", lambda folder, fixtures, rng: [*TRAIN, "model.pooling=averag"]),
        Case(
            "smoke", "folder", "data", lambda folder, fixtures, rng: ["check", "folder", "--root", str(folder / "no")]
        ),
        Case("smoke", "photograph", "predict", album),
    ]
    for case in tried:
        result = try_case(case, fixtures, zygote, tmp_path / case.name, 0, 60)
        assert result.verdict == "right", result


def test_the_page_is_renewed_between_its_markers(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    write_markdown(page, 3, [], [])
    assert page.read_text().startswith(f"before\n{BEGIN}\n`python tests/campaign/run.py --seed 3`:")
    assert page.read_text().endswith(f"{END}\nafter\n") and "old" not in page.read_text()


@pytest.mark.slow
@pytest.mark.parametrize("counts", [("--inputs", "120", "--kills", "0"), ("--inputs", "0", "--kills", "30")])
def test_a_part_of_the_campaign(counts: tuple[str, ...]) -> None:
    command = [sys.executable, str(Path(__file__).with_name("run.py")), "--seed", "1", *counts]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=1800)
    assert ran.returncode == 0, ran.stdout[-5000:] + ran.stderr[-2000:]
