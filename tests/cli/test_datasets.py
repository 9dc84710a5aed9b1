"""`coseg-test` on every data set, from a tree in the layout of its release."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from itertools import combinations
from pathlib import Path

import pytest
from facts import mentions
from layouts.shapes import LAYOUTS, write_tree
from PIL import Image

from coseg.data.readers.shapes import ShapesReader

Command = Callable[..., tuple[int, str, str]]

SIZE = 48
ANNOTATED = ("coco", "labelme", "cvat")
OVERRIDES = ("data.workers=0", "trainer.accelerator=cpu", "threads=1", "panels=1")
ALL = {"msrc": ["dataset.groups=all"], "icoseg": ["dataset.groups=all"], "voc": ["dataset.split_val=false"]}


def shapes(layout: str) -> ShapesReader:
    """So many pictures that every class is the first of two at least, where that makes the groups."""
    return ShapesReader(size=SIZE, train=2, val=2, seen=16 if layout in ("voc", *ANNOTATED) else 60, unseen=2)


@pytest.fixture(scope="module")
def trees(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The shapes in a layout."""
    made: dict[str, Path] = {}

    def tree(layout: str) -> Path:
        if layout not in made:
            made[layout] = tmp_path_factory.mktemp(layout)
            write_tree(shapes(layout), made[layout], layout)
        return made[layout]

    return tree


@pytest.fixture(scope="module")
def trained(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the trained run, so that only the tests of this file leave results in it."""
    return Path(
        shutil.copytree(trained, tmp_path_factory.mktemp("datasets") / "run", ignore=shutil.ignore_patterns("test"))
    )


@pytest.mark.parametrize("layout", LAYOUTS)
def test_each_layout_is_tested(layout: str, trees: Callable[[str], Path], trained: Path, command: Command) -> None:
    dataset = layout.split("_")[0]
    checkpoint = trained / "checkpoints" / "best.ckpt"
    code, out, err = command(
        "test", f"dataset={dataset}", f"dataset.root={trees(layout)}", f"ckpt={checkpoint}", *ALL.get(dataset, []),
        *OVERRIDES,
    )  # fmt: skip
    assert code == 0, err
    (path,) = (trained / "test").glob(f"{layout}-*/results.json")
    results = json.loads(path.read_text())
    assert results["dataset"] == layout
    # the pairs, counted from what was drawn
    plans = shapes(layout)
    if layout in ANNOTATED:
        shown = [set(plan) for plan in plans.read("seen").plan]
    elif layout == "voc":
        shown = [set(plan) for split in ("val", "seen") for plan in plans.read(split).plan]
    else:
        shown = [{plan[0]} for plan in plans.read("seen").plan if layout != "internet" or plan[0] < 3]
    assert results["pairs"] == sum(bool(a & b) for a, b in combinations(shown, 2))
    assert f"{layout}/{results['split']}: {results['images']} images, {results['pairs']} pairs" in out
    # Of the others it is not known how many images they have, of one's own it does not matter.
    assert results["complete"] == (layout.endswith("object_discovery") or layout in ("folder", "cosod", *ANNOTATED))
    assert ("published images" in out) == (not results["complete"])


@pytest.mark.slow
def test_another_protocol_has_results_of_its_own(trees: Callable[[str], Path], trained: Path, command: Command) -> None:
    arguments = ("dataset=folder", f"dataset.root={trees('folder')}", f"ckpt={trained / 'checkpoints' / 'best.ckpt'}")
    assert command("test", *arguments, *OVERRIDES).code == 0
    code, out, err = command("test", *arguments, "protocol=chen2018", "protocol.size=64", *OVERRIDES)
    assert code == 0, err
    assert "protocol chen2018" in out
    results = json.loads((trained / "test" / "folder-all-chen2018" / "results.json").read_text())
    with_truth = json.loads((trained / "test" / "folder-all-paper" / "results.json").read_text())
    assert results["pairs"] == with_truth["pairs"]
    assert results["jaccard_global"] != with_truth["jaccard_global"]
    code, _, err = command("test", *arguments, "protocol=chen2018", "protocol.size=0", *OVERRIDES)
    assert (code, err.count("\n")) == (2, 1)
    assert mentions(err, "protocol.size", 0)


def test_groups_of_ones_own_choice_have_results_of_their_own(
    trees: Callable[[str], Path], trained: Path, command: Command
) -> None:
    arguments = ("dataset=msrc", f"dataset.root={trees('msrc')}", f"ckpt={trained / 'checkpoints' / 'best.ckpt'}")
    code, _, err = command("test", *arguments, "dataset.groups=[cow,dog]", *OVERRIDES)
    assert code == 0, err
    assert json.loads((trained / "test" / "msrc-cow+dog-paper" / "results.json").read_text())["split"] == "cow+dog"
    for wrong, facts in (
        ("dataset.groups=[cow,dug]", ("'dug'", "test, all, ")),
        ("dataset.groups=[cow,dug]", ("'dog'",)),
        ("dataset.groups=[cow,cow]", ("once",)),
        ("dataset.groups=[]", ("group",)),
        ("dataset.layout=v3", ("dataset.layout", "'v3'")),
    ):
        code, _, err = command("test", *arguments, wrong, *OVERRIDES)
        assert (code, err.count("\n")) == (2, 1), err
        assert mentions(err, *facts)


@pytest.mark.parametrize("dataset", ["icoseg", "folder"])
def test_truth_without_foreground(
    dataset: str, trained: Path, command: Command, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Every image of a release shows its group's object; one of a user's own may not."""
    write_tree(shapes(dataset), tmp_path / "own", dataset)
    mask = min(path for path in (tmp_path / "own").rglob("*.png") if "images" not in path.parts[-3:])
    Image.new("L", (SIZE, SIZE)).save(mask)
    code, out, err = command(
        "test", f"dataset={dataset}", f"dataset.root={tmp_path / 'own'}", *ALL.get(dataset, []),
        f"ckpt={trained / 'checkpoints' / 'best.ckpt'}", *OVERRIDES,
    )  # fmt: skip
    if dataset == "folder":
        assert code == 0
        assert mentions(out + err + caplog.text, "images", "no object")
    else:
        assert (code, err.count("\n")) == (2, 1)
        assert mentions(err, mask, "no pixel")


OTHERS = ("msrc", "icoseg", "internet", "folder")


@pytest.mark.slow
@pytest.mark.parametrize("dataset", ["voc", *OTHERS])
def test_the_installed_command(dataset: str, trees: Callable[[str], Path], trained: Path, tmp_path: Path) -> None:
    """As a user starts it, from another directory; with the root in the environment."""
    script = Path(sys.executable).with_name("coseg-test")
    if not script.is_file():
        pytest.skip("coseg is not installed beside this Python")
    own = [
        *ALL.get(dataset, []),
        f"ckpt={trained / 'checkpoints' / 'best.ckpt'}",
        "protocol.name=installed",
        *OVERRIDES,
    ]
    environment = {**os.environ, f"COSEG_{dataset.upper()}_ROOT": str(trees(dataset))}
    ran = subprocess.run(
        [script, f"dataset={dataset}", *own], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=600
    )
    assert ran.returncode == 0, ran.stderr
    folder = Path(ran.stdout.splitlines()[-1].removeprefix("results: "))
    results = json.loads((folder / "results.json").read_text())
    assert (results["dataset"], results["protocol"]) == (dataset, "installed") and results["pairs"] > 10
    assert not list(tmp_path.iterdir())
