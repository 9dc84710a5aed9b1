"""Archives as strangers make them: bounded, refused before anything is written, and whole when they are taken."""

from __future__ import annotations

import stat
import struct
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from facts import naming
from layouts.archives import SMALL, member, tarred, zipped

from coseg.data.unpack import unpack
from coseg.errors import CosegError


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


@pytest.mark.parametrize(
    ("make", "fact"),
    [
        (bomb, "GiB"),
        (many, "100 members"),
        (many_in_tar, "100 members"),
        (gzip_bomb, "GiB"),
        (sparse, "GiB"),
        (negative, ("GiB", "negative")),
    ],
)
def test_an_archive_that_unpacks_to_too_much_is_refused(
    make: Callable[[Path], Path], fact: str | tuple[str, ...], tmp_path: Path
) -> None:
    path = make(tmp_path / "archive")
    with pytest.raises(CosegError, match=naming(path, fact)):
        unpack(path, tmp_path / "folder", SMALL)
    assert not (tmp_path / "folder").exists()


def test_a_zip_that_lies_about_a_size_is_refused(tmp_path: Path) -> None:
    path = zipped(tmp_path / "lies.zip", ("a", bytes(5000)))
    content = path.read_bytes()
    path.write_bytes(content.replace(struct.pack("<I", 5000), struct.pack("<I", 10)))
    with pytest.raises(CosegError, match=naming(path, "again")):
        unpack(path, tmp_path / "folder")


@pytest.mark.parametrize(
    ("names", "fact"),
    [
        (("a", "a"), "another member"),
        (("Photo.jpg", "photo.JPG"), "another member"),
        (("caf\u00e9", "cafe\u0301"), "another member"),
        (("a", "a/b"), "no folder"),
        (("a/b", "A"), "another member"),
        (("a\nb",), "characters"),
        (("\x1b[2J",), "characters"),
        (("n" * 256,), "too long"),
        (("/".join(["deep"] * 300),), "too long"),
    ],
)
@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_names_that_cannot_be_are_refused(names: tuple[str, ...], fact: str, kind: str, tmp_path: Path) -> None:
    path = tmp_path / "archive"
    if kind == "zip":
        with pytest.warns(UserWarning, match="Duplicate") if names == ("a", "a") else _nullcontext():
            zipped(path, *((name, b"x") for name in names))
    else:
        tarred(path, *((member(name), b"x") for name in names))
    with pytest.raises(CosegError, match=naming(path, fact, "unpacked")) as told:
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
    with pytest.raises(CosegError, match=naming(path, "unpacked", "published")):
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
