"""``protocol=cosod``: groups at once, grey maps as files, and their scores."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from layouts.groups import items, write_cosod
from layouts.shapes import write_tree
from omegaconf import DictConfig
from PIL import Image

from coseg.data.readers.cosod import CosodReader
from coseg.data.readers.shapes import ShapesReader
from coseg.errors import CosegError
from coseg.evaluation.cosod import CosodTest, grey_map, map_path
from coseg.evaluation.score import score
from coseg.metrics import COSOD_SCORES
from coseg.metrics.cosod import cosod_means, map_scores
from coseg.reports.results import format_table, read_results

Compose = Callable[..., DictConfig]
FEW = ("data.workers=0", "trainer.accelerator=cpu", "threads=1", "panels=0")


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Drawn pictures in the layout of CoCA."""
    root = tmp_path_factory.mktemp("cosod")
    write_tree(ShapesReader(size=48, train=2, val=2, seen=40, unseen=2), root, "cosod")
    return root


def test_grey_is_the_probability_in_8_bits() -> None:
    logits = torch.tensor([[-30.0, 0.0, 30.0, torch.nan]])[:, None].repeat(1, 2, 1)[..., None, :]
    logits[:, 0] = 0
    assert grey_map(logits).tolist() == [[[0, 128, 255, 0]]]
    assert grey_map(logits.bfloat16()).dtype == torch.uint8


def test_a_map_has_the_name_of_its_image() -> None:
    catalog = SimpleNamespace(class_names=("cat", "dog"), ids=("cat/a", "2007_1", "dogs/cat/b"))
    paths = [map_path(Path("maps"), catalog, key).as_posix() for key in ((0, 0), (1, 1), (1, 2))]  # type: ignore[arg-type]
    assert paths == ["maps/cat/a.png", "maps/dog/2007_1.png", "maps/dog/dogs%2Fcat%2Fb.png"]


def test_maps_are_saved_and_scored(
    compose: Compose, trained: Path, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["dataset=cosod", f"dataset.root={tree}", f"ckpt={trained / 'checkpoints' / 'best.ckpt'}", *FEW]
    folder = trained / "test" / "cosod-all-cosod"
    stale = folder / "maps" / "of an earlier test" / "1.png"
    stale.parent.mkdir(parents=True)
    stale.write_bytes(b"")

    # Stopped after some images, then resumed.
    count, stop = CosodTest.count, CosodTest.pause

    def pause(test: CosodTest) -> None:
        if len(test.scored) == 7:
            test.request.number = 2
        stop(test)

    monkeypatch.setattr(CosodTest, "pause", pause)
    with pytest.raises(BaseException, match=r"."):
        score(compose("test", *words, "protocol=cosod"))
    monkeypatch.setattr(CosodTest, "pause", stop)
    counted: list[int] = []

    def counting(test: CosodTest, *arguments: object) -> None:
        counted.append(1)
        count(test, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(CosodTest, "count", counting)
    assert score(compose("test", *words, "protocol=cosod")) == [folder]
    assert not stale.exists()
    results = read_results(folder / "results.json")
    assert (results["protocol"], results["complete"], results["masks"]) == ("cosod", True, 40)
    assert len(counted) == 33

    # The same from nothing but the files.
    catalog = CosodReader(tree).read("test")
    groups = {}
    for i, name in enumerate(catalog.ids):
        with Image.open(folder / "maps" / f"{name}.png") as file:
            assert file.mode == "L"
            grey = np.array(file)
        groups.setdefault(name.split("/")[0], []).append(map_scores(grey, catalog.labels(i) > 0))
    assert len(list((folder / "maps").rglob("*.png"))) == 40
    means, block = cosod_means(groups), results["cosod"]
    assert block["mean_of_images"] == pytest.approx(means.mean_of_images, abs=1e-6)
    assert block["mean_of_groups"] == pytest.approx(means.mean_of_groups, abs=1e-6)
    assert list(block["per_group"]) == list(groups)
    for name, maps in groups.items():
        assert block["per_group"][name] == pytest.approx({"images": len(maps), **means.per_group[name]}, abs=1e-6)
    assert all(text in format_table(results) for text in ("mean of images", "mean of groups", *COSOD_SCORES))

    # Beside them stands what protocol=group gives.
    (plain,) = score(compose("test", *words, "protocol=group"))
    plainly = json.loads((plain / "results.json").read_text())
    assert plainly["jaccard"] == results["jaccard"] and "cosod" not in plainly
    assert not (plain / "maps").exists()


@pytest.mark.parametrize("name", ["coca", "cosal2015", "cosod3k"])
def test_the_sets_of_the_field_run(name: str, compose: Compose, trained: Path, tmp_path: Path) -> None:
    write_cosod(tmp_path, items({"cat": 2, "dog": 2}), f"images/{name}", f"gts/{name}")
    ckpt = f"ckpt={trained / 'checkpoints' / 'best.ckpt'}"
    (folder,) = score(compose("test", f"dataset={name}", f"dataset.root={tmp_path}", "protocol=cosod", ckpt, *FEW))
    results = read_results(folder / "results.json")
    assert (results["dataset"], results["complete"], results["groups"]) == (name, False, 2)
    with Image.open(folder / "maps" / "cat" / "0001.png") as file:
        assert file.size == (16, 12)


@pytest.mark.parametrize("word", ["protocol.void=ignored", "protocol.unit=pair"])
def test_what_grey_maps_have_not(word: str, compose: Compose, trained: Path, tree: Path) -> None:
    words = ["dataset=cosod", f"dataset.root={tree}", f"ckpt={trained / 'checkpoints' / 'best.ckpt'}", *FEW]
    with pytest.raises(CosegError, match=word.split("=")[1]):
        score(compose("test", *words, "protocol=cosod", word))
