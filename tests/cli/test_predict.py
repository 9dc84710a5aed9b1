"""``coseg-predict``, with a network whose answer is known: what is red is common."""

from __future__ import annotations

import json
import os
import shutil
import signal
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from facts import mentions
from PIL import Image
from red_network import picture, written
from tiny_networks import model_of, network_config, tiny_network

from coseg.hub import load as hub_load
from coseg.hub.calibration import Calibration
from coseg.inference import album
from coseg.inference.cooccurrence.descriptors import ALIKE

Predict = Callable[..., Any]


def test_a_pair(predict: Predict) -> None:
    picture("a.png", 20)
    picture("b.jpg", 30, (60, 50))
    outcome = predict("a.png", "b.jpg")
    assert outcome.code == 0
    assert mentions(outcome.out, "the bundled model", "64 pixels")
    assert "coseg-output" in outcome.out
    assert mentions(outcome.out, "not calibrated")
    assert written() == [
        "a_cutout.png", "a_mask.png", "a_overlay.jpg", "b_cutout.png", "b_mask.png", "b_overlay.jpg", "sheet.png",
    ]  # fmt: skip
    for name, red, size in (("a", 20, (64, 40)), ("b", 30, (60, 50))):
        mask = np.asarray(Image.open(f"coseg-output/{name}_mask.png"))
        assert mask.shape == size[::-1]
        assert abs((mask == 255).mean() - red / size[0]) < 0.02
        assert set(np.unique(mask)) == {0, 255}
        assert np.array_equal(np.asarray(Image.open(f"coseg-output/{name}_cutout.png"))[..., 3], mask)


def test_masks_have_the_size_of_the_original(predict: Predict) -> None:
    picture("a.png", 200, (640, 333))
    picture("b.png", 100, (999, 20))
    assert predict("a.png", "b.png", "--only", "mask,cutout").code == 0
    for name, size, red in (("a", (640, 333), 200), ("b", (999, 20), 100)):
        for kind in ("mask", "cutout"):
            assert Image.open(f"coseg-output/{name}_{kind}.png").size == size
        mask = np.asarray(Image.open(f"coseg-output/{name}_mask.png"))
        assert abs((mask == 255).mean() - red / size[0]) < 0.02
    assert len(written()) == 4


def test_a_group_from_a_folder_in_order_with_scores(predict: Predict) -> None:
    for k in range(12):
        picture(f"album/{k}.png", 4 * k)
    outcome = predict("album", "--out", "out", "--only", "sheet", "--json", "scores.json")
    assert outcome.code == 0
    assert written("out") == ["sheet.png"]
    scores = json.loads(Path("scores.json").read_text())
    assert [image["file"] for image in scores["images"]] == [str(Path("album") / f"{k}.png") for k in range(12)]
    assert [image["foreground"] for image in scores["images"]] == pytest.approx([k / 16 for k in range(12)], abs=1e-3)
    assert scores["images"][3]["width"], scores["images"][3]["height"] == (64, 40)
    assert all(0.5 <= image["confidence"] <= 1 for image in scores["images"])
    assert (scores["common"], scores["shares"], scores["size"], scores["threshold"]) == (None, None, 64, 0.5)
    assert scores["model"] == "the bundled model"
    assert scores["problems"] == []


def test_scores_are_printed_alone(predict: Predict) -> None:
    picture("a.png")
    picture("b.png", 5)
    for arguments in (("--json", "a.png", "b.png"), ("a.png", "b.png", "--json"), ("a.png", "--json", "-", "b.png")):
        outcome = predict(*arguments, "--overwrite")
        assert outcome.code == 0
        images = json.loads(outcome.out)["images"]
        assert [Path(image["file"]).name for image in images] == ["a.png", "b.png"]
        assert images[1]["mask"] == str(Path("coseg-output") / "b_mask.png")
        assert "Segmenting" in outcome.err


def test_all_pairs(predict: Predict) -> None:
    for red, name in enumerate("abc"):
        picture(f"{name}.png", 10 + red)
    outcome = predict("a.png", "b.png", "c.png", "--pairs", "--json", "s.json", "--only", "mask,sheet")
    assert outcome.code == 0
    assert written() == [
        "a+b/a_mask.png", "a+b/b_mask.png", "a+c/a_mask.png", "a+c/c_mask.png", "b+c/b_mask.png", "b+c/c_mask.png",
        "sheet.png",
    ]  # fmt: skip
    pairs = json.loads(Path("s.json").read_text())["pairs"]
    assert [[image["file"] for image in pair["images"]] for pair in pairs] == [
        ["a.png", "b.png"], ["a.png", "c.png"], ["b.png", "c.png"],
    ]  # fmt: skip
    assert "3 pairs" in outcome.out


def test_threshold_and_size(predict: Predict) -> None:
    grey = np.full((40, 64, 3), 100, np.uint8)
    grey[:, :32, 0] = 110  # logits 5.5 and 5: a probability of 0.62
    for name in ("a", "b"):
        Image.fromarray(grey).save(f"{name}.png")
        grey = grey[::-1].copy()
        grey[0, 0] = 0
    shares = {}
    for threshold in ("0.4", "0.55", "0.7"):
        outcome = predict("a.png", "b.png", "--threshold", threshold, "--overwrite", "--json", "--size", "32")
        scores = json.loads(outcome.out)
        assert (scores["threshold"], scores["size"]) == (float(threshold), 32)
        assert mentions(outcome.err, "32 pixels", "made for 64")
        shares[threshold] = round(scores["images"][0]["foreground"], 2)
    assert shares == {"0.4": 1.0, "0.55": 0.5, "0.7": 0.0}


def test_islands_are_removed_from_all_pictures_unless_they_are_kept(predict: Predict) -> None:
    pixels = np.full((40, 64, 3), (0, 0, 255), np.uint8)
    pixels[10:35, 5:40] = (255, 0, 0)
    pixels[2:5, 58:62] = (255, 0, 0)
    for name in ("a", "b"):
        Image.fromarray(pixels).save(f"{name}.png")
        pixels[0, 0] = 0
    shares = []
    for options in ([], ["--keep-islands"]):
        scores = json.loads(predict("a.png", "b.png", "--overwrite", "--json", *options).out)
        shares.append(scores["images"][0]["foreground"] * pixels[..., 0].size)
        mask, cutout = (np.asarray(Image.open(f"coseg-output/a_{name}.png")) for name in ("mask", "cutout"))
        assert (mask == 255).sum() == (cutout[..., 3] == 255).sum() == pytest.approx(shares[-1], abs=1)
        assert scores["islands"] == ("kept" if options else "removed")
    assert shares == pytest.approx([875, 887], abs=1)


def test_calibrated_words(predict: Predict, monkeypatch: pytest.MonkeyPatch) -> None:
    from coseg.hub.calibration import GROUP_STATISTICS, Calibration
    from coseg.hub.measures import Count, SizeMeasures
    from coseg.inference import segmenter
    from coseg.inference.cooccurrence import statistics

    of_pairs = SizeMeasures(2, 1234, 0.83, (0.8, 0.86), 0.9, yes=Count(95, 100), no=Count(66, 88))
    calibration = Calibration(
        ("a",), (0.0,), (1.0,), (1.0,), 0.0, auc=0.9, accuracy=0.83, interval=(0.8, 0.86), pairs=1234, data="voc",
        sizes=(of_pairs,),
    )  # fmt: skip
    monkeypatch.setattr(segmenter, "calibration_of", lambda network, settings: calibration)
    monkeypatch.setattr(
        statistics, "network_statistics", lambda network, a, b, *maps: min(map(torch.mean, maps))[None] * 10 - 1
    )
    for name, red in (("a", 20), ("b", 30), ("c", 0)):
        picture(f"{name}.png", red)
    outcome = predict("a.png", "b.png", "--json", "s.json")
    assert mentions(outcome.out, "object in common", "89 %", "95 %")  # of such answers were right
    assert not mentions(outcome.out, "1,234 pairs")
    scores = json.loads(Path("s.json").read_text())
    assert scores["shares"] is True
    expected = {"accuracy": 0.83, "interval": [0.8, 0.86], "pairs": 1234, "data": "voc"}
    assert scores["calibration"] == expected | {
        "shares": {"right": 95, "answers": 100},
        "shares_nothing": {"right": 66, "answers": 88},
    }
    outcome = predict("a.png", "b.png", "--out", "sure", "--how-sure")
    assert mentions(outcome.out, "83 %", "1,234 pairs", "voc", "95 %", "80 % to 86 %", "66 of 88")
    outcome = predict("a.png", "c.png", "--out", "other")
    assert outcome.code == 0
    assert mentions(outcome.out, "can't tell", "27 %") and not mentions(outcome.out, "75 %")
    pairs = predict("a.png", "b.png", "c.png", "--pairs", "--out", "pairs", "--json", "p.json").out
    assert mentions(pairs, "1 of 3 pairs", "for 2 it can't tell")
    assert json.loads(Path("p.json").read_text())["calibration"]["pairs"] == 1234
    images = ("a.png", "b.png", "c.png", "--only", "mask")
    assert mentions(predict(*images, "--out", "before", "--how-sure").out, "not measured")
    group = replace(calibration, names=GROUP_STATISTICS, mean=(0.0,) * 2, scale=(1.0,) * 2, weights=(0.0,) * 2,
                    bias=1.0, sizes=(SizeMeasures(3, 600, 0.77, (0.7, 0.8)), SizeMeasures(5, 600, 0.9)))  # fmt: skip
    calibration = replace(calibration, group=group)
    outcome = predict(*images, "--out", "groups", "--json", "g.json", "--how-sure")
    assert mentions(outcome.out, "73 %", "77 %", "600 groups of 3 images", "voc")
    told = json.loads(Path("g.json").read_text())["calibration"]
    assert told == {"accuracy": 0.77, "interval": [0.7, 0.8], "groups": 600, "size": 3, "data": "voc"}


# bad input


def chunk(kind: bytes, data: bytes) -> bytes:
    """Of a PNG file."""
    return len(data).to_bytes(4) + kind + data + zlib.crc32(kind + data).to_bytes(4)


def bad_files() -> dict[str, str]:
    """Files that are no photographs, and what is said of each."""
    Path("text.jpg").write_text("no image")
    whole = picture("whole.jpg", 9, (640, 480)).read_bytes()
    Path("cut.jpg").write_bytes(whole[: len(whole) // 2])
    frames = [Image.fromarray(np.full((20, 30, 3), 40 * k, np.uint8)) for k in range(3)]
    for name in ("moving.gif", "film.webp", "apng.png"):
        frames[0].save(name, save_all=True, append_images=frames[1:])
    Image.new("RGB", (1, 1)).save("dot.png")
    Path("huge.png").write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", b"\0\0\x75\x30" * 2 + b"\x08\x02\0\0\0") + chunk(b"IDAT", b"")
    )
    Path("phone.heic").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0heicmif1")
    Path("whole.jpg").unlink()
    return {
        "text.jpg": "image",
        "cut.jpg": "decode",
        "moving.gif": "animated",
        "film.webp": "animated",
        "apng.png": "animated",
        "dot.png": "1 x 1",
        "huge.png": "30,000 x 30,000",
        "phone.heic": "image",
        "nowhere.jpg": "missing",
    }


@pytest.mark.parametrize("way", ["group", "pairs"])
def test_a_sentence_each_and_the_rest_is_done(predict: Predict, way: str) -> None:
    bad = bad_files()
    picture("good.png")
    picture("well.png", 30)
    outcome = predict(
        "good.png", *bad, "well.png", "--only", "mask", "--json", "s.json", *(["--pairs"] * (way == "pairs"))
    )
    assert outcome.code == 2
    lines = outcome.err.splitlines()
    for name, said in bad.items():
        assert [line for line in lines if line.startswith(f"{name} ") and said in line], name
    assert len(lines) == len(bad)
    inside = "good+well/" if way == "pairs" else ""
    assert written() == [f"{inside}good_mask.png", f"{inside}well_mask.png"]
    scores = json.loads(Path("s.json").read_text())
    assert sorted(scores["problems"]) == sorted(lines)


@pytest.mark.parametrize("more", [[], ["text.jpg", "cut.jpg"], ["nowhere.jpg"]])
@pytest.mark.parametrize("options", [[], ["--pairs"]])
def test_one_picture_only(predict: Predict, more: list[str], options: list[str]) -> None:
    bad_files()
    picture("a.png")
    outcome = predict("a.png", *more, *options)
    assert outcome.code == 2
    assert mentions(outcome.err.splitlines()[-1], "two")
    assert not Path("coseg-output").exists()


def test_the_same_file_twice(predict: Predict) -> None:
    picture("a.png")
    picture("b.png", 3)
    outcome = predict("a.png", "b.png", "./a.png", "--only", "mask")
    assert outcome.code == 2
    assert outcome.err.count("\n") == 1 and mentions(outcome.err, "a.png", "twice")
    assert written() == ["a_mask.png", "b_mask.png"]


@pytest.mark.parametrize("options", [[], ["--pairs"]])
def test_a_copy(predict: Predict, options: list[str]) -> None:
    shutil.copy(picture("a.png"), "copy.png")
    picture("b.png", 3)
    outcome = predict("a.png", "b.png", "copy.png", "--only", "mask", *options)
    assert outcome.code == 2
    assert mentions(outcome.err, "a.png", "copy.png", "same")
    assert len(outcome.err.splitlines()) == 1
    assert len(written()) == (6 if options else 3)


def test_the_same_name_twice(predict: Predict) -> None:
    for name, red in (("a/x.png", 5), ("b/x.png", 25), ("y.png", 1), ("y.jpg", 2)):
        picture(name, red)
    outcome = predict("a/x.png", "b/x.png", "y.png", "y.jpg", "--only", "mask")
    assert outcome.code == 2
    assert mentions(outcome.err, Path("b/x.png"), "name", "b-x")
    assert written() == ["a-x_mask.png", "b-x_mask.png", "y-jpg_mask.png", "y-png_mask.png"]
    mask = np.asarray(Image.open("coseg-output/b-x_mask.png"))
    assert (mask == 255).mean() == pytest.approx(25 / 64, abs=0.02)


def test_what_exists_is_kept(predict: Predict, monkeypatch: pytest.MonkeyPatch) -> None:
    picture("a.png")
    picture("b.png", 3)
    kept = [Path("coseg-output", name) for name in ("a_mask.png", "sheet.png")]
    kept[0].parent.mkdir()
    for path in kept:
        path.write_bytes(b"mine")
    outcome = predict("a.png", "b.png")
    assert outcome.code == 2
    assert mentions(outcome.err, f"{kept[0]}, {kept[1]}", "exist", "kept")
    assert [path.read_bytes() for path in kept] == [b"mine"] * 2
    assert len(written()) == 7
    # with nothing left to do, the model is not even loaded
    monkeypatch.setattr(hub_load, "load_pretrained", None)
    outcome = predict("a.png", "b.png")
    assert outcome.code == 2
    assert mentions(outcome.err, "and 4", "exist", "kept", "--overwrite")


def test_processes_meet_also_where_everything_exists(predict: Predict, monkeypatch: pytest.MonkeyPatch) -> None:
    from coseg.inference import processes

    picture("a.png")
    picture("b.png", 3)
    asked: list[object] = []

    class Asked(processes.Processes):
        def require_same(self, facts: object) -> None:
            asked.append(facts)

    predict("a.png", "b.png")
    monkeypatch.setattr(processes, "ALONE", Asked())
    monkeypatch.setattr(hub_load, "load_pretrained", None)
    assert predict("a.png", "b.png").code == 2
    assert len(asked) == 1  # torchrun ends the first when another has ended, be it before it has printed


def test_overwrite(predict: Predict) -> None:
    picture("a.png")
    picture("b.png", 3)
    Path("coseg-output").mkdir()
    Path("coseg-output/a_mask.png").write_bytes(b"old")
    assert predict("a.png", "b.png", "--overwrite").code == 0
    assert Image.open("coseg-output/a_mask.png").size == (64, 40)


@pytest.mark.parametrize("arguments", [["--out", "file"], ["--out", "file/deeper"], ["--json", "file/scores.json"]])
def test_a_folder_that_can_not_be_written(
    predict: Predict, monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    monkeypatch.setattr(hub_load, "load_pretrained", None)
    Path("file").touch()
    picture("a.png")
    picture("b.png", 3)
    outcome = predict("a.png", "b.png", *arguments)
    assert outcome.code == 2
    assert mentions(outcome.err, arguments[1].removesuffix("/scores.json"), "written")
    assert sorted(path.name for path in Path().iterdir()) == ["a.png", "b.png", "file"]


def test_a_folder_without_images(predict: Predict) -> None:
    Path("empty").mkdir()
    outcome = predict("empty")
    assert outcome.code == 2
    assert mentions(outcome.err, "empty", "images")


def test_a_picture_that_goes_away_is_told_and_the_rest_written(
    predict: Predict, monkeypatch: pytest.MonkeyPatch
) -> None:
    for red, name in enumerate("abc"):
        picture(f"{name}.png", 10 + red)
    write = album.write_pictures

    def write_pictures(source: Path, *rest: Any) -> Any:
        if source.name == "b.png":
            source.unlink()
        return write(source, *rest)

    monkeypatch.setattr(album, "write_pictures", write_pictures)
    outcome = predict("a.png", "b.png", "c.png", "--only", "cutout,sheet")
    assert outcome.code == 2
    assert outcome.err.count("\n") == 1 and mentions(outcome.err, "b.png", "missing")
    assert written() == ["a_cutout.png", "c_cutout.png", "sheet.png"]


@pytest.mark.parametrize("where", ["reading", "writing"])
def test_stopped_by_hand(predict: Predict, monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    from coseg.inference import outputs

    picture("a.png")
    picture("b.png", 10, (64, 66) if where == "reading" else (64, 40))
    picture("c.png", 10, (66, 40) if where == "reading" else (64, 40))
    if where == "writing":
        save = Image.Image.save

        def interrupted(self: Image.Image, path: Path, *rest: Any, **options: Any) -> None:
            save(self, path, *rest, **options)
            if path.name.startswith(".b_mask"):
                raise KeyboardInterrupt

        monkeypatch.setattr(outputs.Image.Image, "save", interrupted)
    outcome = predict("a.png", "b.png", "c.png", "--only", "mask", "--size", "66")
    assert outcome.code == 130
    assert (written() if Path("coseg-output").exists() else []) == (["a_mask.png"] if where == "writing" else [])


def test_a_stop_signal_before_the_work_begins(predict: Predict, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("coseg.cli.predict.exemplar_words", lambda _: signal.raise_signal(signal.SIGTERM))
    outcome = predict("a.png", "b.png")
    assert outcome.code == 128 + signal.SIGTERM and outcome.err.count("\n") == 1


def test_a_job_of_slurm_that_is_preempted_is_queued_and_finishes(
    predict: Predict, monkeypatch: pytest.MonkeyPatch
) -> None:
    for k, name in enumerate("abcdefgh"):
        picture(f"{name}.png", 10 + k)
    words = (*sorted(Path().glob("*.png")), "--out", "out", "--json", "out.json")
    assert predict(*words).code == 0
    for name in ("out", "out.json"):
        Path(name).rename(name.replace("out", "whole"))
    queued: list[int] = []
    monkeypatch.setattr("coseg.cli.sentences.requeue", queued.append)
    for name, value in {"SLURM_JOB_ID": "7", "SLURM_JOB_NAME": "album"}.items():
        monkeypatch.setenv(name, value)
    save = Image.Image.save

    def preempted(self: Image.Image, path: Path, *rest: Any, **options: Any) -> None:
        save(self, path, *rest, **options)
        if path.name.startswith(".b_mask"):
            os.kill(os.getpid(), signal.SIGTERM)
            os.kill(os.getpid(), signal.SIGTERM)

    with monkeypatch.context() as patched:
        patched.setattr(Image.Image, "save", preempted)
        outcome = predict(*words)
    assert outcome.code == 128 + signal.SIGTERM and queued == [signal.SIGTERM]
    assert outcome.err.count("\n") == 1 and mentions(outcome.err, "out", "same command")
    assert 1 <= len(list(Path("out").iterdir())) < 25 and not list(Path("out").glob(".*"))
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    outcome = predict(*words)
    assert outcome.code == 0 and outcome.err == "" and "kept" in outcome.out
    for path in Path("whole").iterdir():
        assert Path("out", path.name).read_bytes() == path.read_bytes()
    assert Path("out.json").read_text() == Path("whole.json").read_text()


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["a.png", "--only", "masks"],
        ["a.png", "--size", "0"],
        ["a.png", "--threshold", "2"],
        ["a.png", "--sise", "9"],
    ],
)
def test_options_that_are_none(predict: Predict, arguments: list[str]) -> None:
    outcome = predict(*arguments)
    assert outcome.code == 2
    assert "coseg-predict: error: " in outcome.err


@pytest.mark.parametrize("device", ["abacus", "cuda:99"])
def test_no_such_device(predict: Predict, device: str) -> None:
    picture("a.png")
    picture("b.png", 3)
    outcome = predict("a.png", "b.png", "--device", device)
    assert outcome.code == 2
    assert mentions(outcome.err, "device", f"'{device}'")


def test_checkpoints(predict: Predict, trained: Path) -> None:
    """A run directory works; one of another version and a damaged one are told."""
    picture("a.png")
    picture("b.png", 3)
    outcome = predict("a.png", "b.png", "--checkpoint", trained, "--quiet", "--only", "mask")
    assert (outcome.code, outcome.out, outcome.err) == (0, "", "")
    assert written() == ["a_mask.png", "b_mask.png"]
    checkpoint = trained / "checkpoints" / "best.ckpt"
    Path("damaged.ckpt").write_bytes(checkpoint.read_bytes()[:5000])
    stored = torch.load(checkpoint, weights_only=True)
    stored["state_dict"] = dict(list(stored["state_dict"].items())[1:])
    torch.save(stored, "other.ckpt")
    for name in ("damaged.ckpt", "other.ckpt", "nowhere.ckpt"):
        outcome = predict("a.png", "b.png", "--checkpoint", name, "--out", name[:3])
        assert outcome.code == 2
        assert name in outcome.err
        assert len(outcome.err.splitlines()) == 1
        assert not Path(name[:3]).exists()


def test_progress_is_a_line_now_and_then_where_there_is_no_terminal(
    predict: Predict, monkeypatch: pytest.MonkeyPatch
) -> None:
    from coseg.cli import predict_output

    monkeypatch.setattr(predict_output, "_SECONDS", 0.0)
    for red, name in enumerate("abc"):
        picture(f"{name}.png", 10 + red)
    outcome = predict("a.png", "b.png", "c.png", "--only", "mask")
    lines = [line.partition(",")[0] for line in outcome.err.splitlines()]
    assert lines[-3:] == ["Writing: 1 of 3", "Writing: 2 of 3", "Writing: 3 of 3"]
    assert "Reading: 2 of 3" in outcome.err
    assert "Segmenting: 3 of 3" in outcome.err
    assert predict("a.png", "b.png", "c.png", "--only", "mask", "--quiet", "--out", "other").err == ""


@pytest.fixture
def searching(predict: Predict, monkeypatch: pytest.MonkeyPatch) -> Predict:
    """``predict`` with a tiny network that can search for exemplars."""
    monkeypatch.setattr(hub_load, "load_pretrained", lambda *_: model_of(tiny_network(network_config())))
    for name, red in (("a", 20), ("b", 30), ("c", 40)):
        picture(f"album/{name}.png", red)
    mask = np.zeros((40, 64), np.uint8)
    mask[:, :20] = 255
    Image.fromarray(mask).save("mask.png")
    return predict


def test_an_exemplar_is_searched_for_in_each_image(searching: Predict) -> None:
    outcome = searching(
        "album", "--exemplar", "album/a.png:mask.png", "--exemplar", "album/b.png:0,0,30,40", "--exemplar",
        "album/c.png:3,4", "--json", "scores.json", "--how-sure",
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    assert mentions(outcome.out, "exemplar", "3 images")
    scores = json.loads(Path("scores.json").read_text())
    assert scores["exemplars"] == 3 and scores["threshold"] == 0.5 and scores["common"] is None
    assert len(scores["images"]) == 3 and len(written()) == 10
    assert [k + 1 for k in range(3) if not scores["images"][k]["foreground"]] == scores["outside"]


NAMED = ("--exemplar", "left=album/a.png:mask.png", "--exemplar", "other=album/b.png:40,0,20,40")


def test_several_named_objects(searching: Predict) -> None:
    outcome = searching("album", *NAMED, "--only", "mask", "--json", "scores.json", "--how-sure")
    assert outcome.code == 0, outcome.err
    assert mentions(outcome.out, "'left'", "'other'", "3 images")
    assert written() == sorted(
        f"{place}{name}_{end}.png"
        for name in "abc"
        for place, end in (("", "labels"), ("left/", "mask"), ("other/", "mask"))
    )
    scores = json.loads(Path("scores.json").read_text())
    assert [of_object["name"] for of_object in scores["objects"]] == ["left", "other"]
    assert scores["images"][2]["objects"]["other"]["mask"] == str(Path("coseg-output/other/c_mask.png"))
    mask, photograph = Path("coseg-output/left/a_mask.png"), Path("coseg-output/b_labels.png")
    picture(str(photograph), 30)
    before = mask.read_bytes(), photograph.read_bytes()
    own = searching(
        "album", "--exemplar", f"left=album/a.png:{mask}", "--exemplar", f"other={photograph}:40,0,20,40", "--only",
        "mask", "--overwrite",
    )  # fmt: skip
    assert own.code == 2 and mentions(own.err, str(mask), str(photograph), "exemplars", "kept")
    assert (mask.read_bytes(), photograph.read_bytes()) == before
    kept = searching("album", *NAMED, "--only", "mask")
    assert kept.code == 2 and "kept" in kept.err
    assert mentions(searching("album", *NAMED, "--exemplar", "album/a.png:3,4").err, "none")


def test_a_split_needs_likelihoods(searching: Predict) -> None:
    for words in (["--exemplar", "album/a.png:mask.png"], NAMED, []):
        outcome = searching("album", *words, "--split-out", "s")
        assert outcome.code == 2 and "calibration" in outcome.err and not Path("s").exists()


def test_photographs_are_split_by_what_they_show(searching: Predict, monkeypatch: pytest.MonkeyPatch) -> None:
    network = tiny_network(network_config())
    network, settings, source = model_of(network)
    calibration = Calibration(ALIKE, (0.0, 0.0), (1.0, 1.0), (0.0, 0.0), 3.0).to_dict()
    loaded = network, {**settings, "cooccurrence": calibration}, source
    monkeypatch.setattr(hub_load, "load_pretrained", lambda *_: loaded)
    before = {path: path.read_bytes() for path in Path("album").iterdir()}
    words = ("album", "--only", "mask", "--overwrite", "--json", "s.json", "--split-out")
    assert searching(*words, "one", "--exemplar", "album/a.png:mask.png").code == 0
    assert written("one") == ["belongs/a.png", "belongs/b.png", "belongs/c.png"]
    assert json.loads(Path("s.json").read_text())["images"][1]["copy"] == str(Path("one/belongs/b.png"))
    outcome = searching(*words, "two", *NAMED)
    assert outcome.code == 0 and "3 in left/belongs" in outcome.out and len(written("two")) == 6
    assert searching("album/a.png", "album/b.png", "--overwrite", "--split-out", "three").code == 0
    assert written("three") == ["belongs/a.png", "belongs/b.png"]
    assert searching("album", "--clusters", "--overwrite", "--json", "s.json", "--split-out", "four").code == 0
    scores = json.loads(Path("s.json").read_text())
    assert sorted(map(int, scores["alone_copies"])) == scores["alone"]
    assert {name.partition("/")[0] for name in written("four")} <= {"group_1", "alone"} and len(written("four")) == 3
    again = searching(*words, "one", "--exemplar", "album/a.png:mask.png")
    assert again.code == 2 and mentions(again.err, "one/belongs/a.png")
    assert {path: path.read_bytes() for path in Path("album").iterdir()} == before


def test_one_image_is_enough_with_an_exemplar(searching: Predict) -> None:
    assert (
        searching("album/b.png", "--exemplar", "album/a.png:mask.png", "--only", "mask", "--threshold", "0").code == 0
    )
    assert (np.asarray(Image.open("coseg-output/b_mask.png")) == 255).mean() > 0.9  # what is 0 in half precision is not


@pytest.mark.parametrize(
    ("word", "mentioned"),
    [
        ("album/a.png", "PHOTO:OBJECT"),
        ("album/none.png:mask.png", "album/none.png"),
        ("album/a.png:none.png", "none.png"),
        ("album/a.png:album/none/", "album/none"),
        ("album/a.png:1,2,3", "rectangle"),
        ("album/a.png:64,3", "outside"),
        ("album/a.png:empty.png", "empty"),
        ("album/a.png:small.png", "6 x 4"),
        ("album/a.png:scores.txt", "scores.txt"),
    ],
)
def test_a_wrong_exemplar_ends_with_a_sentence(searching: Predict, word: str, mentioned: str) -> None:
    Image.fromarray(np.zeros((40, 64), np.uint8)).save("empty.png")
    Image.fromarray(np.eye(4, 6, dtype=np.uint8) * 255).save("small.png")
    Path("scores.txt").write_text("no image")
    outcome = searching("album", "--exemplar", word)
    assert outcome.code == 2 and mentioned in outcome.err and "Traceback" not in outcome.err
    assert not Path("coseg-output").exists() or not written()


def test_options_that_do_not_go_with_exemplars(predict: Predict) -> None:
    picture("a.png")
    picture("b.png", 5)
    for words in (("--exemplar", "a.png:1,2", "--pairs"), ("--everywhere",)):
        outcome = predict("a.png", "b.png", *words)
        assert outcome.code == 2 and "--exemplar" in outcome.err
    outcome = predict("a.png", "b.png", "--exemplar", "a.png:1,2")
    assert outcome.code == 2 and mentions(outcome.err, "RedNetwork", "exemplar")
