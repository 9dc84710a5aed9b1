"""Archives as strangers make them: bounded, refused before anything is written, and whole when they are taken."""

from __future__ import annotations

import gzip
import io
import os
import stat
import struct
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from coseg.data.archive import Limits, list_members
from coseg.data.unpack import unpack
from coseg.errors import CosegError

SMALL = Limits(archive=2**20, unpacked=2**20, members=100)


def tarred(path: Path, *members: tuple[tarfile.TarInfo, bytes], mode: str = "w") -> Path:
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for info, content in members:
            info.size = len(content) or info.size
            archive.addfile(info, io.BytesIO(content) if content else None)
    return path


def member(name: str, kind: bytes = tarfile.REGTYPE, target: str = "", size: int = 0) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size = kind, target, size
    return info


def zipped(path: Path, *members: tuple[str | zipfile.ZipInfo, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in members:
            archive.writestr(name, content, compress_type=method)
    return path


def bomb(path: Path) -> Path:
    return zipped(path, *((f"{k}", bytes(300_000)) for k in range(4)))


def many(path: Path) -> Path:
    return zipped(path, *((f"{k}", b"") for k in range(101)))


def many_in_tar(path: Path) -> Path:
    return tarred(path, *((member(f"{k}", tarfile.DIRTYPE), b"") for k in range(101)))


def gzip_bomb(path: Path) -> Path:
    return tarred(path, (member("a"), bytes(2**20 + 1)), mode="w:gz")


def sparse(path: Path) -> Path:
    """A sparse member of 4 GiB, of which the archive holds nothing."""
    header = bytearray(member("a", tarfile.GNUTYPE_SPARSE).tobuf(tarfile.GNU_FORMAT))
    header[483:495] = b"%011o\0" % 2**32
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    path.write_bytes(header + bytes(1024))
    return path


def negative(path: Path) -> Path:
    header = bytearray(member("a").tobuf(tarfile.GNU_FORMAT))
    header[124:136] = b"\xff" * 11 + b"\x00"
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    path.write_bytes(header + bytes(1024))
    return path


@pytest.mark.parametrize("make", [bomb, many, many_in_tar, gzip_bomb, sparse, negative])
def test_an_archive_that_unpacks_to_too_much_is_refused(make: Callable[[Path], Path], tmp_path: Path) -> None:
    path = make(tmp_path / "archive")
    with pytest.raises(CosegError, match=r"more than 100 members or .* GiB|cannot be unpacked.*negative"):
        unpack(path, tmp_path / "folder", SMALL)
    assert not (tmp_path / "folder").exists()


def test_a_header_of_gigabytes_is_not_read(tmp_path: Path) -> None:
    """A long name is read at once, so a small gzip file could take all memory."""
    path = tmp_path / "long.tar.gz"
    with gzip.open(path, "wb", compresslevel=1) as file:
        info = member("././@LongLink", tarfile.GNUTYPE_LONGNAME, size=200 * 2**20)
        file.write(info.tobuf(tarfile.GNU_FORMAT))
        for _ in range(40):
            file.write(bytes(2**20))
    with pytest.raises(CosegError, match="table of contents has too many bytes"):
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
    with pytest.raises(CosegError, match="table of contents has too many bytes"):
        list_members(path, Limits())


def test_a_zip_that_lies_about_a_size_is_refused(tmp_path: Path) -> None:
    path = zipped(tmp_path / "lies.zip", ("a", bytes(5000)))
    content = path.read_bytes()
    path.write_bytes(content.replace(struct.pack("<I", 5000), struct.pack("<I", 10)))
    with pytest.raises(CosegError, match="download it again"):
        unpack(path, tmp_path / "folder")


def test_a_gzip_that_lies_about_its_size_is_refused(tmp_path: Path) -> None:
    path = tarred(tmp_path / "a.tar.gz", (member("a"), b"content"), mode="w:gz")
    path.write_bytes(path.read_bytes()[:-4] + struct.pack("<I", 7))
    with pytest.raises(CosegError, match="damaged or cut off"):
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
    with pytest.raises(CosegError, match="no end, or a damaged header"):
        unpack(path, tmp_path / "folder")


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (("a", "a"), "another member has"),
        (("Photo.jpg", "photo.JPG"), "another member has"),
        (("caf\u00e9", "cafe\u0301"), "another member has"),
        (("a", "a/b"), "below a member that is no folder"),
        (("a/b", "A"), "another member has"),
        (("a\nb",), "characters that no name should have"),
        (("\x1b[2J",), "characters that no name should have"),
        (("n" * 256,), "too long"),
        (("/".join(["deep"] * 300),), "too long"),
    ],
)
@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_names_that_cannot_be_are_refused(names: tuple[str, ...], words: str, kind: str, tmp_path: Path) -> None:
    path = tmp_path / "archive"
    if kind == "zip":
        with pytest.warns(UserWarning, match="Duplicate") if names == ("a", "a") else _nullcontext():
            zipped(path, *((name, b"x") for name in names))
    else:
        tarred(path, *((member(name), b"x") for name in names))
    with pytest.raises(CosegError, match=f"{words}.*nothing was unpacked") as told:
        unpack(path, tmp_path / "folder")
    assert "\n" not in str(told.value) and "\x1b" not in str(told.value) and len(str(told.value)) < 500
    assert not (tmp_path / "folder").exists()


def _nullcontext() -> object:
    from contextlib import nullcontext

    return nullcontext()


@pytest.mark.parametrize(
    "members",
    [
        (member("link", tarfile.SYMTYPE, "down"), member("link/file")),
        (member("hard", tarfile.LNKTYPE, "nowhere"),),
        (member("link", tarfile.SYMTYPE, "a"), member("hard", tarfile.LNKTYPE, "link")),
        (member("device", tarfile.CHRTYPE),),
        (member("device", tarfile.BLKTYPE),),
    ],
    ids=["below a link", "to no file", "to a link", "character device", "block device"],
)
def test_links_and_devices_that_are_refused(members: tuple[tarfile.TarInfo, ...], tmp_path: Path) -> None:
    path = tarred(tmp_path / "a.tar", *((info, b"") for info in members))
    with pytest.raises(CosegError, match="nothing was unpacked"):
        unpack(path, tmp_path / "folder")
    assert not (tmp_path / "folder").exists()


def test_links_that_stay_inside_and_modes(tmp_path: Path) -> None:
    info = member("a")
    info.mode = 0o6777
    path = tarred(
        tmp_path / "a.tar",
        (info, b"content"),
        (member("b/hard", tarfile.LNKTYPE, "a"), b""),
        (member("soft", tarfile.SYMTYPE, "a"), b""),
    )
    unpack(path, tmp_path / "folder")
    assert {(tmp_path / "folder" / name).read_bytes() for name in ("a", "b/hard", "soft")} == {b"content"}
    assert not stat.S_IMODE((tmp_path / "folder" / "a").stat().st_mode) & 0o7111


def test_a_pipe_in_a_zip_is_refused(tmp_path: Path) -> None:
    info = zipfile.ZipInfo("pipe")
    info.create_system, info.external_attr = 3, (stat.S_IFIFO | 0o644) << 16
    with pytest.raises(CosegError, match="neither a file nor a folder"):
        unpack(zipped(tmp_path / "a.zip", (info, b"")), tmp_path / "folder")


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_zip_packed_otherwise_is_refused(method: int, tmp_path: Path) -> None:
    """A piece of such a file can unpack to a gigabyte at once."""
    with pytest.raises(CosegError, match="unpack it with its own program"):
        unpack(zipped(tmp_path / "a.zip", ("a", b"x"), method=method), tmp_path / "folder")


def test_an_encrypted_zip_is_refused(tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.zip", ("a", b"x"), method=zipfile.ZIP_STORED)
    content = bytearray(path.read_bytes())
    content[content.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(content)
    with pytest.raises(CosegError, match="encrypted"):
        unpack(path, tmp_path / "folder")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b"no archive at all", "no zip or tar archive"),
        (b"<!DOCTYPE html><html>", "a web page"),
        (b"7z\xbc\xaf\x27\x1c" + bytes(600), "a 7z archive"),
        (b"Rar!\x1a\x07\x01\x00" + bytes(600), "a RAR archive"),
        (b"PK\x03\x04" + bytes(600), "zip archive that is damaged or cut off"),
        (gzip.compress(b"a photograph", mtime=0), "no zip or tar archive"),
        (gzip.compress(os.urandom(5000), mtime=0)[:1000], "damaged or cut off"),
        (bytes(1024), "no zip or tar archive|holds"),
    ],
    ids=range(9),
)
def test_what_is_no_archive(content: bytes, words: str, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    if content == bytes(1024):  # an empty tar
        assert list_members(path, Limits()) == []
        return
    with pytest.raises(CosegError, match=words):
        unpack(path, tmp_path / "folder")
    assert not (tmp_path / "folder").exists()


def test_what_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for place, words in ((tmp_path / "pipe", "pipe or device"), (Path("/dev/zero"), "pipe or device")):
        with pytest.raises(CosegError, match=words):
            unpack(place, tmp_path / "folder")
    with pytest.raises(CosegError, match="a folder"):
        unpack(tmp_path, tmp_path / "folder")
    large = tmp_path / "large"
    with large.open("wb") as file:
        file.truncate(SMALL.archive + 1)
    with pytest.raises(CosegError, match="1,048,577 bytes"):
        unpack(large, tmp_path / "folder", SMALL)
