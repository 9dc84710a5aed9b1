from __future__ import annotations

import shutil
from pathlib import Path

import pytest


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    """A run directory of its own."""
    return Path(shutil.copytree(trained / "checkpoints", tmp_path / "run" / "checkpoints")).parent
