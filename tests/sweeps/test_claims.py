from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from coseg.sweeps.claims import alone, claim

HOLD = "import time; print('ready', flush=True); time.sleep(60)"


def test_one_has_it_until_it_is_closed(tmp_path: Path) -> None:
    path = tmp_path / "trial" / ".lock"
    first = claim(path)
    assert first is not None
    assert claim(path) is None
    os.close(first)
    again = claim(path)
    assert again is not None
    os.close(again)


def test_a_process_that_inherited_it_keeps_it_and_its_death_ends_it(tmp_path: Path) -> None:
    path = tmp_path / ".lock"
    descriptor = claim(path)
    assert descriptor is not None
    child = subprocess.Popen([sys.executable, "-c", HOLD], pass_fds=(descriptor,), stdout=subprocess.PIPE)
    try:
        assert child.stdout is not None and child.stdout.readline() == b"ready\n"
        os.close(descriptor)
        assert claim(path) is None
    finally:
        child.kill()
        child.communicate()
    after = claim(path)
    assert after is not None
    os.close(after)


def test_alone_shuts_others_out(tmp_path: Path) -> None:
    with alone(tmp_path / ".lock"):
        assert claim(tmp_path / ".lock") is None
    with alone(tmp_path / ".lock"):
        pass
