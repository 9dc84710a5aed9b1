"""An album: everything that can be read is segmented and written, and the rest is reported."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny_networks import network_config, picture, tiny_network

from coseg import CoSegmenter
from coseg.errors import CosegError
from coseg.hub.settings import settings_of
from coseg.inference.album import Album, _batches
from coseg.inference.cosegmentation import Segment
from coseg.inference.outputs import Targets


@pytest.fixture(scope="module")
def segmenter() -> CoSegmenter:
    config = network_config()
    network = tiny_network(config)
    return CoSegmenter(network, settings_of(config, network), "cpu")


class Reported:
    """An album of files in a folder, with its problems and its progress."""

    def __init__(self, segmenter: CoSegmenter, folder: Path, names: str, pairs: bool = False, **settings: bool) -> None:
        self.problems: list[str] = []
        self.steps: list[tuple[str, int, int]] = []
        paths = [folder / f"{name}.png" for name in names]
        targets = Targets(folder / "out", list(names), pairs=pairs)
        report = self.problems.append
        self.album = Album(
            segmenter, paths, targets, report, lambda *step: self.steps.append(step), "a model", **settings
        )
        self.results = [scores for _, scores in self.album.run()]


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    for k, name in enumerate("abc"):
        Image.fromarray(picture(40, 50, k)).save(tmp_path / f"{name}.png")
    return tmp_path


def written(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_a_group_is_written_and_an_unreadable_image_reported(segmenter: CoSegmenter, photographs: Path) -> None:
    (photographs / "d.png").write_bytes(b"no image")
    reported = Reported(segmenter, photographs, "abdc")
    (scores,) = reported.results
    assert [(image["number"], Path(image["file"]).name) for image in scores["images"]] == [
        (1, "a.png"), (2, "b.png"), (4, "c.png"),
    ]  # fmt: skip
    ends = ("cutout.png", "mask.png", "overlay.jpg")
    assert written(photographs / "out") == [*(f"{name}_{end}" for name in "abc" for end in ends), "sheet.png"]
    assert len(reported.problems) == 1 and "d.png" in reported.problems[0]
    assert [step for step in reported.steps if step[0] == "Segmenting"] == [("Segmenting", k, 3) for k in (1, 2, 3)]


def test_all_pairs_have_a_folder_each(segmenter: CoSegmenter, photographs: Path) -> None:
    reported = Reported(segmenter, photographs, "abc", pairs=True)
    assert [[image["number"] for image in scores["images"]] for scores in reported.results] == [[1, 2], [1, 3], [2, 3]]
    assert {Path(name).parent.name for name in written(photographs / "out")} == {"a+b", "a+c", "b+c", ""}
    assert not reported.problems and reported.steps[-1] == ("Segmenting pairs", 3, 3)


def test_the_same_picture_and_a_black_one_are_reported_once(segmenter: CoSegmenter, photographs: Path) -> None:
    Image.fromarray(picture(40, 50, 0)).save(photographs / "b.png")
    Image.fromarray(picture(40, 50, 2) // 250).save(photographs / "c.png")
    problems = Reported(segmenter, photographs, "abc", pairs=True).problems
    assert len(problems) == 2
    assert any("same picture" in problem for problem in problems) and any("black" in problem for problem in problems)


def test_each_group_of_an_album_is_segmented_by_itself_and_the_rest_is_named(
    segmenter: CoSegmenter, photographs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for k, name in enumerate("de", start=3):
        Image.fromarray(picture(40, 50, k)).save(photographs / f"{name}.png")
    (photographs / "f.png").write_bytes(b"no image")
    with pytest.raises(CosegError, match="calibration"):
        Reported(segmenter, photographs, "abc", clusters=True)
    monkeypatch.setattr(CoSegmenter, "clusters", lambda self, images: [[0, 3], [1, 4], [2]])
    reported = Reported(segmenter, photographs, "afbcde", clusters=True)
    assert [[image["number"] for image in scores["images"]] for scores in reported.results] == [[1, 5], [3, 6]]
    assert reported.album.alone == [3]
    assert {name[0] for name in written(photographs / "out")} == set("abdes")
    alone = segmenter.pair(photographs / "b.png", photographs / "e.png")
    with Image.open(photographs / "out" / "b_mask.png") as mask:
        assert np.array_equal(np.array(mask) > 0, alone[0].mask())
    assert len(reported.problems) == 1 and "f.png" in reported.problems[0]


@pytest.mark.parametrize("pairs", [False, True])
def test_fewer_than_two_are_refused(segmenter: CoSegmenter, photographs: Path, pairs: bool) -> None:
    (photographs / "d.png").write_bytes(b"no image")
    with pytest.raises(CosegError, match=r"\btwo\b"):
        Reported(segmenter, photographs, "ad", pairs)


def test_large_images_are_written_alone() -> None:
    sizes = [(6000, 6000), (100, 100), (100, 100), (6000, 6000)]
    segments = [Segment("a", size, np.zeros((2, 2), np.float16)) for size in sizes]
    batches = list(_batches(segments))
    assert batches[0] == [0] and batches[-1] == [3] and [k for batch in batches for k in batch] == [0, 1, 2, 3]
