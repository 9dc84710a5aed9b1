import os
import subprocess

import numpy as np
import pytest
from facts import naming

from coseg.errors import CosegError
from coseg.files import tables
from coseg.files.tables import array_texts, cache_folder, checksum_of, kept_table, read_table, texts_array, write_table
from coseg.files.writing import temporary_name

ARRAYS = {"facts": np.array([[True, False], [False, True]]), "starts": np.arange(5)}


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("COSEG_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(tables, "WORTH", 0)
    return tmp_path / "cache"


def test_a_table_is_made_once_for_a_key(cache):
    made = []

    def make():
        made.append(1)
        return ARRAYS

    for key, kept, count in (("a", False, 1), ("a", True, 1), ("b", False, 2), ("b", True, 2), ("a", False, 3)):
        arrays, was_kept = kept_table("facts", "place", key, make)
        assert was_kept is kept and len(made) == count
        assert np.array_equal(arrays["facts"], ARRAYS["facts"])
    assert len(list(cache.iterdir())) == 1  # the last one alone


def test_what_is_quick_or_can_not_be_kept_is_made_each_time(cache, monkeypatch):
    assert kept_table("facts", "place", "a", lambda: None) == (None, False)
    monkeypatch.setattr(tables, "WORTH", 100)
    kept_table("facts", "place", "a", lambda: ARRAYS)
    assert not cache.exists()


@pytest.mark.parametrize("damage", ["flip", "cut", "empty", "other", "folder", "large"])
def test_a_damaged_file_counts_as_none(tmp_path, monkeypatch, damage):
    path = tmp_path / "a.table"
    write_table(path, "key", ARRAYS)
    assert set(read_table(path, "key")) == {"facts", "starts"} and read_table(path, "another") is None
    data = path.read_bytes()
    changed = {"flip": data[:-9] + b"x" + data[-8:], "cut": data[:-1], "empty": b"", "other": b"PK" + data}
    if damage == "folder":
        path.unlink()
        path.mkdir()
    elif damage == "large":
        monkeypatch.setattr(tables, "MAX_TABLE", 10)
    else:
        path.write_bytes(changed[damage])
    assert read_table(path, "key") is None


def test_no_pickle_is_written_or_read(tmp_path):
    with pytest.raises(ValueError):
        write_table(tmp_path / "a.table", "key", {"a": np.array([{}])})
    assert not list(tmp_path.iterdir())


def test_a_folder_that_can_not_be_written_costs_no_more_than_time(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("COSEG_CACHE", str(tmp_path / "file" / "cache"))
    monkeypatch.setattr(tables, "WORTH", 0)
    arrays, kept = kept_table("facts", "place", "key", lambda: ARRAYS)
    assert arrays is ARRAYS and not kept


def test_where_tables_are_kept(tmp_path, monkeypatch):
    monkeypatch.setenv("COSEG_CACHE", "")
    assert cache_folder() is None
    monkeypatch.delenv("COSEG_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "coseg"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache" / "coseg"


def test_the_home_of_nobody_is_a_sentence(monkeypatch):
    monkeypatch.setenv("COSEG_CACHE", "~nobody-of-this-name/x")
    with pytest.raises(CosegError, match=naming("COSEG_CACHE", "~nobody-of-this-name/x")):
        kept_table("facts", "place", "key", lambda: ARRAYS)


def test_nothing_is_kept_without_a_key(cache):
    for _ in range(2):
        arrays, kept = kept_table("facts", "place", None, lambda: ARRAYS)
        assert arrays is ARRAYS and not kept and not cache.exists()


def test_what_a_killed_process_left_is_removed(cache):
    cache.mkdir()
    ended = subprocess.run(["sh", "-c", "echo $$"], capture_output=True, text=True, check=True)
    mine = temporary_name("facts-0123", ".table")
    for name in (mine, mine.replace(f".{os.getpid()}-", f".{ended.stdout.strip()}-"), "another.txt"):
        (cache / name).write_text("")
    kept_table("facts", "place", "key", lambda: ARRAYS)
    names = {path.name for path in cache.iterdir()}
    assert len(names) == 3 and {mine, "another.txt"} < names


def test_checksums_tell_where_a_part_ends():
    assert checksum_of(["ab", "c"]) != checksum_of(["a", "bc"]) != checksum_of(["abc"])


def test_texts_are_arrays_and_back():
    texts = ["", "é", "a\nb", "\udcff"]
    assert array_texts(texts_array(texts)) == texts and array_texts(texts_array([])) == []
