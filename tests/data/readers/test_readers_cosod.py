"""CoCA, CoSal2015 and CoSOD3k in the layouts that they come in."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from facts import mentions, naming
from layouts.groups import items, write_cosod
from PIL import Image

from coseg.data.pair_orders import AllPairs
from coseg.data.readers.cosod import CosodReader
from coseg.errors import CosegError
from coseg.instantiate import make

PLACES = (
    ("image", "gt", ""),
    ("images", "gts", ""),
    ("Image", "GroundTruth", ""),
    ("images/CoCA", "gts/CoCA", ""),
    ("image", "binary", "CoCA"),
)


@pytest.mark.parametrize(("images", "truth", "above"), PLACES)
def test_each_layout_gives_the_same_catalog(images: str, truth: str, above: str, tmp_path: Path) -> None:
    write_cosod(tmp_path / above, items({"Accordion": 3, "avocado": 2}), images, truth)
    reader = CosodReader(tmp_path, name="coca")
    catalog = reader.read("test")
    assert (catalog.name, catalog.class_names, len(catalog)) == ("coca", ("Accordion", "avocado"), 5)
    assert catalog.ids[0] == "Accordion/0001"
    assert len(AllPairs(catalog.presence, "coca")) == 3 + 1
    foreground = np.zeros((12, 16), bool)
    foreground[3:8, 4:9] = True  # what `items` draws; the grey edge beside it is below the threshold
    assert all(np.array_equal(catalog.labels(i) > 0, foreground) for i in range(5))
    assert catalog.labels(4).max() == 2 and not list(reader.problems("test"))


def test_the_truth_is_what_is_above_128(tmp_path: Path) -> None:
    write_cosod(tmp_path, items({"cat": 3}))
    truth = tmp_path / "gt" / "cat"
    Image.fromarray(np.repeat(np.array([[0, 3, 128, 129, 200, 254]], np.uint8), 12, 0)).resize((16, 12), 0).save(
        truth / "0001.png"
    )  # too many values, laid flat, for another mask
    Image.fromarray(np.eye(12, 16, dtype=np.uint8)).save(truth / "0002.png")  # 0 and 1
    catalog = CosodReader(tmp_path).read("test")
    assert set(catalog.labels(0)[0].tolist()) == {0, 1}
    assert catalog.labels(0)[0].tolist().index(1) == 8  # of 6 columns at 16 pixels
    assert catalog.labels(1).sum() == 12
    (truth / "0003.png").write_bytes(b"no picture")
    with pytest.raises(CosegError, match=naming("0003.png")):
        CosodReader(tmp_path).read("test")


def test_of_several_sets_one_is_chosen(tmp_path: Path) -> None:
    for name, count in (("CoCA", 2), ("CoSal2015", 3)):
        write_cosod(tmp_path, items({"cat": count}), f"images/{name}", f"gts/{name}")
    assert len(CosodReader(tmp_path, name="cosal2015").read("test")) == 3
    assert len(CosodReader(tmp_path, subset="CoCA").read("test")) == 2
    for reader, words in (
        (CosodReader(tmp_path), ("CoCA", "CoSal2015", "dataset.subset")),
        (CosodReader(tmp_path, name="cosod3k", published_images=3316), ("CoCA", "cosod3k")),
        (CosodReader(tmp_path, subset="iCoSeg"), ("CoCA", "iCoSeg")),
    ):
        with pytest.raises(CosegError, match=naming(*words)):
            reader.read("test")


@pytest.mark.parametrize(
    ("name", "groups", "images"), [("coca", 80, 1295), ("cosal2015", 50, 2015), ("cosod3k", 160, 3316)]
)
def test_the_releases_are_counted(
    name: str, groups: int, images: int, compose: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_cosod(tmp_path, items({"cat": 2, "dog": 3}))
    monkeypatch.setenv(f"COSEG_{name.upper()}_ROOT", str(tmp_path))
    reader = make(compose("test", f"dataset={name}").dataset.reader)
    catalog = reader.read("all")
    assert (catalog.name, catalog.expected, catalog.complete) == (name, images, False)
    in_images, in_groups = reader.problems("all")
    assert mentions(in_images, 5, images) and mentions(in_groups, 2, groups)
    part = make(compose("test", f"dataset={name}", "dataset.groups=[dog]").dataset.reader)
    assert part.read("dog").expected is None and not list(part.problems("dog"))
    whole = CosodReader(tmp_path, published_groups=2, published_images=5)
    assert whole.read("test").complete and not list(whole.problems("test"))


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    write_cosod(tmp_path, items({"cat": 2, "dog": 2}))
    (tmp_path / "gt" / "cat" / "9.png").write_bytes((tmp_path / "gt" / "cat" / "0001.png").read_bytes())
    (stray,) = CosodReader(tmp_path).problems("test")
    assert mentions(stray, "9.png")
    (tmp_path / "gt" / "dog" / "0002.png").unlink()
    with pytest.raises(CosegError, match=naming("0002.jpg", "no mask")):
        CosodReader(tmp_path).read("test")
    (tmp_path / "gt" / "dog").rename(tmp_path / "dog")
    with pytest.raises(CosegError, match=naming("dog", "no folder")):
        CosodReader(tmp_path).read("test")
