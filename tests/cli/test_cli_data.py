"""`coseg-data`, on trees in the layouts of the releases."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from facts import mentions
from layouts.annotated import write_coco
from layouts.groups import (
    GroupItem,
    items,
    write_folder,
    write_fss1000,
    write_icoseg,
    write_msrc,
    write_weizmann_horses,
)
from layouts.shapes import write_tree
from layouts.voc import write_voc
from PIL import Image

from coseg.cli import data
from coseg.data import pack
from coseg.data.benchmark import read_benchmark
from coseg.data.listed import listed_pairs
from coseg.data.readers.coco import CocoReader
from coseg.data.readers.folder import FolderReader
from coseg.data.readers.msrc import COUNTS
from coseg.data.readers.shapes import ShapesReader
from coseg.data.readers.voc import VocReader

FIXTURE = Path(__file__).parents[1] / "fixtures" / "voc2012_classes.csv"
CONF = Path(__file__).resolve().parents[2] / "conf"


Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(invoke: Run) -> Run:
    """``run(*arguments)``."""
    return lambda *arguments: invoke(data.main, *arguments)


def group(name: str, count: int) -> list[GroupItem]:
    truth = np.zeros((8, 8), np.uint8)
    truth[2:5] = 1
    return [GroupItem(name, np.full((8, 8, 3), k, np.uint8), truth) for k in range(count)]


def test_the_data_sets_are_those_of_the_configuration(run: Run) -> None:
    names = sorted(path.stem for path in (CONF / "dataset").glob("*.yaml"))
    code, out, _ = run("list")
    assert code == 0
    assert [line.split()[0] for line in out.splitlines() if not line.startswith(" ")] == names
    assert "coseg-data download msrc" in out


def test_voc_has_the_published_pairs(run: Run, tmp_path: Path) -> None:
    """The whole of VOC 2012 as tiny masks that are painted from the table of its classes."""
    with FIXTURE.open() as file:
        rows = list(csv.DictReader(file))

    def items():  # type: ignore[no-untyped-def]
        for row in rows:
            labels = np.zeros((5, 5), np.uint8)
            classes = [int(label) for label in row["classes"].split()]
            labels.reshape(-1)[: len(classes)] = classes
            yield row["id"], np.zeros((5, 5, 3), np.uint8), labels

    write_voc(tmp_path, items(), {s: [row["id"] for row in rows if row["split"] == s] for s in ("train", "val")})
    code, out, err = run("pairs", "voc", "--root", tmp_path)
    assert (code, err) == (0, "")
    assert out == '{"train": 169587, "val": 46973, "test": 37700}\n'

    file = tmp_path / "test.csv"
    assert run("pairs", "voc", "--root", tmp_path, "--split", "test", "--out", file)[:2] == (0, '{"test": 37700}\n')
    benchmark = read_benchmark(file)
    assert (benchmark.dataset, benchmark.split, len(benchmark.table)) == ("voc", "test", 37700)
    assert len(listed_pairs(benchmark, VocReader(tmp_path).read("test"))) == 37700
    code, _, err = run("pairs", "voc", "--root", tmp_path, "--out", tmp_path / "all.csv")
    assert code == 2 and mentions(err, "train", "--split") and not (tmp_path / "all.csv").exists()


def test_msrc_has_the_published_pairs(run: Run, tmp_path: Path) -> None:
    write_msrc(tmp_path, [item for name, count in COUNTS.items() for item in group(name, count)])
    assert run("pairs", "msrc", "--root", tmp_path)[1] == '{"test": 3012}\n'
    assert json.loads(run("pairs", "msrc", "--root", tmp_path, "--groups", "cow", "bird")[1]) == {"cow+bird": 435 + 561}
    code, out, err = run("check", "msrc", "--root", tmp_path)
    assert (code, err) == (0, "")
    assert "msrc/test: 208 images (published: 208), 3012 pairs" in out
    assert "bird 34, car 30, cat 24, cow 30" in out


def test_the_list_of_pairs(run: Run, tmp_path: Path) -> None:
    write_folder(tmp_path / "own", group("cat", 3) + group("dog", 2))
    code, out, _ = run("pairs", "folder", "--root", tmp_path / "own", "--csv", tmp_path / "lists" / "pairs.csv")
    assert (code, json.loads(out)) == (0, {"all": 4})
    rows = list(csv.DictReader(io.StringIO((tmp_path / "lists" / "pairs.csv").read_text())))
    cats = [f"cat/000{n}" for n in (1, 2, 3)]
    assert [(row["id_a"], row["id_b"]) for row in rows] == [*combinations(cats, 2), ("dog/0001", "dog/0002")]
    assert [row["classes"] for row in rows] == ["cat"] * 3 + ["dog"]
    assert (rows[3]["split"], rows[3]["i"], rows[3]["j"]) == ("all", "3", "4")


def test_shards_of_a_data_set(run: Run, tmp_path: Path) -> None:
    write_folder(tmp_path / "own", group("cat", 3) + group("dog", 2))
    at = ("folder", "--root", tmp_path / "own")
    code, out, err = run("shards", *at, "--out", tmp_path / "shards", "--size-mb", 1)
    assert (code, err) == (0, "") and mentions(out, "folder/all", "5 images", f"{tmp_path}/shards/shards-*.tar")
    shards = ("folder", "--root", f"{tmp_path}/shards/shards-*.tar")
    assert run("pairs", *shards)[1] == run("pairs", *at)[1] and run("check", *shards)[:1] == (0,)
    code, _, err = run("shards", *at, "--out", tmp_path / "shards")
    assert code == 2 and mentions(err, "shards", "not empty")
    code, _, err = run("shards", *shards, "--out", tmp_path / "again")
    assert code == 2 and mentions(err, "--root FOLDER") and not (tmp_path / "again").exists()
    single = tmp_path / "own" / "cat"  # one class, named as its folder
    assert run("shards", "folder", "--root", single, "--out", tmp_path / "cats")[0] == 0
    assert json.loads(run("pairs", "folder", "--root", tmp_path / "cats")[1]) == {"all": 3}
    path = tmp_path / "shards" / "shards-000000.tar"
    path.write_bytes(path.read_bytes()[:3000])
    code, _, err = run("pairs", *shards)
    assert code == 2 and mentions(err, "shards-000000.tar", "cut off") and "Traceback" not in err


def test_shards_that_are_wrong_or_unfinished_do_not_stay(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_folder(tmp_path / "own", group("cat", 4) + group("dog", 2))
    words = ("shards", "folder", "--root", tmp_path / "own", "--out", tmp_path / "shards")
    write, opening = pack.write_shards, Path.open
    refused = next((tmp_path / "own" / "dog").rglob("0002.png"))

    def deny(path: Path, *arguments: Any) -> Any:
        if path == refused:
            raise PermissionError(13, "Permission denied", str(path))
        return opening(path, *arguments)

    def without_rights(*arguments: Any) -> list[str]:
        with monkeypatch.context() as patch:
            patch.setattr(Path, "open", deny)
            return write(*arguments)

    def without_one(root: Path, *arguments: Any) -> list[str]:
        for path in [*(root / "cat").rglob("0001.*")]:
            path.unlink()
        return write(root, *arguments)

    for writer, expected in ((without_rights, (str(refused), "Permission")), (without_one, ("folder/all", "changed"))):
        with monkeypatch.context() as patch:
            patch.setattr(pack, "write_shards", writer)
            code, out, err = run(*words)
        assert (code, out) == (2, "") and mentions(err, *expected) and "Traceback" not in err
        assert "t be written" not in err and not list(tmp_path.glob("*shards*"))
    assert run(*words)[0] == 0
    monkeypatch.chdir(tmp_path / "shards")
    code, _, err = run(*words[:-1], ".")
    assert code == 2 and mentions(err, "not empty")


def photographs(folder: Path) -> list[str]:
    """One picture in the formats and modes that photographs come in; the names."""
    blocks = np.random.default_rng(0).integers(0, 256, (3, 4, 3), dtype=np.uint8)
    rgb = Image.fromarray(np.kron(blocks, np.ones((10, 10, 1), np.uint8)))
    turned = Image.Exif()
    turned[274] = 6
    deep = Image.fromarray(np.asarray(rgb.convert("L")).astype(np.uint16) << 8)
    pictures: dict[str, tuple[Image.Image, dict[str, Any]]] = {
        "plain.JPG": (rgb, {}), "turned.jpeg": (rgb.rotate(90, expand=True), {"exif": turned}),
        "turned_too.PNG": (rgb.rotate(90, expand=True), {"exif": turned}), "grey.jpg": (rgb.convert("L"), {}),
        "cmyk.Jpg": (rgb.convert("CMYK"), {}), "deep.png": (deep, {}), "palette.png": (rgb.convert("P"), {}),
        "alpha.png": (rgb.convert("RGBA"), {}), "b24.BMP": (rgb, {}), "b32.bmp": (rgb.convert("RGBA"), {}),
        "b8.bmp": (rgb.convert("P"), {}), "b1.bmp": (rgb.convert("1"), {}),
    }  # fmt: skip
    folder.mkdir(parents=True)
    for name, (picture, options) in pictures.items():
        picture.save(folder / name, **options)
    (folder / "Thumbs.db").write_bytes(b"stray")
    return [Path(name).stem for name in pictures]


def masks(folder: Path, names: list[str], truth: np.ndarray) -> None:
    """One mask in the formats and modes that masks come in."""
    white = np.where(truth, 255, 0).astype(np.uint8)
    palette = Image.fromarray(truth.astype(np.uint8))
    palette.putpalette([0, 0, 0, 128, 0, 0])
    three, cut_out = np.dstack([white] * 3), np.dstack([white // 2] * 3 + [white])
    kinds: list[tuple[str, Image.Image]] = [
        ("png", Image.fromarray(truth)), ("bmp", Image.fromarray(truth)), ("PNG", Image.fromarray(white)),
        ("jpg", Image.fromarray(white)), ("png", palette), ("bmp", Image.fromarray(three)),
        ("jpeg", Image.fromarray(three)), ("png", Image.fromarray(cut_out)),
        ("png", Image.fromarray(truth.astype(np.uint8))), ("png", Image.fromarray(white.astype(np.uint16) * 257)),
    ]  # fmt: skip
    folder.mkdir()
    for k, name in enumerate(names):
        suffix, mask = kinds[k % len(kinds)]
        mask.save(folder / f"{name}.{suffix}")
    (folder / "Thumbs.db").write_bytes(b"stray")


def test_pictures_and_masks_of_every_kind(run: Run, tmp_path: Path) -> None:
    truth = np.zeros((30, 40), bool)
    truth[8:24, 16:32] = True
    names = photographs(tmp_path / "own" / "thing" / "images")
    masks(tmp_path / "own" / "thing" / "masks", names, truth)
    count = len(names)
    code, out, err = run("check", "folder", "--root", tmp_path / "own")
    assert (code, err) == (0, "")
    assert f"folder/all: {count} images, {count * (count - 1) // 2} pairs" in out
    assert json.loads(run("pairs", "folder", "--root", tmp_path / "own")[1]) == {"all": count * (count - 1) // 2}
    assert run("show", "folder", "--root", tmp_path / "own", "--pairs", count)[0] == 0
    catalog = FolderReader(tmp_path / "own").read("test")
    expected = catalog.image(catalog.ids.index("thing/b24")).astype(int)
    for i, name in enumerate(catalog.ids):
        assert (catalog.labels(i) != truth).mean() < 0.01, name
        found = catalog.image(i).astype(int)
        if name.split("/")[1] in ("plain", "turned", "turned_too", "alpha", "b32"):
            assert np.abs(found - expected).mean() < 15, name
        assert found.shape == (30, 40, 3), name


def test_groups_on_every_command(run: Run, tmp_path: Path) -> None:
    write_icoseg(tmp_path / "dataset_public", group("brown_bear", 2) + group("Cheetah", 3) + group("023 Pandas", 4))
    at = ("icoseg", "--root", tmp_path, "--groups", "cheetah", "panda1")
    assert json.loads(run("pairs", *at)[1]) == {"cheetah+panda1": 3 + 6}
    code, out, err = run("check", *at)
    assert (code, err) == (2, "1 problem\n")
    assert mentions(out, "group panda1", 4, 25)
    assert "icoseg/cheetah+panda1: 7 images (published: 28), 9 pairs" in out  # told though something is wrong
    code, out, _ = run("show", *at)
    assert (code, out) == (0, "icoseg-cheetah+panda1.png\n")
    code, _, err = run("show", "icoseg", "--root", tmp_path, "--groups", "panda3")
    assert code == 2 and mentions(err, "panda3", "'panda")
    write_folder(tmp_path / "own", group("cat", 3) + group("dog", 1))
    code, _, err = run("pairs", "folder", "--root", tmp_path / "own", "--groups", "dog")
    assert (code, err.count("\n")) == (2, 1)
    assert mentions(err, "group dog", 1, tmp_path / "own")
    assert json.loads(run("pairs", "folder", "--root", tmp_path / "own", "--groups", "cat")[1]) == {"cat": 3}


def test_a_list_of_coco_by_a_rule(run: Run, tmp_path: Path) -> None:
    """Class and area filters, a number of pairs a class, and of uses of an image; the same from the same seed."""
    labels = np.zeros((24, 24), np.uint8)
    labels[2:12, 2:12], labels[14:20, 14:20], labels[20:22, 2:4] = 1, 2, 3
    shown = [labels * np.isin(labels, chosen) for chosen in ((1,), (1, 2), (2, 3), (1, 2, 3)) * 4]
    image = np.zeros((24, 24, 3), np.uint8)
    drawn = [(f"{k:03}", image, mask) for k, mask in enumerate(shown)]
    write_coco(tmp_path, drawn, ["person", "dog", "ball"], "val2017")
    choice = ("--set", "classes=[person,dog]", "min_area=20", "--per-class", "4", "--most-uses", "2", "--seed", "3")
    for name in ("a.csv", "b.csv"):
        code, _, err = run("pairs", "coco", "--root", tmp_path, "--split", "val", "--out", tmp_path / name, *choice)
        assert code == 0, err
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()
    listed = read_benchmark(tmp_path / "a.csv")
    assert listed.settings == "classes=[person,dog] min_area=20" and "seed 3" in listed.rule
    uses = Counter(name for cells in listed.table for name in cells[:2])
    classes = Counter(name for cells in listed.table for name in cells[2].split(";"))
    assert max(uses.values()) <= 2 and set(classes) == {"person", "dog"} and min(classes.values()) >= 4
    catalog = CocoReader(tmp_path, classes=["person", "dog"], min_area=20).read("val")
    assert len(listed_pairs(listed, catalog)) == len(listed.table)


@pytest.mark.parametrize(
    ("arguments", "facts"),
    [
        (("--per-class", "2"), ("--out",)),
        (("--out", "list.csv", "--most-uses", "2"), ("--per-class",)),
        (("--out", "list.csv", "--images", "gone.txt"), ("gone.txt",)),
    ],
)
def test_mistakes_of_a_rule(arguments: tuple[str, ...], facts: tuple[str, ...], run: Run) -> None:
    code, _, err = run("pairs", "shapes", "--split", "unseen", *arguments)
    assert code == 2 and mentions(err, *facts) and not Path("list.csv").exists()


def test_groups_of_voc_2010_and_a_part_of_them(run: Run, tmp_path: Path) -> None:
    """The images of a list of ids alone, as the selection of 1037 images that co-segmentation papers test."""
    drawn = [(f"2009_{k:06}", np.zeros((8, 9, 3), np.uint8), np.full((8, 9), 1 + k % 2, np.uint8)) for k in range(8)]
    ids = [name for name, *_ in drawn]
    write_voc(tmp_path / "VOCdevkit" / "VOC2010", drawn, {"train": ids[:4], "val": ids[4:], "trainval": ids})
    (tmp_path / "some.txt").write_text("\n".join(ids[:5]))
    code, out, _ = run(
        *("pairs", "voc2010", "--root", tmp_path, "--split", "trainval", "--unit", "group"),
        *("--images", tmp_path / "some.txt", "--out", tmp_path / "groups.csv"),
    )
    assert (code, json.loads(out)) == (0, {"trainval": 12})
    listed = read_benchmark(tmp_path / "groups.csv")
    assert (listed.dataset, listed.split) == ("voc2010", "trainval") and "5 images" in listed.rule
    assert Counter(group for group, _ in listed.table) == {"aeroplane": 3, "bicycle": 2}
    code, out, _ = run("check", "voc2010", "--root", tmp_path)
    assert code == 2 and mentions(out, "voc2010/trainval", 1928) and mentions(out, "val has 4", 964)


def test_released_layouts_of_folders(run: Run, tmp_path: Path) -> None:
    write_fss1000(tmp_path / "fss", items({"bus": 10, "zebra": 10}))
    write_weizmann_horses(tmp_path / "horses", items({"horse": 3}))
    code, out, _ = run("pairs", "fss1000", "--root", tmp_path / "fss", "--groups", "all")
    assert (code, json.loads(out)) == (0, {"all": 90})
    code, out, _ = run("pairs", "weizmann", "--root", tmp_path / "horses", "--out", tmp_path / "list.csv")
    assert (code, json.loads(out)) == (0, {"all": 3}) and read_benchmark(tmp_path / "list.csv").dataset == "weizmann"
    code, out, err = run("check", "weizmann", "--root", tmp_path / "horses")
    assert (code, err.strip()) == (2, "1 problem") and mentions(out, 3, 328)
    code, _, _ = run("show", "fss1000", "--root", tmp_path / "fss", "--groups", "bus", "--out", tmp_path / "s.png")
    assert code == 0 and (tmp_path / "s.png").is_file()


def test_what_cannot_be_written_is_told(run: Run, tmp_path: Path) -> None:
    write_folder(tmp_path / "own", group("cat", 3))
    Path("file").write_text("mine")
    for arguments in (("pairs", "folder", "--csv", "file/a.csv"), ("show", "folder", "--out", "file/a.png")):
        code, out, err = run(*arguments, "--root", tmp_path / "own")
        assert (code, out, err.count("\n")) == (2, "", 1)
        assert mentions(err, arguments[-1], "written", "(")
    assert Path("file").read_text() == "mine"


def test_a_check_lists_everything_that_is_wrong(run: Run, tmp_path: Path) -> None:
    write_folder(tmp_path / "own", group("cat", 4))
    (tmp_path / "own" / "cat" / "images" / "0001.jpg").write_bytes(b"no image")
    Image.new("L", (3, 3), 255).save(tmp_path / "own" / "cat" / "masks" / "0003.png")
    code, out, err = run("check", "folder", "--root", tmp_path / "own")
    assert code == 2
    assert [line.split(":")[0] for line in out.splitlines() if "note" not in line] == ["all", "all"]
    assert out.count("note: ") == out.count("black") == 3  # the pictures of `group` are
    assert mentions(out, "0001.jpg", "decode")
    assert mentions(out, "0003.png", "3x3")
    assert err == "2 problems\n"


def test_a_check_of_voc_lists_everything_too(run: Run, tmp_path: Path) -> None:
    write_tree(ShapesReader(size=48, train=4, val=3, seen=3, unseen=2), tmp_path)
    first, second, third = sorted((tmp_path / "SegmentationClass").glob("train_*.png"))[:3]
    first.unlink()
    second.write_bytes(b"no mask")
    Image.new("L", (48, 48), 77).save(third)
    assert run("check", "voc", "--root", tmp_path)[0] == 2  # not the images of VOC 2012
    code, out, err = run("check", "voc", "--root", tmp_path, "--set", "split_val=false")
    assert (code, err) == (2, "3 problems\n")
    for facts in ((first, "missing"), (second, "decode"), (third, "label", 77)):
        assert any(mentions(line, *facts) for line in out.splitlines()), facts
    assert "voc/val: 6 images" in out


def test_show_draws_pairs(run: Run, tmp_path: Path) -> None:
    write_tree(ShapesReader(size=48, train=6, val=6, seen=2, unseen=2), tmp_path)
    code, out, err = run(
        "show", "voc", "--root", tmp_path, "--set", "split_val=false", "--split", "val", "--pairs", "2"
    )
    assert (code, out) == (0, "voc-val.png\n"), err
    with Image.open("voc-val.png") as picture:
        one = picture.size
        assert np.asarray(picture).std() > 30
    code, out, _ = run("show", "shapes", "--pairs", "1", "--out", tmp_path / "a" / "b.png")
    assert code == 0
    with Image.open(tmp_path / "a" / "b.png") as picture:
        assert picture.size[0] == one[0]
        assert picture.size[1] < one[1]


@pytest.mark.parametrize(
    ("arguments", "facts"),
    [
        (("check", "msrcc"), ("'msrcc'", "'msrc'")),
        (("pairs", "msrc"), ("COSEG_MSRC_ROOT",)),
        (("pairs", "voc", "--groups", "cow"), ("voc", "no groups")),
        (("pairs", "msrc", "--groups", "cow", "cow"), ("once",)),
        (("download", "folder"), ("folder", "voc, msrc, icoseg, internet")),
        (("download", "voc", "--archive", "nowhere.tar"), ("nowhere.tar", "file")),
        (("show", "shapes", "--split", "tset"), ("'tset'", "train, val, seen, unseen")),
    ],
)
def test_mistakes_are_one_sentence(arguments: tuple[str, ...], facts: tuple[str, ...], run: Run) -> None:
    code, out, err = run(*arguments)
    assert (code, out) == (2, "")
    assert mentions(err, *facts)
    assert "Traceback" not in err
    assert not list(Path().iterdir())


def test_a_group_that_does_not_exist(run: Run, tmp_path: Path) -> None:
    write_msrc(tmp_path, group("cow", 2) + group("dog", 2))
    code, _, err = run("pairs", "msrc", "--root", tmp_path, "--groups", "cwo")
    assert code == 2
    assert mentions(err, "'cwo'", "test, all, cow, dog", "'cow'")


def test_it_starts_without_torch() -> None:
    code = "import sys, coseg.cli.data as d; sys.argv = ['x', 'list']; d._parser(); print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False\n"
