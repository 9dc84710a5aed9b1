"""Work that processes divide: threads in their place here, and real ones of ``torchrun`` in the slow tests."""

from __future__ import annotations

import os
import pickle
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier, BrokenBarrierError
from typing import Any

import pytest
import torch
from machines import children, torchrun, wait_for
from PIL import Image
from tiny_networks import network_config, picture, tiny_network

from coseg import CoSegmenter
from coseg.cli.predict_options import check_processes, predict_parser
from coseg.errors import CosegError
from coseg.hub.load import load_pretrained
from coseg.hub.settings import settings_of
from coseg.inference.album import Album
from coseg.inference.objects_album import ObjectsAlbum
from coseg.inference.outputs import Targets
from coseg.inference.processes import ALONE, LaunchedProcesses, Processes
from coseg.training import devices
from coseg.training.launched import Job

SIZE = 3


class Threads(LaunchedProcesses):
    """Threads in place of processes: what they give each other is pickled, as gloo has it."""

    def __init__(self, rank: int, barrier: Barrier, place: list[bytes]) -> None:
        super().__init__(Job(rank, SIZE, "a job"))
        self.barrier, self.place = barrier, place

    def _connect(self) -> None:
        pass

    def _gathered(self, made: Any) -> list[Any]:
        self.place[self.rank] = pickle.dumps(made)
        try:
            self.barrier.wait(60)
            results = [pickle.loads(text) for text in self.place]
            self.barrier.wait(60)
        except BrokenBarrierError:
            raise CosegError("another one is gone") from None
        return results


def in_threads(job: Callable[[Processes], Any]) -> list[Any]:
    """What each of `SIZE` threads makes, or its error."""
    barrier, place = Barrier(SIZE), [b""] * SIZE

    def run(rank: int) -> Any:
        torch.set_num_threads(1)
        try:
            return job(Threads(rank, barrier, place))
        except Exception as error:
            return error

    with ThreadPoolExecutor(SIZE) as threads:
        return list(threads.map(run, range(SIZE)))


def test_every_piece_is_done_once_and_comes_in_order() -> None:
    done: list[int] = []

    def job(k: int) -> int:
        done.append(k)
        return k * k

    for count in (0, 1, 3, 7):
        done.clear()
        assert in_threads(lambda processes, n=count: list(processes.divided(n, job))) == [
            [k * k for k in range(count)]
        ] * SIZE  # fmt: skip
        assert sorted(done) == list(range(count)) == list(ALONE.divided(count, int))


@pytest.mark.parametrize("error", [CosegError("no image"), ValueError("a defect")])
def test_a_failure_of_one_ends_all(error: Exception) -> None:
    def job(k: int) -> int:
        if k == 4:
            raise error
        return k

    first, second, third = in_threads(lambda processes: list(processes.divided(9, job)))
    assert second is error
    for other in (first, third):
        assert isinstance(other, CosegError) and str(error) in str(other) and "rank 1" in str(other)


def test_processes_that_see_different_files_end() -> None:
    errors = in_threads(lambda processes: processes.require_same(("a.jpg", processes.rank == 2)))
    assert all(isinstance(error, CosegError) for error in errors)
    assert in_threads(lambda processes: processes.require_same("a.jpg")) == [None] * SIZE


@pytest.mark.parametrize("words", [["album", "--watch"], ["-", "b.jpg"], ["a.jpg", "b.jpg", "--out", "-"]])
def test_streams_and_watch_are_refused(words: list[str]) -> None:
    options = predict_parser().parse_args(words)
    check_processes(options, 1)
    with pytest.raises(CosegError, match="torchrun"):
        check_processes(options, 2)


@pytest.fixture(scope="module")
def album(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Photographs of different sizes, one that is none, and one twice."""
    folder = tmp_path_factory.mktemp("album")
    for k, size in enumerate([(40, 50), (64, 64), (30, 70), (50, 40), (48, 96), (64, 30), (33, 47)]):
        Image.fromarray(picture(*size, k)).save(folder / f"{k}.png")
    (folder / "2x.png").write_bytes(b"no image")
    (folder / "5x.png").write_bytes((folder / "0.png").read_bytes())
    return sorted(folder.iterdir())


def made(name: str) -> CoSegmenter:
    if name == "bundled":
        network, settings, source = load_pretrained()
        return CoSegmenter(network, settings, "cpu", 64, source=source)
    more = {"metric_channels": 8} if "siamese" in name else {}
    config = network_config(*([name] if name else []), **more)
    network = tiny_network(config)
    return CoSegmenter(network, settings_of(config, network), "cpu")


def written(
    segmenter: CoSegmenter, processes: Processes, paths: Sequence[Path], out: Path, what: str
) -> tuple[Any, list[str]]:
    segmenter.processes = processes
    problems: list[str] = []
    objects = ("one", "two") if what == "objects" else ()
    names = [path.stem for path in paths]
    targets = Targets(out, names, pairs=what == "pairs", objects=objects)
    processes.require_same(targets.kept)  # before any of them writes
    settings = (paths, targets, problems.append, lambda *_: None, "a model")
    if objects:
        search = segmenter.exemplars({name: [(paths[k], (5, 5, 20, 20))] for k, name in enumerate(objects)})
        _, places, scores = ObjectsAlbum(search, *settings).results()
        return (places, scores), problems
    search = segmenter.exemplar([(paths[0], (5, 5, 20, 20))]) if what == "exemplar" else None
    made = Album(segmenter, *settings, exemplars=search, clusters=what == "clusters")
    return [scores for _, scores in made.run()], problems


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    "name, what",
    [
        ("", "group"),
        ("", "pairs"),
        ("conditional_siamese.ConditionalSiameseNetwork", "group"),
        pytest.param("bundled", "group", marks=pytest.mark.slow),
        pytest.param("bundled", "clusters", marks=pytest.mark.slow),
        pytest.param("bundled", "exemplar", marks=pytest.mark.slow),
        pytest.param("bundled", "objects", marks=pytest.mark.slow),
    ],
)
def test_an_album_is_that_of_one_process_byte_for_byte(
    name: str, what: str, album: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    album = album[:5] if what == "pairs" else album
    if what == "clusters":
        from coseg.inference import segmenter

        monkeypatch.setattr(segmenter, "clusters", lambda pairs: [[0, 2, 4, 6], [1, 5], [3], [7]])
    alone, problems = written(made(name), ALONE, album, tmp_path / "out", what)
    whole = files(tmp_path / "out")
    (tmp_path / "out").rename(tmp_path / "alone")
    assert len(whole) >= 15 and len(problems) >= 1
    segmenters = [made(name) for _ in range(SIZE)]
    several = in_threads(
        lambda processes: written(segmenters[processes.rank], processes, album, tmp_path / "out", what)
    )
    assert [found for found in several if isinstance(found, Exception)] == []
    for scores, told in several:
        assert scores == alone and told == problems
    assert files(tmp_path / "out") == whole


@pytest.fixture
def address(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where processes of srun meet, here."""
    monkeypatch.delenv("TORCHELASTIC_RUN_ID", raising=False)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        monkeypatch.setenv("MASTER_PORT", str(probe.getsockname()[1]))
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")


@pytest.mark.parametrize("rank", [0, 1])
def test_a_process_does_not_wait_long_for_one_that_never_comes(
    rank: int, address: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(devices, "MEETING_SECONDS", 1.0)
    start = time.monotonic()
    with pytest.raises(CosegError, match="can't reach"), LaunchedProcesses(Job(rank, 2, "0badcafe")) as processes:
        processes.require_same("a.jpg")
    assert time.monotonic() - start < 60


def test_a_port_that_is_taken_is_named(address: None, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("", int(os.environ["MASTER_PORT"])))
        taken.listen()
        with pytest.raises(CosegError, match="MASTER_PORT"), LaunchedProcesses(Job(0, 2, "0badcafe")):
            pass
    monkeypatch.setenv("MASTER_PORT", "70000")
    with pytest.raises(CosegError, match="70000"), LaunchedProcesses(Job(1, 2, "0badcafe")):
        pass


def test_jobs_at_one_port_do_not_take_each_other_for_their_own(address: None) -> None:
    def fail(job: Job) -> None:
        with pytest.raises(CosegError, match="no image"), LaunchedProcesses(job):
            raise CosegError("no image")

    with LaunchedProcesses(Job(0, 2, "0badcafe")) as first:
        assert first._store is not None
        fail(Job(1, 2, "0decade0"))
        assert not first._store.check(["failed"])
        fail(Job(1, 2, "0badcafe"))
        assert first._store.check(["failed"])


def test_a_process_that_fails_parts_from_the_others_at_once(address: None) -> None:
    """They would wait for it else, while it has its job queued again."""
    with pytest.raises(KeyboardInterrupt), LaunchedProcesses(Job(0, 1, "0badcafe")) as processes:
        processes.require_same("a.jpg")
        assert torch.distributed.is_initialized()
        raise KeyboardInterrupt
    assert not torch.distributed.is_initialized()


_SLOW_FIRST = """
import sys, time
from coseg.inference.processes import LaunchedProcesses
from coseg.training import devices, launched

devices.MEETING_SECONDS = 10.0
rank = int(sys.argv[1])
with LaunchedProcesses(launched.Job(rank, 2, "0badcafe")) as processes:
    processes.require_same("a.jpg")
    time.sleep(0 if rank else devices.MEETING_SECONDS + 3)
print("ended")
"""


@pytest.mark.slow
def test_processes_that_have_met_wait_longer_for_a_slow_one(address: None) -> None:
    started = [
        subprocess.Popen(
            [sys.executable, "-c", _SLOW_FIRST, str(rank)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        for rank in range(2)
    ]
    try:
        assert [process.communicate(timeout=120)[0].strip() for process in started] == ["ended"] * 2
    finally:
        for process in started:
            process.kill()


def of_one_process(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    command = (sys.executable, "-m", "coseg.cli.predict", *words)
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, env=environment)


@pytest.mark.slow
def test_two_machines_write_and_print_what_one_process_does(album: list[Path], tmp_path: Path) -> None:
    words = (str(album[0].parent), "--clusters", "--split-out", "split", "--json", "scores.json", "--out", "out")
    one, two = tmp_path / "one", tmp_path / "two"
    one.mkdir()
    two.mkdir()
    ran = of_one_process(one, *words)
    first, second = torchrun(two, 2, *words, command="predict")
    assert (ran.returncode, first.code) == (2, 2), "a file is no photograph"
    printed = [line for line in ran.stdout.splitlines() if line]
    assert len(printed) > 5 and all(line in first.text for line in printed)
    assert not any(line in second.text for line in printed)
    (two / "machine0.txt").unlink()
    (two / "machine1.txt").unlink()
    assert len(files(one)) > 10 and files(one) == files(two)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="finds processes as Linux shows them")
def test_a_lost_machine_ends_the_other_and_the_rest_is_written_the_next_time(tmp_path: Path) -> None:
    for k in range(16):
        path = tmp_path / "album" / f"{k}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(picture(500, 700, k)).save(path)
    words = ("album", "--out", "out")

    def lose(launchers: list[subprocess.Popen[bytes]]) -> None:
        wait_for(lambda: list(tmp_path.glob("out/*_mask.png")), launchers)
        for pid in (launchers[-1].pid, *children(launchers[-1].pid)):
            os.kill(pid, signal.SIGKILL)

    left, lost = torchrun(tmp_path, 2, *words, command="predict", meanwhile=lose)
    assert lost.code == -signal.SIGKILL
    assert left.code == 2 and "Another process of this job has ended" in left.text, left.text
    some = files(tmp_path / "out")
    assert 0 < len(some) < 49 and "sheet.png" not in some
    assert [ended.code for ended in torchrun(tmp_path, 2, *words, "--only", "mask,cutout", command="predict")] == [2, 2]
    assert not list(tmp_path.glob("out/.*")), "what the lost process was writing"
    of_one_process(tmp_path, "album", "--out", "whole", "--only", "mask,cutout")
    assert {name: data for name, data in files(tmp_path / "out").items() if "overlay" not in name} == files(
        tmp_path / "whole"
    )
