"""`coseg-report` on what `coseg-test` leaves."""

from __future__ import annotations

import csv
import itertools
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from facts import mentions
from layouts.shapes import write_tree
from PIL import Image

from coseg.cli import report
from coseg.data.readers.shapes import ShapesReader
from coseg.reports.records import PairRecord, write_records

Command = Callable[..., tuple[int, str, str]]


Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(invoke: Run) -> Run:
    """``run(*arguments)``."""
    return lambda *arguments: invoke(report.main, *arguments)


def rows(gain: float, images: int = 8) -> list[PairRecord]:
    return [
        PairRecord(
            i, j, f"id{i}", f"id{j}", ("cat",), 0.05 * i + gain * (1 + (i == 0)), 0.05 * j + gain / 2, i < 3, False
        )
        for i, j in itertools.combinations(range(images), 2)
    ]


def test_from_a_test_to_its_table(trained: Path, command: Command, run: Run, tmp_path: Path) -> None:
    checkpoint = trained / "checkpoints" / "best.ckpt"
    small = [f"dataset.reader.{key}" for key in ("size=48", "train=24", "seen=16", "unseen=8")]
    code, _, err = command(
        "test", f"ckpt={checkpoint}", *small, "data.workers=0", "trainer.accelerator=cpu", "threads=1", "panels=0"
    )
    assert code == 0, err
    seen = json.loads((trained / "test" / "shapes-seen-paper" / "results.json").read_text())
    tests = [trained / "test" / f"shapes-{split}-paper" for split in ("seen", "unseen")]
    code, out, err = run("table", *tests)
    assert (code, err) == (0, "")
    assert f"| {100 * seen['jaccard']:.1f} (" in out
    assert mentions(out, "method | origin | shapes seen | shapes unseen | VOC test")
    assert "| ran, checkpoints/best.ckpt |" in out
    code, out, _ = run("table", *tests, "--format", "csv", "--out", tmp_path / "tables" / "scores.csv")
    assert (code, out) == (0, f"{tmp_path / 'tables' / 'scores.csv'}\n")
    with (tmp_path / "tables" / "scores.csv").open() as file:
        assert next(csv.reader(file))[:4] == ["block", "method", "origin", "shapes seen"]
    code, out, _ = run("table", tests[0], "--by", "class")
    assert code == 0
    assert out.count("\n|") == 2 + sum(value is not None for value in seen["per_class"].values())
    code, out, _ = run("compare", tests[0], tests[0], "--pairs", 2)
    assert "jaccard             +0.000  +0.000 to +0.000" in out

    code, out, err = run("figures", *tests, "--out", tmp_path / "figures", "--pairs", 3)
    assert (code, err) == (0, "")
    sheets = ["shapes-seen-paper-1-even.png", "shapes-unseen-paper-2-even.png", "bars-1.png", "bars-2.png"]
    assert out.splitlines() == [str(tmp_path / "figures" / name) for name in sheets]
    for name in sheets:
        with Image.open(tmp_path / "figures" / name) as picture:
            picture.load()
    config = tests[0] / "config.yaml"
    text = config.read_text()
    for spoilt, facts in (
        (None, ("no config.yaml",)),
        ("a: [", ("config.yaml", "damaged")),
        ("- 1", ("config.yaml", "damaged", "no settings")),
        (text.replace("best.ckpt", "gone.ckpt"), ("gone.ckpt",)),
        (text.replace("size: 48", "size: 64").replace("seen: 16", "seen: 2"), ("images",)),
    ):
        config.unlink() if spoilt is None else config.write_text(spoilt)
        code, _, err = run("figures", tests[0], "--out", tmp_path / "none")
        assert (code, err.count("\n")) == (2, 1)
        assert mentions(err, *facts)
        assert not (tmp_path / "none").exists()
        code, _, err = run("figures", tests[1], tests[0], "--out", tmp_path / "none")
        assert (code, (tmp_path / "none").exists()) == (2, False)  # the first result is whole, but nothing is written
    config.write_text(text)


def test_a_part_of_icoseg_stands_in_no_column_of_the_whole(
    trained: Path, command: Command, run: Run, tmp_path: Path
) -> None:
    """From a tree in the release's layout, with fewer images in the groups whose number is known."""
    write_tree(ShapesReader(size=48, train=2, val=2, seen=60, unseen=2), tmp_path / "icoseg", "icoseg")
    code, _, err = command(
        "test", "dataset=icoseg", f"dataset.root={tmp_path / 'icoseg'}", "data.workers=0",
        f"ckpt={trained / 'checkpoints' / 'best.ckpt'}", "trainer.accelerator=cpu", "threads=1", "panels=0",
    )  # fmt: skip
    assert code == 0, err
    folder = trained / "test" / "icoseg-test-paper"
    results = json.loads((folder / "results.json").read_text())
    assert results["complete"] is False
    code, out, _ = run("table", folder)
    head = out.splitlines()[0]
    assert mentions(head, "icoseg test", "part", f"{results['images']} images", f"{results['pairs']} pairs")
    assert mentions(head, "iCoseg-8")
    code, out, _ = run("table", folder, "--by", "icoseg")
    lines = out.splitlines()
    at = lines.index(next(line for line in lines if mentions(line, "ran", "protocol")))
    cells = [cell.strip() for cell in lines[at + 1].strip("|").split("|")]
    assert [cell == "-" for cell in cells[2:]] == [False] * 9  # all eight groups by their short names, and their mean
    assert not any("**Ran**" in line for line in lines)


def test_compare(run: Run, tmp_path: Path) -> None:
    write_records(tmp_path / "a", rows(0.2))
    write_records(tmp_path / "b", rows(0.0))
    code, out, err = run("compare", tmp_path / "a", tmp_path / "b", "--pairs", 7, "--resamples", 50)
    assert (code, err) == (0, "")
    assert "jaccard             +0.175" in out  # 21 pairs of 0.15, 7 of 0.25
    changed = out.split("changed most")[1].splitlines()[1:]
    assert len(changed) == 7
    assert all(line.startswith("id0") and "+0.250  cat" in line for line in changed)
    code, out, _ = run("compare", tmp_path / "a", tmp_path / "b", "--pairs", 1, "--resamples", 50, "--json")
    document = json.loads(out)
    assert document["differences"]["jaccard"]["value"] == pytest.approx(0.175)
    assert document["changes"] == [{"id_a": "id0", "id_b": "id1", "classes": ["cat"], "a": 0.275, "b": 0.025}]


def test_compare_takes_a_file_or_a_run_with_one_test(run: Run) -> None:
    write_records(Path("run/test/a"), rows(0.2))
    write_records(Path("b"), rows(0.0))
    code, out, err = run("compare", "run", "b/pairs.csv", "--resamples", 50)
    assert (code, err) == (0, "")
    assert "jaccard             +0.175" in out
    write_records(Path("run/test/c"), rows(0.2))
    code, _, err = run("compare", "run", "b")
    assert code == 2
    assert mentions(err, "2 tests", "run/test/a, run/test/c")


def test_an_output_that_cannot_be_written_is_told(run: Run) -> None:
    Path("file").write_text("mine")
    Path("folder").mkdir()
    for out in ("file/table.md", "folder"):
        code, told, err = run("table", "--out", out)
        assert (code, told, err.count("\n")) == (2, "", 1)
        assert mentions(err, out, "written", "(")
    assert Path("file").read_text() == "mine"
    assert [path.name for path in Path(".").iterdir() if path.name.startswith(".")] == []


@pytest.mark.parametrize("option", [("--pairs", "-3"), ("--resamples", "0"), ("--seed", "-1"), ("--pairs", "two")])
def test_numbers_that_make_no_sense_are_refused(option: tuple[str, str], run: Run) -> None:
    code, _, err = run("compare", "a", "b", *option)
    assert code == 2
    assert mentions(err.splitlines()[-1], option[0], f"'{option[1]}'", "whole number")


def test_mistakes_are_one_sentence(run: Run, tmp_path: Path) -> None:
    write_records(Path("a"), rows(0.2))
    write_records(Path("b"), rows(0.0, images=7))
    Path("c").mkdir()
    Path("c/pairs.csv").write_text("i,j\n")
    for arguments, facts in (
        (("compare", "a", "b"), ("same pairs",)),
        (("compare", "a", "c"), ("c/pairs.csv", "table")),
        (("compare", "a", "nowhere"), ("no ", "nowhere/pairs.csv")),
        (("table", "a"), ("no results", "pairs.csv")),
        (("table", "--by", "class"), ("results",)),
        (("table", "--score", "iou"), ("--score", "'iou'")),
    ):
        code, out, err = run(*arguments)
        assert (code, out, err.count("\n")) == (2, "", 1), err
        assert mentions(err, *facts)


def test_it_needs_no_torch(tmp_path: Path) -> None:
    write_records(tmp_path / "a", rows(0.2))
    start = "import sys; from coseg.cli import report; sys.argv[1:] = {!r}"
    line = start + "\ntry: report.main()\nfinally: print('torch' in sys.modules)"
    for arguments in (["table"], ["compare", str(tmp_path / "a"), str(tmp_path / "a")]):
        done = subprocess.run([sys.executable, "-c", line.format(arguments)], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert done.stdout.endswith("False\n")


def test_results_of_grey_maps_have_a_table_of_their_own(run: Run, tmp_path: Path) -> None:
    sys.path.insert(0, str(Path(__file__).parents[1] / "reports"))
    try:
        from results_file import cosod, write
    finally:
        del sys.path[0]
    maps = write(tmp_path / "maps", protocol="cosod", cosod=cosod())
    for arguments, of_maps in (
        ((maps,), True), ((maps, "--by", "cosod"), True), (("--by", "cosod"), True), ((maps, "--by", "test"), False),
        ((maps, "--score", "jaccard"), False), ((maps, write(tmp_path / "pairs")), False),
    ):  # fmt: skip
        code, out, err = run("table", *arguments)
        assert (code, err) == (0, "")
        assert ("| GCoNet+ |" in out and "CoCA max F" in out) == of_maps
    code, _, err = run("table", tmp_path / "pairs", "--by", "cosod")
    assert code == 2 and mentions(err, "protocol=cosod")
