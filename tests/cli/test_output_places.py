"""Output places that can't be written, of the commands that are not Hydra's: a sentence before any long work."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from facts import mentions

SHAPES = ["--set", "reader.size=48", "reader.train=24", "reader.val=20", "reader.seen=16", "reader.unseen=8"]
PLACES = ("file/within", "/proc/nothing/within", "/dev/null/within", f"{'n' * 300}/within", f"within{'n' * 300}")
COMMANDS: dict[str, Callable[[str], list[str]]] = {
    "show": lambda place: ["show", "shapes", "--pairs", "1", *SHAPES, "--out", f"{place}.png"],
    "pairs": lambda place: ["pairs", "shapes", *SHAPES, "--csv", f"{place}.csv"],
    "export": lambda place: ["--format", "safetensors", "--out", place],
    "calibrate": lambda place: ["--checkpoint", "x", "--dataset", "shapes", "--out", place],
    "sweep": lambda place: [f"study.runs='{place}'", "optimizer.lr=1e-3,1e-4"],
    "table": lambda place: ["table", "--out", f"{place}.md"],
}
MODULES = {"show": "data", "pairs": "data", "table": "report"}


@pytest.mark.parametrize("name", COMMANDS)
def test_places_that_cannot_be_written(name: str, tmp_path: Path, invoke: Any) -> None:
    main = importlib.import_module(f"coseg.cli.{MODULES.get(name, name)}").main
    Path("file").write_text("mine")
    before = sorted(tmp_path.rglob("*"))
    for place in PLACES:
        code, _, err = invoke(main, *COMMANDS[name](place))
        assert code == 2, (place[:20], err)
        last = err.splitlines()[-1]
        assert mentions(last, place[:20], ("be written", "be used")), last
        assert "Traceback" not in err and len(last) < 500
        assert sorted(tmp_path.rglob("*")) == before
