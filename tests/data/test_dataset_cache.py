import gc
import multiprocessing
import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import coseg
from coseg.data.catalog import Catalog
from coseg.data.dataset import CachedCatalog

COUNT, SIDE = 6, 20
HEADER = 128
IMAGE, LABELS = 3 * SIDE**2 + HEADER, SIDE**2 + HEADER  # bytes on disk
WHOLE = COUNT * (IMAGE + LABELS)


class Counting(Catalog):
    """Counts what is decoded, over all processes forked from this one."""

    def __init__(self, counter=None):
        super().__init__("counting", "all", [str(i) for i in range(COUNT)], ["cat"], np.ones((COUNT, 1), bool), 9)
        self.counter = counter

    def image(self, i):
        self._count()
        return np.random.default_rng(i).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)

    def labels(self, i):
        self._count()
        return np.full((SIDE, SIDE), i, np.uint8)

    def _count(self):
        if self.counter is not None:
            with self.counter.get_lock():
                self.counter.value += 1


@pytest.fixture
def fork():
    return multiprocessing.get_context("fork")


@pytest.fixture
def counting(fork):
    return Counting(fork.Value("i", 0))


def read_all(catalog):
    return [(catalog.image(i), catalog.labels(i)) for i in range(len(catalog))]


def in_process(fork, catalog):
    process = fork.Process(target=read_all, args=(catalog,))
    process.start()
    process.join()
    assert process.exitcode == 0


def stored(catalog):
    return sum(path.stat().st_size for path in catalog.folder.iterdir())


def same(first, second):
    return all(np.array_equal(a, b) for x, y in zip(first, second, strict=True) for a, b in zip(x, y, strict=True))


def test_describes_itself_as_the_catalog_does(counting):
    cached = CachedCatalog(counting, 1)
    for name in ("name", "split", "ids", "class_names", "expected", "complete"):
        assert getattr(cached, name) == getattr(counting, name)
    assert cached.presence is counting.presence


def test_equal_content_and_second_read_does_not_decode(counting):
    cached = CachedCatalog(counting, 1)
    assert same(read_all(cached), read_all(Counting()))
    assert counting.counter.value == 2 * COUNT
    assert same(read_all(cached), read_all(Counting()))
    assert counting.counter.value == 2 * COUNT
    assert stored(cached) == WHOLE


def test_changes_to_what_is_given_out_stay_outside(counting):
    cached = CachedCatalog(counting, 1)
    for _ in range(2):
        image = cached.image(0)
        image[:] = 0
    assert np.array_equal(cached.image(0), counting.image(0))


@pytest.mark.parametrize("bytes_", [0, LABELS - 1, LABELS, 2 * IMAGE + LABELS, WHOLE - 1, WHOLE])
def test_budget_is_kept(counting, bytes_):
    cached = CachedCatalog(counting, bytes_ / 1e9)
    for _ in range(3):
        assert same(read_all(cached), read_all(Counting()))
        assert stored(cached) <= bytes_
    files = len(list(cached.folder.iterdir()))
    assert counting.counter.value == files + 3 * (2 * COUNT - files)  # what is not kept is decoded each time
    assert (files > 0) == (bytes_ >= LABELS)
    assert (files == 2 * COUNT) == (bytes_ == WHOLE)


def test_workers_share(counting, fork):
    cached = CachedCatalog(counting, 1, processes=2)
    in_process(fork, cached)
    assert counting.counter.value == 2 * COUNT
    in_process(fork, cached)
    read_all(cached)
    assert counting.counter.value == 2 * COUNT


def test_budget_holds_for_workers_together_and_for_those_that_come_later(counting, fork):
    limit = WHOLE // 2
    cached = CachedCatalog(counting, limit / 1e9, processes=2)
    for generation in range(4):
        in_process(fork, cached)
        assert 0 < stored(cached) <= (limit / 2 if generation == 0 else limit)


def test_folder_goes_with_its_owner_and_not_with_a_copy(counting, fork):
    cached = CachedCatalog(Counting(), 1)
    folder = cached.folder
    assert folder.is_dir()
    copy = pickle.loads(pickle.dumps(cached))
    assert same(read_all(copy), read_all(Counting()))
    del copy
    gc.collect()
    in_process(fork, cached)
    assert len(list(folder.iterdir())) == 2 * COUNT
    del cached
    gc.collect()
    assert not folder.exists()


def test_copy_outlives_the_folder():
    cached = CachedCatalog(Counting(), 1)
    copy = pickle.loads(pickle.dumps(cached))
    del cached
    gc.collect()
    assert same(read_all(copy), read_all(Counting()))
    assert not copy.folder.exists()


def test_folder_goes_with_its_process(tmp_path):
    program = (
        "from coseg.data.dataset import CachedCatalog\n"
        "from coseg.data.readers.shapes import ShapesReader\n"
        "catalog = CachedCatalog(ShapesReader(size=48, train=2).read('train'), 1)\n"
        "catalog.image(0)\n"
        "print(len(list(catalog.folder.iterdir())))\n"
    )
    environment = os.environ | {"TMPDIR": str(tmp_path), "PYTHONPATH": str(Path(coseg.__file__).parents[1])}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "1\n"
    assert list(tmp_path.iterdir()) == []
