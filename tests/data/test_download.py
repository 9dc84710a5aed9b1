"""Downloads from a server on this machine, which can break off, change its file and ignore ranges."""

from __future__ import annotations

import errno
import hashlib
import io
import json
import multiprocessing
import shutil
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
from facts import mentions, naming

import coseg.data.download
import coseg.data.unpack
from coseg.data.archive import Limits
from coseg.data.download import download
from coseg.data.sources import CHECKSUMS, Archive
from coseg.data.unpack import unpack
from coseg.errors import CosegError


class Server(ThreadingHTTPServer):
    """Serves `content`; `cut`: bytes after which the connection breaks off; `ranges`: whether it goes on."""

    content = b""
    version = '"1"'
    cut: int | None = None
    ranges = True
    location = ""
    wrong_part = chunked = False
    length = 0
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
        if self.path == "/moved":
            self.send_response(302)
            self.send_header("Location", self.server.location)
            self.end_headers()
            return
        if start and start >= len(self.server.content):
            self.send_response(416)
            self.end_headers()
            return
        self.send_response(206 if start else 200)
        if start and self.server.wrong_part:
            self.send_header("Content-Range", f"bytes 7-{len(body)}/{len(body)}")
        if not self.server.chunked:
            self.send_header("Content-Length", str(self.server.length or len(body)))
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
    with pytest.raises(CosegError, match=naming("data/pictures", "exists")):
        download(archive(server, checksum), tmp_path / "data" / "pictures")


def test_a_download_that_broke_off_goes_on(server: Server, tmp_path: Path) -> None:
    server.cut = 100_000
    with pytest.raises(CosegError, match=naming(server.url, "--archive pictures.zip")):
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
    with pytest.raises(CosegError, match=naming("pictures.zip", "checksum", "md5:" + "0" * 32)):
        download(archive(server, "md5:" + "0" * 32), tmp_path / "pictures")
    assert not tree(tmp_path)


def test_an_unknown_checksum_is_recorded_and_a_change_refused(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    download(archive(server), tmp_path / "pictures")
    recorded = {"pictures.zip": "sha256:" + hashlib.sha256(server.content).hexdigest()}
    assert json.loads((tmp_path / CHECKSUMS).read_text()) == recorded
    assert mentions(capsys.readouterr().err, "pictures.zip", "checksum")
    server.content, server.version = zipped({"other": b"other"}), '"2"'
    with pytest.raises(CosegError, match=naming("checksum", recorded["pictures.zip"], "checksums.json")):
        download(archive(server), tmp_path / "again")
    assert not (tmp_path / "again").exists()
    assert json.loads((tmp_path / CHECKSUMS).read_text()) == recorded
    own = tmp_path / "own.zip"
    own.write_bytes(server.content)
    with pytest.raises(CosegError, match=naming("own.zip", "checksum", recorded["pictures.zip"])):
        download(archive(server), tmp_path / "again", own)
    (tmp_path / CHECKSUMS).write_text("{")
    with pytest.raises(CosegError, match=naming("checksums.json", "damaged")):
        download(archive(server), tmp_path / "again")


def test_an_archive_fetched_by_hand_needs_no_network(tmp_path: Path) -> None:
    own = tmp_path / "own.zip"
    own.write_bytes(zipped(WHOLE))
    download(Archive("http://127.0.0.1:9/pictures.zip", None, "page"), tmp_path / "pictures", own)
    assert tree(tmp_path / "pictures") == WHOLE
    assert own.exists()
    assert not (tmp_path / "pictures.partial").exists()
    with pytest.raises(CosegError, match=naming("nowhere", "file")):
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
    with pytest.raises(CosegError, match=naming(path, "unpacked", "published")):
        unpack(path, tmp_path / "inside" / "folder")
    assert not (tmp_path / "inside").exists()
    assert not (tmp_path / "outside").exists()


def special(path: Path, *members: tuple[bytes, str, str]) -> Path:
    """A tar archive with members of other types, with their names and where they lead."""
    with tarfile.open(path, "w") as tarred:
        tarred.addfile(tarfile.TarInfo("fine"), io.BytesIO())
        for kind, name, target in members:
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, target
            tarred.addfile(member)
    return path


@pytest.mark.parametrize("python", ["filters", "has no filter"])
@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE])
@pytest.mark.parametrize("target", ["../../secret", "/etc/passwd", "a/../../secret"])
def test_links_outside_are_refused(
    python: str, kind: bytes, target: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if python == "has no filter":
        monkeypatch.delattr(tarfile, "data_filter", raising=False)
    path = special(tmp_path / "bad.tar", (kind, "link", target))
    with pytest.raises(CosegError, match=naming(path, f"link to '{target}'", "outside")):
        unpack(path, tmp_path / "folder")
    assert not (tmp_path / "folder").exists()


def test_links_inside_and_devices(tmp_path: Path) -> None:
    unpack(special(tmp_path / "a.tar", (tarfile.SYMTYPE, "deep/link", "down")), tmp_path / "folder")
    assert {path.name for path in (tmp_path / "folder").iterdir()} == {"fine", "deep"}
    with pytest.raises(CosegError, match=naming("b.tar", "'pipe'", "file", "folder", "unpacked")):
        unpack(special(tmp_path / "b.tar", (tarfile.FIFOTYPE, "pipe", "")), tmp_path / "other")
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize("kind", ["zip", "gz", "xz", "tar"])
def test_archives_that_are_spoilt_inside(kind: str, tmp_path: Path) -> None:
    """Cut off or with a wrong byte, wherever: a sentence, and nothing of it stays."""
    (tmp_path / "source").write_bytes(b"some text " * 500 + NOISE[:3000])
    path = tmp_path / f"whole.{kind}"
    if kind == "zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as zipped_file:
            zipped_file.write(tmp_path / "source", "text")
    else:
        with tarfile.open(path, "w" if kind == "tar" else f"w:{kind}") as tarred:  # type: ignore[call-overload]
            tarred.add(tmp_path / "source", "text")
    whole = path.read_bytes()
    spoilt = [whole[: len(whole) * k // 8] for k in range(1, 8)] if kind != "tar" else [whole[:700], whole[:5000]]
    if kind in ("zip", "xz"):  # tar has no checksums of its content, and Python leaves those of gzip unread
        for k in range(30, 60, 2):
            spoilt.append(whole[:k] + bytes([whole[k] ^ 0x55]) + whole[k + 1 :])
    told = 0
    for k, content in enumerate(spoilt):
        bad = tmp_path / f"bad-{k}.{kind}"
        bad.write_bytes(content)
        source = Archive("http://127.0.0.1:9/pictures.zip", None, "page")
        try:
            download(source, tmp_path / f"folder-{k}", bad)
        except CosegError as error:
            told += 1
            assert str(bad) in str(error)
            assert not (tmp_path / f"folder-{k}").exists() and not (tmp_path / CHECKSUMS).exists()
        else:  # a byte that says nothing, of a time say
            assert tree(tmp_path / f"folder-{k}") == {"text": (tmp_path / "source").read_bytes()}
            (tmp_path / CHECKSUMS).unlink()
    assert told >= len(spoilt) / 2


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    own, file = tmp_path / "own.zip", tmp_path / "file"
    own.write_bytes(zipped(WHOLE))
    file.write_text("mine")
    with pytest.raises(CosegError, match=naming(file, "written", "--root")):
        download(Archive("http://127.0.0.1:9/pictures.zip", None, "page"), file / "data", own)
    assert file.read_text() == "mine"


# With names of their own: archives hold the time at which they were made, and each process of the tests makes its own.
@pytest.mark.parametrize(
    "content",
    [b"", b"no archive", zipped(WHOLE)[:-200], zipped(WHOLE)[:100]],
    ids=["empty", "no archive", "cut at its end", "cut early"],
)
def test_a_damaged_archive_is_fetched_anew(server: Server, tmp_path: Path, content: bytes) -> None:
    good, server.content = server.content, content
    with pytest.raises(CosegError, match=naming("pictures.zip", "again")):
        download(archive(server), tmp_path / "pictures")
    assert not (tmp_path / "pictures").exists()
    assert not (tmp_path / CHECKSUMS).exists()  # nobody is held to a damaged file
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
        with pytest.raises(CosegError, match=naming("disk", "pictures", "full")):
            download(archive(server), tmp_path / "pictures")
    assert not (tmp_path / "pictures").exists()
    assert not list(tmp_path.glob("**/unpacked"))  # what there is room for again
    download(archive(server), tmp_path / "pictures")
    assert len(server.asked) == 1  # what was fetched was kept
    assert tree(tmp_path / "pictures") == WHOLE


def test_a_disk_that_fills_while_fetching_is_told_and_the_part_is_kept(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        open_path = Path.open

        class Full:
            """A file on a disk with room for one write."""

            def __init__(self, file: Any) -> None:
                self.file, self.writes = file, 0

            def __enter__(self) -> Full:
                return self

            def __exit__(self, *_: object) -> None:
                self.file.close()

            def write(self, data: bytes) -> int:
                self.writes += 1
                if self.writes > 1:
                    raise OSError(errno.ENOSPC, "No space left on device")
                return int(self.file.write(data))

        def opened(path: Path, *arguments: Any, **more: Any) -> Any:
            file = open_path(path, *arguments, **more)
            return Full(file) if path.suffix == ".part" else file

        patch.setattr(Path, "open", opened)
        with pytest.raises(CosegError, match=naming("disk", "pictures", "full", "again")):
            download(archive(server), tmp_path / "pictures")
    assert not (tmp_path / "pictures").exists()
    download(archive(server), tmp_path / "pictures")
    assert server.asked == [None, f"bytes={1 << 16}-"]
    assert tree(tmp_path / "pictures") == WHOLE


@pytest.mark.parametrize("change", ["shorter", "another place"])
def test_a_part_that_no_longer_matches_is_fetched_anew(server: Server, tmp_path: Path, change: str) -> None:
    server.cut = 200_000
    with pytest.raises(CosegError):
        download(archive(server), tmp_path / "pictures")
    server.cut = None
    if change == "shorter":
        server.content = zipped({"pictures/b.txt": b"b"})
    else:
        server.wrong_part = True
    download(archive(server), tmp_path / "pictures")
    assert server.asked[-1] is None
    assert tree(tmp_path / "pictures") == ({"pictures/b.txt": b"b"} if change == "shorter" else WHOLE)


@pytest.mark.parametrize("chunked", [True, False])
def test_more_bytes_than_an_archive_may_have_are_not_taken(server: Server, tmp_path: Path, chunked: bool) -> None:
    server.chunked = chunked
    small = archive(server)._replace(limits=Limits(archive=100_000))
    with pytest.raises(CosegError, match=naming("100,000 bytes")):
        download(small, tmp_path / "pictures")
    assert not tree(tmp_path)


def test_room_on_the_disk_is_asked_for_first(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Usage = type(shutil.disk_usage(tmp_path))
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda _: Usage(10**9, 10**9 - 306_000, 306_000))
        with pytest.raises(CosegError, match=naming("0 MiB", "--root")):
            download(archive(server), tmp_path / "pictures")  # enough to fetch it, not to unpack it
    assert not (tmp_path / "pictures").exists() and not list(tmp_path.glob("**/unpacked"))
    download(archive(server), tmp_path / "pictures")
    assert len(server.asked) == 1  # what was fetched was kept


@pytest.mark.parametrize("location", ["file:///etc/passwd", "ftp://127.0.0.1/x", "/moved"])
def test_a_redirect_elsewhere_is_not_followed(server: Server, tmp_path: Path, location: str) -> None:
    server.location = location
    moved = archive(server)._replace(url=server.url.replace("/pictures.zip", "/moved"))
    with pytest.raises(CosegError, match=naming(moved.url)):
        download(moved, tmp_path / "pictures")
    assert not list(tmp_path.iterdir())
    server.location = server.url
    download(moved, tmp_path / "pictures")
    assert tree(tmp_path / "pictures") == WHOLE


def test_from_https_nothing_leads_to_http() -> None:
    class Session:
        def get(self, url: str, **_: Any) -> Any:
            response = requests.Response()
            response.status_code, response.raw = 302, io.BytesIO()
            response.headers["Location"] = "http://example.org/pictures.zip"
            return response

    with pytest.raises(requests.ConnectionError, match=naming("http://example.org/pictures.zip")):
        coseg.data.download._answer(Session(), "https://example.org/pictures.zip", {})  # type: ignore[arg-type]


def test_what_a_killed_unpacking_left_goes_at_the_next_start(tmp_path: Path) -> None:
    own = tmp_path / "own.zip"
    own.write_bytes(zipped(WHOLE))
    source = Archive("http://127.0.0.1:9/pictures.zip", None, "page")
    with multiprocessing.get_context("fork").Manager() as manager:
        reached = manager.Event()
        process = multiprocessing.get_context("fork").Process(
            target=_unpack_slowly, args=(source, tmp_path / "pictures", own, reached)
        )
        process.start()
        assert reached.wait(60)
        assert not (tmp_path / "pictures").exists()
        with pytest.raises(CosegError, match=naming("pictures", "in use")):
            download(source, tmp_path / "pictures", own)
        process.kill()
        process.join()
    assert list(tmp_path.glob("pictures.partial/unpacked/pictures/*"))
    with pytest.raises(CosegError):
        download(source, tmp_path / "pictures", tmp_path / "nowhere.zip")
    assert not (tmp_path / "pictures.partial").exists() and not (tmp_path / "pictures").exists()
    download(source, tmp_path / "pictures", own)
    assert tree(tmp_path / "pictures") == WHOLE


def _unpack_slowly(source: Archive, folder: Path, own: Path, reached: Any) -> None:
    write = coseg.data.unpack._write

    def wait(path: Path, *more: Any) -> None:
        write(path, *more)
        reached.set()
        threading.Event().wait(60)

    coseg.data.unpack._write = wait
    download(source, folder, own)


@pytest.mark.parametrize("text", ["[]", '{"pictures.zip": 5}', '{"pictures.zip": "md4:00"}', "[" * 100_000])
def test_damaged_checksums_are_told(text: str, tmp_path: Path) -> None:
    own = tmp_path / "own.zip"
    own.write_bytes(zipped(WHOLE))
    (tmp_path / CHECKSUMS).write_text(text)
    with pytest.raises(CosegError, match=naming("checksums.json", "damaged")):
        download(Archive("http://127.0.0.1:9/pictures.zip", None, "page"), tmp_path / "pictures", own)
