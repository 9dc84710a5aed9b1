from __future__ import annotations

import os
import socket
import stat
import tempfile
from contextlib import closing
from pathlib import Path

import pytest
from facts import naming

from coseg.errors import CosegError
from coseg.page import server


def test_a_port_that_is_in_use_is_told() -> None:
    with closing(socket.socket()) as taken:
        taken.bind((server.LOOPBACK, 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(CosegError, match=naming(f"port {port}", "in use", "--port")):
            server.free_port(server.LOOPBACK, port)
    assert server.free_port(server.LOOPBACK, port) == port


def test_any_free_port_is_found() -> None:
    port = server.free_port(server.LOOPBACK, 0)
    with closing(socket.create_server((server.LOOPBACK, port))) as listening:
        assert listening.getsockname()[1] == port


@pytest.mark.parametrize("host", ["192.0.2.1", "no such host"])
def test_a_host_that_is_not_this_machine_is_told(host: str) -> None:
    with pytest.raises(CosegError, match=naming("--host", "address")):
        server.free_port(host, 0)


def test_gradio_reports_to_nobody_and_keeps_its_files_together(tmp_path: Path, monkeypatch) -> None:
    for name in ("GRADIO_ANALYTICS_ENABLED", "GRADIO_TEMP_DIR", "HF_HUB_DISABLE_TELEMETRY", "NO_PROXY"):
        monkeypatch.setenv(name, "")
    monkeypatch.setenv("no_proxy", "intranet")
    server.prepare_gradio(tmp_path)
    server.prepare_gradio(tmp_path)
    assert os.environ["GRADIO_ANALYTICS_ENABLED"] == "False"
    assert os.environ["GRADIO_TEMP_DIR"] == str(tmp_path)
    assert os.environ["no_proxy"] == "intranet,127.0.0.1,localhost"


def test_the_folder_of_a_killed_page_goes_and_that_of_another_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    dead = tmp_path / "coseg-page-1-dead"
    (dead / "cache").mkdir(parents=True)
    (dead / ".lock").touch()
    with server.page_folder() as first:
        assert not dead.exists() and str(os.getpid()) in first.name
        assert stat.S_IMODE(first.stat().st_mode) == 0o700
        with server.page_folder():
            assert first.exists()
    assert not list(tmp_path.iterdir())
