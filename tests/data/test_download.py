"""Downloads from a server on this machine, which can break off, change its file and ignore ranges."""

from __future__ import annotations

import errno
import hashlib
import io
import json
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import coseg.data.download
from coseg.data.download import CHECKSUMS, download, unpack
from coseg.data.sources import Archive
from coseg.errors import CosegError


class Server(ThreadingHTTPServer):
    """Serves `content`; `cut`: bytes after which the connection breaks off; `ranges`: whether it goes on."""

    content = b""
    version = '"1"'
    cut: int | None = None
    ranges = True
    asked: list[str | None]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/pictures.zip"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        asked = self.headers.get("Range")
        self.server.asked.append(asked)
        start = 0
        if asked is not None and self.server.ranges and self.headers.get("If-Range") == self.server.version:
            start = int(asked.removeprefix("bytes=").removesuffix("-"))
        body = self.server.content[start:]
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", self.server.version)
        self.end_headers()
        self.wfile.write(body if self.server.cut is None else body[: self.server.cut])

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(("127.0.0.1", 0), Handler) as serving:
        serving.asked = []
        serving.content = zipped({"pictures/a.txt": b"a", "pictures/noise": NOISE})
        thread = threading.Thread(target=serving.serve_forever, daemon=True)
        thread.start()
        yield serving
        serving.shutdown()


NOISE = np.random.default_rng(0).bytes(300_000)


def zipped(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def archive(server: Server, checksum: str | None = None) -> Archive:
    return Archive(server.url, checksum, "http://example.org/page")


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


WHOLE = {"pictures/a.txt": b"a", "pictures/noise": NOISE}


def test_a_download_is_checked_and_unpacked(server: Server, tmp_path: Path) -> None:
    checksum = "md5:" + hashlib.md5(server.content).hexdigest()
    download(archive(server, checksum), tmp_path / "data" / "pictures")
    assert tree(tmp_path) == {f"data/pictures/{name}": content for name, content in WHOLE.items()}
    with pytest.raises(CosegError, match="exists already"):
        download(archive(server, checksum), tmp_path / "data" / "pictures")


def test_a_download_that_broke_off_goes_on(server: Server, tmp_path: Path) -> None:
    server.cut = 100_000
    with pytest.raises(CosegError, match=r"cannot be fetched.*--archive pictures\.zip"):
        download(archive(server), tmp_path / "pictures")
    assert not (tmp_path / "pictures").exists()
    server.cut = None
    download(archive(server), tmp_path / "pictures")
    first, second = server.asked
    assert first is None
    assert second is not None
    assert 30_000 < int(second.removeprefix("bytes=").removesuffix("-")) <= 100_000
    assert tree(tmp_path / "pictures") == WHOLE


@pytest.mark.parametrize("change", ["version", "ranges"])
def test_it_starts_again_where_it_cannot_go_on(server: Server, tmp_path: Path, change: str) -> None:
    server.cut = 100_000
    with pytest.raises(CosegError):
        download(archive(server), tmp_path / "pictures")
    server.cut = None
    if change == "version":
        server.version, server.content = '"2"', zipped({"pictures/b.txt": NOISE[::-1]})
    else:
        server.ranges = False
    download(archive(server), tmp_path / "pictures")
    assert tree(tmp_path / "pictures") == ({"pictures/b.txt": NOISE[::-1]} if change == "version" else WHOLE)


def test_a_wrong_checksum_is_refused(server: Server, tmp_path: Path) -> None:
    with pytest.raises(CosegError, match=r"another checksum than the one published \(md5:0{32}\)"):
        download(archive(server, "md5:" + "0" * 32), tmp_path / "pictures")
    assert not tree(tmp_path)


def test_an_unknown_checksum_is_recorded_and_a_change_refused(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    download(archive(server), tmp_path / "pictures")
    recorded = {"pictures.zip": "sha256:" + hashlib.sha256(server.content).hexdigest()}
    assert json.loads((tmp_path / CHECKSUMS).read_text()) == recorded
    assert "nobody published a checksum of pictures.zip" in capsys.readouterr().err
    server.content, server.version = zipped({"other": b"other"}), '"2"'
    with pytest.raises(CosegError, match=r"recorded in .*checksums\.json at the first download"):
        download(archive(server), tmp_path / "again")
    assert not (tmp_path / "again").exists()
    assert json.loads((tmp_path / CHECKSUMS).read_text()) == recorded
    own = tmp_path / "own.zip"
    own.write_bytes(server.content)
    with pytest.raises(CosegError, match=r"own\.zip has another checksum"):
        download(archive(server), tmp_path / "again", own)
    (tmp_path / CHECKSUMS).write_text("{")
    with pytest.raises(CosegError, match=r"checksums\.json is damaged"):
        download(archive(server), tmp_path / "again")


def test_an_archive_fetched_by_hand_needs_no_network(tmp_path: Path) -> None:
    own = tmp_path / "own.zip"
    own.write_bytes(zipped(WHOLE))
    download(Archive("http://127.0.0.1:9/pictures.zip", None, "page"), tmp_path / "pictures", own)
    assert tree(tmp_path / "pictures") == WHOLE
    assert own.exists()
    assert not (tmp_path / "pictures.partial").exists()
    with pytest.raises(CosegError, match="nowhere is not a file"):
        download(Archive("http://127.0.0.1:9/x.zip", None, "page"), tmp_path / "other", tmp_path / "nowhere")


def test_no_network_says_what_to_fetch_by_hand(tmp_path: Path) -> None:
    source = Archive("http://127.0.0.1:9/pictures.zip", None, "http://example.org/page")
    with pytest.raises(CosegError) as told:
        download(source, tmp_path / "data" / "pictures")
    assert not list(tmp_path.iterdir())
    for words in ("http://127.0.0.1:9/pictures.zip", "http://example.org/page", "--archive pictures.zip"):
        assert words in str(told.value)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("name", ["../outside", "/outside", "a/../../outside", "..\\outside", "C:/outside"])
@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_members_outside_are_refused(name: str, kind: str, tmp_path: Path) -> None:
    path = tmp_path / f"bad.{kind}"
    if kind == "zip":
        path.write_bytes(zipped({"fine": b"", name: b"bad"}))
    else:
        with tarfile.open(path, "w") as tarred:
            for member in ("fine", name):
                tarred.addfile(tarfile.TarInfo(member), io.BytesIO())
    with pytest.raises(CosegError, match="nothing was unpacked"):
        unpack(path, tmp_path / "inside" / "folder")
    assert not (tmp_path / "inside").exists()
    assert not (tmp_path / "outside").exists()


@pytest.mark.skipif(not hasattr(tarfile, "data_filter"), reason="this Python has no filter for tar archives")
def test_links_outside_are_refused(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "bad.tar", "w") as tarred:
        link = tarfile.TarInfo("link")
        link.type, link.linkname = tarfile.SYMTYPE, "../../secret"
        tarred.addfile(link)
    with pytest.raises(CosegError, match="cannot be unpacked"):
        unpack(tmp_path / "bad.tar", tmp_path / "folder")


@pytest.mark.parametrize("content", [b"", b"no archive", zipped(WHOLE)[:-200], zipped(WHOLE)[:100]])
def test_a_damaged_archive_is_fetched_anew(server: Server, tmp_path: Path, content: bytes) -> None:
    good, server.content = server.content, content
    with pytest.raises(CosegError, match="download it again"):
        download(archive(server), tmp_path / "pictures")
    assert not (tmp_path / "pictures").exists()
    (tmp_path / CHECKSUMS).unlink()  # what was recorded of the damaged file
    server.content, server.version = good, '"2"'
    download(archive(server), tmp_path / "pictures")
    assert tree(tmp_path / "pictures") == WHOLE


def test_a_full_disk_is_told_and_nothing_looks_complete(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:

        def full(*_: Any, **__: Any) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        patch.setattr(coseg.data.download, "unpack", full)
        with pytest.raises(CosegError, match=r"disk of .*pictures is full"):
            download(archive(server), tmp_path / "pictures")
    assert not (tmp_path / "pictures").exists()
    download(archive(server), tmp_path / "pictures")
    assert len(server.asked) == 1  # what was fetched was kept
    assert tree(tmp_path / "pictures") == WHOLE
