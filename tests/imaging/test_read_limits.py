"""Files whose sizes are absurd are refused before memory is taken; none of these takes room on the disk either."""

from __future__ import annotations

import io
import struct
import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from facts import naming
from PIL import Image

from coseg.errors import CosegError
from coseg.imaging.read import open_image, read_photograph
from coseg.inference.photographs import load_photograph


def encoded(kind: str) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (40, 30), (200, 10, 20)).save(buffer, kind)
    return buffer.getvalue()


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def with_hole(path: Path, name: bytes, at: int) -> None:
    """A PNG with a chunk of 2 GB at a place, a hole in the file; at its end it is read after the pixels."""
    png = encoded("PNG")
    with path.open("wb") as file:
        file.write(png[:at] + struct.pack(">I", 2**31 - 1) + name)
        file.seek(2**31 - 1 + 4, io.SEEK_CUR)
        file.write(png[at:])


def long_file(path: Path, start: bytes, size: int) -> None:
    with path.open("wb") as file:
        file.write(start)
        file.truncate(size)


def huge_gif(path: Path) -> None:
    gif = bytearray(encoded("GIF"))
    gif[6:10] = struct.pack("<HH", 65535, 65535)
    path.write_bytes(gif)


HOSTILE: dict[str, Callable[[Path], object]] = {
    **{f"{name.decode()}-{at}": (lambda path, name=name, at=at: with_hole(path, name, at))
       for name in (b"zTXt", b"iTXt", b"tEXt", b"iCCP", b"eXIf", b"anYt") for at in (33, -12)},
    **{f"bomb-{name.decode()}": (lambda path, name=name, head=head: path.write_bytes(
        encoded("PNG")[:33] + chunk(name, head + zlib.compress(bytes(2**26))) + encoded("PNG")[33:]))
       for name, head in ((b"zTXt", b"a\0\0"), (b"iTXt", b"a\0\1\0\0\0"), (b"iCCP", b"a\0\0"))},
    "webp": lambda path: long_file(path, encoded("WEBP"), 2**40),
    "avif": lambda path: long_file(path, bytes.fromhex("0000001c") + b"ftypavif", 2**40),
    "tiff": lambda path: long_file(path, encoded("TIFF"), 2**40),
    "gif": huge_gif,
}  # fmt: skip


@pytest.mark.parametrize("what", HOSTILE)
def test_absurd_sizes_are_refused_before_memory_is_taken(what: str, tmp_path: Path) -> None:
    path = tmp_path / "image"
    HOSTILE[what](path)
    tracemalloc.start()
    try:
        with pytest.raises(CosegError, match="image"):
            load_photograph(path)
        if what != "gif":  # data sets have no bound of their own on pixels, but Pillow's
            with pytest.raises(CosegError, match="image"):
                read_photograph(path)
        assert tracemalloc.get_traced_memory()[1] < 8 * 2**20
    finally:
        tracemalloc.stop()


def test_thousands_of_frames_are_counted_and_refused(tmp_path: Path) -> None:
    frames = [Image.new("L", (2, 2), number % 2 * 255) for number in range(1000)]
    for suffix in ("gif", "tif"):
        path = tmp_path / f"a.{suffix}"
        frames[0].save(path, save_all=True, append_images=frames[1:])
        with pytest.raises(CosegError, match=naming(path, "animated", "pages")):
            load_photograph(path)


def test_large_metadata_that_fit_change_nothing(tmp_path: Path) -> None:
    image = Image.new("RGB", (40, 30), (200, 10, 20))
    image.save(tmp_path / "a.webp", lossless=True, exif=b"Exif\0\0II*\0\x08\0\0\0\0\0" + bytes(2**20))
    image.save(tmp_path / "a.tif", tiffinfo={700: b"x" * 2**20})
    image.save(tmp_path / "a.png", icc_profile=bytes(2**19))
    for path in tmp_path.iterdir():
        photograph = load_photograph(path)
        assert photograph.size == (30, 40) and photograph.profile is None
        assert tuple(photograph.pixels[0, 0]) == (200, 10, 20)


def test_files_in_memory_are_looked_at_too() -> None:
    png = encoded("PNG")
    assert open_image(io.BytesIO(png)).size == (40, 30)
    with pytest.raises(OSError, match="zTXt"):
        open_image(io.BytesIO(png[:33] + struct.pack(">I", 2**30) + b"zTXt" + png[33:]))
