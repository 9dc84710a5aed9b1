import os
import pickle
import stat

import pytest
from facts import naming
from files.test_shards import write_tar

from coseg.errors import CosegError
from coseg.files.plain_data import read_json
from coseg.files.storage import is_url
from coseg.files.stored import StoredPath, data_path, normal_path


@pytest.fixture
def root(tmp_path):
    """The same tree in shards."""
    write_tar(tmp_path / "s-0.tar", {"sub/a.txt": "é".encode(), "sub/deep/b.json": b'{"k": [1, 2]}', "c.png": b"0123"})
    return data_path(tmp_path / "s-*.tar")


def test_paths_behave_as_those_of_files(root):
    file = root / "sub" / "a.txt"
    assert (file.name, file.stem, file.suffix, file.parent.name) == ("a.txt", "a", ".txt", "sub")
    assert file.is_file() and file.exists() and not file.is_dir() and not file.is_symlink()
    assert (root / "sub").is_dir() and root.is_dir() and not (root / "none").exists()
    assert sorted(path.name for path in root.iterdir()) == ["c.png", "sub"]
    assert [str(path.relative_to(root)) for path in root.glob("sub/*.txt")] == ["sub/a.txt"]
    assert {path.name for path in root.rglob("*")} == {"sub", "a.txt", "deep", "b.json", "c.png"}
    assert file.read_text(encoding="utf-8") == "é" and file.stat().st_size == 2 and stat.S_ISREG(file.stat().st_mode)

    assert pickle.loads(pickle.dumps(file)) == file and pickle.loads(pickle.dumps(file)).read_bytes() == "é".encode()
    assert read_json(root / "sub" / "deep" / "b.json") == {"k": [1, 2]}
    with (root / "c.png").open("rb") as opened:
        assert (opened.seek(-2, 2), opened.read(), opened.seek(1), opened.read(1)) == (2, b"23", 1, b"1")


@pytest.mark.parametrize("name", ["..", "../s-0.tar", "sub/../../s-0.tar", "/etc/passwd", "memory://x/y", "sub\0"])
def test_no_name_leads_out(root, name):
    assert not (root / name).exists() and not (root / name).is_dir()
    with pytest.raises(OSError):
        (root / name).read_bytes()


def test_what_would_write_or_needs_a_disk_is_refused(root):
    with pytest.raises(CosegError, match=naming("c.png", "read only")):
        (root / "c.png").write_text("x")
    with pytest.raises(CosegError, match=naming("c.png", "disk")):
        os.fspath(root / "c.png")
    with pytest.raises(IsADirectoryError):
        (root / "sub").read_bytes()


def test_what_a_root_is(tmp_path):
    assert data_path(None) is None and data_path("") is None
    assert data_path(tmp_path) == tmp_path and not isinstance(data_path(tmp_path), StoredPath)
    assert data_path(f"file://{tmp_path}") == tmp_path
    assert not isinstance(data_path(tmp_path / "none"), StoredPath)
    write_tar(tmp_path / "a.tar", {"x": b"1"})
    assert str(data_path(tmp_path)) == f"{tmp_path}/*.tar" and (data_path(tmp_path) / "x").read_bytes() == b"1"
    (tmp_path / "unpacked").mkdir()  # the archive lies beside what was unpacked from it
    assert data_path(tmp_path) == tmp_path and not isinstance(data_path(tmp_path), StoredPath)
    (tmp_path / "unpacked").rmdir()
    (tmp_path / ".hidden").write_text("x")
    assert isinstance(data_path(tmp_path), StoredPath)
    (tmp_path / "a.json").write_text("{}")  # a copy beside the files of a data set
    assert data_path(tmp_path) == tmp_path and not isinstance(data_path(tmp_path), StoredPath)
    (tmp_path / "folder.tar").mkdir()
    assert not isinstance(data_path(tmp_path / "folder.tar"), StoredPath)


@pytest.mark.parametrize("name", ["b.tar.gz", "b.TAR", "b.tgz", "b.zip"])
def test_other_archives_beside_shards_are_named(tmp_path, name):
    write_tar(tmp_path / "a.tar", {"x": b"1"})
    (tmp_path / name).write_bytes(b"1")
    with pytest.raises(CosegError, match=naming(name, "shards")):
        data_path(tmp_path)


def test_shards_in_a_folder_that_is_called_like_one(tmp_path):
    (tmp_path / "old.tar").mkdir()
    write_tar(tmp_path / "old.tar" / "a.tar", {"x": b"1"})
    assert (data_path(tmp_path / "old.tar" / "a.tar") / "x").read_bytes() == b"1"


def test_urls_keep_their_form():
    path = StoredPath("s3://bucket/a") / "b.jpg"
    assert str(path) == "s3://bucket/a/b.jpg" and str(path.with_suffix(".png")) == "s3://bucket/a/b.png"
    assert str(path.parent) == "s3://bucket/a" and pickle.loads(pickle.dumps(path)) == path
    assert is_url("gs://x") and is_url(path) and is_url("simplecache::s3://x")
    assert not is_url("C:/x") and not is_url("a")


def test_normal_paths(root, tmp_path):
    assert normal_path(tmp_path / "a", "../b") == tmp_path / "b"
    assert normal_path(root / "sub" / "deep", "../a.txt").read_text(encoding="utf-8") == "é"
    assert normal_path(StoredPath("s3://bucket/a/b"), "../c") == StoredPath("s3://bucket/a/c")
    assert not normal_path(root, "/etc/passwd").is_relative_to(root)
