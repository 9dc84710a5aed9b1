"""Run the notebooks from the first cell to the last; as a script, save them with what they show."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import nbformat
from jupyter_client.manager import KernelManager
from nbclient import NotebookClient
from nbformat import NotebookNode

FOLDER = Path(__file__).parents[1] / "notebooks"
NETWORK = "small_network"
PATHS = sorted(FOLDER.glob("*.ipynb"))


def run(paths: list[Path], folder: Path, seconds: int = 300) -> Iterator[NotebookNode]:
    """Each notebook after it ran in `folder`, all in one kernel, since each would import torch anew.

    Names do not last from one to the next. `folder` is given what lies beside the notebooks.
    """
    shutil.copytree(FOLDER / NETWORK, folder / NETWORK)
    # Warnings would be saved with them, and name paths of this machine.
    environment = os.environ | {"NO_COLOR": "1", "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    kernel = KernelManager(kernel_name="python3")
    kernel.start_kernel(cwd=str(folder), env=environment)
    try:
        for path in paths:
            notebook = nbformat.read(path, as_version=4)
            client = NotebookClient(notebook, km=kernel, timeout=seconds, coalesce_streams=True)
            with client.setup_kernel():
                client.kc.execute_interactive("%reset -f", timeout=60)
                client.code_cells_executed = 0
                for k, cell in enumerate(notebook.cells):
                    client.execute_cell(cell, k)
            for cell in notebook.cells:
                for output in cell.get("outputs", ()):
                    output.get("data", {}).pop("image/jpeg", None)  # PIL shows each picture twice
            yield notebook
    finally:
        kernel.shutdown_kernel(now=True)


def save(paths: list[Path]) -> None:
    """Write each notebook with its outputs."""
    with tempfile.TemporaryDirectory() as folder:
        for path, notebook in zip(paths, run(paths, Path(folder)), strict=True):
            cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
            for count, cell in enumerate(cells, 1):
                cell.execution_count = count
                cell.metadata = {}  # when it ran
                for output in cell.outputs:
                    if "execution_count" in output:
                        output.execution_count = count
            notebook.metadata = nbformat.from_dict(
                {
                    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
                    "language_info": {"name": "python"},
                }
            )
            nbformat.write(notebook, path)
            print(f"{path.name}: {path.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    wanted = sys.argv[1:]
    save([path for path in PATHS if not wanted or any(word in path.name for word in wanted)])
