"""Processes that ``torchrun`` started meet before they train: where one fails until then, the others end at once.

Torch itself would have them wait for half an hour. They meet in the store of ``torchrun``. With other launchers nothing
is done here: Lightning ends the processes that it started, and ``srun`` has ``--kill-on-bad-exit``.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any

from coseg.errors import CosegError

SECONDS = 600.0
"""For which they wait for each other: one reads its data from a slower disk."""

_PAUSE = 0.1


@contextmanager
def meeting(seconds: float = SECONDS) -> Iterator[Callable[[], None]]:
    """Within the block call what it gives once this process is ready; it returns when all are.

    An error that leaves the block before is reported to the others.

    Raises:
        CosegError: another process has failed, or did not come in time.
    """
    if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True" or int(os.environ.get("WORLD_SIZE", "1")) < 2:
        yield lambda: None
        return
    rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    met = False

    def meet() -> None:
        nonlocal met
        _wait(rank, size, seconds)
        met = True

    try:
        yield meet
    except BaseException:
        if not met:
            with suppress(Exception):  # the store is gone: so are the others
                _store(seconds).set("failed", str(rank))
        raise


def _store(seconds: float) -> Any:
    from torch.distributed import PrefixStore, TCPStore

    host, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    store = TCPStore(host, port, is_master=False, timeout=timedelta(seconds=seconds))
    return PrefixStore(f"coseg/{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}", store)


def _wait(rank: int, size: int, seconds: float) -> None:
    end = time.monotonic() + seconds
    try:
        store = _store(seconds)
        store.set(f"ready/{rank}", "")
        while not store.check([f"ready/{other}" for other in range(size)]):
            if store.check(["failed"]):
                other = store.get("failed").decode()
                raise CosegError(
                    f"Another process of this job, rank {other}, has failed, so this one ends as well: look at what "
                    "that printed."
                )
            if time.monotonic() > end:
                raise CosegError(
                    f"Not all of the {size} processes of this job were ready within {seconds:.0f} seconds: look at "
                    "what the others print."
                )
            time.sleep(_PAUSE)
    except RuntimeError as error:  # torch's, where the store is gone
        reason = " ".join(str(error).split())[:160]
        raise CosegError(
            f"Another process of this job has ended ({reason}), so this one ends as well: look at what that printed."
        ) from error
