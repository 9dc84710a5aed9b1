"""What must be quick: nothing here imports torch."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SPY = "import atexit, sys; atexit.register(lambda: print('torch' in sys.modules, 'lightning' in sys.modules))\n"


@pytest.mark.parametrize(
    "code",
    [
        "import coseg; assert coseg.__version__",
        "sys.argv = ['coseg-train', '--help']; from coseg.cli.train import main; main()",
        "sys.argv = ['coseg-test', '--help']; from coseg.cli.test import main; main()",
        "from coseg.cli.export import main; main(['--help'])",
        "sys.argv = ['coseg-predict', '--help']; from coseg.cli.predict import main; main()",
        "sys.argv = ['coseg-train', '--cfg', 'job']; from coseg.cli.train import main; main()",
    ],
)
def test_no_torch(code: str, tmp_path: Path) -> None:
    ran = subprocess.run([sys.executable, "-c", SPY + code], cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.splitlines()[-1] == "False False"
    if "--cfg" in code:
        assert "_target_: coseg.models.cross_correlation.CrossCorrelationNetwork" in ran.stdout
    assert not list(tmp_path.iterdir())


def test_what_is_wrong_with_the_inputs_is_told_before_torch_is_loaded(tmp_path: Path) -> None:
    code = "from coseg.cli.predict import main; main(['nowhere.jpg', 'neither.jpg'])"
    ran = subprocess.run([sys.executable, "-c", SPY + code], cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert ran.returncode == 2
    assert ran.stdout.splitlines() == ["False False"]
    assert ran.stderr.splitlines()[:2] == [f"{name}.jpg is missing: check its name." for name in ("nowhere", "neither")]


def test_what_is_wrong_with_settings_is_told_before_torch_is_loaded(tmp_path: Path) -> None:
    code = "sys.argv = ['coseg-train', 'data.batch_size=0']; from coseg.cli.train import main; main()"
    ran = subprocess.run([sys.executable, "-c", SPY + code], cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert ran.returncode == 2
    assert ran.stdout.splitlines() == ["False False"]
    assert ran.stderr.startswith("data.batch_size is 0, but must be ") and ran.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())
