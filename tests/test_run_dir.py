"""The names of a run's files: those that a training and its test really write."""

from __future__ import annotations

from pathlib import Path

from coseg import run_dir


def test_names_are_those_of_a_trained_run(trained: Path) -> None:
    files = (run_dir.CONFIG, run_dir.ENVIRONMENT, run_dir.FINISHED, run_dir.METRICS, run_dir.CURVES)
    assert [name for name in files if not (trained / name).is_file()] == []
    checkpoints = {path.name for path in (trained / run_dir.CHECKPOINTS).iterdir()}
    assert {run_dir.BEST, run_dir.LAST} <= checkpoints


def test_patterns() -> None:
    assert run_dir.panel_file(12) == "epoch-012.png"
    assert Path("test/voc-test-paper/results.json").match(run_dir.results_of_run())


def test_versions_are_those_that_are_installed() -> None:
    import numpy

    import coseg

    assert run_dir.installed_version("numpy") == numpy.__version__
    assert run_dir.installed_version("no-such-package") is None
    assert run_dir.coseg_version() == coseg.__version__ != ""
