"""Work divided among the processes that ``torchrun`` or ``srun`` started: each does a part, all have all results."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from datetime import timedelta
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar, cast

from coseg.errors import CosegError, error_words

if TYPE_CHECKING:  # one process alone needs no torch for this
    from torch.distributed import ProcessGroup, Store

    from coseg.training.launched import Job

Made = TypeVar("Made")

PORTS = 20_000, 12_000
"""Of processes that ``srun`` started: the first port at which they may meet, and how many there are. Linux gives those
from 32,768 on to other connections."""

LONGEST = timedelta(days=7)
"""How long a process that has met the others waits for their part of the work. One that is gone is seen at once, by its
closed connection; torch's half an hour would end processes that wait for a slow one."""

MOMENT = 1.0
"""Seconds in which a signal that has ended another process also comes to this one, which then ends by it."""


class Processes:
    """The processes that share a work: here one alone.

    Attributes:
        rank: of this process, from 0 on; 0 reports, and writes what is about all images.
        size: how many processes there are.
    """

    rank = 0
    size = 1

    def share(self, count: int) -> range:
        """Which of `count` pieces of a work this process does."""
        return range(self.rank, count, self.size)

    def divided(self, count: int, job: Callable[[int], Made]) -> Iterator[Made]:
        """What `job` makes of 0 to `count` - 1, in this order, each made by one process.

        All processes call it with the same `count`, one after the other, and take everything that it yields; `job`
        itself does not call it. What is made must be plain objects, arrays or tensors on the CPU.

        Raises:
            CosegError: another process has failed, or is gone.
        """
        return map(job, range(count))

    def require_same(self, facts: object) -> None:
        """Refuse processes that see different `facts`, which are compared by their text.

        Raises:
            CosegError: they do; or see `divided`.
        """

    def __enter__(self) -> Processes:
        return self

    def __exit__(
        self, error_type: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        return None


ALONE = Processes()
"""One process."""


class _Failed(NamedTuple):
    """In place of what a process should have made."""

    words: str


class LaunchedProcesses(Processes):
    """The processes of a launched job, connected by torch's gloo; a context, within which they work.

    They meet when they first divide a work, so that what a process alone finds wrong is reported at once. At the end
    each waits for the others. With several GPUs on a machine, each process takes one of them.

    Args:
        job: see `coseg.training.launched.this_job`.
    """

    def __init__(self, job: Job) -> None:
        self.rank, self.size, self._key = job.rank, job.size, job.key
        self._context = ExitStack()
        self._meet: Callable[[], None] = lambda: None
        self._connected = False
        self._store: Store | None = None
        self._group: ProcessGroup | None = None

    def __enter__(self) -> LaunchedProcesses:
        from coseg.training.devices import MEETING_SECONDS, meeting, meeting_in

        meet = meeting()
        if "TORCHELASTIC_RUN_ID" not in os.environ:
            _address_of_slurm(self._key)
            meet = meeting_in(self._open_store, self.rank, self.size, MEETING_SECONDS)
            if self.rank == 0:  # from now on the others can report that they have failed
                self._open_store(MEETING_SECONDS)
        self._meet = self._context.enter_context(meet)
        _own_gpu()
        return self

    def __exit__(
        self, error_type: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        if error is not None:
            with suppress(RuntimeError):  # gloo's, which would hide the error
                self._part()  # so that the others end now, whatever this process does before it ends
            return self._context.__exit__(error_type, error, trace)
        with self._context:
            if self._connected:
                self._gathered(None)  # rank 0 may have files to write yet
                self._part()
        return None

    def _part(self) -> None:
        """Close the connections to the other processes."""
        if self._group is not None:
            from torch.distributed import destroy_process_group

            self._group, self._connected = None, False
            destroy_process_group()

    def divided(self, count: int, job: Callable[[int], Made]) -> Iterator[Made]:
        """See `Processes.divided`."""
        self._connect()
        for start in range(0, count, self.size):
            failure: Exception | None = None
            made: Any = None
            if start + self.rank < count:
                try:
                    made = job(start + self.rank)
                except Exception as error:
                    failure, made = error, _Failed(str(error) if isinstance(error, CosegError) else error_words(error))
            try:
                results = self._gathered(made)
            except CosegError:
                if failure is None:
                    raise
            if failure is not None:
                raise failure
            for rank, result in enumerate(results):
                if isinstance(result, _Failed):
                    raise CosegError(f"Another process of this job, rank {rank}, has failed: {result.words}")
            yield from results[: count - start]

    def require_same(self, facts: object) -> None:
        """See `Processes.require_same`."""
        self._connect()
        text = repr(facts)
        for rank, other in enumerate(self._gathered(text)):
            if other != text:
                raise CosegError(
                    f"Process {rank} of this job finds other photographs or results than process {self.rank}: give all "
                    "the same command, with folders that all machines see under the same paths."
                )

    def _gathered(self, made: Any) -> list[Any]:
        """What each process has made, by their ranks."""
        from torch.distributed import all_gather_object

        results: list[Any] = [None] * self.size
        try:
            all_gather_object(results, made, self._group)
        except RuntimeError as error:  # gloo's
            time.sleep(MOMENT)
            raise CosegError(
                "Another process of this job has ended, so this one ends as well: look at its output. What was written "
                "is complete; the same command writes the rest."
            ) from error
        return results

    def _connect(self) -> None:
        if self._connected:
            return
        from torch.distributed import init_process_group, new_group

        from coseg.training.devices import MEETING_SECONDS

        try:
            self._meet()
        except CosegError:
            time.sleep(MOMENT)
            raise
        try:
            seconds = timedelta(seconds=MEETING_SECONDS)
            init_process_group("gloo", None, seconds, self.size, self.rank, self._store)
            self._group = cast("ProcessGroup", new_group(timeout=LONGEST))  # of all processes, so of this one
        except (RuntimeError, ValueError) as error:
            raise self._unreachable(error) from error
        self._connected = True

    def _open_store(self, seconds: float) -> Store:
        """The store in which processes of ``srun`` meet: rank 0 has it, the others wait for it."""
        from torch.distributed import PrefixStore, TCPStore

        if self._store is None:
            host, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
            end = time.monotonic() + seconds
            try:
                while self.rank and not _is_open(host, port):  # in torch's own waiting no signal would be handled
                    if time.monotonic() > end:
                        raise RuntimeError(f"nothing answers at {host}:{port} after {seconds:.0f} seconds")
                    time.sleep(0.1)
                limit = timedelta(seconds=seconds)
                store = TCPStore(host, port, None, self.rank == 0, limit, wait_for_workers=False)
            except (RuntimeError, UnicodeError) as error:  # the latter of a host's name
                advice = " MASTER_ADDR and MASTER_PORT set the address of the first one and a free port."
                raise self._unreachable(error, advice) from error
            self._store = PrefixStore(f"coseg/{self._key}", store)  # the store may be another job's, at the same port
        return self._store

    def _unreachable(self, error: Exception, advice: str = "") -> CosegError:
        return CosegError(
            f"The {self.size} processes of this job can't reach each other ({error_words(error)}): see that all were "
            f"started, and that their machines may connect to each other.{advice}"
        )


def _is_open(host: str, port: int) -> bool:
    with suppress(OSError), socket.create_connection((host, port), timeout=1.0):
        return True
    return False


def _own_gpu() -> None:
    """Let this process take the GPU of its number on its machine, if it sees several."""
    import torch

    number = os.environ.get("LOCAL_RANK", os.environ.get("SLURM_LOCALID", ""))
    if number.isdecimal() and torch.cuda.device_count() > 1:
        with suppress(RuntimeError):
            torch.cuda.set_device(int(number) % torch.cuda.device_count())


def _address_of_slurm(key: str) -> None:
    """Set where processes that ``srun`` started meet: on the first node of the step, at a port of the job's own.

    Raises:
        CosegError: the environment gives a port that is none.
    """
    from lightning.fabric.plugins.environments import SLURMEnvironment

    nodes = os.environ.get("SLURM_STEP_NODELIST") or os.environ.get("SLURM_NODELIST") or "127.0.0.1"
    os.environ.setdefault("MASTER_ADDR", SLURMEnvironment.resolve_root_node_address(nodes))
    first, count = PORTS
    port = os.environ.setdefault("MASTER_PORT", str(first + int(key[:8], 16) % count))
    if not (port.isascii() and port.isdecimal() and 0 < int(port) < 2**16):
        raise CosegError(f"MASTER_PORT is '{port}', but must be a port, 1 to 65535: leave it out, or give a free one.")
