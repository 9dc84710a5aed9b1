import filecmp
import io
import os
import tarfile
from pathlib import Path

import pytest
from facts import naming

from coseg.data.pack import remove_shards, write_shards
from coseg.errors import CosegError
from coseg.files.stored import data_path


@pytest.fixture
def root(tmp_path):
    for name, size in (("a.txt", 10), ("sub/b.bin", 40_000), ("sub/deep/c.bin", 3000), (".hidden", 1), (".git/x", 1)):
        path = tmp_path / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes(range(10)) * (size // 10))
    return tmp_path / "data"


def test_shards_hold_the_files_of_a_folder(root, tmp_path):
    names = write_shards(root, tmp_path / "out" / "shards", 0.01)
    assert names == ["shards-000000.tar", "shards-000001.tar", "shards-000002.tar"]
    assert sorted(os.listdir(tmp_path / "out" / "shards")) == names and os.listdir(tmp_path / "out") == ["shards"]
    stored = data_path(tmp_path / "out" / "shards")
    files = sorted(str(path.relative_to(stored)) for path in stored.rglob("*") if path.is_file())
    assert files == ["a.txt", "sub/b.bin", "sub/deep/c.bin"]
    for name in files:
        assert (stored / name).read_bytes() == (root / name).read_bytes()


def test_equal_files_give_equal_bytes(root, tmp_path):
    write_shards(root, tmp_path / "first", 1)
    os.utime(root / "a.txt", (1, 1))
    write_shards(root, tmp_path / "second", 1)
    assert filecmp.cmp(tmp_path / "first" / "shards-000000.tar", tmp_path / "second" / "shards-000000.tar", False)


def test_links_are_followed_but_not_in_circles(root, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "d.txt").write_text("d")
    (root / "linked").symlink_to(tmp_path / "elsewhere")
    (root / "again").symlink_to(tmp_path / "elsewhere")
    (root / "deep").symlink_to("sub/deep")
    (root / "circle").symlink_to(root)
    (root / "sub" / "up").symlink_to(root / "sub")
    write_shards(root, root / "shards", 1)  # in the folder itself
    with tarfile.open(root / "shards" / "shards-000000.tar") as tarred:
        names = ["a.txt", "again/d.txt", "deep/c.bin", "linked/d.txt", "sub/b.bin", "sub/deep/c.bin"]
        assert tarred.getnames() == names


def test_what_is_there_is_kept(root, tmp_path, monkeypatch):
    with pytest.raises(CosegError, match=naming("not empty")):
        write_shards(tmp_path, root, 1)
    (tmp_path / "empty").mkdir()
    with pytest.raises(CosegError, match=naming("no files")):
        write_shards(tmp_path / "empty", tmp_path / "out", 1)
    monkeypatch.chdir(tmp_path / "empty")
    for here in (".", "", tmp_path / "empty"):
        with pytest.raises(CosegError, match=naming(tmp_path / "empty", "current folder")):
            write_shards(root, Path(here), 1)
    assert write_shards(root, Path("new"), 1) == os.listdir(tmp_path / "empty" / "new")
    assert sorted(os.listdir(tmp_path)) == ["data", "empty"] and os.listdir(tmp_path / "empty") == ["new"]


def test_too_many_files(root, tmp_path, monkeypatch):
    monkeypatch.setattr("coseg.data.pack.MAX_MEMBERS", 2)
    with pytest.raises(CosegError, match=naming("more than 2 files")):
        write_shards(root, tmp_path / "out", 1)


@pytest.mark.parametrize("link", ["broken", "loop", "sub/broken"])
def test_a_link_that_leads_nowhere(root, tmp_path, link):
    (root / link).symlink_to("loop" if link == "loop" else "nowhere")
    with pytest.raises(CosegError, match=naming(root / link)):
        write_shards(root, tmp_path / "out", 1)
    assert os.listdir(tmp_path) == ["data"]


def refusing(function, refused):
    """`function` of a path first, denied of one of them, also to root."""

    def call(path, *arguments, **options):
        if Path(path) == refused:
            raise PermissionError(13, "Permission denied", str(path))
        return function(path, *arguments, **options)

    return call


class Failing(io.BytesIO):
    def __init__(self, file, block):
        self.descriptor, self.block = file, block

    def fileno(self):
        return self.descriptor.fileno()

    def read(self, size=-1):
        if self.block is None:
            raise OSError(5, "Input/output error")
        return self.block


def test_what_cannot_be_read_is_named_and_nothing_stays(root, tmp_path, monkeypatch):
    opening = Path.open
    ways = [
        (Path, "open", refusing(opening, root / "sub" / "b.bin"), ("sub/b.bin", "Permission")),
        (os, "scandir", refusing(os.scandir, root / "sub" / "deep"), ("sub/deep", "Permission")),
        (Path, "open", lambda path, mode: Failing(opening(path, mode), None), ("a.txt", "Input/output")),
        (Path, "open", lambda path, mode: Failing(opening(path, mode), b"short"), ("a.txt", "shorter")),
    ]
    for owner, name, function, words in ways:
        with monkeypatch.context() as patch, pytest.raises(CosegError, match=naming(*words)):
            patch.setattr(owner, name, function)
            write_shards(root, tmp_path / "out", 0.01)
        assert os.listdir(tmp_path) == ["data"]


def test_shards_are_removed_without_what_is_beside_them(root, tmp_path):
    for beside in (False, True):
        names = write_shards(root, tmp_path / "out", 0.01)
        if beside:
            (tmp_path / "out" / "notes.txt").write_text("mine")
        remove_shards(tmp_path / "out", names)
        assert (tmp_path / "out").exists() == beside
    assert os.listdir(tmp_path / "out") == ["notes.txt"]
