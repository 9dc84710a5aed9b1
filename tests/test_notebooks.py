"""The notebooks run from the first cell to the last, and are saved with what they show."""

from __future__ import annotations

import json
import re
from pathlib import Path

import nbformat
import pytest
from nbformat import NotebookNode
from run_notebooks import PATHS, run

LOCAL = re.compile(r"/(home|root|tmp|work|Users|private|usr|opt|mnt)/|[A-Z]:\\\\|site-packages|https?://localhost")
MEGABYTE = 1_000_000


def outputs(notebook: NotebookNode) -> list[NotebookNode]:
    """What all cells show."""
    return [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]


def kinds(notebook: NotebookNode) -> list[tuple[str, list[str]]]:
    """Of what kind each of these is. Numbers may differ in their last digits from machine to machine."""
    return [(output.output_type, sorted(output.get("data", {}))) for output in outputs(notebook)]


@pytest.mark.slow
def test_all_run_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    """A cell that fails raises here, with its traceback."""
    assert [path.name[:3] for path in PATHS] == ["01_", "02_", "03_", "04_"]
    for path, ran in zip(PATHS, run(PATHS, tmp_path), strict=True):
        saved = nbformat.read(path, as_version=4)
        assert kinds(ran) == kinds(saved), f"{path.name} shows something else now: run tests/run_notebooks.py"


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_saved_with_outputs_that_hold_nothing_of_a_machine(path: Path) -> None:
    nbformat.validate(notebook := nbformat.read(path, as_version=4))
    shown = outputs(notebook)
    assert sum("image/png" in output.get("data", {}) for output in shown) >= 2
    for output in shown:
        assert output.output_type in ("stream", "display_data", "execute_result")
        assert output.get("name") != "stderr", output.text
        texts = {kind: value for kind, value in output.get("data", {}).items() if kind != "image/png"}
        assert not LOCAL.search(json.dumps(texts) + str(output.get("text", "")))
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert {key for cell in notebook.cells for key in cell.metadata} == set()
    assert path.stat().st_size < MEGABYTE


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_links_between_notebooks_lead_somewhere(path: Path) -> None:
    cells = nbformat.read(path, as_version=4).cells
    text = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    for target in re.findall(r"\]\(([^)#]+)\)", text):
        assert (path.parent / target).exists(), target
