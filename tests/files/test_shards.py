import io
import os
import tarfile
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from multiprocessing import get_context

import numpy as np
import pytest
from facts import naming

from coseg.errors import CosegError
from coseg.files import shards, tables
from coseg.files.shards import Shards
from coseg.files.stored import data_path


def write_tar(path, members, end=True):
    """Members are ``name: bytes``, or ``name: type`` of tarfile."""
    with tarfile.open(path, "w") as tarred:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            if isinstance(content, int | str):
                info.type, info.linkname = content.encode() if isinstance(content, str) else content, "a.txt"
                tarred.addfile(info)
            else:
                info.size = len(content)
                tarred.addfile(info, io.BytesIO(content))
    return path


def two(tmp_path):
    write_tar(tmp_path / "s-08.tar", {"./a/x.txt": b"first", "a/ö.bin": bytes(range(256)) * 50, "empty": b""})
    write_tar(tmp_path / "s-09.tar", {f"b/{'n' * 150}/y.txt": b"second", "top.txt": b"third"})
    return tmp_path


@pytest.mark.parametrize("pattern", ["s-*.tar", "s-{08..09}.tar", "s-0?.tar", "s-0{8..9}.tar"])
def test_members_are_read_at_random(tmp_path, pattern):
    storage = Shards(str(two(tmp_path) / pattern))
    assert sorted(storage.names("")) == ["a", "b", "empty", "top.txt"]
    assert sorted(storage.names("a")) == ["x.txt", "ö.bin"]
    assert storage.read("a/ö.bin", 250, 10) == bytes([*range(250, 256), *range(4)])
    assert storage.read(f"b/{'n' * 150}/y.txt", 0, 10**9) == b"second"  # no more than the member has
    assert storage.status("a").size is None and storage.status("empty").size == 0
    assert storage.status("a/none") is None and storage.status("../s-08.tar") is None


def test_a_tar_file_that_another_program_wrote(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "x.txt").write_text("content")
    for form in (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        with tarfile.open(tmp_path / f"{form}.tar", "w", format=form) as tarred:
            tarred.add(tmp_path / "in", arcname=".")
        assert data_path(tmp_path / f"{form}.tar").joinpath("x.txt").read_text() == "content"


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ({"a.txt": b"x", "link": "2"}, ("link",)),
        ({"a.txt": b"x", "hard": "1"}, ("hard", "link")),
        ({"dev": "3"}, ("dev", "device")),
        ({"pipe": "6"}, ("pipe", "device")),
        ({"/etc/passwd": b"x"}, ("/etc/passwd", "out of")),
        ({"a/../../b": b"x"}, ("a/../../b", "out of")),
        ({"a": b"x", "./a": b"y"}, ("twice",)),
        ({"a": b"x", "a/b": b"y"}, ("folder",)),
    ],
)
def test_what_is_no_plain_file_is_refused(tmp_path, members, words):
    write_tar(tmp_path / "bad.tar", members)
    with pytest.raises(CosegError, match=naming("bad.tar", *words)):
        Shards(str(tmp_path / "bad.tar"))


def test_a_name_in_two_shards_is_refused(tmp_path):
    write_tar(tmp_path / "s-0.tar", {"a.txt": b"x"})
    write_tar(tmp_path / "s-1.tar", {"a.txt": b"y"})
    with pytest.raises(CosegError, match=naming("s-0.tar", "s-1.tar", "a.txt")):
        Shards(str(tmp_path / "s-*.tar"))


@pytest.mark.parametrize("length", [100, 600, 1024 + 300, 4 * 512, -10240])
def test_a_shard_that_is_cut_off_is_named(tmp_path, length):
    path = write_tar(tmp_path / "s-0.tar", {"a.txt": b"x" * 700, "b.txt": b"y" * 700})
    data = path.read_bytes()
    path.write_bytes(data[: length if length > 0 else 6 * 512])  # the last one: where its end would begin
    with pytest.raises(CosegError, match=naming("s-0.tar", "cut off")):
        Shards(str(tmp_path / "s-*.tar"))


@pytest.mark.parametrize("content", [b"", b"no tar file" * 200, b"\x1f\x8b" + bytes(2000)])
def test_what_is_no_tar_file_is_named(tmp_path, content):
    (tmp_path / "s.tar").write_bytes(content)
    with pytest.raises(CosegError, match=naming("s.tar", *(["compressed"] if content[:1] == b"\x1f" else []))):
        Shards(str(tmp_path / "s.tar"))


def test_a_header_takes_no_memory_for_what_it_claims(tmp_path):
    info = tarfile.TarInfo("long")
    info.type, info.size = tarfile.GNUTYPE_LONGNAME, 2**33
    (tmp_path / "s.tar").write_bytes(info.tobuf(tarfile.GNU_FORMAT) + bytes(10240))
    with pytest.raises(CosegError, match=naming("s.tar")):
        Shards(str(tmp_path / "s.tar"))


def test_headers_that_lead_back_or_on_and_on_end(tmp_path):
    for type_ in (tarfile.REGTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE):
        info = tarfile.TarInfo("back")
        info.type, info.size = type_, -2048
        (tmp_path / "s.tar").write_bytes(info.tobuf(tarfile.GNU_FORMAT) * 3 + bytes(10240))
        with pytest.raises(CosegError, match=naming("s.tar")):
            Shards(str(tmp_path / "s.tar"))
    empty = tarfile.TarInfo("on")
    empty.type = tarfile.XHDTYPE
    (tmp_path / "s.tar").write_bytes(empty.tobuf(tarfile.USTAR_FORMAT) * 3000 + bytes(10240))
    with pytest.raises(CosegError, match=naming("s.tar")):
        Shards(str(tmp_path / "s.tar"))


@pytest.mark.parametrize("name", ["a/" * 2000 + "x", "a/" * 64 + "x", "n" * 4097, "ö" * 2049])
def test_a_deep_or_long_name_is_refused(tmp_path, name):
    write_tar(tmp_path / "s.tar", {"a.txt": b"x", name: b""})
    with pytest.raises(CosegError, match=naming("s.tar", "4096", "64")):
        Shards(str(tmp_path / "s.tar"))


def test_many_folders_are_refused(tmp_path, monkeypatch):
    write_tar(tmp_path / "s.tar", {f"{k}/" + "a/" * 60 + "x": b"" for k in range(20)})
    assert len(Shards(str(tmp_path / "s.tar")).names("")) == 20
    monkeypatch.setattr(shards, "MAX_FOLDERS", 100_000)
    with pytest.raises(CosegError, match=naming("s.tar", "folders")):
        Shards(str(tmp_path / "s.tar"))


def test_too_many_members_are_refused_while_they_are_listed(tmp_path, monkeypatch):
    for shard in range(2):
        write_tar(tmp_path / f"s-{shard}.tar", {f"{shard}-{k}": b"" for k in range(300)})
    names, original = [], shards._name
    monkeypatch.setattr(shards, "MAX_MEMBERS", 20)
    monkeypatch.setattr(shards, "_name", lambda *arguments: names.append(1) or original(*arguments))
    with pytest.raises(CosegError, match=naming("s-*.tar", "20")):
        Shards(str(tmp_path / "s-*.tar"))
    assert len(names) <= 22  # of two threads


@pytest.mark.parametrize("case", ["one block", "another shard", "bytes", "no members", "folders alone", "zeros"])
def test_nothing_is_left_out_silently(tmp_path, monkeypatch, case):
    path, second = tmp_path / "s-0.tar", tmp_path / "second.tar"
    data = write_tar(path, {"a.txt": b"x" * 700, "b.txt": b"y"}).read_bytes()
    end = len(data.rstrip(b"\0")) // 512 * 512 + 512
    path.write_bytes(data[: end + 1024])
    assert sorted(Shards(str(path)).names("")) == ["a.txt", "b.txt"]
    monkeypatch.setattr(shards, "MAX_END", 20_000)
    more = {
        "one block": data[: end + 512],
        "another shard": data + write_tar(second, {"c.txt": b"z"}).read_bytes(),
        "bytes": data[:-1] + b"x",
        "no members": bytes(10240),
        "folders alone": write_tar(second, {"folder": "5"}).read_bytes(),
        "zeros": data + bytes(40_000),
    }
    path.write_bytes(more[case])
    with pytest.raises(CosegError, match=naming("s-0.tar")):
        Shards(str(path))


def test_a_shard_that_was_replaced_after_it_was_listed_is_refused(tmp_path):
    storage = Shards(str(write_tar(tmp_path / "s.tar", {"a": b"A" * 600, "b": b"B" * 600})))
    storage._files = type(storage._files)(storage._files.folder)  # as with a kept index: nothing is open yet
    storage._files.status("s.tar")
    replaced = write_tar(tmp_path / "new.tar", {"b": b"B" * 600, "a": b"A" * 600})
    os.utime(replaced, ns=(1, 1))
    os.replace(replaced, tmp_path / "s.tar")
    with pytest.raises(CosegError, match=naming("s.tar", "changed")):
        storage.read("a", 0, 3)


def test_the_index_is_not_kept_if_nothing_is_known_that_changes_with_a_shard(tmp_path, monkeypatch):
    monkeypatch.setenv("COSEG_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(tables, "WORTH", 0)
    root = str(two(tmp_path) / "s-*.tar")
    original = shards.Local.status
    monkeypatch.setattr(shards.Local, "status", lambda *arguments: original(*arguments)._replace(state=None))
    storage = Shards(root)
    assert storage.status("top.txt").state is None and not (tmp_path / "cache").exists()


def test_damage_anywhere_is_a_sentence_or_read_as_it_is(tmp_path):
    sound = write_tar(tmp_path / "s.tar", {"a/" + "n" * 200: b"x" * 600, "ö.txt": b"y", "z": b""}).read_bytes()
    generator = np.random.default_rng(0)
    refused = 0
    for _ in range(150):
        data = bytearray(sound[:4096])
        for place in generator.integers(0, len(data), 3):
            data[place] = generator.integers(256)
        header = int(generator.integers(4)) * 512  # with a checksum that fits, so that the damage is read
        checksum = tarfile.calc_chksums(bytes(data[header : header + 512]))[0]
        data[header + 148 : header + 156] = b"%06o\0 " % checksum
        (tmp_path / "s.tar").write_bytes(bytes(data) + bytes(10240 - len(data)))
        try:
            Shards(str(tmp_path / "s.tar"))
        except CosegError:
            refused += 1
    assert refused > 50


@pytest.mark.parametrize("pattern", ["none.tar", "s-{00..03}.tar", "z*.tar", "s-{9..0}.tar", "s-{0..999999999}.tar"])
def test_shards_that_are_not_there(tmp_path, pattern):
    with pytest.raises(CosegError, match=naming("dataset.root")):
        Shards(str(two(tmp_path) / pattern))


def test_the_index_is_kept_until_a_shard_changes(tmp_path, monkeypatch):
    monkeypatch.setenv("COSEG_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(tables, "WORTH", 0)
    counted = []
    members = shards._members
    monkeypatch.setattr(shards, "_members", lambda *arguments: counted.append(1) or members(*arguments))
    root = str(two(tmp_path) / "s-*.tar")
    first, second = Shards(root), Shards(root)
    assert len(counted) == 2 and second.read("top.txt", 0, 9) == first.read("top.txt", 0, 9) == b"third"
    write_tar(tmp_path / "s-09.tar", {"top.txt": b"fourth"})
    os.utime(tmp_path / "s-09.tar", ns=(1, 1))
    assert Shards(root).read("top.txt", 0, 9) == b"fourth" and len(counted) == 4


def _sums(paths):
    return [int(np.frombuffer(path.read_bytes(), np.uint8).sum()) for path in paths]


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_threads_and_processes_read_the_same(tmp_path, method):
    generator = np.random.default_rng(0)
    contents = [generator.bytes(int(size)) for size in generator.integers(1, 200_000, 40)]
    for shard in range(2):
        write_tar(tmp_path / f"s-{shard}.tar", {f"{k}.bin": contents[k] for k in range(shard, 40, 2)})
    root = data_path(tmp_path / "s-{0..1}.tar")
    paths = [root / f"{k}.bin" for k in range(40)]
    wanted = [int(np.frombuffer(content, np.uint8).sum()) for content in contents]
    with ThreadPoolExecutor(8) as pool:
        assert [sums[0] for sums in pool.map(_sums, [[path] for path in paths])] == wanted
    with get_context(method).Pool(1 if method == "spawn" else 2) as processes:
        assert [*chain(*processes.map(_sums, [paths[:20], paths[20:]]))] == wanted
