import struct
import zlib

import cv2
import numpy as np
import pytest
from facts import naming
from PIL import Image

from coseg.errors import CosegError
from coseg.imaging.read import exposure_note, photograph_size, read_photograph

GREY = np.random.default_rng(0).integers(0, 256, (20, 30), dtype=np.uint8)
GREY[0, :2] = 0, 255


def saved(path, values, **options):
    Image.fromarray(values).save(path, **options)
    return path


def grey_of(path):
    found = read_photograph(path)
    assert (found == found[..., :1]).all()
    return found[..., 0]


def tiff(path, order, bits, values, sample_format=1, top=None):
    """A grey TIFF as a camera writes it, of one strip."""
    end, (height, width) = "<" if order == b"II" else ">", values.shape
    if bits == 12:  # two numbers in three bytes
        a, b = values[:, ::2].astype(int), values[:, 1::2].astype(int)
        data = np.dstack((a >> 4, (a & 15) << 4 | b >> 8, b & 255)).astype(np.uint8).tobytes()
    else:
        data = values.astype(f"{end}{'iu'[sample_format == 1]}{bits // 8}").tobytes()
    tags = [(256, 4, width), (257, 4, height), (258, 3, bits), (259, 3, 1), (262, 3, 1), (273, 4, 8), (277, 3, 1)]
    tags += [(278, 4, height), (279, 4, len(data))] + ([(281, 3, top)] if top else []) + [(339, 3, sample_format)]
    entries = b"".join(
        struct.pack(f"{end}HHI", tag, kind, 1)
        + struct.pack(f"{end}I" if kind == 4 else f"{end}HH", *((value,) if kind == 4 else (value, 0)))
        for tag, kind, value in tags
    )
    head = order + struct.pack(f"{end}HI", 42, 8 + len(data)) + data
    path.write_bytes(head + struct.pack(f"{end}H", len(tags)) + entries + bytes(4))
    return path


@pytest.mark.parametrize("bits", [10, 12, 14, 16])
@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_numbers_of_fewer_bits_are_scaled_by_what_they_are(tmp_path, bits, suffix):
    values = GREY.astype(np.uint16) << (bits - 8) | 1
    assert np.array_equal(grey_of(saved(tmp_path / f"a.{suffix}", values)), GREY)


@pytest.mark.parametrize("order", [b"II", b"MM"])
@pytest.mark.parametrize("sample_format", [1, 2])
def test_either_byte_order_signed_or_not(tmp_path, order, sample_format):
    path = tiff(tmp_path / "a.tif", order, 16, GREY.astype(np.uint16) << 4, sample_format)
    assert np.array_equal(grey_of(path), GREY)
    path = tiff(tmp_path / "b.tif", order, 32, GREY.astype(np.int32) << 4, 2)
    assert np.array_equal(grey_of(path), GREY)


def test_the_twelve_bits_of_a_file_that_says_so(tmp_path):
    dark = GREY.astype(np.uint16) >> 2  # of 12 bits: above 8 bits nothing
    assert np.array_equal(grey_of(tiff(tmp_path / "a.tif", b"II", 12, dark << 4)), dark)
    assert np.array_equal(grey_of(tiff(tmp_path / "b.tif", b"II", 12, dark)), dark >> 4)
    assert np.array_equal(grey_of(tiff(tmp_path / "c.tif", b"II", 16, dark << 4, top=4095)), dark)
    assert np.array_equal(grey_of(tiff(tmp_path / "d.tif", b"II", 16, dark << 4, top=65535)), dark >> 4)
    assert np.array_equal(grey_of(saved(tmp_path / "e.tif", dark << 4, tiffinfo={281: 4000})), dark)


def test_the_significant_bits_of_a_png(tmp_path):
    dark = GREY.astype(np.uint16) >> 3

    def png(values, bits):
        data = saved(tmp_path / "a.png", values).read_bytes()
        body = b"sBIT" + bytes([bits])
        (tmp_path / "a.png").write_bytes(
            data[:33] + struct.pack(">I", 1) + body + struct.pack(">I", zlib.crc32(body)) + data[33:]
        )
        return grey_of(tmp_path / "a.png")

    assert np.array_equal(png(dark << 4, 12), dark)
    assert np.array_equal(png(dark << 2, 10), dark)
    assert np.array_equal(png(dark << 8, 16), dark)
    assert np.array_equal(png(GREY.astype(np.uint16) << 8, 12), GREY)  # scaled to 16 bits, as the standard has it
    assert np.array_equal(png(dark << 4, 200), dark << 2)  # nonsense: by what it holds, 10 bits


def test_eight_bits_that_were_spread_to_sixteen_stay_dark(tmp_path):
    dark = (GREY >> 4).astype(np.uint16)
    assert np.array_equal(grey_of(saved(tmp_path / "a.png", dark * 257)), dark)
    assert np.array_equal(grey_of(saved(tmp_path / "b.png", dark * 256)), dark)


@pytest.mark.parametrize("bits", [10, 12, 16])
@pytest.mark.parametrize("name", ["a.png", "a.tif", "plain.tif"])
def test_colours_of_fewer_bits(tmp_path, name, bits):
    colours = np.dstack((GREY, GREY[::-1], GREY[:, ::-1]))
    options = [cv2.IMWRITE_TIFF_COMPRESSION, 1] if name == "plain.tif" else []
    cv2.imwrite(str(tmp_path / name), colours[..., ::-1].astype(np.uint16) << (bits - 8), options)
    assert np.array_equal(read_photograph(tmp_path / name), colours)
    assert photograph_size(tmp_path / name) == GREY.shape


def test_colours_of_fewer_bits_with_alpha(tmp_path):
    values = np.dstack((GREY, GREY, GREY, np.full_like(GREY, 255))).astype(np.uint16) << 4
    values[..., 3] = 65535
    cv2.imwrite(str(tmp_path / "a.png"), values)
    assert np.array_equal(grey_of(tmp_path / "a.png"), GREY)


def test_floating_point_pictures(tmp_path):
    for factor in (1, 1 / 255):
        path = saved(tmp_path / "a.tif", GREY.astype(np.float32) * np.float32(factor))
        assert np.array_equal(grey_of(path), GREY)


@pytest.mark.parametrize("values", [[-1.0, 0.5], [0.0, 300.0], [0.0, np.nan], [0.0, np.inf]])
def test_floating_point_numbers_that_are_no_brightness_are_refused(tmp_path, values):
    path = saved(tmp_path / "f.tif", np.repeat(np.array([values], np.float32), 3, 0))
    with pytest.raises(CosegError, match=naming("f.tif", "floating-point")):
        read_photograph(path)


@pytest.mark.parametrize("values", [[-5, 300], [0, 70000]])
def test_integers_that_are_no_brightness_are_refused(tmp_path, values):
    path = saved(tmp_path / "i.tif", np.repeat(np.array([values], np.int32), 3, 0))
    with pytest.raises(CosegError, match=naming("i.tif", min(0, values[0]), values[1])):
        read_photograph(path)


def test_a_camera_s_twelve_bits_are_no_black_picture(tmp_path):
    path = saved(tmp_path / "a.tif", GREY.astype(np.uint16) * 16)
    assert exposure_note(read_photograph(path)) is None


def test_photographs_of_any_source_are_scaled_alike(tmp_path):
    from coseg.inference.photographs import load_photograph

    cv2.imwrite(str(tmp_path / "a.png"), np.dstack([GREY] * 3).astype(np.uint16) << 4)
    saved(tmp_path / "b.tif", GREY.astype(np.uint16) << 4)
    for name in ("a.png", "b.tif"):
        assert np.array_equal(load_photograph(tmp_path / name).pixels, read_photograph(tmp_path / name))
        assert load_photograph(tmp_path / name).pixels.max() == 255


@pytest.mark.parametrize("shift", [2, 4, 8])
def test_grey_with_alpha_of_16_bits(tmp_path, shift):
    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    values = np.dstack((GREY.astype(">u2") << shift | 1, np.full(GREY.shape, 65535))).astype(">u2")
    rows = b"".join(b"\0" + row.tobytes() for row in values)
    head = struct.pack(">IIBBBBB", GREY.shape[1], GREY.shape[0], 16, 4, 0, 0, 0)
    parts = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    path = tmp_path / "a.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + parts)
    assert np.array_equal(grey_of(path), GREY)
