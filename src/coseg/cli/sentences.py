"""What a user reads of an error, and the exit code.

There are sentences for mistakes, for signals, and for what the machine refuses: memory and files are recognised by the
words of the libraries. Without torch and Hydra. With ``HYDRA_FULL_ERROR=1`` the traceback stands before the sentence.
"""

from __future__ import annotations

import errno
import os
import re
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from coseg.configs import quoted, shell_word
from coseg.errors import CosegError, causes, user_error
from coseg.files.writing import short_path
from coseg.run_dir import CONFIG
from coseg.signals import Stopped
from coseg.training.slurm import requeue

BAD_INPUT = 2
"""Exit code after a sentence."""


_MEMORY = re.compile(
    r"can't allocate memory|cannot allocate memory|not enough memory|out of (?:shared )?memory|outofmemoryerror"
    r"|std::bad_alloc|unable to allocate|insufficient memory|insufficient shared memory|unable to mmap"
    r"|failed to map segment|alloc_failed|can't start new thread|is killed by signal: killed"
    r"|error return without exception set|^memoryerror\b|^\w*memoryerror:",
    re.IGNORECASE | re.MULTILINE,
)
"""In the words of torch, NumPy, OpenCV, C++, the dynamic linker and the kernel."""

_GPU = re.compile(r"cuda|cublas|cudnn|\bmps\b|\bhip\b|\bgpu\b", re.IGNORECASE)

_LIBRARIES = re.compile(r"failed to map segment|error return without exception set")
"""Where it lacked already for the program itself; the second is what Python says then."""

_LOADER = re.compile(r"dataloader worker", re.IGNORECASE)

_PEER = re.compile(
    r"connection closed by peer|connection reset by peer|gloo[^\n]*(?:timed out|failed)|nccl[^\n]*remote"
    r"|process \d+ terminated with signal|socket timeout|connectfullmesh failed",
    re.IGNORECASE,
)
"""In the words of gloo, NCCL and torch's spawned processes, where another process of a job is gone."""

_FILES = {
    errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.ENAMETOOLONG, errno.ENOTDIR,
    errno.EISDIR, errno.EFBIG, errno.EIO, errno.ELOOP, errno.ESTALE,
}  # fmt: skip
"""Errors of the system that no program can prevent."""

SHOWN = 160
"""Characters of the error itself that a sentence shows."""


def sentence(error: BaseException) -> str | None:
    """What a user reads of `error`; None for a defect, which keeps its traceback."""
    # A loader's worker and a spawned process hand their error over as the text of its traceback.
    match = re.search(r"^coseg\.errors\.(?:CosegError|DamagedFile): (.*)", str(error), re.MULTILINE | re.DOTALL)
    if match is not None:
        return match[1].strip()
    # What lacked memory would lack it whatever the settings are: that comes first.
    memory = memory_sentence(error)
    if memory is not None or isinstance(error, CosegError):
        return memory or str(error)
    if type(error).__name__ == "MisconfigurationException":  # Lightning's word for settings that don't go together
        return " ".join(str(error).split())
    return peer_sentence(error) or user_sentence(error) or file_sentence(error)


def user_sentence(error: BaseException) -> str | None:
    """The sentence for an error in code of the user's: type, message, file and line; None for another error."""
    place = user_error(error)
    return None if place is None else str(place)


def stopped_sentence(stop: Stopped) -> str:
    """How to resume what a signal stopped."""
    if stop.path.suffix != ".ckpt":
        return f"Stopped; {stop.path} holds what is finished. Resume with the same command."
    run = str(stop.path.parent.parent)
    value = run if re.fullmatch(r"[A-Za-z0-9_./+@%-]+", run) else quoted(run)
    words = " ".join(shell_word(word) for word in (*_config_dir(sys.argv[1:]), f"resume={value}", *_trust(Path(run))))
    return f"Stopped; {stop.path} holds the state. Resume with: coseg-train {words}"


def _config_dir(words: Sequence[str]) -> list[str]:
    """The options with a directory of the user's configurations: on its import path may be classes of the run."""
    options = ("--config-dir", "-cd")
    return [
        word
        for number, word in enumerate(words)
        if word in options or word.startswith("--config-dir=") or (number and words[number - 1] in options)
    ]


def _trust(run: Path) -> list[str]:
    """``trust=true`` where the run names classes outside of coseg, which are refused without."""
    from coseg.training.run import run_config

    def readable(trust: bool) -> bool:
        try:
            run_config(run / CONFIG, "", trust)
        except (CosegError, OSError):
            return False
        return True

    return ["trust=true"] if readable(True) and not readable(False) else []


def report_error(error: BaseException, prefix: str = "", queue: bool = True) -> int | None:
    """Print the sentence for a mistake of the user or a stop; its exit code, or None for a defect.

    After a stop in a job of SLURM's, `queue` has the job queued again where its signal asks for that.
    """
    stop = Stopped.find(error)
    text = stopped_sentence(stop) if stop is not None else sentence(error)
    if text is None:
        return None
    if stop is None and os.environ.get("HYDRA_FULL_ERROR") == "1":
        traceback.print_exception(error)
    print(f"{prefix}{text}", file=sys.stderr)
    if stop is not None and queue:
        requeue(stop.code - 128)
    return stop.code if stop is not None else BAD_INPUT


def guard(job: Callable[[], Any]) -> None:
    """Run `job`, which composes its configuration itself, and end the process with the exit codes of `coseg.cli.app`.

    Hydra is not imported: an error of Hydra can only come where it is.
    """
    try:
        job()
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    except BrokenPipeError:
        with suppress(OSError, ValueError):  # Python writes the rest at its end
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        print("Standard output was closed before all was written.", file=sys.stderr)
        raise SystemExit(BAD_INPUT) from None
    except Exception as error:
        hydra_errors: Any = sys.modules.get("hydra.errors")
        if hydra_errors is not None and isinstance(error, hydra_errors.HydraException):  # an override that does not fit
            print(error, *getattr(error, "__notes__", ()), sep="\n", file=sys.stderr)
            raise SystemExit(1) from None
        code = report_error(error)
        if code is None:
            raise
        raise SystemExit(code) from None


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn an error of writing the output to `path` into a sentence."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or error
        raise CosegError(
            f"{short_path(path)} can't be written ({reason}): choose another place, or make room."
        ) from error


def memory_sentence(error: BaseException) -> str | None:
    """The sentence for an error that comes of too little memory; None for another one."""
    for cause in causes(error):
        text = str(cause)
        match = _MEMORY.search(text)
        lacking = isinstance(cause, MemoryError) or (isinstance(cause, OSError) and cause.errno == errno.ENOMEM)
        if not lacking and match is None:
            continue
        words = _line(text, match.start() if match is not None else 0) or type(cause).__name__
        if _LIBRARIES.search(words):
            return (
                f"There is too little memory to load the program itself ({words}): give the process more, whatever "
                "data.batch_size and the other settings are, or start fewer at once (data.workers)."
            )
        if _GPU.search(words):
            return (
                f"The accelerator has too little memory ({words}): reduce data.batch_size, augmentation.size or "
                "input_size (--size), set trainer.precision=bf16-mixed, or in a test reduce pairs_at_once and "
                "feature_gb; device cpu needs none."
            )
        if _LOADER.search(words):
            return (
                f"Too little memory for the processes that make batches ({words}): reduce data.workers (0: none), "
                "data.batch_size, data.cache_gb or augmentation.size."
            )
        return (
            f"There is too little memory ({words}): reduce data.batch_size, augmentation.size or input_size (--size), "
            "data.workers and data.cache_gb, in a test feature_gb and pairs_at_once; or give the process more."
        )
    return None


def peer_sentence(error: BaseException) -> str | None:
    """The sentence where another process of the same job has ended; None for another error."""
    for cause in causes(error):
        text = str(cause)
        match = _PEER.search(text)
        if (match is not None and isinstance(cause, RuntimeError)) or _is_process_exit(cause):
            words = _line(text, match.start() if match is not None else 0)
            return (
                f"Another process of this job has ended ({words}), so this one ends as well: look at what that "
                "printed, then resume with resume= and the run directory."
            )
    return None


def _is_process_exit(error: BaseException) -> bool:
    return type(error).__name__ == "ProcessExitedException"  # of torch.multiprocessing, which is not loaded for it


def file_sentence(error: BaseException) -> str | None:
    """The sentence for a file that the system refuses; None for another error."""
    for cause in causes(error):
        if isinstance(cause, OSError) and cause.errno in _FILES:
            full = cause.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
            advice = "make room there" if full else "see to its name and rights"
            where = short_path(cause.filename) if cause.filename is not None else "A file"
            return f"{where} can't be {'written' if full else 'used'} ({cause.strerror}): {advice}, or choose another."
    return None


def is_interrupted(error: BaseException) -> bool:
    """Whether an error came of leaving at a second Ctrl-C, in the middle of something."""
    return any(isinstance(cause, KeyboardInterrupt) for cause in causes(error))


def _line(text: str, place: int) -> str:
    """The line of an error's text around `place`, without what a traceback puts before it."""
    start = text.rfind("\n", 0, place) + 1
    end = text.find("\n", place)
    line = text[start : end if end >= 0 else len(text)].strip().rstrip(".")
    line = re.sub(r"^(\w+\.)*\w*Error: ", "", line)
    return line if len(line) <= SHOWN else line[:SHOWN] + "…"
