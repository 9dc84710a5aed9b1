"""Photographs from files and from memory, and a sentence for what is none."""

from __future__ import annotations

import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from coseg.errors import CosegError
from coseg.imaging.read import photograph_size
from coseg.inference.photographs import load_photograph

RGB = np.random.default_rng(0).integers(0, 256, (30, 41, 3), dtype=np.uint8)
SMOOTH = np.asarray(Image.fromarray(RGB[:6, :8]).resize((640, 480), Image.Resampling.BICUBIC))


def saved(path: Path, image: Image.Image, **options: object) -> Path:
    image.save(path, **options)
    return path


def header(path: Path, width: int, height: int) -> Path:
    """A PNG of which there is little more than its size."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    size = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", size) + chunk(b"IDAT", zlib.compress(b"")))
    return path


def test_every_source_gives_the_same_pixels(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.png", Image.fromarray(RGB))
    tensor = torch.from_numpy(RGB).permute(2, 0, 1)
    sources = [path, str(path), Image.open(path), Image.fromarray(RGB), RGB, RGB / 255, tensor, tensor / 255]
    for source in [*sources, (tensor / 255).double(), load_photograph(path)]:
        found = load_photograph(source)
        assert np.array_equal(found.pixels, RGB)
        assert found.pixels.dtype == np.uint8
        assert found.size == (30, 41)


def test_names() -> None:
    assert load_photograph(RGB).name == "image 1"
    assert load_photograph(RGB, name="image 7").name == "image 7"


def test_a_file_keeps_its_name(tmp_path: Path) -> None:
    path = saved(tmp_path / "my cat.png", Image.fromarray(RGB))
    assert load_photograph(path).name == load_photograph(Image.open(path)).name == "my cat.png"


def test_grey_and_alpha(tmp_path: Path) -> None:
    grey = RGB[..., 0]
    for source in (grey, grey[..., None], torch.from_numpy(grey)[None]):
        assert np.array_equal(load_photograph(source).pixels, np.repeat(grey[..., None], 3, -1))
    alpha = np.full((30, 41, 1), 255, np.uint8)
    alpha[:9] = 0
    pixels = load_photograph(np.concatenate((RGB, alpha), -1)).pixels
    assert (pixels[:9] == 255).all()
    assert np.array_equal(pixels[9:], RGB[9:])


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["jpg", "png", "tif", "webp"])
def test_orientation_at_both_sizes(tmp_path: Path, orientation: int, suffix: str) -> None:
    """PIL's own `exif_transpose` is the reference."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = saved(tmp_path / f"a.{suffix}", Image.fromarray(SMOOTH), exif=exif)
    upright = ImageOps.exif_transpose(Image.open(path)).convert("RGB")
    whole = load_photograph(path)
    assert np.array_equal(whole.pixels, np.asarray(upright))
    assert whole.size == (upright.height, upright.width) == photograph_size(path)
    small = load_photograph(path, 64)
    assert small.size == whole.size
    assert max(small.pixels.shape) == 64
    expected = np.asarray(upright.resize(small.pixels.shape[1::-1], Image.Resampling.BOX), np.float32)
    assert np.abs(small.pixels - expected).mean() < 4


def test_a_draft_looks_like_the_whole_image_resized(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.jpg", Image.fromarray(SMOOTH), quality=95)
    small = load_photograph(path, 40).pixels
    assert small.shape == (30, 40, 3)
    whole = Image.fromarray(load_photograph(path).pixels)
    expected = np.asarray(whole.resize((40, 30), Image.Resampling.BILINEAR), np.float32)
    assert np.abs(small - expected).mean() < 1.5


def test_smaller_pictures_are_not_enlarged_and_narrow_ones_keep_a_pixel() -> None:
    assert load_photograph(RGB, 500).pixels.shape == (30, 41, 3)
    assert load_photograph(np.zeros((2, 900, 3), np.uint8), 100).pixels.shape == (1, 100, 3)


def test_an_image_of_pil_stays_as_it_is(tmp_path: Path) -> None:
    image = Image.open(saved(tmp_path / "a.jpg", Image.fromarray(SMOOTH)))
    load_photograph(image, 40)
    assert image.size == (640, 480)


@pytest.mark.parametrize("name", ["a.gif", "a.webp", "a.png", "a.tif"])
def test_animated_is_refused_and_a_single_frame_is_not(tmp_path: Path, name: str) -> None:
    frames = [Image.fromarray(np.roll(RGB, k, 0)) for k in range(3)]
    path = saved(tmp_path / name, frames[0], save_all=True, append_images=frames[1:])
    for source in (path, Image.open(path)):
        with pytest.raises(CosegError, match=rf"{name}.*\b3\b"):
            load_photograph(source)
    assert load_photograph(saved(tmp_path / name, frames[0], save_all=True)).size == (30, 41)


def test_the_preview_in_a_phones_jpeg_is_no_animation(tmp_path: Path) -> None:
    second = Image.fromarray(RGB)
    path = saved(tmp_path / "a.jpg", Image.fromarray(SMOOTH), format="MPO", save_all=True, append_images=[second])
    assert Image.open(path).n_frames == 2
    assert load_photograph(path, 64).size == (480, 640)


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.webp", "a.bmp"])
def test_truncated(tmp_path: Path, name: str) -> None:
    path = saved(tmp_path / name, Image.fromarray(SMOOTH))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(CosegError, match=rf"{name}.*(decoded|not an image)"):
        load_photograph(path, 64)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.jpg", b"no image at all", r"a\.jpg.*not an image"),
        ("empty.png", b"", r"empty\.png.*not an image"),
    ],
)
def test_not_an_image(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(CosegError, match=said):
        load_photograph(tmp_path / name)


def test_missing_and_folder(tmp_path: Path) -> None:
    with pytest.raises(CosegError, match=r"nowhere\.jpg.*missing"):
        load_photograph(tmp_path / "nowhere.jpg")
    with pytest.raises(CosegError, match="folder"):
        load_photograph(tmp_path)


def test_huge_is_refused_by_its_header_without_a_word_from_pil(tmp_path: Path) -> None:
    path = header(tmp_path / "bomb.png", 30_000, 30_000)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(CosegError, match=r"bomb\.png.*30,000 x 30,000.*900 megapixels.*200"):
            load_photograph(path)
        # within ours and above PIL's: only its missing pixels are in the way
        with pytest.raises(CosegError, match=r"large\.png.*decoded"):
            load_photograph(header(tmp_path / "large.png", 19_000, 10_000))
    assert Image.MAX_IMAGE_PIXELS is not None


@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (40, 1)])
def test_tiny_is_refused(tmp_path: Path, shape: tuple[int, int]) -> None:
    path = saved(tmp_path / "dot.png", Image.new("RGB", shape))
    with pytest.raises(CosegError, match=rf"dot\.png.*{shape[0]} x {shape[1]}.*\b2\b"):
        load_photograph(path)
    with pytest.raises(CosegError, match=r"\b2\b"):
        load_photograph(np.zeros((*shape, 3), np.uint8))


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (RGB[None], r"shape.*\(1, 30, 41, 3\)"),
        (np.moveaxis(RGB, -1, 0), r"\(height, width, 3\)"),
        (torch.from_numpy(RGB), r"\(3, height, width\)"),
        (RGB.astype(np.int64), "int64"),
        (RGB.astype(np.float32), r"0\.\.1"),
        (np.full((5, 5, 3), np.nan), "not finite"),
        (np.full((5, 5, 3), np.inf), "not finite"),
        (np.full((5, 5, 3), -0.1, np.float16), r"0\.\.1"),
        (torch.zeros(3, 5, 5).to_sparse(), "array"),
        (torch.empty(3, 5, 5, device="meta"), "array"),
        (np.full((5, 5, 3), "a"), "<U1"),
        (np.zeros((5, 5, 3), object), "object"),
        (b"a.jpg", "image 1.*not an image"),
        ("a\0b.jpg", "missing"),
        ("x" * 300, "read"),
        ("~nobody-of-this-name/a.jpg", "missing"),
        (np.zeros((0, 5, 3), np.uint8), r"\b2\b"),
        (7, r"image 1.*\bint\b"),
    ],
)
def test_no_picture(source: object, said: str) -> None:
    with pytest.raises(CosegError, match=said):
        load_photograph(source)


def test_a_size_is_positive() -> None:
    with pytest.raises(CosegError, match=r"size.*\b0\b"):
        load_photograph(RGB, 0)
