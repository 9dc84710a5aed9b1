from __future__ import annotations

import io
import json
import math
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from coseg.errors import CosegError
from coseg.page.archive import write_archive
from coseg.page.look import take_look

Draw = Callable[..., Path]


def test_the_archive_holds_everything_at_the_photographs_own_size(tmp_path: Path, segmenter, half_red: Draw) -> None:
    segmenter.common = math.nan
    files = [half_red(tmp_path / "1" / "a.png", 1000, 600), half_red(tmp_path / "2" / "a.png", level=100)]
    look, _ = take_look(segmenter, files)
    asked = list(segmenter.asked)
    path = write_archive(segmenter, look, 0.3, "a model", tmp_path / "out")
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


def test_photographs_that_are_gone_are_told_and_leave_no_archive(tmp_path: Path, segmenter, half_red: Draw) -> None:
    files = [half_red(tmp_path / "a.png"), half_red(tmp_path / "b.png")]
    look, _ = take_look(segmenter, files)
    files[1].unlink()
    with pytest.raises(CosegError, match=r"^b\.png was removed"):
        write_archive(segmenter, look, 0.5, "a model", tmp_path / "out")
    assert not [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
