"""What a fingerprint sees, and what it does not."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from layouts.shapes import write_tree

from coseg.data.catalog import Catalog, ResizedCatalog
from coseg.data.dataset import CachedCatalog
from coseg.data.readers.folder import FolderReader
from coseg.data.readers.shapes import ShapesReader
from coseg.data.readers.voc import VocReader
from coseg.errors import CosegError
from coseg.evaluation.partial_results import fingerprint


@pytest.fixture(params=["folder", "voc"])
def catalog(request: pytest.FixtureRequest, tmp_path: Path) -> Catalog:
    write_tree(ShapesReader(size=48, train=2, val=2, seen=24, unseen=2), tmp_path / "data", request.param)
    if request.param == "voc":
        return VocReader(tmp_path / "data", split_val=False).read("val")
    folder = tmp_path / "data"
    for each in folder.iterdir():
        if len(list((each / "images").iterdir())) < 2:
            shutil.rmtree(each)
    return FolderReader(folder).read("test")


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    (tmp_path / "a.ckpt").write_bytes(b"weights")
    return tmp_path / "a.ckpt"


def test_content_counts_and_times_do_not(catalog: Catalog, weights: Path, tmp_path: Path) -> None:
    files = list(catalog.files())
    assert len(files) == len(set(files)) == 2 * len(catalog)
    first = fingerprint(weights, catalog, [1])
    for path in files:
        os.utime(path, (1, 1))
    shutil.copy(files[0], tmp_path / "copy")
    shutil.copy(tmp_path / "copy", files[0])
    assert fingerprint(weights, catalog, [1]) == first
    for wrapped in (ResizedCatalog(catalog, 32), CachedCatalog(catalog, 0.1)):
        assert list(wrapped.files()) == files

    seen = {first}
    for path in (files[0], files[-1]):  # an image and a mask
        content = path.read_bytes()
        stamp = path.stat().st_mtime_ns
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))  # as large and as old as it was
        os.utime(path, ns=(stamp, stamp))
        seen.add(fingerprint(weights, catalog, [1]))
        path.write_bytes(content)
    assert fingerprint(weights, catalog, [1]) == first
    seen.add(fingerprint(weights, catalog, [2]))
    weights.write_bytes(b"others")
    seen.add(fingerprint(weights, catalog, [1]))
    catalog.presence = np.zeros_like(catalog.presence)
    seen.add(fingerprint(weights, catalog, [1]))
    assert len(seen) == 6

    files[1].unlink()
    with pytest.raises(CosegError, match=rf"{files[1].name}.*missing"):
        fingerprint(weights, catalog, [1])


def test_drawn_images_have_no_files(weights: Path) -> None:
    one, other = (ShapesReader(size=48, train=2, val=2, seen=count, unseen=2).read("seen") for count in (4, 5))
    assert list(one.files()) == []
    assert fingerprint(weights, one, []) != fingerprint(weights, other, [])
