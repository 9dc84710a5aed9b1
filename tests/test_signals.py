"""Stop signals are remembered, passed on and given back; what was stopped says how to resume."""

from __future__ import annotations

import multiprocessing
import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from coseg.cli.sentences import stopped_sentence
from coseg.configs import parse_overrides
from coseg.signals import (
    STOP_SIGNALS,
    Stopped,
    StopRequest,
    StopSignal,
    handled,
    handlers_kept,
    ignore_stop_signals,
    stop_children,
    stopping_at_once,
    workers_started,
)


@pytest.mark.parametrize(
    "run", ["/runs/a", "/a b/c", "/album [2020], b=c", "/it's", "/Größe/图像", "/a{b}", "/$x:y", "/a\\b", "/(a)~#"]
)
def test_the_command_that_resumes_is_read_as_the_path(run: str) -> None:
    sentence = stopped_sentence(Stopped(Path(run) / "checkpoints" / "last.ckpt"))
    words = shlex.split(sentence.partition("coseg-train ")[2])
    assert len(words) == 1
    (override,) = parse_overrides(words)
    assert override.key_or_group == "resume" and str(override.value()) == run


def test_the_first_signal_stops_at_once_and_the_next_ones_do_not_disturb_the_end() -> None:
    before = {number: signal.getsignal(number) for number in STOP_SIGNALS}
    with handled(signal.default_int_handler, [signal.SIGINT]), stopping_at_once():
        with pytest.raises(StopSignal) as stop:
            signal.raise_signal(signal.SIGUSR1)
        assert stop.value.number == signal.SIGUSR1 and isinstance(stop.value, KeyboardInterrupt)
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGUSR1)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert {number: signal.getsignal(number) for number in STOP_SIGNALS} == before


def test_a_request_remembers_the_first_signal_and_gives_the_handlers_back(capfd: pytest.CaptureFixture[str]) -> None:
    before = {number: signal.getsignal(number) for number in STOP_SIGNALS}
    request = StopRequest("soon")
    request.listen()
    request.listen()  # once more: what is given back is still what was there before
    try:
        signal.raise_signal(signal.SIGTERM)
        assert request.number == signal.SIGTERM
        signal.raise_signal(signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        assert request.number == signal.SIGTERM
    finally:
        request.restore()
    assert capfd.readouterr().err.count("soon") == 1
    assert {number: signal.getsignal(number) for number in STOP_SIGNALS} == before


def test_outside_the_main_thread_signals_keep_their_meaning() -> None:
    before = signal.getsignal(signal.SIGTERM)
    errors: list[BaseException] = []

    def listen() -> None:
        try:
            with handled(lambda *_: None):
                assert signal.getsignal(signal.SIGTERM) is before
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=listen)
    thread.start()
    thread.join()
    assert not errors


def test_children_get_sigterm() -> None:
    child = multiprocessing.get_context("spawn").Process(target=time.sleep, args=(60,))
    child.start()
    assert child.pid in stop_children()
    child.join(20)
    assert child.exitcode == -signal.SIGTERM


def test_handlers_are_kept() -> None:
    before = {number: signal.getsignal(number) for number in STOP_SIGNALS}
    with handlers_kept():
        signal.signal(signal.SIGTERM, lambda *_: None)
    assert {number: signal.getsignal(number) for number in STOP_SIGNALS} == before


def _work(ignoring: Any) -> None:
    ignore_stop_signals()
    ignoring.set()
    time.sleep(60)


def test_workers_outlive_signals_even_those_that_come_while_they_start() -> None:
    context = multiprocessing.get_context("spawn")
    ignoring = context.Event()
    worker = context.Process(target=_work, args=(ignoring,), daemon=True)
    with workers_started():
        worker.start()
        assert worker.pid is not None
        for number in STOP_SIGNALS:
            os.kill(worker.pid, number)
    assert not signal.pthread_sigmask(signal.SIG_BLOCK, ()) & set(STOP_SIGNALS)
    assert ignoring.wait(60)
    for number in STOP_SIGNALS:
        os.kill(worker.pid, number)
    worker.join(0.3)
    assert worker.is_alive()
    worker.kill()
    worker.join()


def test_a_process_that_exits_does_not_wait_for_workers_that_ignore_its_signals() -> None:
    code = """
import multiprocessing, time
from coseg.signals import ignore_stop_signals, workers_started
def work(ready):
    ignore_stop_signals()
    ready.set()
    time.sleep(60)
context = multiprocessing.get_context("fork")
ready = context.Event()
with workers_started():
    context.Process(target=work, args=(ready,), daemon=True).start()
ready.wait()
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=40)
    assert (ran.returncode, ran.stderr) == (0, "")
