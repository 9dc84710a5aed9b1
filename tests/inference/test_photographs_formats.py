"""Every format that cameras write is read with the right colours and the right way up, and reaches the network so."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import ExifTags, Image

from coseg.inference import photographs
from coseg.inference.photographs import Photograph, in_srgb, load_photograph

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "imaging"))
from test_metadata import SRGB, swapped_primaries

H, W = 40, 64


def pixels() -> np.ndarray:
    """Smooth colours, different in each corner, which lossy formats keep."""
    y, x = np.mgrid[:H, :W]
    return np.stack((40 + 3 * x, 30 + 4 * y, 200 - 2 * x), -1).astype(np.uint8)


def by_pillow(path: Path, exif: Image.Exif) -> None:
    options = {} if path.suffix in (".png", ".tif") else {"quality": 95}
    Image.fromarray(pixels()).save(path, exif=exif, **options)


def heic(path: Path, exif: Image.Exif) -> None:
    pillow_heif = pytest.importorskip("pillow_heif")
    pillow_heif.from_pillow(Image.fromarray(pixels())).save(path, quality=95, exif=exif.tobytes())


def mpo(path: Path, exif: Image.Exif) -> None:
    preview = Image.new("RGB", (16, 10), "red")
    Image.fromarray(pixels()).save(path, "MPO", save_all=True, append_images=[preview], exif=exif, quality=95)


@pytest.mark.parametrize("orientation", [1, 6])
@pytest.mark.parametrize(
    ("name", "write", "error"),
    [
        ("a.png", by_pillow, 0), ("a.tif", by_pillow, 0), ("a.jpg", by_pillow, 6), ("a.webp", by_pillow, 8),
        ("a.avif", by_pillow, 8), ("a.heic", heic, 8), ("a.jpg", mpo, 6), ("a.mpo", mpo, 6),
    ],
)  # fmt: skip
def test_colours_and_orientation(
    tmp_path: Path, name: str, write: Callable[[Path, Image.Exif], None], error: int, orientation: int
) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    write(tmp_path / name, exif)
    expected = pixels() if orientation == 1 else np.rot90(pixels(), -1)
    for longest in (None, 32):
        photograph = load_photograph(tmp_path / name, longest)
        assert photograph.size == expected.shape[:2]
        shape = photograph.pixels.shape[1::-1]
        small = cv2.resize(np.ascontiguousarray(expected), shape, interpolation=cv2.INTER_AREA).astype(int)
        assert np.abs(photograph.pixels - small).mean() <= error / 2 + (longest is not None)
        assert np.abs(photograph.pixels - small)[2:-2, 2:-2].max() <= error + 2 * (longest is not None)


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
@pytest.mark.parametrize("grey", [False, True])
def test_sixteen_bits(tmp_path: Path, name: str, grey: bool) -> None:
    eight = pixels()[..., 0] if grey else pixels()
    deep = eight.astype(np.uint16) * 256 + 77
    cv2.imwrite(str(tmp_path / name), deep if grey else deep[..., ::-1])
    expected = np.repeat(eight[..., None], 3, -1) if grey else eight
    assert np.array_equal(load_photograph(tmp_path / name).pixels, expected)


def test_a_jpeg_in_cmyk(tmp_path: Path) -> None:
    Image.fromarray(pixels()).convert("CMYK").save(tmp_path / "a.jpg", quality=95)
    assert np.abs(load_photograph(tmp_path / "a.jpg").pixels.astype(int) - pixels()).max() <= 8


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.tif", "a.webp"])
def test_a_profile_is_applied_for_the_network_and_kept_in_the_photograph(tmp_path: Path, name: str) -> None:
    options = {} if name in ("a.png", "a.tif") else {"quality": 95}
    Image.fromarray(pixels()).save(tmp_path / name, icc_profile=swapped_primaries(), **options)
    photograph = load_photograph(tmp_path / name)
    assert photograph.profile == swapped_primaries()
    assert np.abs(photograph.pixels.astype(int) - pixels()).max() <= 8
    seen = in_srgb(photograph)
    assert seen.profile is None
    assert np.abs(seen.pixels.astype(int) - pixels()[..., ::-1]).max() <= 10
    plain = photograph._replace(profile=SRGB)
    assert in_srgb(plain).pixels is plain.pixels


def test_colours_converted_in_strips_are_those_of_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = Photograph(pixels(), (H, W), "a", swapped_primaries())
    expected = in_srgb(whole).pixels
    monkeypatch.setattr(photographs, "_STRIP", 7)
    assert np.array_equal(in_srgb(whole).pixels, expected)


def test_the_encoder_gets_srgb(tmp_path: Path) -> None:
    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "cli"))
    from red_network import RedNetwork

    from coseg.inference.segmenter import CoSegmenter

    segmenter = CoSegmenter(RedNetwork(), {"size": None, "threshold": 0.5, "cooccurrence": None}, "cpu")
    blue = Image.new("RGB", (W, H), (20, 20, 240))
    blue.save(tmp_path / "plain.png")
    blue.save(tmp_path / "swapped.png", icc_profile=swapped_primaries())
    plain, swapped = segmenter.pair(tmp_path / "plain.png", tmp_path / "swapped.png")
    assert (plain.foreground, swapped.foreground) == (0, 1)


def test_a_damaged_profile_changes_nothing() -> None:
    for data in (SRGB[:200], SRGB[:128] + b"\xff" * 300):
        file = io.BytesIO()
        Image.fromarray(pixels()).save(file, "PNG", icc_profile=data)
        photograph = load_photograph(file.getvalue())
        assert np.array_equal(in_srgb(photograph).pixels, pixels())
        whole = photograph._replace(profile=len(data).to_bytes(4, "big") + data[4:])
        assert np.array_equal(in_srgb(whole).pixels, pixels())
