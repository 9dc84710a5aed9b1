from __future__ import annotations

import io
import json
import math
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from facts import naming
from PIL import Image

from coseg.errors import CosegError
from coseg.page.archive import scores, write_archive
from coseg.page.results import PageResult, Showing, ShownObject, cosegment_files

Draw = Callable[..., Path]


def _shown(result: PageResult) -> Showing:
    return Showing((ShownObject(cosegmentation=replace(result.cosegmentation, exemplars=1)),))


def test_the_archive_holds_everything_at_the_photographs_own_size(tmp_path: Path, segmenter, half_red: Draw) -> None:
    segmenter.common = math.nan
    files = [half_red(tmp_path / "1" / "a.png", 1000, 600), half_red(tmp_path / "2" / "a.png", level=100)]
    result = cosegment_files(segmenter, files)
    asked = list(segmenter.asked)
    path = write_archive(segmenter, result, 0.3, "a model", tmp_path / "out")
    assert segmenter.asked == asked
    assert [each.name for each in path.parent.iterdir()] == [path.name]  # nothing is left beside it
    with zipfile.ZipFile(path) as archive:
        kinds = ("mask.png", "overlay.jpg", "cutout.png")
        names = [f"{stem}_{kind}" for stem in ("a", "a (2)") for kind in kinds]
        assert archive.namelist() == [*names, "scores.json"]
        pictures = {name: Image.open(io.BytesIO(archive.read(name))) for name in names}
        scores = json.loads(archive.read("scores.json"))
    assert pictures["a_mask.png"].size == pictures["a_cutout.png"].size == (1000, 600)
    mask = np.asarray(pictures["a (2)_mask.png"])
    assert mask.shape == (60, 90) and mask[:, :40].all() and not mask[:, 50:].any()  # red 100 is above 0.3
    assert pictures["a_cutout.png"].mode == "RGBA"
    assert scores["model"] == "a model" and scores["threshold"] == 0.3
    assert scores["common"] is None and scores["shares"] is None
    assert [(each["file"], each["width"], each["height"]) for each in scores["images"]] == [
        ("a.png", 1000, 600),
        ("a (2).png", 90, 60),
    ]
    assert all(abs(each["foreground"] - 0.5) < 0.04 for each in scores["images"])


def test_the_scores_are_at_the_threshold_of_the_masks(tmp_path: Path, segmenter, half_red: Draw) -> None:
    segmenter.model_scores = lambda *_: {"calibration": {"accuracy": 0.9}}
    files = [half_red(tmp_path / "a.png"), half_red(tmp_path / "b.png", level=100)]
    result = cosegment_files(segmenter, files)
    assert scores(segmenter, result, 0.5, "a model")["calibration"] == {"accuracy": 0.9}
    searched = replace(result, showing=_shown(result))
    for threshold, outside in ((0.3, []), (0.5, [2]), (0.9, [1, 2])):  # red is 200 and 100 of 255
        written = scores(segmenter, searched, threshold, "a model")
        assert written["outside"] == outside and written["calibration"] is None
        assert [k + 1 for k, image in enumerate(written["images"]) if not image["foreground"]] == outside


def test_photographs_that_are_gone_are_told_and_leave_no_archive(tmp_path: Path, segmenter, half_red: Draw) -> None:
    files = [half_red(tmp_path / "a.png"), half_red(tmp_path / "b.png")]
    result = cosegment_files(segmenter, files)
    files[1].unlink()
    with pytest.raises(CosegError, match=naming("b.png", "removed")):
        write_archive(segmenter, result, 0.5, "a model", tmp_path / "out")
    assert not [path for path in (tmp_path / "out").rglob("*") if path.is_file()]


def test_several_objects_have_a_folder_each_and_a_label_map(tmp_path: Path, segmenter, half_red: Draw) -> None:
    from coseg.page.showing import POINT, Seen, add, click, rename

    files = [half_red(tmp_path / "a.png"), half_red(tmp_path / "b.png", 600, 400)]
    result = cosegment_files(segmenter, files)
    result = click(segmenter, result, Seen.of(result), 100, 340, POINT)
    result = add(rename(result, 1, "red part"))
    result = click(segmenter, result, Seen.of(result), 900, 340, POINT)
    result = replace(result, showing=replace(result.showing, objects=(  # the second was removed
        result.showing.objects[0], replace(result.showing.objects[1], number=3))))  # fmt: skip
    path = write_archive(segmenter, result, 0.4, "a model", tmp_path / "out")
    assert [inner.name for inner in path.parent.iterdir()] == [path.name]
    with zipfile.ZipFile(path) as archive:
        pictures = {name: archive.read(name) for name in archive.namelist()}
    written = json.loads(pictures.pop("scores.json"))
    of_each = {f"{name}/{stem}_{picture}" for name in ("red part", "Object 3") for stem in "ab"
               for picture in ("mask.png", "cutout.png", "overlay.jpg")}  # fmt: skip
    assert set(pictures) == of_each | {
        f"{stem}_{picture}" for stem in "ab" for picture in ("labels.png", "overlay.jpg")
    }
    labels = np.asarray(Image.open(io.BytesIO(pictures["b_labels.png"])))
    masks = [np.asarray(Image.open(io.BytesIO(pictures[f"{name}/b_mask.png"]))) for name in ("red part", "Object 3")]
    assert labels.shape == (400, 600) and set(np.unique(labels)) == {0, 1, 3}
    assert ((labels == 1) == (masks[0] > 0)).all() and ((labels == 3) == (masks[1] > 0)).all()
    assert masks[0][:, :230].all() and masks[1][:, 350:].all()
    assert [(each["name"], each["label"], each["colour"], each["outside"]) for each in written["objects"]] == [
        ("red part", 1, "#ff6e14", []),
        ("Object 3", 3, "#28be3c", []),
    ]
    assert set(written["images"][1]["objects"]) == {"red part", "Object 3"} and written["calibration"] is None
    assert abs(written["images"][1]["objects"]["red part"]["foreground"] - 0.5) < 0.05


def test_an_object_that_is_left_keeps_its_folder_and_its_label(tmp_path: Path, segmenter, half_red: Draw) -> None:
    from coseg.page.showing import POINT, Seen, add, click, remove

    result = cosegment_files(segmenter, [half_red(tmp_path / "a.png"), half_red(tmp_path / "b.png", 600, 400)])
    result = add(click(segmenter, result, Seen.of(result), 100, 340, POINT))
    result = click(segmenter, result, Seen.of(result), 900, 340, POINT)
    result = remove(segmenter, result, Seen.of(result)._replace(number=1))
    with zipfile.ZipFile(write_archive(segmenter, result, 0.4, "a model", tmp_path / "out")) as archive:
        labels = np.asarray(Image.open(io.BytesIO(archive.read("b_labels.png"))))
        mask = np.asarray(Image.open(io.BytesIO(archive.read("Object 2/b_mask.png"))))
        (of_object,) = json.loads(archive.read("scores.json"))["objects"]
    assert set(np.unique(labels)) == {0, 2} and ((labels == 2) == (mask > 0)).all()
    assert (of_object["name"], of_object["label"], of_object["colour"]) == ("Object 2", 2, "#1e78ff")
