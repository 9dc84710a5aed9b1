import os
import sys
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

import pytest
from facts import naming
from files.test_shards import write_tar

from coseg.data.presence import files_state
from coseg.errors import CosegError
from coseg.files import storage
from coseg.files.storage import Remote
from coseg.files.stored import data_path


@pytest.fixture
def bucket():
    """Files in memory."""
    import fsspec

    files = fsspec.filesystem("memory")
    files.pipe({"/bucket/set/a.txt": b"0123456789", "/bucket/set/sub/b c.txt": b"b"})
    yield files
    files.rm("/bucket", recursive=True)


class _Quiet(SimpleHTTPRequestHandler):
    """Of a server that does by `plans`, one plan for each request of ``METHOD /path``, what a broken one may do."""

    plans: ClassVar[dict] = {}
    sent = 0

    def log_message(self, *_):
        pass

    def _begin(self, status=200, **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()

    def _planned(self):
        plans = self.plans.get(f"{self.command} {self.path}", [])
        plan = plans.pop(0) if plans else None
        if isinstance(plan, int):
            self.send_error(plan)
        elif plan == "cut off":
            self._begin(Content_Length=10)
            self.wfile.write(b"012")
            self.close_connection = True
        elif plan == "no state":
            self._begin(Content_Length=10)
        elif plan in ("large", "large part"):
            self._begin(206 if plan == "large part" else 200, Content_Type="text/html")
            try:
                for _ in range(1000):
                    self.wfile.write(b"<a> " * 2**14)
                    type(self).sent += 2**16
            except OSError:
                pass
            self.close_connection = True
        return plan

    def do_GET(self):
        if self._planned() is None:
            super().do_GET()

    def do_HEAD(self):
        if self._planned() is None:
            super().do_HEAD()


@pytest.fixture
def plans(monkeypatch):
    """What the server does other than it should."""
    monkeypatch.setattr(_Quiet, "plans", {})
    monkeypatch.setattr(_Quiet, "sent", 0)
    monkeypatch.setattr(storage, "PAUSES", (0.0, 0.0, None))
    return _Quiet.plans


@pytest.fixture
def address(tmp_path):
    """That of a web server of `tmp_path`."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(tmp_path))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.parametrize("url", ["memory://bucket/set", "simplecache::memory://bucket/set"])
def test_a_bucket_is_read_as_a_folder(bucket, url):
    root = data_path(url)
    assert root.is_dir() and str(root / "a.txt") == f"{url}/a.txt"
    assert sorted(path.name for path in root.iterdir()) == ["a.txt", "sub"]
    with (root / "a.txt").open("rb") as file:
        assert (file.seek(4), file.read(3), file.seek(0, 2)) == (4, b"456", 10)
    assert (root / "sub" / "b c.txt").read_text() == "b" and not (root / "sub" / "none").exists()
    assert not (root / ".." / "set" / "a.txt").exists()  # no name from data goes up


def test_a_changed_file_has_another_state(bucket):
    before = data_path("memory://bucket/set").joinpath("a.txt").stat()
    bucket.pipe("/bucket/set/a.txt", b"9876543210")
    after = data_path("memory://bucket/set").joinpath("a.txt").stat()
    assert before.st_size == after.st_size == 10 and before.st_mtime_ns != after.st_mtime_ns


def test_shards_in_a_bucket(bucket, tmp_path):
    bucket.pipe("/bucket/set/one.tar", b"no tar file")  # beside other files it is one of them
    assert data_path("memory://bucket/set").joinpath("one.tar").is_file()
    for k in range(3):
        bucket.pipe(f"/bucket/shards/s-{k}.tar", write_tar(tmp_path / "s.tar", {f"in/{k}.txt": b"%d" % k}).read_bytes())
    for url in ("memory://bucket/shards", "memory://bucket/shards/s-{0..2}.tar", "memory://bucket/shards/s-*.tar"):
        root = data_path(url)
        assert [(root / "in" / f"{k}.txt").read_text() for k in range(3)] == ["0", "1", "2"]


def test_a_web_server_is_read_as_a_folder(address, tmp_path):
    (tmp_path / "set" / "images").mkdir(parents=True)
    (tmp_path / "set" / "images" / "a é.jpg").write_bytes(b"0123456789")
    write_tar(tmp_path / "s-0.tar", {"x.txt": b"x" * 3000})
    root = data_path(f"{address}/set")
    assert root.is_dir() and [path.name for path in (root / "images").iterdir()] == ["a é.jpg"]
    assert (root / "images" / "a é.jpg").stat().st_size == 10 and not (root / "images" / "none.jpg").exists()
    assert (root / "images" / "a é.jpg").read_bytes() == b"0123456789" and not (root / "masks").is_dir()
    assert not (root / "%2e%2e" / "s-0.tar").exists() and not (root / "images" / "a é.jpg?x").exists()
    assert (data_path(f"{address}/set/%69mages") / "a é.jpg").is_file()  # a URL as a browser gives it
    assert (data_path(f"{address}/s-0.tar") / "x.txt").read_bytes() == b"x" * 3000


@pytest.mark.parametrize("before", ["", "simplecache::"])
def test_names_with_dots_are_folders_of_a_web_server(address, tmp_path, before):
    for name in ("v1.0", "St. Peter", "plain", "none.jpg"):
        (tmp_path / "set.d" / name / "in.side").mkdir(parents=True)
        (tmp_path / "set.d" / name / "in.side" / "a.b.jpg").write_bytes(b"0123456789")
    (tmp_path / "set.d" / "LICENSE").write_text("free")
    root = data_path(f"{before}{address}/set.d")
    assert root.is_dir()
    folders = {path.name for path in root.iterdir() if path.is_dir()}
    assert folders == {"v1.0", "St. Peter", "plain", "none.jpg"}
    assert (root / "LICENSE").is_file() and (root / "LICENSE").read_text() == "free"
    for name in folders:
        assert (root / name / "in.side" / "a.b.jpg").read_bytes() == b"0123456789"


def test_a_changed_file_of_a_web_server_has_another_state(address, tmp_path, plans):
    (tmp_path / "a.txt").write_bytes(b"0123456789")
    before = files_state([data_path(f"{address}") / "a.txt"])
    assert before == files_state([data_path(f"{address}") / "a.txt"])
    os.utime(tmp_path / "a.txt", (1, 1))
    assert before != files_state([data_path(f"{address}") / "a.txt"]) is not None
    plans["HEAD /a.txt"] = ["no state"]
    assert files_state([data_path(f"{address}") / "a.txt"]) is None


def test_a_web_server_does_not_choose_how_much_is_read(address, tmp_path, plans, monkeypatch):
    monkeypatch.setattr(storage, "MAX_WHOLE", 10**6)
    monkeypatch.setattr(storage, "MAX_PAGE", 10**6)
    (tmp_path / "a.txt").write_bytes(b"0123456789")
    root = data_path(address)
    for plan, words in (("large", "no parts"), ("large part", "more than 10 bytes")):
        plans["GET /a.txt"] = [plan]
        with pytest.raises(CosegError, match=naming("a.txt", words)):
            (root / "a.txt").read_bytes()
    plans["GET /b"] = ["large"]
    with pytest.raises(CosegError, match=naming("/b", "page of links")):
        (root / "b").is_dir()
    assert _Quiet.sent < 3 * 2**24  # the system's buffers take some; all would be 200 MB


@pytest.mark.parametrize("plan", ["cut off", 429, 503])
def test_what_breaks_off_at_a_web_server_is_tried_again(address, tmp_path, plans, plan):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.txt").write_bytes(b"0123456789")
    plans["GET /in/a.txt"] = [plan, plan]
    root = data_path(f"{address}/in")
    assert (root / "a.txt").read_bytes() == b"0123456789" and not plans["GET /in/a.txt"]
    if plan != "cut off":  # nor does what a busy server does not tell count as not there
        plans["HEAD /in/a.txt"], plans["GET /in/a.txt"], plans["GET /in"] = [plan], [plan], [plan]
        root = data_path(f"{address}/in")
        assert root.is_dir() and (root / "a.txt").is_file() and not any(plans.values())
        plans["GET /in/a.txt"], plans["HEAD /in/a.txt"] = [plan] * 9, [plan] * 9
        with pytest.raises(CosegError, match=naming(str(plan), "network")):
            data_path(f"{address}/in").joinpath("a.txt").read_bytes()


def test_a_read_that_breaks_off_is_tried_again(bucket, monkeypatch):
    monkeypatch.setattr(storage, "PAUSES", (0.0, 0.0, None))
    root, failures = data_path("memory://bucket/set"), [ConnectionResetError("reset"), TimeoutError()]
    original = type(bucket).cat_file

    def cat_file(self, *arguments, **settings):
        if failures:
            raise failures.pop()
        return original(self, *arguments, **settings)

    monkeypatch.setattr(type(bucket), "cat_file", cat_file)
    assert (root / "a.txt").read_bytes() == b"0123456789"
    failures += [PermissionError("forbidden")]
    with pytest.raises(CosegError, match=naming("memory://bucket/set/a.txt", "forbidden", "credentials")):
        (root / "a.txt").read_bytes()


def test_what_is_lacking_is_a_sentence(monkeypatch):
    monkeypatch.setattr(storage, "PAUSES", (0.0, None))
    with pytest.raises(CosegError, match=naming("nope://", "dataset.root")):
        Remote("nope://bucket")
    with pytest.raises(CosegError, match=naming("127.0.0.1:9", "network")):
        data_path("http://127.0.0.1:9/set.jpg")
    monkeypatch.setitem(sys.modules, "s3fs", None)
    with pytest.raises(CosegError, match=naming("pip install 'coseg[cloud]'")):
        Remote("s3://another-bucket")
