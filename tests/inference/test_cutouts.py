"""Cut-outs in every format, against the pixels, the mask and the metadata of the photograph."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageCms

from coseg.errors import CosegError
from coseg.inference import cutouts
from coseg.inference.cosegmentation import Segment
from coseg.inference.cutouts import CutoutStyle, background, cut_out, cutout
from coseg.inference.outputs import write_pictures

SIZE = (60, 80)
OBJECT = np.zeros(SIZE, np.float16)
OBJECT[20:40, 30:70] = 1
MASK = OBJECT > 0.5


def smooth() -> np.ndarray:
    """Colours that a JPEG keeps."""
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    return np.stack((60 + 2 * x, 40 + 3 * y, 90 + x + y), -1).astype(np.uint8)


def photograph(path: Path, size: tuple[int, int] = SIZE, **options: object) -> Path:
    Image.fromarray(smooth()).resize(size[::-1]).save(path, **options)
    return path


def exif(orientation: int = 1, width: int = 80, height: int = 60) -> bytes:
    tags = Image.Exif()
    tags[ExifTags.Base.Orientation] = orientation
    tags[ExifTags.Base.Make] = "Maker"
    tags[ExifTags.Base.Copyright] = "Somebody"
    details = tags.get_ifd(ExifTags.IFD.Exif)
    details[ExifTags.Base.FNumber] = 2.5
    details[ExifTags.Base.ExifImageWidth], details[ExifTags.Base.ExifImageHeight] = width, height
    tags.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSLatitudeRef] = "N"
    return tags.tobytes()


def written(path: Path, style: CutoutStyle, segment: Segment | None = None) -> Image.Image:
    target = path.with_name(f"out{style.ending}")
    write_pictures(path, segment or Segment("a", SIZE, OBJECT), {"cutout": target}, style=style)
    assert [file.name for file in path.parent.iterdir() if file.name.startswith((".", "out"))] == [target.name]
    image = Image.open(target)
    image.load()
    return image


@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize(("name", "format_name", "error"), [("png", "PNG", 0), ("webp", "WEBP", 12)])
def test_transparent_cutouts(tmp_path: Path, name: str, format_name: str, error: int, soft: bool) -> None:
    path = photograph(tmp_path / "a.png")
    image = written(path, CutoutStyle(name, soft_edges=soft))
    assert (image.format, image.mode, image.size) == (format_name, "RGBA", (80, 60))
    pixels = np.asarray(image).astype(int)
    if not soft:
        assert np.array_equal(pixels[..., 3], 255 * MASK)
    assert (pixels[25:35, 40:60, 3] == 255).all() and (pixels[:8, :, 3] == 0).all()
    assert np.abs(pixels[25:35, 40:60, :3] - smooth()[25:35, 40:60]).max() <= max(error, 1)
    if not error and not soft:
        assert np.array_equal(np.asarray(cutout(path, Segment("a", SIZE, OBJECT))), pixels)
        assert not pixels[~MASK].any()


def test_a_large_webp_has_16_levels_of_alpha(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, style = photograph(tmp_path / "a.png"), CutoutStyle("webp", soft_edges=True)
    alpha = np.asarray(written(path, style))[..., 3].astype(int)
    monkeypatch.setattr(cutouts, "_LARGE_WEBP", 0)
    coarse = np.asarray(written(path, style))[..., 3].astype(int)
    assert len(np.unique(alpha)) > 16 >= len(np.unique(coarse)) > 4
    assert np.abs(coarse - alpha).max() <= 255 / 15


@pytest.mark.parametrize(("name", "error"), [("png", 0), ("webp", 12), ("jpg", 8)])
def test_a_colour_behind_the_object(tmp_path: Path, name: str, error: int) -> None:
    image = written(photograph(tmp_path / "a.png"), CutoutStyle(name, (0, 128, 255)))
    assert image.mode == "RGB"
    pixels = np.asarray(image).astype(int)
    assert np.abs(pixels[:15] - (0, 128, 255)).max() <= error
    assert np.abs(pixels[25:35, 40:60] - smooth()[25:35, 40:60]).max() <= error


@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("crop", [False, True])
@pytest.mark.parametrize(
    ("name", "behind", "error"),
    [
        ("png", None, 1),
        ("png", (0, 128, 255), 1),
        ("webp", None, 12),
        ("webp", (0, 128, 255), 12),
        ("jpg", (0, 128, 255), 12),
    ],
)
def test_every_format_with_every_style_is_read_back(
    tmp_path: Path, name: str, behind: tuple[int, int, int] | None, error: int, crop: bool, soft: bool
) -> None:
    """Alpha and colours of the file are those of the picture in memory, and those of the photograph on the object."""
    path, segment = photograph(tmp_path / "a.png"), Segment("a", SIZE, OBJECT)
    style = CutoutStyle(name, behind, crop=crop, margin=0.1, soft_edges=soft)
    image = written(path, style, segment)
    pixels, expected = np.asarray(image).astype(int), np.asarray(cutout(path, segment, style)).astype(int)
    assert image.format == {"png": "PNG", "webp": "WEBP", "jpg": "JPEG"}[name]
    assert pixels.shape == expected.shape and pixels.shape[2] == (4 if behind is None else 3)
    if behind is None:
        assert np.array_equal(pixels[..., 3], expected[..., 3])  # also of WebP, whose alpha is without loss
        shown = expected[..., 3] == 255
    else:
        shown = np.ones(expected.shape[:2], bool)
    difference = np.abs(pixels[..., :3] - expected[..., :3])[shown]
    assert difference.mean() <= error / 2  # at the edge of the object a lossy format mixes hues
    top, left = (16, 26) if crop and not soft else (0, 0)
    if not (crop and soft):  # the soft edge decides where it is cropped
        inside = pixels[25 - top : 35 - top, 40 - left : 60 - left, :3]
        assert np.abs(inside - smooth()[25:35, 40:60]).max() <= error


def test_a_picture_fills_what_is_behind_the_object(tmp_path: Path) -> None:
    halves = np.zeros((30, 300, 3), np.uint8)
    halves[:, :150], halves[:, 150:] = (250, 0, 0), (0, 0, 250)
    Image.fromarray(halves).save(tmp_path / "back.png")
    chosen = background(str(tmp_path / "back.png"))
    pixels = np.asarray(written(photograph(tmp_path / "a.png"), CutoutStyle(background=chosen)))
    assert (pixels[:, :15] == (250, 0, 0)).all() and (pixels[:15, 45:] == (0, 0, 250)).all()  # its middle
    assert np.array_equal(pixels[MASK], smooth()[MASK])


@pytest.mark.parametrize(("margin", "rows", "columns"), [(0, (20, 40), (30, 70)), (0.25, (10, 50), (20, 80))])
def test_crop_with_a_margin_that_ends_at_the_border(
    tmp_path: Path, margin: float, rows: tuple[int, int], columns: tuple[int, int]
) -> None:
    pixels = np.asarray(written(photograph(tmp_path / "a.png"), CutoutStyle(crop=True, margin=margin)))
    part = slice(*rows), slice(*columns)
    assert np.array_equal(pixels, cut_out(smooth(), MASK)[part])


def test_without_an_object_nothing_is_cropped(tmp_path: Path) -> None:
    empty = Segment("a", SIZE, np.zeros(SIZE, np.float16))
    for soft in (False, True):
        image = written(photograph(tmp_path / "a.png"), CutoutStyle(crop=True, soft_edges=soft), empty)
        assert image.size == (80, 60) and not np.asarray(image).any()


@pytest.mark.parametrize("name", ["png", "webp", "jpg"])
@pytest.mark.parametrize("source", ["a.jpg", "a.png", "a.webp", "a.tif"])
def test_metadata_stay_and_the_orientation_is_applied(tmp_path: Path, name: str, source: str) -> None:
    # Stored 60 wide and 80 high, to be turned by 90°: seen 80 wide and 60 high.
    path = photograph(tmp_path / source, (80, 60), exif=exif(6, 60, 80))
    image = written(path, CutoutStyle(name, (1, 2, 3) if name == "jpg" else None, crop=True, margin=0))
    tags = image.getexif()
    assert image.size == (40, 20)
    assert ExifTags.Base.Orientation not in tags
    assert (tags[ExifTags.Base.Make], tags[ExifTags.Base.Copyright]) == ("Maker", "Somebody")
    assert not {256, 257, 258, 273, 279} & set(tags)  # how a TIFF stores its pixels
    details = tags.get_ifd(ExifTags.IFD.Exif)
    assert float(details[ExifTags.Base.FNumber]) == 2.5
    assert (details[ExifTags.Base.ExifImageWidth], details[ExifTags.Base.ExifImageHeight]) == image.size
    assert tags.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSLatitudeRef] == "N"


@pytest.mark.parametrize("name", ["png", "webp", "jpg"])
def test_a_profile_stays_unless_the_background_makes_the_colours_srgb(tmp_path: Path, name: str) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    path = photograph(tmp_path / "a.png", icc_profile=profile)
    if name != "jpg":
        assert written(path, CutoutStyle(name)).info["icc_profile"] == profile
    assert written(path, CutoutStyle(name, (9, 9, 9))).info.get("icc_profile") is None


def test_damaged_exif_is_left_out(tmp_path: Path) -> None:
    path = photograph(tmp_path / "a.jpg", exif=b"Exif\0\0II*\0\xff\xff\xff\x7f")
    assert not written(path, CutoutStyle()).getexif()


def test_strips_of_a_cutout_meet() -> None:
    image = np.random.default_rng(0).integers(0, 256, (600, 5, 3), dtype=np.uint8)
    mask = np.random.default_rng(1).random((600, 5)) < 0.5
    picture = cut_out(image, mask)
    assert np.array_equal(picture, np.dstack((image * mask[..., None], mask * np.uint8(255))))


def test_what_does_not_go_together(tmp_path: Path) -> None:
    for style, word in (({"format": "jpg"}, "background"), ({"format": "gif"}, "webp"), ({"margin": -1.0}, "margin")):
        with pytest.raises(CosegError, match=word):
            CutoutStyle(**style)  # type: ignore[arg-type]
    with pytest.raises(CosegError, match=r"sea green.*colour"):
        background("sea green")
    with pytest.raises(CosegError, match=r"gone\.png"):
        written(photograph(tmp_path / "a.png"), CutoutStyle(background=tmp_path / "gone.png"))


def test_a_webp_has_a_limit(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.new("RGB", (16400, 4), "red").save(path)
    everywhere = Segment("a", (4, 16400), np.ones((2, 2), np.float16))
    with pytest.raises(CosegError, match="16383"):
        write_pictures(path, everywhere, {"cutout": tmp_path / "b.webp"}, style=CutoutStyle("webp"))
    assert [file.name for file in tmp_path.iterdir()] == ["a.png"]
