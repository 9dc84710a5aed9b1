"""Archives from untrusted sources are read within bounds, and refused where they are none."""

from __future__ import annotations

import gzip
import os
import stat
import struct
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from facts import naming
from layouts.archives import SMALL, member, tarred, zipped

from coseg.data.archive import Limits
from coseg.data.unpack import list_members, unpack
from coseg.errors import CosegError


def test_a_header_of_gigabytes_is_not_read(tmp_path: Path) -> None:
    """A long name is read at once, so a small gzip file could take all memory."""
    path = tmp_path / "long.tar.gz"
    with gzip.open(path, "wb", compresslevel=1) as file:
        info = member("././@LongLink", tarfile.GNUTYPE_LONGNAME, size=200 * 2**20)
        file.write(info.tobuf(tarfile.GNU_FORMAT))
        for _ in range(40):
            file.write(bytes(2**20))
    with pytest.raises(CosegError, match=naming(path, "contents", "bytes")):
        list_members(path, Limits())


def test_a_directory_of_ten_million_entries_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "many.zip"
    entries, size = 10_000_000, 460_000_000
    with path.open("wb") as file:
        file.truncate(size)
        file.seek(size)
        file.write(b"PK\x06\x06" + struct.pack("<QHHIIQQQQ", 44, 45, 45, 0, 0, entries, entries, size, 0))
        file.write(b"PK\x06\x07" + struct.pack("<IQI", 0, size, 1))
        file.write(b"PK\x05\x06" + struct.pack("<HHHHIIH", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0))
    with pytest.raises(CosegError, match=naming(path, "contents", "bytes")):
        list_members(path, Limits())


def test_a_gzip_that_lies_about_its_size_is_refused(tmp_path: Path) -> None:
    path = tarred(tmp_path / "a.tar.gz", (member("a"), b"content"), mode="w:gz")
    path.write_bytes(path.read_bytes()[:-4] + struct.pack("<I", 7))
    with pytest.raises(CosegError, match=naming(path, ("damaged", "cut off"))):
        unpack(path, tmp_path / "folder")
    assert not (tmp_path / "folder").exists()


FILES = (member("a"), b"first"), (member("b"), b"second")


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_a_whole_tar_is_unpacked(mode: str, tmp_path: Path) -> None:
    unpack(tarred(tmp_path / "a", *FILES, mode=mode), tmp_path / "folder")
    assert (tmp_path / "folder" / "b").read_bytes() == b"second"


@pytest.mark.parametrize("spoil", [lambda content: content[:1024], lambda content: content.replace(b"b\0", b"c\0", 1)])
def test_a_tar_that_ends_early_is_refused(spoil: Callable[[bytes], bytes], tmp_path: Path) -> None:
    """Python's module takes a missing end and a damaged header for the end: the second file would be left out."""
    path = tarred(tmp_path / "a.tar", *FILES)
    path.write_bytes(spoil(path.read_bytes()))
    with pytest.raises(CosegError, match=naming(path, "end", "damaged")):
        unpack(path, tmp_path / "folder")


def test_a_pipe_in_a_zip_is_refused(tmp_path: Path) -> None:
    info = zipfile.ZipInfo("pipe")
    info.create_system, info.external_attr = 3, (stat.S_IFIFO | 0o644) << 16
    with pytest.raises(CosegError, match=naming("a.zip", "'pipe'", "file", "folder")):
        unpack(zipped(tmp_path / "a.zip", (info, b"")), tmp_path / "folder")


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_zip_packed_otherwise_is_refused(method: int, tmp_path: Path) -> None:
    """A piece of such a file can unpack to a gigabyte at once."""
    with pytest.raises(CosegError, match=naming("a.zip", "program")):
        unpack(zipped(tmp_path / "a.zip", ("a", b"x"), method=method), tmp_path / "folder")


def test_an_encrypted_zip_is_refused(tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.zip", ("a", b"x"), method=zipfile.ZIP_STORED)
    content = bytearray(path.read_bytes())
    content[content.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(content)
    with pytest.raises(CosegError, match=naming(path, "encrypted")):
        unpack(path, tmp_path / "folder")


@pytest.mark.parametrize(
    ("content", "facts"),
    [
        (b"", ("empty",)),
        (b"no archive at all", ("zip", "tar")),
        (b"<!DOCTYPE html><html>", ("web page",)),
        (b"7z\xbc\xaf\x27\x1c" + bytes(600), ("7z",)),
        (b"Rar!\x1a\x07\x01\x00" + bytes(600), ("RAR archive",)),
        (b"PK\x03\x04" + bytes(600), ("zip", "damaged", "cut off")),
        (gzip.compress(b"a photograph", mtime=0), ("zip", "tar")),
        (gzip.compress(os.urandom(5000), mtime=0)[:1000], ("damaged", "cut off")),
        (bytes(1024), ()),
    ],
    ids=range(9),
)
def test_what_is_no_archive(content: bytes, facts: tuple[str, ...], tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    if content == bytes(1024):  # an empty tar
        assert list_members(path, Limits()) == []
        return
    with pytest.raises(CosegError, match=naming(path, *facts)):
        unpack(path, tmp_path / "folder")
    assert not (tmp_path / "folder").exists()


def test_what_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for place in (tmp_path / "pipe", Path("/dev/zero")):
        with pytest.raises(CosegError, match=naming(place, "pipe", "device")):
            unpack(place, tmp_path / "folder")
    with pytest.raises(CosegError, match=naming(tmp_path, "a folder")):
        unpack(tmp_path, tmp_path / "folder")
    large = tmp_path / "large"
    with large.open("wb") as file:
        file.truncate(SMALL.archive + 1)
    with pytest.raises(CosegError, match=naming(large, "1,048,577 bytes")):
        unpack(large, tmp_path / "folder", SMALL)
