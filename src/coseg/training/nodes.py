"""Several machines: each waits for all the others, so something must start them all."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from coseg.errors import CosegError

STARTED = (
    "TORCHELASTIC_RUN_ID",  # torchrun
    "SLURM_NTASKS",  # srun
    "JSM_NAMESPACE_SIZE",  # jsrun
    "OMPI_COMM_WORLD_SIZE",  # mpirun
    "PMI_SIZE",
    "NODE_RANK",  # by hand, with MASTER_ADDR
    "GROUP_RANK",
)
"""Environment variables of what starts a process on each machine."""


def require_launcher(trainer: Mapping[str, Any]) -> None:
    """Refuse several machines where nothing starts this process on each: it would wait for ever.

    Args:
        trainer: the settings of `Trainer`. Those with ``plugins``, which may know the machines, are let through.

    Raises:
        CosegError: ``num_nodes`` is above 1, and the environment is of no launcher.
    """
    nodes = trainer.get("num_nodes") or 1
    if nodes == 1 or trainer.get("plugins") or any(name in os.environ for name in STARTED):
        return
    raise CosegError(
        f"trainer.num_nodes={nodes}, but this process was started by itself, and would wait for ever for the other "
        f"machines. Start the command on each with a launcher: srun in a SLURM job of {nodes} nodes, or torchrun "
        f"--nnodes={nodes} --nproc-per-node=N --rdzv-backend=c10d --rdzv-endpoint=HOST:PORT. For one machine leave "
        "trainer.num_nodes out."
    )
