"""Masks, overlays and cut-outs, against what the probability says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from coseg.errors import CosegError
from coseg.imaging.draw import PREDICTION
from coseg.inference import outputs
from coseg.inference.cosegmentation import Segment
from coseg.inference.cutouts import CutoutStyle
from coseg.inference.outputs import (
    OVERLAY_SIDE,
    PICTURES,
    Targets,
    check_folder,
    coloured,
    overlaid,
    write_labels,
    write_pictures,
)

HALF = np.zeros((6, 8), np.float16)
HALF[:, 4:] = 1  # the right half


def segment(size: tuple[int, int]) -> Segment:
    return Segment("a.png", size, HALF)


def photograph(path: Path, size: tuple[int, int], **options: object) -> np.ndarray:
    small = np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    image = Image.fromarray(small).resize(size[::-1], Image.Resampling.NEAREST)
    image.save(path, **options)
    return np.asarray(image)


def files(folder: Path, *kinds: str) -> dict[str, Path]:
    return {kind: folder / f"a{PICTURES[kind]}" for kind in kinds or PICTURES}


def test_several_objects_in_one_overlay(tmp_path: Path) -> None:
    photograph(tmp_path / "a.png", (60, 80))
    left = Segment("a.png", (60, 80), 1 - HALF)
    names = {"mask": tmp_path / "l.png", "overlay": tmp_path / "o.jpg"}
    tiles = write_labels(tmp_path / "a.png", [segment((60, 80)), left], names, tile=40)
    labels = np.array(Image.open(tmp_path / "l.png"))
    assert (labels[:, 42:] == 1).all() and (labels[:, :38] == 2).all()
    assert Image.open(tmp_path / "o.jpg").size == (80, 60)
    assert tiles is not None and tiles[1].shape == (30, 40, 3)
    grey = np.full((30, 40, 3), 100, np.uint8)
    picture = coloured(grey, np.pad(np.array([[1, 2]], np.uint8).repeat(20, 0).repeat(10, 1), ((5, 5), (10, 10))))
    inside = [tuple(picture[15, x]) for x in (15, 25, 2)]
    assert len(set(inside)) == 3 and inside[0][0] > inside[0][2] and inside[1][2] > inside[1][0]
    assert inside[2] == (162, 162, 162)
    assert write_labels(tmp_path / "a.png", [left], {}) is None


def test_all_pictures(tmp_path: Path) -> None:
    pixels = photograph(tmp_path / "a.png", (60, 80))
    tiles = write_pictures(tmp_path / "a.png", segment((60, 80)), files(tmp_path / "out"), tile=40)
    right = np.zeros((60, 80), bool)
    right[:, 40:] = True
    mask = Image.open(tmp_path / "out" / "a_mask.png")
    assert mask.mode == "L"
    assert np.array_equal(np.asarray(mask), np.where(right, 255, 0))
    cutout = Image.open(tmp_path / "out" / "a_cutout.png")
    assert cutout.mode == "RGBA"
    assert np.array_equal(np.asarray(cutout)[..., 3], np.where(right, 255, 0))
    assert np.array_equal(np.asarray(cutout)[right][:, :3], pixels[right])
    assert not np.asarray(cutout)[~right].any()
    overlay = Image.open(tmp_path / "out" / "a_overlay.jpg")
    assert overlay.size == (80, 60)
    assert tiles is not None
    assert [tile.shape for tile in tiles] == [(30, 40, 3)] * 2
    enlarged = write_pictures(tmp_path / "a.png", segment((60, 80)), {}, tile=160)
    assert enlarged is not None
    assert [tile.shape for tile in enlarged] == [(120, 160, 3)] * 2
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a_cutout.png", "a_mask.png", "a_overlay.jpg"]


def test_an_overlay_keeps_the_object_and_fades_the_rest() -> None:
    image = np.full((40, 60, 3), (200, 30, 30), np.uint8)
    mask = np.zeros((40, 60), bool)
    mask[10:30, 20:40] = True
    picture = overlaid(image, mask)
    assert (picture[mask] == (200, 30, 30)).all()
    assert (picture[9, 20:40] == PREDICTION).all()
    faded = picture[0, 0].astype(int)
    assert faded[0] == faded[1] == faded[2]
    assert np.array_equal(overlaid(image, np.ones_like(mask)), image)


def test_a_large_photograph_has_a_small_overlay_and_a_large_cutout(tmp_path: Path) -> None:
    photograph(tmp_path / "a.jpg", (1500, 2000))
    write_pictures(tmp_path / "a.jpg", segment((1500, 2000)), files(tmp_path))
    assert Image.open(tmp_path / "a_overlay.jpg").size == (OVERLAY_SIDE, 1200)
    assert Image.open(tmp_path / "a_cutout.png").size == Image.open(tmp_path / "a_mask.png").size == (2000, 1500)


@pytest.mark.parametrize(
    ("kinds", "tile", "longest"),
    [(("mask",), None, "not read"), (("mask",), 40, 40), (("mask", "overlay"), 40, 1600), (("cutout",), 40, None)],
)
def test_no_more_is_decoded_than_is_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kinds: tuple[str, ...], tile: int | None, longest: object
) -> None:
    photograph(tmp_path / "a.png", (60, 80))
    asked: list[object] = []
    load = outputs.load_photograph
    monkeypatch.setattr(outputs, "load_photograph", lambda path, side: asked.append(side) or load(path, side))
    write_pictures(tmp_path / "a.png", segment((60, 80)), files(tmp_path, *kinds), tile)
    assert (asked or ["not read"]) == [longest]


def test_a_turned_photograph_is_cut_out_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    stored = photograph(tmp_path / "a.png", (80, 60), exif=exif)
    write_pictures(tmp_path / "a.png", segment((60, 80)), files(tmp_path, "cutout"))
    upright = np.rot90(stored, -1)
    assert np.array_equal(np.asarray(Image.open(tmp_path / "a_cutout.png"))[:, 40:, :3], upright[:, 40:])


def test_colours_keep_their_profile(tmp_path: Path) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    photograph(tmp_path / "a.jpg", (60, 80), icc_profile=profile)
    write_pictures(tmp_path / "a.jpg", segment((60, 80)), files(tmp_path))
    for name, kept in (("a_cutout.png", profile), ("a_overlay.jpg", profile), ("a_mask.png", None)):
        assert Image.open(tmp_path / name).info.get("icc_profile") == kept


def test_what_can_not_be_written_is_told(tmp_path: Path) -> None:
    photograph(tmp_path / "a.png", (60, 80))
    (tmp_path / "a_mask.png").mkdir()
    with pytest.raises(CosegError, match=r"a_mask\.png.*written"):
        write_pictures(tmp_path / "a.png", segment((60, 80)), files(tmp_path, "mask"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "a_mask.png"]


def test_a_group_has_one_folder(tmp_path: Path) -> None:
    targets = Targets(tmp_path, ["a", "b"])
    assert targets.wanted(1, (0, 1)) == {
        "mask": tmp_path / "b_mask.png",
        "overlay": tmp_path / "b_overlay.jpg",
        "cutout": tmp_path / "b_cutout.png",
    }
    assert targets.sheets == [tmp_path / "sheet.png"]
    assert targets.count == 7
    assert not targets.kept


def test_pairs_have_a_folder_each(tmp_path: Path) -> None:
    targets = Targets(tmp_path, ["a", "b", "c"], ("mask",), pairs=True)
    assert targets.wanted(2, (0, 2)) == {"mask": tmp_path / "a+c" / "c_mask.png"}
    assert targets.count == 6
    assert targets.sheets == []


def test_folders_of_pairs_differ(tmp_path: Path) -> None:
    targets = Targets(tmp_path, ["a", "b+c", "a+b", "c"], ("mask",), pairs=True)
    folders = {targets.wanted(j, (i, j))["mask"].parent for i in range(4) for j in range(i + 1, 4)}
    assert len(folders) == 6


def test_what_exists_is_kept_unless_it_is_to_be_replaced(tmp_path: Path) -> None:
    for name in ("a_mask.png", "sheet.png", "scores.json"):
        (tmp_path / name).touch()
    scores = tmp_path / "scores.json"
    targets = Targets(tmp_path, ["a", "b"], extra_files=[scores])
    assert targets.kept == [tmp_path / "a_mask.png", tmp_path / "sheet.png", scores]
    assert sorted(targets.wanted(0, (0, 1))) == ["cutout", "overlay"]
    assert len(targets.wanted(1, (0, 1))) == 3
    assert targets.sheets == [None]
    assert targets.is_kept(scores)
    assert not Targets(tmp_path, ["a", "b"], overwrite=True, extra_files=[scores]).kept


def test_trying_a_folder_leaves_it_as_it_was(tmp_path: Path) -> None:
    check_folder(tmp_path / "new" / "deeper")
    assert not list(tmp_path.iterdir())
    (tmp_path / "there").mkdir()
    check_folder(tmp_path / "there")
    assert (tmp_path / "there").is_dir()


def test_a_folder_that_can_not_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file", tmp_path / "file" / "deeper"):
        with pytest.raises(CosegError, match=r"writ.*file"):
            check_folder(folder)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_the_format_of_cutouts_and_the_images_whose_pictures_are_written(tmp_path: Path) -> None:
    targets = Targets(tmp_path, ["a", "b"], ("cutout",), style=CutoutStyle("webp"), chosen=[1])
    assert targets.wanted(0, (0, 1)) == {}
    assert targets.wanted(1, (0, 1)) == {"cutout": tmp_path / "b_cutout.webp"}
    assert targets.count == 1
