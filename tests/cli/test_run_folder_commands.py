"""Settings and places through the real commands: a sentence and exit code 2, and nothing is left behind."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from facts import mentions
from layouts.groups import GroupItem, write_folder

Command = Callable[..., tuple[int, str, str]]
Overrides = dict[str, tuple[str, ...]]


def listing() -> list[Path]:
    return sorted(Path.cwd().rglob("*"))


SETTINGS = [
    *(("train", f"{key}={value}", key) for key, values in {
        "seed": ("-1", "foo", "nan"),
        "threads": ("0", "1000000"),
        "data.batch_size": ("foo", "1e400"),
        "data.pairs_per_epoch": ("0", "1.5"),
        "trainer.max_epochs": ("0", "foo"),
        "checkpoint_minutes": ("-1", "nan"),
        "task.semantic": ("-1", "inf"),
        "task.jaccard": ("foo",),
        "trainer.accumulate_grad_batches": ("0",),
        "trainer.check_val_every_n_epoch": ("0",),
        "trainer.gradient_clip_val": ("-1",),
        "data.cache_gb": ("nan", "foo"),
        "augmentation.size": ("1000000000", "[96]"),
        "model.encoder.width": ("0", "1e9"),
        "optimizer.lr": ("nan",),
        "check": ("maybe",),
        "name": ("5",),
        "trainer": ("null",),
        "hydra": ("null",),
    }.items() for value in values),
    *(("test", f"{key}={value}", key) for key, values in {
        "mirrored": ("maybe",),
        "feature_gb": ("nan", "-1", "foo"),
        "pairs_at_once": ("0",),
        "panels": ("-1",),
        "input_size": ("1000000000",),
        "ckpt": ("5",),
    }.items() for value in values),
]  # fmt: skip


@pytest.mark.slow
def test_settings_through_the_commands(command: Command) -> None:
    assert len(SETTINGS) >= 30
    for name, override, key in SETTINGS:
        code, out, err = command(name, override)
        assert (code, out) == (2, ""), (override, err)
        assert err.startswith(f"{key} is ") and err.count("\n") == 1, (override, err)
    assert listing() == []


def test_each_job_of_a_sweep_is_checked(command: Command) -> None:
    code, out, err = command("train", "-m", "seed=-1,foo", "hydra.sweep.dir=grid")
    assert code == 2
    assert mentions(err, "job 0: seed", "-1", "job 1: seed", "'foo'") and "Traceback" not in out + err


@pytest.mark.parametrize(
    ("override", "word"),
    [
        ("runs=file", "Not a directory"),
        ("runs=file/a/b", "Not a directory"),
        ("runs=/proc/nothing", "/proc/nothing"),
        ("runs=/dev/null", "Not a directory"),
        (f"runs={'n' * 300}", "too long"),
        (f"name={'n' * 300}", "too long"),
        ("hydra.run.dir=file", "File exists"),
        ("hydra.run.dir=file/run", "Not a directory"),
        ("resume=file", "File exists"),
    ],
)
def test_places_of_a_training(override: str, word: str, command: Command) -> None:
    Path("file").write_text("mine")
    code, _, err = command("train", override)
    assert code == 2, err
    assert mentions(err, override.partition("=")[2][:20], "written", word, "runs=") and err.count("\n") == 1
    assert listing() == [Path.cwd() / "file"] and Path("file").read_text() == "mine"


@pytest.mark.parametrize("override", ["runs=file", f"name={'n' * 300}", "hydra.sweep.dir=file/a"])
def test_places_of_a_sweep(override: str, command: Command) -> None:
    Path("file").write_text("mine")
    code, _, err = command("train", "-m", override, "seed=1,2")
    assert code == 2 and mentions(err, override.partition("=")[2][:20], "written") and err.count("\n") == 1
    assert listing() == [Path.cwd() / "file"]


def test_places_of_a_test(command: Command, trained: Path, tiny_overrides: Overrides, tmp_path: Path) -> None:
    (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    best = tmp_path / "run" / "checkpoints" / "best.ckpt"
    best.symlink_to(trained / "checkpoints" / "best.ckpt")
    best = Path(shutil_copy(best))
    (tmp_path / "run" / "test").write_text("mine")
    code, _, err = command("test", *tiny_overrides["test"], "split=seen", f"ckpt={best}")
    assert code == 2 and mentions(err.splitlines()[-1], tmp_path / "run" / "test", "written") and "Traceback" not in err
    assert (tmp_path / "run" / "test").read_text() == "mine"


def shutil_copy(link: Path) -> Path:
    """The file itself in the place of a link to it."""
    data = link.read_bytes()
    link.unlink()
    link.write_bytes(data)
    return link


def test_a_path_that_needs_quotes(command: Command, tiny_overrides: Overrides, tmp_path: Path) -> None:
    """Hydra's own exit code, with the quoting shown; so quoted, the training runs."""
    root = tmp_path / "My Photos (2020), [a]=~{b} it's"
    truth = np.zeros((48, 48), np.uint8)
    truth[10:30, 10:30] = 1
    image = np.random.default_rng(0).integers(0, 255, (48, 48, 3), dtype=np.uint8)
    write_folder(root, [GroupItem("cats", image, truth)] * 4)
    kept = [word for word in tiny_overrides["train"] if not word.startswith("dataset.reader")]
    words = [*kept, "dataset=folder", "data.pairs_per_epoch=4", "trainer.max_epochs=1", "panels=0", "check=true"]
    code, _, err = command("train", *words, f"dataset.root={root}")
    assert code == 1 and "Traceback" not in err
    hint = re.search(r"quotes[^:]*: (.*)", err)
    assert hint is not None
    (quoted,) = shlex.split(hint[1])
    code, out, err = command("train", *words, quoted)
    assert code == 0, err
    assert "folder/" in out


@pytest.mark.parametrize("override", ["no_such=1", "model=no_such", "data.no_such=1", "model.kernel_sizes=[3],[4"])
def test_what_hydra_refuses_is_as_it_was(override: str, command: Command) -> None:
    code, _, err = command("train", override)
    assert code == 1
    assert "quotes" not in err and ("no_such" in err or "mismatched" in err)
