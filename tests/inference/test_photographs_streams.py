"""Photographs from bytes and from anything with `read`: as from the file, and a sentence for what is none."""

from __future__ import annotations

import io
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from coseg.errors import CosegError
from coseg.imaging import read
from coseg.inference import photographs
from coseg.inference.encoded_images import several
from coseg.inference.photographs import load_photograph

RGB = np.asarray(Image.fromarray(np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)).resize((80, 60)))


class Pipe(io.RawIOBase):
    """A file that can't seek, as a response of a server."""

    def __init__(self, data: bytes) -> None:
        self._rest = io.BytesIO(data)

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        return self._rest.read(size)


class Endless:
    """A file without an end."""

    def read(self, size: int) -> bytes:
        return b"\xff" * size


class Asynchronous:
    """As the uploads of web frameworks."""

    async def read(self, size: int = -1) -> bytes:
        return b""


@pytest.fixture(params=["png", "jpg", "webp", "tif"])
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    exif = Image.Exif()
    exif[0x0112] = 6
    file = tmp_path / f"a.{request.param}"
    Image.fromarray(RGB).save(file, exif=exif)
    return file


@pytest.mark.parametrize("longest", [None, 20])
def test_all_ways_give_what_the_file_gives(path: Path, longest: int | None, tmp_path: Path) -> None:
    data, expected = path.read_bytes(), load_photograph(path, longest)
    archive = tmp_path / "a.zip"
    with zipfile.ZipFile(archive, "w") as packed:
        packed.write(path, "b.png")
    with path.open("rb") as file, tempfile.SpooledTemporaryFile() as spooled, zipfile.ZipFile(archive) as packed:
        spooled.write(data)  # its place is at the end
        sources = [data, bytearray(data), memoryview(data), io.BytesIO(data), file, spooled, Pipe(data)]
        for source in [*sources, packed.open("b.png")]:
            photograph = load_photograph(source, longest, "image 7")
            assert np.array_equal(photograph.pixels, expected.pixels)
            assert photograph.size == expected.size
            assert photograph.name == {file: path.name}.get(source if source is file else None, photograph.name)
        assert load_photograph(data, name="image 7").name == "image 7"
        assert load_photograph(packed.open("b.png")).name == "b.png"
        assert not file.closed and file.tell() == 0 and spooled.tell() == len(data)


def test_twelve_bits_are_as_bright_as_in_the_file(tmp_path: Path) -> None:
    import cv2

    deep = tmp_path / "deep.png"
    cv2.imwrite(str(deep), RGB.astype(np.uint16) << 2)  # 10 bits of 16
    expected = load_photograph(deep).pixels
    assert expected.mean() > 60
    assert np.array_equal(load_photograph(deep.read_bytes()).pixels, expected)


@pytest.mark.parametrize(
    ("source", "reported"),
    [
        (b"no image", r"image 1.*not an image"),
        (b"", r"image 1.*not an image"),
        (io.StringIO("text"), r"image 1.*'rb'"),
        (Asynchronous(), r"image 1.*await"),
        (Pipe(b"no image"), r"image 1.*not an image"),
        (b"\0\0\0\x18ftypheic\0\0\0\0heicmif1", r"image 1.*not an image"),
    ],
)
def test_what_is_no_image_gets_a_sentence(source: object, reported: str) -> None:
    with pytest.raises(CosegError, match=reported):
        load_photograph(source)


def test_files_that_are_closed_or_only_written(tmp_path: Path) -> None:
    closed = io.BytesIO(b"x")
    closed.close()
    with pytest.raises(CosegError, match=r"image 1.*closed"):
        load_photograph(closed)
    with (tmp_path / "new.png").open("wb") as writing, pytest.raises(CosegError, match=r"new\.png.*read"):
        load_photograph(writing)


def test_sizes_are_limited_before_memory_is_taken(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(photographs, "MAX_WHOLE", 3 * 2**20)
    with pytest.raises(CosegError, match=r"image 1.*more than 3 MB"):
        load_photograph(Endless())
    monkeypatch.setattr(read, "MAX_FILE", 100)
    with (tmp_path / "large.png").open("w+b") as file, pytest.raises(CosegError, match=r"large\.png.*101.*100"):
        file.truncate(101)
        load_photograph(file)


def test_one_file_or_its_bytes_are_no_group() -> None:
    for one in (io.BytesIO(b""), b"", bytearray(), memoryview(b"")):
        with pytest.raises(CosegError, match="list of two or more"):
            several(one)
