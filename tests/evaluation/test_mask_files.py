"""The masks of a test as files: saved by a test, and scored again as anybody's."""

from __future__ import annotations

import errno
import json
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from facts import mentions
from layouts.benchmark import shortened
from numpy.typing import NDArray
from omegaconf import DictConfig
from PIL import Image

from coseg.data.benchmark import write_benchmark
from coseg.data.readers.shapes import ShapesReader
from coseg.errors import CosegError
from coseg.evaluation import lightning_test, mask_files
from coseg.evaluation.lightning_test import NetworkTest
from coseg.evaluation.mask_files import MapWriter, MaskFiles, MaskSaver, file_name, folder_name, read_map, write_map
from coseg.evaluation.predictions import predicted_records
from coseg.evaluation.score import score
from coseg.metrics import SCORES
from coseg.metrics.mask_counts import predicted_mask
from coseg.reports.collect import find_results
from coseg.reports.compare import compare
from coseg.reports.records import read_records

Compose = Callable[..., DictConfig]
READER = ShapesReader(size=48, train=24, val=20, seen=16, unseen=8)


@pytest.fixture
def tested(compose: Compose, run: Path, tiny_overrides: dict[str, tuple[str, ...]]) -> Callable[..., Path]:
    """``tested(*overrides)``: the folder of a test, by default of the run."""

    def test(*overrides: str) -> Path:
        arguments = [*tiny_overrides["test"], f"runs={run.parent / 'runs'}", "split=unseen", "panels=0", *overrides]
        if not any(word.startswith("predictions=") for word in overrides):
            arguments.append(f"ckpt={run / 'checkpoints' / 'best.ckpt'}")
        (folder,) = score(compose("test", *arguments))
        return folder

    return test


def scores(folder: Path) -> dict[str, object]:
    results = json.loads((folder / "results.json").read_text())
    return {key: results[key] for key in (*SCORES, "pairs", "complete", "per_class", "baselines", "intervals")}


def pictures(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*.*"))}


@pytest.mark.parametrize("protocol", ["paper", "group"])
def test_saved_masks_have_the_scores_of_their_test(protocol: str, tested: Callable[..., Path], run: Path) -> None:
    own = tested(f"protocol={protocol}", "save_masks=true", "panels=1")
    records = read_records(own)
    names = {
        "paper": {f"{a}/{b}.png" for record in records for a, b in (record.key, record.key[::-1])},
        "group": {f"{group}/{image}.png" for group, image in (record.key for record in records)},
    }[protocol]
    saved = pictures(own / "masks")
    assert set(saved) == names
    for name in saved:
        with Image.open(own / "masks" / name) as picture:
            assert picture.size == (48, 48) and set(np.unique(np.array(picture)).tolist()) <= {0, 255}

    again = tested(f"protocol={protocol}", f"predictions={own / 'masks'}", "panels=1")
    assert again.parent.parent == run.parent / "runs" / "run-masks"
    assert scores(again) == scores(own)
    assert [record.jaccards for record in read_records(again)] == [record.jaccards for record in records]
    assert (again / "worst.png").read_bytes() == (own / "worst.png").read_bytes()
    (found,) = find_results([again])
    assert found.values["checkpoint"] is None and mentions(found.origin, "masks")
    assert compare(own, again)["jaccard"].value == 0
    rows = predicted_records(again, records[:1])
    assert rows[0][0].prediction is not None


def test_probability_maps(tested: Callable[..., Path]) -> None:
    own = tested("save_masks=probabilities")
    values = {
        value for path in (own / "probabilities").rglob("*.png") for value in np.unique(np.array(Image.open(path)))
    }
    assert len(values) > 10
    with pytest.raises(CosegError, match=r"threshold="):
        tested(f"predictions={own / 'probabilities'}")
    again = tested(f"predictions={own / 'probabilities'}", "threshold=0.5")
    assert scores(again) == scores(own)


def test_grey_maps_of_others_have_the_scores_of_the_maps(tested: Callable[..., Path]) -> None:
    own = tested("protocol=cosod")
    again = tested("protocol=cosod", f"predictions={own / 'maps'}")
    first, second = (json.loads((folder / "results.json").read_text()) for folder in (own, again))
    assert second["cosod"] == first["cosod"] and second["cosod"]["mean_of_images"]["mae"] > 0
    assert pictures(again / "maps") == pictures(own / "maps")
    with pytest.raises(CosegError, match="threshold"):
        tested("protocol=cosod", f"predictions={own / 'maps'}", "threshold=0.5")


def test_an_interrupted_test_saves_all_masks(
    tested: Callable[..., Path], run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = tested("save_masks=masks")
    expected = pictures(whole / "masks")
    shutil.copytree(whole / "masks", whole / "probabilities")  # of an earlier test
    pause, calls = NetworkTest.pause, []

    def stop(test: NetworkTest) -> None:
        calls.append(1)
        if len(calls) == 5:
            test._write()
            raise CosegError("stopped")
        pause(test)

    monkeypatch.setattr(NetworkTest, "pause", stop)
    with pytest.raises(CosegError, match="stopped"):
        tested("save_masks=masks")
    assert set(pictures(whole / "masks")) < set(expected) and not (whole / "probabilities").exists()
    monkeypatch.undo()
    assert pictures(tested("save_masks=masks") / "masks") == expected
    assert not (tested() / "masks").exists(), "masks of an earlier test lie beside other results"


def test_bad_predictions_are_a_sentence(tested: Callable[..., Path], tmp_path: Path) -> None:
    own = tested("save_masks=true")
    theirs = Path(shutil.copytree(own / "masks", tmp_path / "theirs"))
    paths = sorted(theirs.rglob("*.png"))
    count = len(paths)

    def refused(*words: str | int, more: tuple[str, ...] = ()) -> None:
        with pytest.raises(CosegError) as error:
            tested(f"predictions={theirs}", *more)
        assert mentions(str(error.value), *words)
        assert not list((tmp_path / "runs").rglob("results.json"))

    mask = Image.open(paths[0]).copy()
    mask.resize((24, 48)).save(paths[0])
    refused(paths[0].name, "24 x 48", "48 x 48")
    Image.fromarray(np.arange(48 * 48, dtype=np.uint16).reshape(48, 48).astype(np.uint8)).save(paths[0])
    refused(paths[0].name, "values", "threshold=0.5")
    paths[0].write_bytes(b"no picture")
    refused(paths[0].name, "decoded")
    paths[0].unlink()
    paths[1].unlink()
    refused(2, count, paths[0].relative_to(theirs).as_posix(), "image>/<partner")
    for more in ("input_size=32", "mirrored=true", "save_masks=true", "ckpt=x.ckpt"):
        refused(more.partition("=")[0], "predictions=", more=(more,))
    shutil.rmtree(theirs)
    refused("theirs", "folder")


def test_masks_of_a_list_of_pairs(tested: Callable[..., Path], tmp_path: Path) -> None:
    own = tested("save_masks=true")
    catalog = READER.read("unseen")
    file = tmp_path / "pairs.csv"
    count = write_benchmark(file, catalog)
    everything = tested(f"data.pairs={file}")
    assert everything.name == own.name and scores(everything) == scores(own), "all pairs are no part"

    sealed = shortened(file, count, 2)
    part = tested(f"data.pairs={sealed}", "save_masks=true")
    assert mentions(part.name, "list_") and len(read_records(part)) == 2
    results = json.loads((part / "results.json").read_text())
    assert results["complete"] is False and mentions(sealed.read_text(), results["benchmark"])
    again = tested(f"data.pairs={sealed}", f"predictions={part / 'masks'}")
    assert scores(again) == scores(part)
    with pytest.raises(CosegError, match="groups"):
        tested(f"data.pairs={sealed}", "protocol=group")
    (another,) = tmp_path.glob("runs/run-masks/test/*")
    shutil.copytree(part / "masks", tmp_path / "elsewhere" / "run-masks")
    with pytest.raises(CosegError, match="holds results of"):
        tested(f"data.pairs={sealed}", f"predictions={tmp_path / 'elsewhere' / 'run-masks'}")
    assert another == again


def test_names_of_files(tmp_path: Path) -> None:
    ids = ("day1/img0", "day1", "img0", "..", ".hidden", "50%", "50%25", "é x", "a:b")
    names = [file_name(name) for name in ids]
    assert len(set(names)) == len(ids)
    assert not any(name.startswith(".") or set(name) & set('/\\:*?"<>|') for name in names)
    files = MaskFiles(tmp_path, ids, ())
    assert all(path.parent.parent == tmp_path for i in range(len(ids)) for path in files.paths((i, 3)))
    assert folder_name(Path("/r/shapes/first/test/shapes-seen-paper/masks")) == "first-masks"
    assert folder_name(Path("/r/theirs")) == "theirs"


def test_probabilities_keep_the_decision(tmp_path: Path) -> None:
    logits = torch.stack((torch.zeros(1, 9), torch.tensor([[-9.0, -0.1, -1e-3, -1e-7, 0.0, 1e-7, 1e-3, 0.1, 9.0]])))
    saver = MaskSaver(MaskFiles(tmp_path, ("a", "b"), ()), "probabilities")
    ((path, pixels),) = saver.maps([(0, 1)], 1, logits[None])
    assert path == tmp_path / "b" / "a.png"
    write_map(path, pixels)
    foreground = predicted_mask(logits[None])[0].numpy()
    assert np.array_equal(read_map(path, (1, 9), 0.5), foreground)


def test_maps_are_written_beside_what_the_caller_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened, threads = threading.Event(), set()

    def slow(path: Path, pixels: NDArray[np.uint8]) -> None:
        assert opened.wait(30)
        threads.add(threading.current_thread())
        write_map(path, pixels)

    monkeypatch.setattr(mask_files, "write_map", slow)
    maps = {tmp_path / f"{k}.png": np.full((4, 5), k, np.uint8) for k in range(9)}
    with MapWriter() as writer:
        for path, pixels in maps.items():
            writer.write(path, pixels)
        assert not list(tmp_path.iterdir())
        opened.set()
        writer.finish()
    assert threading.current_thread() not in threads
    for path, pixels in maps.items():
        assert np.array_equal(np.array(Image.open(path)), pixels)
    writer.finish()  # nothing is left


def test_maps_that_wait_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    waiting: list[int] = []

    def counted(path: Path, pixels: NDArray[np.uint8]) -> None:
        time.sleep(0.01)
        waiting.append(-pixels.nbytes)

    monkeypatch.setattr(mask_files, "write_map", counted)
    monkeypatch.setattr(mask_files, "_WAITING", 3000)
    with MapWriter() as writer:
        for k in range(20):
            waiting.append(1000)
            writer.write(tmp_path / f"{k}.png", np.zeros(1000, np.uint8))
            assert sum(waiting) <= 3000
    writer.finish()
    assert sum(waiting) == 0


def test_a_map_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError), MapWriter() as writer:
        for _ in range(1000):
            writer.write(tmp_path / "file" / "a.png", np.zeros((4, 5), np.uint8))
            time.sleep(0.01)
    with pytest.raises(OSError), MapWriter() as writer:
        writer.write(tmp_path / "file" / "a.png", np.zeros((4, 5), np.uint8))
        writer.finish()


def test_what_waits_is_not_written_when_the_caller_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = threading.Event()

    def slow(path: Path, pixels: NDArray[np.uint8]) -> None:
        assert opened.wait(30)
        write_map(path, pixels)

    monkeypatch.setattr(mask_files, "write_map", slow)
    writer = MapWriter()
    with pytest.raises(KeyError), writer:
        for k in range(9):
            writer.write(tmp_path / f"{k}.png", np.zeros((4, 5), np.uint8))
        threading.Timer(0.05, opened.set).start()
        raise KeyError
    assert len(list(tmp_path.iterdir())) <= 1 and not writing()  # that which the thread had begun
    with writer:
        writer.write(tmp_path / "later.png", np.zeros((4, 5), np.uint8))
    writer.finish()
    assert (tmp_path / "later.png").is_file() and not writing()


def writing() -> list[str]:
    """The threads that write maps."""
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("coseg-maps")]


def test_a_full_disk_while_masks_are_saved(
    tested: Callable[..., Path], run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pair is finished only if both masks are files; the test resumes after these."""
    count = 0

    def no_room(path: Path, pixels: NDArray[np.uint8]) -> None:
        nonlocal count
        count += 1
        if count > 7:
            raise OSError(errno.ENOSPC, "No space left on device")
        write_map(path, pixels)

    with monkeypatch.context() as patch:
        patch.setattr(mask_files, "write_map", no_room)
        patch.setattr(lightning_test, "WRITE_SECONDS", 0.0)
        with pytest.raises(CosegError, match=r"No space left on device.*parts"):
            tested("save_masks=true")
    folder = run / "test" / "shapes-unseen-paper"
    finished = sum(len(np.load(path)["table"]) for path in (folder / "parts").glob("*.npz"))
    assert len(pictures(folder / "masks")) == 7 and 0 < finished <= 3 and not writing()
    assert tested("save_masks=true") == folder
    assert len(pictures(folder / "masks")) == 2 * len(read_records(folder)) > 7


@pytest.mark.parametrize("top", [1, 255])
def test_masks_in_the_modes_that_others_save(top: int, tmp_path: Path) -> None:
    truth = np.zeros((4, 6), np.uint8)
    truth[1:3, 2:5] = top
    palette = Image.fromarray(truth)
    palette.putpalette([0, 0, 0, 255, 255, 255])
    for number, picture in enumerate(
        (
            Image.fromarray(truth),
            Image.fromarray(truth > 0),
            Image.fromarray(truth.astype(np.uint16) * (257 if top == 255 else 1)),
            Image.fromarray(np.dstack([truth] * 3)),
            Image.fromarray(np.dstack([truth, np.full_like(truth, 255)])),
            palette,
        )
    ):
        picture.save(tmp_path / f"{number}.png")
        assert np.array_equal(read_map(tmp_path / f"{number}.png", (4, 6)), truth > 0), number
    colours = np.dstack([truth, truth, truth * 0])
    Image.fromarray(colours).save(tmp_path / "colours.png")
    with pytest.raises(CosegError, match="colours"):
        read_map(tmp_path / "colours.png", (4, 6))
    write_map(tmp_path / "void.png", np.array([[0, 1, 255]], np.uint8))
    with pytest.raises(CosegError, match=r"0, 1, 255"):
        read_map(tmp_path / "void.png", (1, 3))
