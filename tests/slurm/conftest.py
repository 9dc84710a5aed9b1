"""A real SLURM on this machine, set up by `cluster.sh`, as root, where Debian's slurm-wlm and munge are installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from slurm_jobs import Slurm

CLUSTER = Path(__file__).with_name("cluster.sh")
PROGRAMS = ("slurmctld", "slurmd", "munged", "sbatch")


@pytest.fixture(scope="session")
def cluster() -> Iterator[dict[str, str]]:
    """The environment in which commands reach it."""
    path = f"{os.environ['PATH']}:/usr/sbin"
    if os.geteuid() != 0 or not all(shutil.which(name, path=path) for name in PROGRAMS):
        pytest.skip("needs root, and slurm-wlm and munge of Debian")
    folder = Path(tempfile.mkdtemp(prefix="slurm-", dir="/tmp"))
    folder.chmod(0o755)  # for munge, which may not enter root's folders either
    environment = {**os.environ, "PATH": path}
    try:
        ran = subprocess.run([CLUSTER, "start", folder], env=environment, capture_output=True, text=True, timeout=120)
        assert ran.returncode == 0, ran.stderr
        yield {**environment, "SLURM_CONF": ran.stdout.split()[-1]}
    finally:
        subprocess.run([CLUSTER, "stop", folder], env=environment, check=False)
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def slurm(cluster: dict[str, str], tmp_path: Path) -> Slurm:
    return Slurm(cluster, tmp_path)
