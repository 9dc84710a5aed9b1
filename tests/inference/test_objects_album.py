"""An album in which several objects are searched for, on disk."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from test_exemplar import A, B, made, mask

from coseg.imaging.draw import object_colour
from coseg.inference.objects_album import ObjectsAlbum
from coseg.inference.outputs import Targets


@pytest.fixture
def paths(tmp_path: Path) -> list[Path]:
    for name, pixels in (("a", A), ("c", B)):
        Image.fromarray(pixels).save(tmp_path / f"{name}.png")
    (tmp_path / "b.png").write_bytes(b"no image")
    return [tmp_path / f"{name}.png" for name in "abc"]


def test_pictures_of_each_object_and_of_all(paths: list[Path], tmp_path: Path) -> None:
    model = made(keep_islands=True)
    search = model.exemplars({"left": [(A, mask())], "right side": [(A, ~mask())]})
    out, problems, steps = tmp_path / "out", [], []
    targets = Targets(out, ["a", "b", "c"], objects=search.names)
    album = ObjectsAlbum(search, paths, targets, problems.append, lambda *step: steps.append(step), "tiny")
    result, places, scores = album.results()
    assert places == [0, 2] and len(problems) == 1 and "b.png" in problems[0]
    assert steps[-1] == ("Writing", 2, 2)
    files = sorted(path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file())
    endings = ("cutout.png", "mask.png", "overlay.jpg")
    assert files == sorted(
        [f"{name}/{stem}_{end}" for name in search.names for stem in "ac" for end in endings]
        + [f"{stem}_{end}" for stem in "ac" for end in ("labels.png", "overlay.jpg")]
        + ["sheet.png"]
    )
    for k, stem in enumerate("ac"):
        labels = Image.open(out / f"{stem}_labels.png")
        assert labels.mode == "P" and labels.getpalette()[3:9] == [*object_colour(1), *object_colour(2)]
        assert np.array_equal(np.array(labels), result.labels(k))
        for n, name in enumerate(search.names, start=1):
            written = np.array(Image.open(out / name / f"{stem}_mask.png"))
            assert np.array_equal(written == 255, result.labels(k) == n)
    assert [(of_object["name"], of_object["label"]) for of_object in scores["objects"]] == [
        ("left", 1), ("right side", 2),
    ]  # fmt: skip
    image = scores["images"][1]
    assert image["number"] == 3 and image["labels"] == str(out / "c_labels.png") and image["height"] == 31
    assert image["objects"]["left"]["mask"] == str(out / "left" / "c_mask.png")
    assert 0 <= image["objects"]["right side"]["foreground"] <= 1


def test_a_file_that_cannot_be_written_leaves_all_others(
    paths: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError("too wide")

    monkeypatch.setattr("coseg.inference.outputs.write_cutout", refuse)
    search = made().exemplars({"left": [(A, mask())], "right": [(A, ~mask())]})
    out, problems = tmp_path / "out", []
    targets = Targets(out, ["a"], ["mask", "cutout", "overlay"], objects=search.names)
    _, _, scores = ObjectsAlbum(search, paths[:1], targets, problems.append, lambda *_: None).results()
    files = sorted(path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file())
    endings = ("mask.png", "overlay.jpg")
    assert files == ["a_labels.png", "a_overlay.jpg", *(f"{name}/a_{end}" for name in search.names for end in endings)]
    assert len(problems) == 1 and all(str(out / name / "a_cutout.png") in problems[0] for name in search.names)
    (image,) = scores["images"]
    assert "labels" in image and "mask" in image["objects"]["right"] and "cutout" not in image["objects"]["right"]


def test_what_exists_is_kept_and_chosen_images_have_pictures_of_all_alone(paths: list[Path], tmp_path: Path) -> None:
    search = made().exemplars({"left": [(A, mask())], "right": [(A, ~mask())]})
    out = tmp_path / "out"
    (out / "left").mkdir(parents=True)
    (out / "left" / "a_mask.png").write_text("mine")
    targets = Targets(out, ["a"], ["mask"], objects=search.names)
    assert targets.kept == [out / "left" / "a_mask.png"] and targets.count == 3
    ObjectsAlbum(search, paths[:1], targets, print, lambda *_: None).results()
    assert (out / "left" / "a_mask.png").read_text() == "mine" and (out / "right" / "a_mask.png").is_file()
    chosen = Targets(tmp_path / "one", ["a", "c"], ["mask"], chosen=(0,), objects=search.names)
    ObjectsAlbum(search, [paths[0], paths[2]], chosen, print, lambda *_: None).results()
    assert [path.name for path in (tmp_path / "one").iterdir()] == ["a_labels.png"]
