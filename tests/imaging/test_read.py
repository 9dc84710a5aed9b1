import io
import os
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from facts import naming
from PIL import Image

from coseg.errors import CosegError
from coseg.imaging import read as reading
from coseg.imaging.masks import read_mask
from coseg.imaging.read import FORMATS, SUFFIXES, exposure_note, open_image, photograph_size, read_photograph

RGB = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
GREY = RGB[..., 0]


def saved(tmp_path, image, name, **options):
    path = tmp_path / name
    image.save(path, **options)
    return path


# formats


@pytest.mark.parametrize("suffix", sorted(SUFFIXES - {".mpo", ".avifs", ".apng", ".jpc", ".jpf", ".pfm"}))
def test_every_suffix_is_of_a_format_that_is_opened(tmp_path, suffix):
    image = Image.fromarray(RGB) if suffix not in (".pgm", ".pbm") else Image.fromarray(GREY)
    path = saved(tmp_path, image, f"a{suffix}")
    with open_image(path) as file:
        assert file.format in FORMATS
    assert read_photograph(path).shape == (5, 7, 3)


@pytest.mark.parametrize("name", ["EPS", "PCX", "TGA", "ICO", "SGI", "DDS", "ICNS"])
def test_no_other_format_is_opened_whatever_its_suffix(tmp_path, name):
    Image.fromarray(RGB).resize((64, 64)).save(tmp_path / "a.jpg", name)
    with Image.open(tmp_path / "a.jpg") as file:  # Pillow itself goes by what the file holds
        assert file.format == name
    for read in (read_photograph, read_mask, photograph_size):
        with pytest.raises(CosegError, match=naming("a.jpg", "decode")):
            read(tmp_path / "a.jpg")


def test_pillow_knows_the_formats():
    Image.init()
    assert set(FORMATS) <= set(Image.OPEN)
    assert {suffix for suffix, name in Image.registered_extensions().items() if name in FORMATS} <= SUFFIXES


def test_nowhere_else_is_a_file_opened_by_pillow():
    source = Path(reading.__file__).parents[1]
    calls = [path.name for path in source.rglob("*.py") if "Image.open(" in path.read_text(encoding="utf-8")]
    assert sorted(calls) == ["describe.py", "read.py"]  # the former in a program that it writes, with the same list


def test_what_is_no_regular_file_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "a.jpg")
    with pytest.raises(CosegError, match=r"a\.jpg"):
        read_photograph(tmp_path / "a.jpg")


# photographs


@pytest.mark.parametrize("name", ["a.png", "a.bmp", "A.BMP", "a.PNG", "a.tif", "a.webp"])
def test_lossless_colours_come_back(tmp_path, name):
    options = {"lossless": True} if name.endswith("webp") else {}
    path = saved(tmp_path, Image.fromarray(RGB), name, **options)
    assert np.array_equal(read_photograph(path), RGB)
    assert photograph_size(path) == (5, 7)


def test_grey_and_palette_pictures_have_three_channels(tmp_path):
    grey = np.repeat(GREY[..., None], 3, -1)
    assert np.array_equal(read_photograph(saved(tmp_path, Image.fromarray(GREY), "g.png")), grey)
    palette = Image.fromarray(GREY % 4)
    palette.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90, 100, 110, 120])
    table = np.array([[10, 20, 30], [40, 50, 60], [70, 80, 90], [100, 110, 120]], np.uint8)
    assert np.array_equal(read_photograph(saved(tmp_path, palette, "p.png")), table[GREY % 4])
    one_bit = saved(tmp_path, Image.fromarray(GREY > 128), "b.png")
    assert np.array_equal(read_photograph(one_bit)[..., 1], np.where(GREY > 128, 255, 0))


def test_sixteen_bits_are_scaled_and_not_clipped(tmp_path):
    deep = GREY.astype(np.uint16) << 8 | 17
    assert np.array_equal(read_photograph(saved(tmp_path, Image.fromarray(deep), "d.png"))[..., 2], GREY)


def test_cmyk(tmp_path):
    flat = Image.new("CMYK", (16, 16), (0, 255, 255, 0))  # red
    found = read_photograph(saved(tmp_path, flat, "c.jpg", quality=100))
    assert np.abs(found.astype(int) - [255, 0, 0]).max() < 8


def test_transparent_parts_are_white_and_an_unused_alpha_does_no_harm(tmp_path):
    alpha = np.zeros((5, 7, 1), np.uint8)
    alpha[:2] = 255
    path = saved(tmp_path, Image.fromarray(np.concatenate((RGB, alpha), -1)), "a.png")
    assert np.array_equal(read_photograph(path)[:2], RGB[:2])
    assert (read_photograph(path)[2:] == 255).all()
    # a 32-bit BMP with a mask for alpha, all of it 0
    pixels = np.concatenate((RGB[::-1, :, ::-1], np.zeros_like(alpha)), -1).tobytes()
    masks = struct.pack("<4I", 0xFF0000, 0xFF00, 0xFF, 0xFF000000)
    head = struct.pack("<IiiHHIIiiII", 108, 7, 5, 1, 32, 3, len(pixels), 0, 0, 0, 0) + masks + bytes(52)
    path.write_bytes(b"BM" + struct.pack("<IHHI", 14 + len(head) + len(pixels), 0, 0, 14 + len(head)) + head + pixels)
    assert np.array_equal(read_photograph(path.rename(tmp_path / "a.bmp")), RGB)


@pytest.mark.parametrize("suffix", ["jpg", "png", "tif", "webp"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_turns_the_picture(tmp_path, orientation, suffix):
    upright = np.zeros((20, 30, 3), np.uint8)
    upright[:10, :15] = 250  # top left
    upright[10:, 15:] = 120
    # what the camera stored: the inverse of each turn
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: np.rot90(upright, 1),
        7: np.rot90(upright, 2).transpose(1, 0, 2),
        8: np.rot90(upright, -1),
    }[orientation]
    exif = Image.Exif()
    exif[274] = orientation
    path = saved(tmp_path, Image.fromarray(np.ascontiguousarray(stored)), f"e.{suffix}", quality=95, exif=exif)
    assert np.abs(read_photograph(path).astype(int) - upright).mean() < 3
    assert photograph_size(path) == (20, 30)


@pytest.mark.parametrize("read", [read_photograph, read_mask, photograph_size])
def test_what_is_no_image_is_named(tmp_path, read):
    (tmp_path / "x.jpg").write_bytes(b"no image")
    with pytest.raises(CosegError, match=naming("x.jpg", "decode")):
        read(tmp_path / "x.jpg")
    with pytest.raises(CosegError, match=naming("y.jpg", "missing")):
        read(tmp_path / "y.jpg")


def test_a_truncated_file_is_named(tmp_path):
    buffer = io.BytesIO()
    Image.fromarray(np.repeat(np.repeat(RGB, 20, 0), 20, 1)).save(buffer, "JPEG")
    (tmp_path / "t.jpg").write_bytes(buffer.getvalue()[:-300])
    with pytest.raises(CosegError, match=naming("t.jpg", "decode")):
        read_photograph(tmp_path / "t.jpg")


# what can't be seen


@pytest.mark.parametrize(
    ("low", "high", "word"), [(0, 12, "black"), (248, 256, "white"), (0, 60, None), (200, 256, None), (0, 256, None)]
)
def test_pictures_in_which_nothing_can_be_seen(low, high, word):
    picture = np.random.default_rng(0).integers(low, high, (400, 300, 3)).astype(np.uint8)
    picture[:2, :2] = 128  # a few pixels don't matter
    note = exposure_note(picture)
    assert (note is None) if word is None else (f"almost {word}" in note)


# damaged files


def mutated(count, seed=0):
    """Small files of every format and several modes, cut, overwritten or with bytes taken out."""
    rng = np.random.default_rng(seed)
    whole = []
    for name in FORMATS:
        for image in (Image.fromarray(RGB), Image.fromarray(GREY)):
            buffer = io.BytesIO()
            image.resize((24, 18)).save(buffer, name)
            whole.append(buffer.getvalue())
    for image in (Image.fromarray(GREY.astype(np.uint16) * 16), Image.fromarray(GREY.astype(np.float32))):
        for name in ("TIFF", "PNG")[: 2 if image.mode != "F" else 1]:
            buffer = io.BytesIO()
            image.save(buffer, name)
            whole.append(buffer.getvalue())
    for _ in range(count):
        data = bytearray(whole[rng.integers(len(whole))])
        how, at = rng.integers(3), rng.integers(len(data))
        if how == 0:
            data = data[:at]
        elif how == 1:
            for _ in range(rng.integers(1, 10)):
                data[rng.integers(min(len(data), 300))] = rng.integers(256)
        else:
            data[at : at + rng.integers(1, 20)] = rng.bytes(int(rng.integers(0, 20)))
        yield bytes(data)


@pytest.mark.filterwarnings("ignore")
def test_damaged_files_give_sentences_and_nothing_else(tmp_path, capfd):
    path, refused = tmp_path / "x.img", 0
    for data in mutated(200):
        path.write_bytes(data)
        for read in (read_photograph, read_mask, photograph_size):
            try:
                read(path)
            except CosegError as error:
                assert "x.img" in str(error)
                refused += 1
    assert 100 < refused < 600


def test_pillow_says_nothing_of_damaged_metadata(tmp_path):
    """In a process of its own, since pytest sets the filters of warnings for each test."""
    tags = b"II*\0\x08\0\0\0\x01\0\x0f\x01\x02\0\xff\0\0\0\x00\xff\0\0"
    path = saved(tmp_path, Image.fromarray(RGB), "a.jpg", exif=b"Exif\0\0" + tags)
    script = "import sys; from pathlib import Path; from coseg.imaging.read import read_photograph as read; "
    command = [sys.executable, "-c", script + "read(Path(sys.argv[1]))", str(path)]
    plain = [sys.executable, "-c", "import sys; from PIL import Image; Image.open(sys.argv[1]).getexif()[0x10f]", path]
    assert "UserWarning" in subprocess.run(plain, capture_output=True, text=True).stderr
    outcome = subprocess.run(command, capture_output=True, text=True)
    assert (outcome.returncode, outcome.stderr) == (0, "")
