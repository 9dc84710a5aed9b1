"""What must be quick: nothing here imports torch."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from facts import mentions

CLI = Path(__file__).resolve().parents[2] / "src" / "coseg" / "cli"

SPY = "import atexit, sys; atexit.register(lambda: print('torch' in sys.modules, 'lightning' in sys.modules))\n"
HEAVY = ("torch", "lightning", "albumentations", "optuna", "matplotlib", "timm")
COMMANDS = sorted(path.stem for path in CLI.glob("*.py") if "def main(" in path.read_text(encoding="utf-8"))
WITH_HYDRA = {"train", "test", "demo"}


def test_the_commands() -> None:
    assert {"train", "test", "data", "predict", "report", "sweep", "export", "page", "serve", "calibrate"} <= set(
        COMMANDS
    )


@pytest.mark.parametrize("command", [command for command in COMMANDS if command != "demo"])
def test_help_imports_nothing_that_takes_seconds(command: str, tmp_path: Path) -> None:
    heavy = HEAVY if command in WITH_HYDRA else (*HEAVY, "hydra", "pydantic")
    code = (
        f"import atexit, sys; atexit.register(lambda: print([name for name in {heavy} if name in sys.modules]))\n"
        f"sys.argv = ['coseg', '--help']; from coseg.cli.{command} import main; main()"
    )
    ran = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.splitlines()[-1] == "[]"
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "code",
    [
        "import coseg; assert coseg.__version__",
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
    for line, name in zip(ran.stderr.splitlines()[:2], ("nowhere.jpg", "neither.jpg"), strict=True):
        assert mentions(line, name, "missing")


def test_what_is_wrong_with_settings_is_told_before_torch_is_loaded(tmp_path: Path) -> None:
    code = "sys.argv = ['coseg-train', 'data.batch_size=0']; from coseg.cli.train import main; main()"
    ran = subprocess.run([sys.executable, "-c", SPY + code], cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert ran.returncode == 2
    assert ran.stdout.splitlines() == ["False False"]
    assert mentions(ran.stderr, "data.batch_size", 0) and ran.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())
