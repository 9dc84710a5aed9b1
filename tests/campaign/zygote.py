"""Commands by the hundred: a process that has imported everything is forked for each, which costs milliseconds.

Importing torch and Lightning takes seconds of processor time, more than most cases do. A fork shares what is imported,
and nothing else: each has its own arguments, directory, environment, output and limits. What a fork could hide (the
start of Python, the imports) is covered by some cases that start a real process (`Call.real`).
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

MODULES = {
    "train": "coseg.cli.train",
    "test": "coseg.cli.test",
    "predict": "coseg.cli.predict",
    "sweep": "coseg.cli.sweep",
    "export": "coseg.cli.export",
    "report": "coseg.cli.report",
    "data": "coseg.cli.data",
}
"""Of each command."""

_HEAVY = (
    "torch", "lightning.pytorch", "hydra", "albumentations", "cv2", "matplotlib.pyplot", "optuna",
    "PIL.Image", "coseg.training.fit", "coseg.training.check", "coseg.evaluation.score", "coseg.evaluation.predictions",
    "coseg.inference.album", "coseg.hub.load", "coseg.inference.inputs",
    "coseg.inference.cosegmentation", "coseg.export.export_model", "coseg.sweeps.search", "coseg.sweeps.report",
    "coseg.sweeps.report", "coseg.data.download", "coseg.reports.tables", "coseg.reports.figures",
    "coseg.reports.compare", "coseg.data.readers.folder", "coseg.data.readers.voc", "coseg.data.readers.msrc",
    "coseg.data.readers.icoseg", "coseg.data.readers.internet", "coseg.data.readers.shapes",
)  # fmt: skip

MEMORY = 4 << 30
"""Bytes that a command may allocate beside what it begins with: absurd sizes must not take the machine down."""

FILE = 512 << 20
"""Bytes of a file that a command may write."""

_SUBREAPER = 36  # PR_SET_CHILD_SUBREAPER of Linux


@dataclass(frozen=True)
class Call:
    """A command to run.

    Attributes:
        command: a key of `MODULES`.
        arguments: what follows its name.
        folder: where it is started; output goes to files beside it.
        environment: variables to set; None removes one.
        prepare: is called in the process before the command, to slow it or to make it write more often.
        real: start a Python of its own in place of a fork (`prepare` is left out).
    """

    command: str
    arguments: Sequence[str]
    folder: Path
    environment: Mapping[str, str | None] = field(default_factory=dict)
    prepare: Callable[[], object] | None = None
    real: bool = False


@dataclass(frozen=True)
class Ended:
    """How a command ended: its exit code (-n: by signal n), what it wrote, and seconds; `late`: it had to be ended."""

    code: int
    out: str
    err: str
    seconds: float
    late: bool = False

    @property
    def has_traceback(self) -> bool:
        """Whether it printed one."""
        return "Traceback (most recent call last)" in self.out + self.err


class Running:
    """A command that runs."""

    def __init__(self, pid: int, out: Path, err: Path) -> None:
        self.pid = pid
        self._out, self._err = out, err
        self._began = time.monotonic()
        self._code: int | None = None

    def poll(self) -> bool:
        """Whether it has ended."""
        if self._code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self._code = os.waitstatus_to_exitcode(status)
        return self._code is not None

    def wait(self, seconds: float) -> bool:
        """Wait for its end, at most so long; whether it has ended."""
        deadline = time.monotonic() + seconds
        pause = 0.001
        while not self.poll() and time.monotonic() < deadline:
            time.sleep(min(pause, max(0.0, deadline - time.monotonic())))
            pause = min(pause * 1.5, 0.02)
        return self.poll()

    def send(self, number: int) -> None:
        """Send it a signal, if it still runs."""
        if not self.poll():
            os.kill(self.pid, number)

    def end(self, seconds: float) -> Ended:
        """Wait so long, kill whatever is left of it, and say how it ended."""
        late = not self.wait(seconds)
        took = time.monotonic() - self._began
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        self.wait(10)
        out, err = (path.read_text(encoding="utf-8", errors="replace") for path in (self._out, self._err))
        return Ended(self._code if self._code is not None else -signal.SIGKILL, out, err, took, late)


class Zygote:
    """Starts commands. Make one before anything computes in this process: threads do not survive a fork."""

    def __init__(self, outputs: Path) -> None:
        self._outputs = outputs
        self._number = 0
        outputs.mkdir(parents=True, exist_ok=True)
        for name in (*MODULES.values(), *_HEAVY):
            importlib.import_module(name)
        import torch

        torch.set_num_threads(1)

    def start(self, call: Call) -> Running:
        """Start a command; what a killed one prints is in the same place as what others do."""
        self._number += 1
        out, err = (self._outputs / f"{self._number:05}.{name}" for name in ("out", "err"))
        sys.stdout.flush()
        sys.stderr.flush()
        pid = os.fork()
        if pid == 0:
            _child(call, out, err)
        return Running(pid, out, err)

    def run(self, call: Call, seconds: float = 60) -> Ended:
        """Run a command to its end, at most so long."""
        return self.start(call).end(seconds)


def adopt_orphans() -> None:
    """Become the parent of processes whose own parent was killed, so that `wait_for_orphans` sees them end."""
    with contextlib.suppress(OSError, AttributeError):  # not Linux
        ctypes.CDLL(None).prctl(_SUBREAPER, 1, 0, 0, 0)


def wait_for_orphans(seconds: float) -> bool:
    """Wait until no child of this process is left, after `seconds` by killing them; whether they ended by themselves.

    Only for a process whose children are all commands of a campaign.
    """
    deadline, patient = time.monotonic() + seconds, True
    while True:
        try:
            pid, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return patient
        if pid == 0:
            if time.monotonic() > deadline:
                patient = False
                for child in _children():
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(child, signal.SIGKILL)
            time.sleep(0.01)


def _children() -> list[int]:
    return [int(pid) for path in Path("/proc/self/task").glob("*/children") for pid in path.read_text().split()]


def _child(call: Call, out: Path, err: Path) -> NoReturn:
    """The forked process: become the command."""
    code = 70
    try:
        os.setsid()
        _redirect(out, err)
        os.chdir(call.folder)
        _become(call.command, call.arguments, call.environment)
        if call.real:
            program = [sys.executable, "-m", MODULES[call.command], *call.arguments]
            os.execv(program[0], program)
        _limit()
        subprocess_by_fork()
        if call.prepare is not None:
            call.prepare()
        code = run_main(call.command)
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def _redirect(out: Path, err: Path) -> None:
    """Standard output and error to files, standard input from nothing."""
    for number, path in ((1, out), (2, err)):
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o644)
        os.dup2(descriptor, number)
        os.close(descriptor)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    sys.stdin = sys.__stdin__ = open(0, closefd=False)  # noqa: SIM115
    sys.stdout = sys.__stdout__ = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stderr = sys.__stderr__ = open(2, "w", encoding="utf-8", errors="backslashreplace", closefd=False)  # noqa: SIM115


def _become(command: str, arguments: Sequence[str], environment: Mapping[str, str | None]) -> None:
    sys.argv = [f"coseg-{command}", *arguments]
    for key, value in environment.items():
        if value is None:
            os.environ.pop(key, None)
        else:
            os.environ[key] = value
    tempfile.tempdir = None  # TMPDIR is read again
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)


def _limit() -> None:
    pages = int(Path("/proc/self/statm").read_text().split()[0]) if Path("/proc/self/statm").exists() else 0
    if pages:
        size = pages * resource.getpagesize() + MEMORY
        resource.setrlimit(resource.RLIMIT_AS, (size, size))
    resource.setrlimit(resource.RLIMIT_FSIZE, (FILE, FILE))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def run_main(command: str) -> int:
    """Call the entry point of a command, and give the exit code that its process would have."""
    from hydra.core.global_hydra import GlobalHydra

    GlobalHydra.instance().clear()
    code = 0
    try:
        importlib.import_module(MODULES[command]).main()
    except SystemExit as leaving:
        if leaving.code is not None and not isinstance(leaving.code, int):
            print(leaving.code, file=sys.stderr)
        code = leaving.code if isinstance(leaving.code, int) else int(leaving.code is not None)
    except KeyboardInterrupt:
        traceback.print_exc()
        code = 130
    except BaseException:
        traceback.print_exc()
        code = 1
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.flush()
        sys.stderr.flush()
    return code & 255


class _ForkedTraining:
    """What `coseg.sweeps.processes` needs of `subprocess.Popen`, as a fork: a trial of a study then starts at once."""

    def __init__(self, words: Sequence[str], stdout: Any, stderr: Any, env: Mapping[str, str], **_: Any) -> None:
        self.returncode: int | None = None
        command = next(name for name, module in MODULES.items() if module == words[2])
        self.pid = os.fork()
        if self.pid == 0:
            code = 70
            try:
                os.setsid()
                for number, file in ((1, stdout), (2, stderr)):
                    if file is not None:
                        os.dup2(file.fileno(), number)
                _become(command, words[3:], {key: env.get(key) for key in {*os.environ, *env}})
                code = run_main(command)
            finally:
                os._exit(code)

    def poll(self) -> int | None:
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)


def subprocess_by_fork() -> None:
    """Have a study start its trainings by forking."""

    class Subprocess:
        Popen = _ForkedTraining
        DEVNULL = subprocess.DEVNULL

    from coseg.sweeps import processes

    processes.subprocess = Subprocess  # type: ignore[attr-defined]
