"""Every script in ``benchmarks/`` runs, at a size at which its figures say nothing."""

from __future__ import annotations

import json
import math
import runpy
import sys
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).parents[1] / "benchmarks"
SCRIPTS = sorted(path.stem for path in FOLDER.glob("*.py"))

ARGUMENTS = {
    "correlation": "--shapes 1x8x8x8 --kernels 3 --repeats 1 --threads 1",
    "cosod_scores": "--maps 2 --size 24x32 --repeats 1",
    "exemplar": "--dataset shapes --set reader.size=64 reader.val=8 --partners 1",
    "full_test": "--images 6 --all-pairs --width 0.125 --part-pairs 4 --device cpu dataset.reader.size=48 threads=1",
    "gpu": "--cpu --steps 1 --pairs 1 model.encoder.width=0.125 augmentation.size=32 threads=1",
    "group": "--images 2 3 --width 0.125 --size 32 --repeats 1",
    "loader": "--pairs 8 --workers 0",
    "named_objects": "--dataset shapes --set reader.size=64 reader.val=8",
    "page_examples": "--seeds 5 --show 1",
    "pair_index": "--images 500 --classes 5 --accesses 10",
    "predict": "--images 2 --megapixels 0.02 --pair 0.02 --size 64",
    "scaling": "--processes 1 2 --what predict --images 4",
    "serve": "--clients 2 --minutes 0.05",
    "training_step": "--pairs 1 --steps 3",
}
TRAINING = {"loader", "training_step"}
"""Those that take overrides of `coseg-train`."""

SLOW = {"exemplar", "named_objects", "page_examples", "predict", "scaling", "serve"}
"""Those that run the bundled model often, or start processes, each of which loads torch anew."""


@pytest.mark.filterwarnings("ignore:You defined a `validation_step`")  # which a benchmark leaves out
@pytest.mark.parametrize(
    "script", [pytest.param(script, marks=[pytest.mark.slow] * (script in SLOW)) for script in SCRIPTS]
)
def test_it_runs_and_prints_figures(
    script: str,
    tiny_overrides: dict[str, tuple[str, ...]],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    if script == "cosod_scores":
        pytest.importorskip("py_sod_metrics", reason="pip install pysodmetrics")
    path = FOLDER / f"{script}.py"
    overrides = tiny_overrides["train"] if script in TRAINING else ()
    monkeypatch.setattr(sys, "argv", [str(path), *overrides, *ARGUMENTS[script].split()])
    monkeypatch.chdir(tmp_path)
    runpy.run_path(str(path), run_name="__main__")
    lines: list[dict[str, Any]] = [
        json.loads(line) for line in capfd.readouterr().out.splitlines() if line.startswith("{")
    ]
    assert lines
    for name, value in (item for line in lines for item in line.items()):
        if name.endswith(("seconds", "_s", "_ms", "ratio")) and value is not None:
            assert math.isfinite(value) and value >= 0, (script, name)
