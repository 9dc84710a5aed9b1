"""The service under load: are requests lost, and does its memory stay within bounds?

    python benchmarks/serve.py --clients 30 --minutes 10 [--kill] [--words='--onnx graphs --threads 1']

Starts `coseg-serve` with its default limits (and `--words`), and as many clients, each of which sends pairs and groups
of drawn pictures, one request after the other. A client that is refused with 503 waits as long as Retry-After says and
asks again. With --kill the service is killed without warning after half of the time, and started anew at the same port;
clients ask again until it answers. At the end it gets SIGTERM.

Prints one line of JSON for each minute (or each tenth of a shorter time): answers so far, and the memory of the server
in MB, now and at most; and one for all. Lost are requests that got another answer than 200 or 503, or none.
"""

from __future__ import annotations

import argparse
import io
import json
import re
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from statistics import median, quantiles

import httpx
import numpy as np
from PIL import Image

SIZES = ((480, 640), (900, 1200), (1500, 2000))
"""Of the pictures, in pixels."""

PATIENCE = 600
"""Seconds after which a client gives a request up."""


def pictures(count: int = 4) -> list[bytes]:
    """Smooth colours with noise, as JPEG files of `SIZES`."""
    random = np.random.default_rng(0)
    files = []
    for k in range(count * len(SIZES)):
        height, width = SIZES[k % len(SIZES)]
        coarse = Image.fromarray(random.integers(0, 256, (6, 8, 3), np.uint8)).resize((width, height))
        noisy = np.asarray(coarse, np.int16) + random.integers(-8, 9, (height, width, 3))
        file = io.BytesIO()
        Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(file, "JPEG", quality=85)
        files.append(file.getvalue())
    return files


class Server:
    """A process of `coseg-serve`."""

    def __init__(self, words: list[str], port: int = 0) -> None:
        command = [sys.executable, "-m", "coseg.cli.serve", "--port", str(port), *words]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if match := re.search(r"http://[\w.]+:(\d+)", line):
                self.address, self.port = match[0], int(match[1])
                return
        raise SystemExit(f"The service did not start: exit code {self.process.wait()}.")

    def figures(self) -> dict[str, float]:
        """What ``/metrics`` says, by name."""
        try:
            text = httpx.get(f"{self.address}/metrics", timeout=30).text
        except httpx.HTTPError:
            return {}
        return {name: float(value) for name, value in re.findall(r"^(\w+) (\S+)$", text, re.MULTILINE)}


class Load:
    """The clients, and what they count."""

    def __init__(self, address: str, clients: int, end: float) -> None:
        self.address, self.end = address, end
        self.counts: Counter[str] = Counter()
        self.seconds: list[float] = []
        self._files, self._lock = pictures(), threading.Lock()
        self._threads = [threading.Thread(target=self._client, args=(seed,), daemon=True) for seed in range(clients)]
        for thread in self._threads:
            thread.start()

    def join(self) -> None:
        """Wait for the clients, which finish what they began."""
        for thread in self._threads:
            thread.join()

    def count(self, what: str) -> None:
        """One more."""
        with self._lock:
            self.counts[what] += 1

    def _client(self, seed: int) -> None:
        random = np.random.default_rng(seed)
        with httpx.Client(timeout=httpx.Timeout(300, connect=30)) as client:
            while time.monotonic() < self.end:
                number = int(random.choice([2, 2, 2, 3, 5]))
                chosen = [self._files[k] for k in random.integers(len(self._files), size=number)]
                names = ["a", "b"] if number == 2 else ["images"] * number
                files = [(name, (f"{k}.jpg", file)) for k, (name, file) in enumerate(zip(names, chosen, strict=True))]
                self.count("requests")
                self._ask(client, "/pair" if number == 2 else "/group", files)

    def _ask(self, client: httpx.Client, path: str, files: list[tuple[str, tuple[str, bytes]]]) -> None:
        began = time.monotonic()
        while time.monotonic() - began < PATIENCE:
            asked = time.monotonic()
            try:
                answer = client.post(f"{self.address}{path}", files=files)
            except httpx.HTTPError as error:
                self.count(type(error).__name__)
                time.sleep(0.5)
                continue
            if answer.status_code == 503:
                self.count("busy")
                time.sleep(float(answer.headers.get("retry-after", 1)))
                continue
            whole = answer.status_code == 200 and len(answer.json()["images"]) == len(files)
            self.count("answered" if whole else f"status {answer.status_code}")
            with self._lock:
                self.seconds.append(time.monotonic() - asked)
            return
        self.count("given up")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--clients", type=int, default=30)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--kill", action="store_true")
    parser.add_argument("--words", default="", help="further options of coseg-serve")
    arguments = parser.parse_args()
    words = shlex.split(arguments.words)
    server = Server(words)
    began = time.monotonic()
    total = 60 * arguments.minutes
    load = Load(server.address, arguments.clients, began + total)
    step = min(60.0, total / 10)
    memory: list[float] = []
    peaks: list[float] = []
    killed = False
    while (passed := time.monotonic() - began) < total:
        time.sleep(min(step, total - passed) if total - passed > 0.1 else 0.1)
        if arguments.kill and not killed and time.monotonic() - began >= total / 2:
            killed = True
            server.process.kill()
            server.process.wait()
            server = Server(words, server.port)
        figures = server.figures()
        if figures:
            memory.append(figures["process_resident_memory_bytes"] / 1e6)
            peaks.append(figures["coseg_peak_memory_bytes"] / 1e6)
            line = {"minute": round((time.monotonic() - began) / 60, 2), "answered": load.counts["answered"]}
            queue = {"running": figures["coseg_requests_running"], "waiting": figures["coseg_requests_waiting"]}
            print(json.dumps({**line, **queue, "mb": round(memory[-1]), "peak_mb": round(peaks[-1])}), flush=True)
    load.join()
    server.process.send_signal(signal.SIGTERM)
    code = server.process.wait(300)
    counts = load.counts
    often = quantiles(load.seconds, n=20)[-1] if len(load.seconds) > 1 else None
    print(
        json.dumps(
            {
                **counts,
                "lost": counts["requests"] - counts["answered"],
                "median_s": round(median(load.seconds), 2) if load.seconds else None,
                "95_percent_s": None if often is None else round(often, 2),
                "first_mb": round(memory[0]) if memory else None,
                "last_mb": round(memory[-1]) if memory else None,
                "peak_mb": round(max(peaks)) if peaks else None,
                "killed": killed,
                "exit_code": code,
            }
        )
    )


if __name__ == "__main__":
    main()
