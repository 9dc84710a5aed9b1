"""``coseg-predict`` and odd inputs: what is given, named and stored otherwise than usual; exit codes are 0 or 2."""

from __future__ import annotations

import errno
import json
import os
import random
import resource
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from facts import mentions
from PIL import Image
from red_network import RedNetwork, picture, written

from coseg.hub import load as hub_load
from coseg.hub.load import Pretrained
from coseg.inference import outputs, segmenter

Predict = Callable[..., Any]


def masks(folder: str = "coseg-output") -> list[str]:
    return [name for name in written(folder) if name.endswith("_mask.png")]


def test_a_dangling_link_is_named_and_the_rest_is_done(predict: Predict) -> None:
    picture("album/0.jpg")
    picture("album/1.jpg", 3)
    Path("album/2.jpg").symlink_to("/nowhere/2.jpg")
    outcome = predict("album", "--only", "mask", "--json", "s.json")
    assert outcome.code == 2
    assert mentions(outcome.err.splitlines()[0], "album/2.jpg", "link")
    assert json.loads(Path("s.json").read_text())["problems"] == outcome.err.splitlines()
    assert masks() == ["0_mask.png", "1_mask.png"]


def test_linked_folders(predict: Predict) -> None:
    picture("there/0.png")
    picture("there/1.png", 3)
    Path("album").mkdir()
    Path("album/2020").symlink_to("../there")
    Path("there/back").symlink_to("../album")
    assert predict("album", "--recursive", "--only", "mask").code == 0
    assert masks() == ["0_mask.png", "1_mask.png"]


def test_brackets_in_the_name_of_a_folder(predict: Predict) -> None:
    picture("album [2020]/0.png")
    picture("album [2020]/1.png", 3)
    assert predict("album [2020]/*.png", "--only", "mask").code == 0
    assert masks() == ["0_mask.png", "1_mask.png"]


def test_names_that_begin_with_a_dash(predict: Predict) -> None:
    picture("-dash.png")
    picture("other.png", 3)
    assert predict("--only", "mask", "--out", "o", "--", "-dash.png", "other.png").code == 0
    assert masks("o") == ["-dash_mask.png", "other_mask.png"]
    outcome = predict("-dash.png", "other.png")
    assert outcome.code == 2
    assert "-- -dash.png" in outcome.err


def test_the_home_folder_is_meant_in_every_place(predict: Predict, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(Path.cwd() / "home"))
    picture("home/a.png")
    picture("home/b.png", 3)
    assert predict("~/*.png", "--only", "mask", "--out", "~/out", "--json", "~/s.json").code == 0
    assert written("home") == ["a.png", "b.png", "out/a_mask.png", "out/b_mask.png", "s.json"]


def test_twelve_bits_give_what_eight_do(predict: Predict) -> None:
    """The shares that are marked in grey pictures, by a network that looks at their brightness."""
    shares = []
    for name, factor, dtype in (("eight", 1, np.uint8), ("twelve", 16, np.uint16)):
        Path(name).mkdir()
        for k in range(3):
            grey = np.full((40, 64), 40 + k, dtype)
            grey[:, : 10 * (k + 1)] = 200
            Image.fromarray(grey * dtype(factor)).save(f"{name}/{k}.tif")
        outcome = predict(name, "--out", f"out-{name}", "--json")
        assert outcome.code == 0 and "almost" not in outcome.err
        shares.append([image["confidence"] for image in json.loads(outcome.out)["images"]])
        overlay = np.asarray(Image.open(f"out-{name}/2_cutout.png"))
        assert overlay.shape == (40, 64, 4)
    assert shares[0] == shares[1]


@pytest.mark.parametrize(("value", "said"), [(2, "black"), (253, "white")])
@pytest.mark.parametrize("options", [[], ["--pairs"]])
def test_an_almost_black_or_white_photograph_is_told_once(
    predict: Predict, value: int, said: str, options: list[str]
) -> None:
    picture("a.png")
    picture("b.png", 3)
    Image.fromarray(np.full((40, 64, 3), value, np.uint8)).save("dark.png")
    outcome = predict("a.png", "dark.png", "b.png", "--only", "mask", *options)
    assert outcome.code == 2
    assert mentions(outcome.err, "dark.png", said) and len(outcome.err.splitlines()) == 1
    assert len(masks()) == (6 if options else 3)


# names


def test_names_at_the_limit_of_the_system(predict: Predict) -> None:
    limit = os.pathconf(".", "PC_NAME_MAX")
    names = ["x" * (limit - 4), "x" * (limit - 5) + "y", "猫" * ((limit - 4) // 3), "short"]
    for k, name in enumerate(names):
        picture(f"album/{name}.png", 5 * k)
    outcome = predict("album", "--json", "s.json")
    assert outcome.code == 2
    assert len(outcome.err.splitlines()) == 3 and all("too long" in line for line in outcome.err.splitlines())
    files = [image["mask"] for image in json.loads(Path("s.json").read_text())["images"]]
    assert len(set(files)) == 4 and all(Path(file).is_file() for file in files)
    assert len(written()) == 13
    outcome = predict("album", "--pairs", "--only", "mask", "--out", "pairs")
    assert outcome.code == 2 and mentions(outcome.err, "folders", "pairs")
    assert len(masks("pairs")) == 12


@pytest.mark.parametrize(
    "name", ["two\nlines", "escape\x1b[2J", os.fsdecode(b"bytes\xff\xfe"), " ", "a\\b", "🎄 e\u0301"]
)
def test_names_of_any_letters(predict: Predict, name: str) -> None:
    picture("a.png")
    picture(f"{name}.png", 3)
    outcome = predict("a.png", f"{name}.png", "--json", "s.json")
    assert outcome.code == 0
    assert f"{name}_mask.png" in written()
    assert "\x1b" not in outcome.out and len(outcome.out.splitlines()) <= 7
    shutil.copy("a.png", f"{name}-copy.png")
    outcome = predict("a.png", f"{name}-copy.png", "--out", "again")
    assert outcome.code == 2 and len(outcome.err.splitlines()) == 1 and "\x1b" not in outcome.err


def test_a_name_that_no_font_has_is_a_number_in_sheet_list_and_scores(
    predict: Predict, monkeypatch: pytest.MonkeyPatch
) -> None:
    from coseg.inference import contact_sheet

    cards: list[contact_sheet.Card] = []
    add = contact_sheet.ContactSheet.add
    monkeypatch.setattr(contact_sheet.ContactSheet, "add", lambda self, card: cards.append(card) or add(self, card))
    name = os.fsdecode(b"\xff\xfe")
    for k in range(25):
        picture(f"album/{name if k in (1, 23) else 'x'}{k:02}.png", k)
    outcome = predict("album", "--only", "sheet", "--json", "s.json")
    assert outcome.code == 0
    images = json.loads(Path("s.json").read_text())["images"]
    numbers = [image["number"] for image in images if Path(image["file"]).name.startswith(name)]
    assert [card.number for card in cards] == list(range(1, 26))
    assert f"numbers: No. {numbers[0]}, {numbers[1]}." in outcome.out
    for number in numbers:  # the list has them although they come after the first twenty
        assert any(line.split()[0] == str(number) for line in outcome.out.splitlines())
    assert predict("album/x0*.png", "--only", "sheet", "--out", "plain").out.count("No. ") == 0
    outcome = predict(f"album/{name}01.png", "album/x00.png", "album/x02.png", "--pairs", "--out", "pairs")
    assert "1  \\udcff\\udcfe01.png" in outcome.out


def test_results_never_replace_a_photograph(predict: Predict) -> None:
    picture("a.png")
    source = picture("a_mask.png", 3).read_bytes()
    outcome = predict("a.png", "a_mask.png", "--out", ".", "--overwrite", "--only", "mask")
    assert outcome.code == 2
    assert mentions(outcome.err, "a_mask.png", "exists", "kept")
    assert Path("a_mask.png").read_bytes() == source
    assert Path("a_mask_mask.png").is_file()


# places


@pytest.mark.parametrize(
    "arguments",
    [
        ["--out", "x" * 300],
        ["--out", f"deep/{'x' * 300}/deeper"],
        ["--json", f"{'x' * 300}.json"],
        ["--json", f"{'x' * 300}/s.json"],
        ["--out", "/proc/self/nothing"],
        ["--out", "loop"],
        ["--out", "dangling/deeper"],
        ["--out", "a\0b"],
        ["--out", ""],
        ["--json", "folder.json"],
    ],
)
def test_places_that_can_not_be_written(predict: Predict, arguments: list[str]) -> None:
    Path("loop").symlink_to("loop")
    Path("dangling").symlink_to("/nowhere/at/all")
    Path("folder.json").mkdir()
    picture("a.png")
    picture("b.png", 3)
    before = sorted(os.listdir())
    outcome = predict("a.png", "b.png", "--only", "mask", *arguments)
    assert outcome.code == 2
    assert len(outcome.err.splitlines()) == 1 or "usage" in outcome.err
    assert sorted(set(os.listdir()) - {"coseg-output"}) == before


@pytest.mark.parametrize("what", ["mask", "cutout", "overlay", "sheet", "json"])
def test_a_full_disk(predict: Predict, monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    """Nothing is half-written, and what fits is there."""
    import coseg.files.writing

    picture("a.png")
    picture("b.png", 3)
    replace = os.replace

    def full(source: Path, target: Path) -> None:
        if what in Path(target).name:
            raise OSError(errno.ENOSPC, "No space left on device")
        replace(source, target)

    monkeypatch.setattr(coseg.files.writing.os, "replace", full)
    outcome = predict("a.png", "b.png", "--json", "s.json")
    assert outcome.code == 2
    assert "No space left on device" in outcome.err
    done = {"overlay": 0, "mask": 2, "cutout": 4, "sheet": 6, "json": 7}  # in the order in which they are written
    names = written() if Path("coseg-output").exists() else []
    assert not [name for name in names if what in name or name.startswith(".")]
    assert len(names) >= done[what]
    assert Path("s.json").is_file() == (what != "json")


# the network


def test_a_model_that_gives_no_numbers_is_refused(predict: Predict, monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken(RedNetwork):
        def encode(self, images: torch.Tensor) -> torch.Tensor:
            return images.float() * float("nan")

    settings = {"size": 64, "threshold": 0.5, "cooccurrence": None, "network": {"_target_": "red"}}
    monkeypatch.setattr(
        hub_load, "load_pretrained", lambda source, trust=False: Pretrained(Broken(), settings, "runs/broken")
    )
    for name in "abc":
        picture(f"{name}.png")
    for arguments in (["a.png", "b.png"], ["a.png", "b.png", "c.png"], ["a.png", "b.png", "c.png", "--pairs"]):
        outcome = predict(*arguments, "--json", "s.json")
        assert outcome.code == 2
        assert "runs/broken" in outcome.err and "not finite" in outcome.err.splitlines()[-1]
        assert not Path("coseg-output").exists() and not Path("s.json").exists()


def test_scores_have_null_for_what_is_no_number(predict: Predict, monkeypatch: pytest.MonkeyPatch) -> None:
    from coseg.hub.calibration import Calibration
    from coseg.hub.measures import SizeMeasures
    from coseg.inference.cooccurrence.belonging import Answer

    measured = SizeMeasures(2, 9, float("inf"), (float("-inf"), float("nan")), float("nan"))
    monkeypatch.setattr(Calibration, "measured", lambda self, n, input_size=None: (measured, "voc"))
    calibration = Calibration(("a",), (0.0,), (1.0,), (1.0,), 0.0)
    monkeypatch.setattr(segmenter, "calibration_of", lambda network, settings: calibration)
    monkeypatch.setattr(segmenter, "answer_for", lambda *rest: Answer(0.5))
    picture("a.png")
    picture("b.png", 3)
    outcome = predict("a.png", "b.png", "--json")
    assert outcome.code == 0
    calibrated = json.loads(outcome.out, parse_constant=lambda name: pytest.fail(name))["calibration"]
    assert (calibrated["accuracy"], calibrated["interval"]) == (None, [None, None])


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("[enforce fail at alloc_cpu.cpp:113] . DefaultCPUAllocator: can't allocate memory: you tried"),
        RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        ImportError("libx.so: failed to map segment from shared object"),
    ],
)
@pytest.mark.parametrize("where", ["network", "writing"])
def test_too_little_memory(predict: Predict, monkeypatch: pytest.MonkeyPatch, error: Exception, where: str) -> None:
    def fails(*rest: Any, **options: Any) -> None:
        raise error

    monkeypatch.setattr(*((RedNetwork, "cosegment") if where == "network" else (outputs.Image, "fromarray")), fails)
    picture_bytes = [(name, red) for name, red in (("a.ppm", 9), ("b.ppm", 3))]
    for name, red in picture_bytes:
        pixels = np.full((40, 64, 3), (0, 0, 255), np.uint8)
        pixels[:, :red] = (255, 0, 0)
        Path(name).write_bytes(b"P6 64 40 255\n" + pixels.tobytes())
    outcome = predict("a.ppm", "b.ppm", "--only", "mask")
    assert outcome.code == 2
    loading = isinstance(error, ImportError)  # the program itself does not fit: no setting of the job helps
    assert mentions(outcome.err, "memory", "program" if loading else "--size")
    assert not Path("coseg-output").exists() or written() == []


# many


def odd_file(draw: random.Random, path: Path) -> None:
    """A file of some sort, mostly a bad one."""
    sort = draw.randrange(12)
    if sort < 3:
        Image.new("RGB", (draw.randint(1, 80), draw.randint(1, 80)), draw.choice(["red", "blue", "black"])).save(
            path, "PNG"
        )
    elif sort == 3:
        modes = ["1", "L", "LA", "P", "RGBA", "CMYK", "YCbCr", "LAB", "I", "I;16", "F"]
        Image.new(draw.choice(modes), (40, 30)).save(path, "TIFF")
    elif sort == 4:  # damaged metadata
        damaged = draw.randbytes(draw.randint(0, 90))
        Image.new("RGB", (40, 30), "red").save(
            path, "JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08" + damaged, icc_profile=damaged
        )
    elif sort == 5:  # changed bytes
        Image.effect_noise((60, 50), 90).convert("RGB").save(
            path, draw.choice(["JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF"])
        )
        content = bytearray(path.read_bytes())
        for _ in range(draw.randint(1, 30)):
            content[draw.randrange(len(content))] = draw.randrange(256)
        path.write_bytes(content)
    elif sort == 6:
        path.write_bytes(draw.randbytes(draw.choice([0, 1, 12, 900])))
    elif sort == 7:
        path.symlink_to(draw.choice(["/nowhere", path.name, "..", "/dev/null", "a.png"]))
    elif sort == 8:
        os.mkfifo(path)
    elif sort == 9:
        path.mkdir()
        (path / "inner.png").symlink_to("../a.png")
    elif sort == 10:
        path.write_bytes(
            draw.choice([b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"%!PS-Adobe-3.0 EPSF-3.0\n", b"<svg/>"]) * 3
        )
    else:
        shutil.copy("a.png", path)


def odd_name(draw: random.Random) -> str:
    letters = "aB1 .-[]()*?!~#'\"\\=,;&%$é\u0301猫ع🎄\n\t\x1b\u202e\udcff\udc80"
    name = "".join(draw.choices(letters, k=draw.choice([1, 3, 8, 50])))
    return (name.strip("./") or "x") + draw.choice(
        ["", ".png", ".JPG", ".tif", ".gif", ".cr2", ".svg", ".txt", ".webp"]
    )


@pytest.mark.parametrize("seed", range(8))
def test_odd_inputs_end_in_sentences(predict: Predict, seed: int) -> None:
    """240 files of odd content and names in folders, and 120 command lines of odd arguments."""
    draw = random.Random(seed)
    picture("a.png")
    picture("b.png", 3)
    Path("odd").mkdir()
    names = sorted({odd_name(draw) for _ in range(30)})
    for name in names:
        odd_file(draw, Path("odd", name))
    for _ in range(15):
        words = draw.choices(names, k=draw.randint(0, 4))
        given = [draw.choice([f"odd/{word}", f"odd/*{word[-3:]}", word, f"odd/{word[:1]}*"]) for word in words]
        options = draw.choice(
            [[], ["--pairs"], ["--recursive"], ["--json"], ["--json", "s.json"], ["--overwrite"], ["--quiet"]]
        ) + draw.choice([[], ["--size", "-1"], ["--only", "sheet"], ["--threshold", "nan"], ["--", *names[:2]]])
        more = draw.choice([["odd"], ["odd/**"], ["a.png", "b.png"], ["b.png", "odd/[!a]*"]])
        outcome = predict("--out", "out", *given, *more, *options)
        assert outcome.code in (0, 2), outcome.err
        assert "Traceback" not in outcome.err
        assert outcome.code == 0 or outcome.err
        assert not list(Path().glob("out/**/.*"))
        shutil.rmtree("out", ignore_errors=True)  # a link to the folder above would find it


def test_the_limit_of_open_files_is_not_reached(predict: Predict) -> None:
    """Files are closed once they are read."""
    for k in range(40):
        picture(f"album/{k}.png", k)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    used = len(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").exists() else 64
    resource.setrlimit(resource.RLIMIT_NOFILE, (used + 30, hard))
    try:
        assert predict("album", "--only", "mask").code == 0
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
