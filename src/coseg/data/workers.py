"""The processes that read images ahead of training and tests."""

from __future__ import annotations

import multiprocessing
import signal
from typing import Any

import cv2


def worker_settings(workers: int) -> dict[str, Any]:
    """Arguments of a `DataLoader` for so many workers."""
    settings: dict[str, Any] = {"num_workers": workers, "worker_init_fn": start_worker}
    methods = multiprocessing.get_all_start_methods()
    # A launcher of parallel jobs may have made a way of its own the default, which can start nothing but its jobs.
    if workers and multiprocessing.get_start_method() not in ("fork", "spawn", "forkserver"):
        settings["multiprocessing_context"] = "fork" if "fork" in methods else "spawn"
    return settings


def start_worker(worker: int) -> None:
    """Ctrl-C reaches workers too, but it is for the main process, which needs their batches to end its step."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    cv2.setNumThreads(0)  # or each worker keeps as many threads as there are cores
