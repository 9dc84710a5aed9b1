"""The steps of the Dockerfile in a clean environment: how large it is, and that it serves."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tomllib
import venv
from pathlib import Path

import pytest
from fake_service import PAIR

ROOT = Path(__file__).resolve().parents[2]
LINES = re.sub(r"\\\n", " ", (ROOT / "Dockerfile").read_text()).splitlines()
STEPS = [line.removeprefix("RUN ") for line in LINES if line.startswith("RUN ")]
MOST_BYTES = 600 * 10**6


def test_its_bounds_are_those_of_the_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    known = {
        *project["dependencies"],
        *(bound for extra in project["optional-dependencies"].values() for bound in extra),
    }
    bounds = [word for step in STEPS for word in shlex.split(step) if re.search("[<>=]=", word)]
    assert len(bounds) > 5 and not set(bounds) - known
    copied = [word for line in LINES if line.startswith("COPY ") for word in line.split()[1:-1]]
    assert all((ROOT / name).exists() for name in copied if name != "graphs")  # which coseg-export writes
    assert {line.removeprefix("!") for line in (ROOT / ".dockerignore").read_text().split()} >= set(copied)


@pytest.mark.slow
def test_its_steps_make_a_small_service(tmp_path: Path, graphs: dict[str, tuple[Path, object]]) -> None:
    """The packages come from the registry that pip is set to."""
    import httpx

    context, environment = tmp_path / "context", tmp_path / "environment"
    context.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, context)
    for name in ("src", "conf"):
        shutil.copytree(ROOT / name, context / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    venv.create(environment, with_pip=True)
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "COV"))}
    variables = {**kept, "PATH": f"{environment / 'bin'}:{kept['PATH']}", "VIRTUAL_ENV": str(environment)}
    for step in STEPS:
        subprocess.run(step, shell=True, cwd=context, env=variables, check=True, timeout=900)
    (site,) = (environment / "lib").glob("python*/site-packages")
    size = sum(path.stat().st_size for path in site.rglob("*") if path.is_file() and path.suffix != ".pyc")
    print(f"{size / 1e6:.0f} MB", file=sys.stderr)
    assert size < MOST_BYTES and not (site / "torch").exists()

    words = ["coseg-serve", "--onnx", str(graphs["mean"][0]), "--port", "0", "--threads", "1"]
    process = subprocess.Popen(words, cwd=tmp_path, env=variables, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        address = next(match[0] for line in process.stdout if (match := re.search(r"http://[0-9.:]+", line)))
        assert httpx.post(f"{address}/pair", files=PAIR, timeout=60).status_code == 200
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.wait()
