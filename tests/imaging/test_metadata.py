"""Orientation, colour profiles and EXIF of files; colours against those that LittleCMS gives."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageCms

from coseg.imaging.metadata import converted, exif_of, orientation_of, profile_of

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
LAB = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()


@pytest.mark.parametrize(("stored", "orientation"), [(1, 1), (6, 6), (8, 8), (0, 1), (9, 1)])
def test_orientation(stored: int, orientation: int, tmp_path: Path) -> None:
    tags = Image.Exif()
    tags[ExifTags.Base.Orientation] = stored
    Image.new("RGB", (4, 3)).save(tmp_path / "a.jpg", exif=tags)
    assert orientation_of(Image.open(tmp_path / "a.jpg")) == orientation


@pytest.mark.parametrize(
    ("data", "kept"), [(SRGB, True), (LAB, False), (SRGB[:-1], False), (b"x" * 200, False), (b"", False), (None, False)]
)
def test_only_whole_profiles_of_rgb_are_kept(data: bytes | None, kept: bool) -> None:
    image = Image.new("RGB", (4, 3))
    image.info["icc_profile"] = data
    assert profile_of(image) == (data if kept else None)


def test_exif_without_orientation_and_preview() -> None:
    tags = Image.Exif()
    tags[ExifTags.Base.Orientation] = 3
    assert exif_of(with_exif(tags)) is None
    tags[ExifTags.Base.Artist] = "Somebody"
    data = exif_of(with_exif(tags))
    assert data is not None
    again = Image.Exif()
    again.load(data)
    assert dict(again) == {ExifTags.Base.Artist: "Somebody"}
    assert not again.get_ifd(ExifTags.IFD.IFD1)


def with_exif(tags: Image.Exif) -> Image.Image:
    file = io.BytesIO()
    Image.new("RGB", (4, 3)).save(file, "JPEG", exif=tags)
    return Image.open(file)


def test_colours_of_a_profile_become_srgb() -> None:
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (5, 6, 3), dtype=np.uint8))
    assert converted(image, SRGB) is image
    assert converted(image, None) is image
    assert converted(image, b"x" * 200) is image
    swapped = swapped_primaries()
    pixels = np.asarray(converted(image, swapped)).astype(int)
    assert np.abs(pixels - np.asarray(image)[..., [2, 1, 0]]).max() <= 2


def swapped_primaries() -> bytes:
    """sRGB's profile with the primaries of red and blue exchanged, under another name."""
    data = bytearray(SRGB)
    for k in range(int.from_bytes(data[128:132], "big")):
        at = 132 + 12 * k
        name = bytes(data[at : at + 4])
        if name in (b"rXYZ", b"bXYZ"):
            data[at : at + 4] = b"bXYZ" if name == b"rXYZ" else b"rXYZ"
    return bytes(data).replace("sRGB".encode("utf-16-be"), "swap".encode("utf-16-be"))
