from __future__ import annotations

import importlib.util
import socket
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from facts import mentions

from coseg.cli.page import main


def test_help_is_told_without_heavy_imports() -> None:
    script = (
        "import sys\n"
        "from coseg.cli.page import main\n"
        "try:\n    main(['--help'])\n"
        "finally:\n    assert not {'torch', 'gradio', 'hydra', 'numpy'} & set(sys.modules)\n"
    )
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert ran.returncode == 0, ran.stderr
    for option in ("--checkpoint", "--device", "--size", "--host", "--port", "--no-browser"):
        assert option in ran.stdout


def test_a_port_in_use_is_a_sentence(invoke) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
        outcome = invoke(main, "--port", port, "--no-browser")
    assert outcome.code == 2
    assert mentions(outcome.err, port, "in use") and "Traceback" not in outcome.err


def test_gradio_that_is_missing_is_a_sentence(invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == "gradio" else found(name))
    outcome = invoke(main, "--no-browser")
    assert outcome.code == 2
    assert "pip install 'coseg[demo]'" in outcome.err


def test_a_checkpoint_that_is_missing_is_a_sentence(invoke, tmp_path: Path) -> None:
    outcome = invoke(main, "--checkpoint", tmp_path / "none.ckpt", "--port", 0, "--no-browser")
    assert outcome.code == 2
    assert "none.ckpt" in outcome.err and "Traceback" not in outcome.err


@pytest.mark.parametrize("options", [("--port", "70000"), ("--port", "http"), ("--size", "3")])
def test_numbers_out_of_range_are_refused(invoke, options: tuple[str, str]) -> None:
    outcome = invoke(main, *options)
    assert outcome.code == 2
    assert mentions(outcome.err.splitlines()[-1], options[0], f"'{options[1]}'")
