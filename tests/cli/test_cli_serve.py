from __future__ import annotations

import importlib.util
import os
import re
import signal
import socket
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from facts import mentions

from coseg.cli.serve import main


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--int8",), ["--onnx"]),
        (("--onnx", "nowhere"), ["config.json", "coseg-export"]),
        (("--onnx", "nowhere", "--size", "64"), ["--size"]),
        (("--checkpoint", "none.ckpt"), ["none.ckpt"]),
        (("--workers", "0"), ["--workers", "'0'"]),
        (("--megapixels", "nan"), ["--megapixels", "nan"]),
        (("--allowed-host", "a:8000"), ["--allowed-host", "a:8000"]),
        (("--host", "203.0.113.1"), ["service", "--host"]),
    ],
)
def test_bad_options_are_a_sentence(invoke, options: tuple[str, ...], words: list[str]) -> None:
    outcome = invoke(main, "--port", 0, *options)
    assert outcome.code == 2
    assert mentions(outcome.err.splitlines()[-1], *words) and "Traceback" not in outcome.err


def test_a_port_in_use_is_a_sentence(invoke) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
        outcome = invoke(main, "--port", port)
    assert outcome.code == 2 and mentions(outcome.err, port, "in use", "service")


def test_a_missing_package_is_a_sentence(invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == "fastapi" else find(name))
    outcome = invoke(main, "--port", 0)
    assert outcome.code == 2 and mentions(outcome.err, "fastapi", "pip install 'coseg[serve]'")


@pytest.mark.slow
def test_a_real_process_is_killed_restarted_and_stopped(tmp_path: Path) -> None:
    """The bundled model at a port: SIGKILL leaves neither files nor the port; SIGTERM ends it with exit code 0."""
    import io

    import httpx
    import numpy as np
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8)).save(file, "JPEG")
    files = [(name, (f"{name}.jpg", file.getvalue())) for name in "ab"]

    def start(port: int) -> tuple[subprocess.Popen[str], str, int]:
        words = [sys.executable, "-m", "coseg.cli.serve", "--port", str(port), "--device", "cpu", "--threads", "1"]
        environment = {**os.environ, "TMPDIR": str(tmp_path)}
        process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=environment)
        assert process.stdout is not None
        match = next(match for line in process.stdout if (match := re.search(r"http://[0-9.]+:(\d+)", line)))
        return process, match[0], int(match[1])

    process, address, port = start(0)
    try:
        answer = httpx.post(f"{address}/pair", files=files, timeout=120)
        assert answer.status_code == 200 and 0 <= answer.json()["common"] <= 1
        process.kill()
        process.wait()
        assert not list(tmp_path.iterdir())
        process, address, _ = start(port)
        assert (
            httpx.post(f"{address}/group", files=[("images", pair[1]) for pair in files], timeout=120).status_code
            == 200
        )
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.wait()
