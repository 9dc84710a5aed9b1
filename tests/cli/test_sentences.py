from __future__ import annotations

import errno
import operator
import shlex
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from facts import mentions

from coseg.cli.sentences import (
    file_sentence,
    guard,
    memory_sentence,
    peer_sentence,
    report_error,
    sentence,
    stopped_sentence,
    writing,
)
from coseg.errors import CosegError
from coseg.signals import Stopped

HANDED_OVER = """

-- Process 1 terminated with the following error:
Traceback (most recent call last):
  File "x.py", line 7, in wrap
{}
"""

MEMORY = (
    MemoryError(),
    MemoryError("Unable to allocate 7.45 GiB for an array with shape (1000000000,) and data type float64"),
    RuntimeError(
        "[enforce fail at alloc_cpu.cpp:117] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to "
        "allocate 8192000000000 bytes. Error code 12 (Cannot allocate memory)"
    ),
    RuntimeError("[enforce fail at alloc_cpu.cpp:75] . DefaultCPUAllocator: not enough memory: you tried it"),
    RuntimeError("std::bad_alloc"),
    RuntimeError("CUDA out of memory. Tried to allocate 20.00 MiB. GPU 0 has a total capacity of 139.80 GiB"),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    RuntimeError("MPS backend out of memory (MPS allocated: 1 GB)"),
    RuntimeError("DataLoader worker (pid 4711) is killed by signal: Killed. "),
    RuntimeError("unable to mmap 1024 bytes from file </torch_1>: Cannot allocate memory (12)"),
    RuntimeError("DataLoader worker (pid 7) is killed by signal: Bus error. It is possible that dataloader's workers "
                 "are out of shared memory. Please try to raise your shared memory limit."),
    RuntimeError("can't start new thread"),
    OSError(errno.ENOMEM, "Cannot allocate memory"),
    SystemError("error return without exception set"),
    ImportError("libtorch_cuda.so: failed to map segment from shared object"),
    Exception("\n\n-- Process 1 terminated with the following error:\nTraceback (most recent call last):\n  File\n"
              "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB."),
    Exception('Caught MemoryError in DataLoader worker process 0.\nOriginal Traceback (most recent call last):\n'
              '  File "x", line 3\nMemoryError\n'),
)  # fmt: skip


@pytest.mark.parametrize("error", MEMORY, ids=lambda error: str(error)[:40] or "empty")
def test_too_little_memory(error: Exception, capsys: pytest.CaptureFixture[str]) -> None:
    said = memory_sentence(error)
    assert said is not None and "memory" in said and "data.batch_size" in said
    assert "\n" not in said and "Traceback" not in said and len(said) < 500
    assert ("accelerator" in said) == ("CUDA" in str(error) or "MPS" in str(error) or "CUBLAS" in str(error))
    assert report_error(error) == 2
    assert capsys.readouterr().err == said + "\n"


def test_memory_that_lacked_while_something_was_made() -> None:
    try:
        try:
            raise MemoryError("Unable to allocate 9 GiB")
        except MemoryError as cause:
            raise CosegError("The network can't be made from the configuration.") from cause
    except CosegError as error:
        assert "9 GiB" in str(sentence(error))


@pytest.mark.parametrize("error", [ValueError("a defect"), RuntimeError("shape mismatch"), KeyError("memory")])
def test_defects_stay_defects(error: Exception) -> None:
    assert sentence(error) is None


def test_what_lightning_calls_a_misconfiguration() -> None:
    from lightning.fabric.utilities.exceptions import MisconfigurationException

    assert sentence(MisconfigurationException("You asked for\n too much.")) == "You asked for too much."


def test_real_errors_of_numpy_and_torch() -> None:
    import torch

    with pytest.raises(MemoryError) as of_numpy:
        np.ones(2**58, np.uint8)
    with pytest.raises(RuntimeError) as of_torch:
        torch.empty(2**58, dtype=torch.uint8)
    for error in (of_numpy.value, of_torch.value):
        assert mentions(sentence(error), "memory", "data.batch_size")


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EACCES, errno.ENAMETOOLONG, errno.EDQUOT])
def test_files_that_the_system_refuses(number: int) -> None:
    said = file_sentence(OSError(number, "No", "/runs/a/metrics.csv"))
    assert said is not None and "/runs/a/metrics.csv" in said and "(No)" in said
    assert file_sentence(FileNotFoundError(errno.ENOENT, "No such file", "x")) is None


@pytest.mark.skipif(sys.platform == "darwin", reason="ulimit -v has no effect there")
@pytest.mark.parametrize("kilobytes", [900_000, 1_600_000])
def test_a_real_process_under_a_limit(
    kilobytes: int, tmp_path: Path, tiny_overrides: dict[str, tuple[str, ...]]
) -> None:
    """While torch is loaded, or later: whichever it is, a sentence and no run."""
    words = [sys.executable, "-m", "coseg.cli.train", *tiny_overrides["train"], "augmentation.size=4096"]
    limited = ["bash", "-c", f'ulimit -v {kilobytes}; exec "$@"', "limited", *words]
    ran = subprocess.run(limited, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert ran.returncode == 2, ran.stderr
    assert "memory" in ran.stderr and "Traceback" not in ran.stderr


def test_a_process_of_the_job_that_is_gone_is_told() -> None:
    gone = RuntimeError("[../third_party/gloo/gloo/transport/tcp/pair.cc:534] Connection closed by peer [127.0.0.1]:55")
    told = peer_sentence(gone)
    assert told is not None and mentions(told, "process", "resume=")
    assert peer_sentence(RuntimeError("a defect")) is None and peer_sentence(BrokenPipeError("broken pipe")) is None


def test_sentences_of_spawned_processes() -> None:
    assert sentence(CosegError("Mend it.")) == "Mend it."
    assert sentence(Exception(HANDED_OVER.format("coseg.errors.CosegError: Mend it."))) == "Mend it."
    assert sentence(ValueError("a defect")) is None


def test_sentences_of_a_loaders_workers() -> None:
    text = (
        'Caught CosegError in DataLoader worker process 0.\nOriginal Traceback (most recent call last):\n  File "x"\n'
    )
    for name in ("CosegError", "DamagedFile"):
        assert sentence(CosegError(text + f"coseg.errors.{name}: a.jpg can't be read.\n")) == "a.jpg can't be read."


def test_a_stop_in_a_spawned_process_is_one_here() -> None:
    stopped = Stopped(Path("/runs/a b/checkpoints/last.ckpt"), 2)
    text = f"{Stopped.__module__}.Stopped: {stopped}"
    found = Stopped.find(Exception(HANDED_OVER.format(text)))
    assert found is not None
    assert (found.path, found.code) == (stopped.path, 130)
    assert stopped_sentence(found).endswith("coseg-train \"resume='/runs/a b'\"")
    assert Stopped.find(ValueError("a defect")) is None
    assert Stopped.find(stopped) is stopped


def test_the_command_that_resumes_a_run_with_a_class_of_the_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped = Stopped(tmp_path / "checkpoints" / "last.ckpt", 15)
    monkeypatch.setattr("sys.argv", ["coseg-train", "--config-dir", "my conf", "model=mine", "optimizer.lr=1"])

    def words() -> list[str]:
        return shlex.split(stopped_sentence(stopped).partition("coseg-train ")[2])

    (tmp_path / "config.yaml").write_text("model: {_target_: coseg.models.siamese.SiameseNetwork}")
    assert words() == ["--config-dir", "my conf", f"resume={tmp_path}"]
    (tmp_path / "config.yaml").write_text("model: {_target_: mine.Network}")
    assert words() == ["--config-dir", "my conf", f"resume={tmp_path}", "trust=true"]
    (tmp_path / "config.yaml").write_text("model: [damaged")
    assert words()[-1] == f"resume={tmp_path}"


def test_a_reader_that_has_enough_is_a_sentence() -> None:
    code = "from coseg.cli.sentences import guard; guard(lambda: print('x' * 2**20, flush=True))"
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None and process.stderr is not None
    process.stdout.close()
    errors = process.stderr.read().decode()
    assert process.wait(60) == 2 and "Standard output" in errors and "Traceback" not in errors


def test_exit_codes_of_a_guarded_job(capsys: pytest.CaptureFixture[str]) -> None:
    from hydra.errors import HydraException

    errors = {CosegError("Mend it."): 2, HydraException("no match"): 1, KeyboardInterrupt(): 130}
    for error, code in errors.items():

        def job(error: BaseException = error) -> None:
            raise error

        with pytest.raises(SystemExit) as leaving:
            guard(job)
        assert leaving.value.code == code
        assert str(error) in capsys.readouterr().err
    with pytest.raises(ZeroDivisionError):
        guard(partial(operator.truediv, 1, 0))  # in no file of a user's


def test_an_output_that_cannot_be_written() -> None:
    with pytest.raises(CosegError, match=r"a\.csv"), writing(Path("a.csv")):
        raise OSError(errno.ENOSPC, "No space left")
