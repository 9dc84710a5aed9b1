"""The bad inputs: hostile, damaged and unusual ones over all commands."""

from __future__ import annotations

import io
import os
import tarfile
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from campaign.cases import CANARY, Case
from campaign.damage import DAMAGES, TEXTS, set_value
from campaign.fixtures import TEST, TRAIN, Fixtures, album, copied, picture, without_data
from campaign.zygote import Ended

SHORT = ("trainer.max_epochs=1", "data.pairs_per_epoch=4")

PAYLOADS: dict[str, Any] = {
    "create": "${oc.create:{_target_: os.system, command: 'touch canary'}}",
    "environment": "${oc.env:HOME}",
    "decode": "${oc.decode:'{_target_: os.mkdir, path: canary}'}",
    "target": {"_target_": "os.mkdir", "path": CANARY},
    "collect": {"_target_": "torch.utils.collect_env.run", "command": f"touch {CANARY}"},
    "module": {"_target_": "antigravity"},
    "huge": 10**9,
    "negative": -1,
    "text": "word",
    "list": [[[]]],
    "infinite": float("inf"),
}
"""In the place of a value in what a stranger hands over."""

NUMBERS = ("-1", "0", "1.5", "1e30", ".inf", ".nan", "null", "word", "[1,2]", "'{a: 1}'", "true", "''")

KEYS = (
    "seed", "threads", "checkpoint_minutes", "panels", "data.batch_size", "data.pairs_per_epoch", "data.val_pairs",
    "data.cache_gb", "data.negatives", "data.workers", "trainer.max_epochs", "trainer.accumulate_grad_batches",
    "trainer.check_val_every_n_epoch", "trainer.gradient_clip_val", "trainer.devices", "task.semantic", "task.jaccard",
    "augmentation.size", "model.encoder.width", "model.encoder.stride", "model.input_size", "optimizer.lr",
    "optimizer.weight_decay", "dataset.reader.size",
)  # fmt: skip

TEST_KEYS = ("mirrored", "feature_gb", "pairs_at_once", "input_size", "seed", "threads", "panels", "data.test_pairs")


VALID = {
    ("train", "seed"): ("0",), ("train", "threads"): ("null",), ("train", "panels"): ("0", "null"),
    ("train", "checkpoint_minutes"): ("0", "1.5", "1e30", "null"), ("train", "data.pairs_per_epoch"): ("null",),
    ("train", "data.val_pairs"): ("null",), ("train", "data.cache_gb"): ("0", "1.5"),
    ("train", "data.negatives"): ("0",), ("train", "data.workers"): ("0",),
    ("train", "trainer.check_val_every_n_epoch"): ("null",),
    ("train", "trainer.gradient_clip_val"): ("0", "1.5", "1e30", "null"),
    ("train", "task.semantic"): ("0", "1.5", "1e30"), ("train", "task.jaccard"): ("0", "1.5", "1e30"),
    ("train", "model.encoder.width"): ("1.5",), ("train", "model.input_size"): ("null",),
    ("train", "optimizer.lr"): ("1.5",), ("train", "optimizer.weight_decay"): ("0", "1.5"),
    ("test", "mirrored"): ("0", "true"), ("test", "feature_gb"): ("0", "1.5"), ("test", "input_size"): ("null",),
    ("test", "seed"): ("0",), ("test", "threads"): ("null",), ("test", "panels"): ("0", "null"),
    ("test", "data.test_pairs"): ("null",),
}  # fmt: skip
"""Of `NUMBERS`, the values that a key may have: the command must take them, and no others."""

ENDLESS = (("trainer.max_epochs", "null"), ("trainer.max_epochs", "-1"))
"""A training without an end, which Lightning allows."""

REAL = (
    ("model folders", "config.json: word"), ("model folders", "config.json: zeros"),
    ("model folders", "model.safetensors: half"), ("checkpoints", "predict: half"),
    ("checkpoints", "encoder is module"),
    ("runs to resume", "checkpoints/last.ckpt: half"), ("runs to resume", "config.yaml: interpolation"),
    ("results", "table, results.json: half"), ("studies", "sweep, overrides.json: half"),
    ("data sets", "check msrc, mask: half"), ("photographs", "PNG: half"), ("numbers", "train optimizer.lr=.nan"),
)  # fmt: skip
"""Cases that are tried a second time, each in a Python of its own."""


def cases() -> Iterator[Case]:
    """All cases, always the same."""
    parts = (_models, _checkpoints, _runs, _results, _studies, _data, _photographs, _archives, _values, _places)
    forked = {(case.group, case.name): case for part in parts for case in part()}
    yield from forked.values()
    for key in REAL:
        yield replace(forked[key], group="processes of their own", name=": ".join(key), real=True)


def _models() -> Iterator[Case]:
    def damaged(name: str, damage: Any, command: str, codes: tuple[int, ...]) -> Case:
        def make(folder: Path, fixtures: Fixtures, rng: np.random.Generator) -> Sequence[str]:
            model = copied(fixtures.model, folder / "model")
            damage(model, rng)
            return _with_model(command, model, fixtures, folder)

        return Case("model folders", name, command, make, codes)

    for file, kinds in (("config.json", DAMAGES | TEXTS), ("model.safetensors", DAMAGES), ("README.md", DAMAGES)):
        for k, (name, damage) in enumerate(kinds.items()):
            codes = (0, 2) if file == "README.md" or name == "flipped" else (2,)
            command = ("predict", "test", "export")[k % 3]
            yield damaged(f"{file}: {name}", lambda m, rng, d=damage, f=file: d(m / f, rng), command, codes)
    places = (("network",), ("network", "_target_"), ("network", "encoder"), ("network", "encoder", "width"),
              ("network", "kernel_sizes"), ("network", "pooling"), ("size",), ("threshold",), ("cooccurrence",),
              ("training",))  # fmt: skip
    for k, keys in enumerate(places):
        for j, (name, value) in enumerate(PAYLOADS.items()):
            command = ("predict", "test", "export")[(k + j) % 3]
            harmless = (0, 2) if keys[0] in ("training", "threshold", "size", "cooccurrence") else (2,)
            yield damaged(
                f"{'.'.join(keys)}: {name}",
                lambda m, rng, keys=keys, value=value: set_value(m / "config.json", keys, value),
                command,
                harmless,
            )


def _with_model(command: str, model: Path, fixtures: Fixtures, folder: Path) -> list[str]:
    if command == "predict":
        return [str(fixtures.album), "--checkpoint", str(model), "--out", str(folder / "out")]
    if command == "test":
        return [*TEST, "split=unseen", f"ckpt='{model}'", f"runs='{folder / 'runs'}'"]
    return [str(model), "--format", "safetensors", "--out", str(folder / "out")]


def _checkpoints() -> Iterator[Case]:
    for command in ("predict", "test", "export"):
        for name, damage in DAMAGES.items():

            def make(folder: Path, fixtures: Fixtures, rng: Any, damage: Any = damage, command: str = command) -> Any:
                path = copied(fixtures.run / "checkpoints" / "best.ckpt", folder / "best.ckpt")
                damage(path, rng)
                return _with_model(command, path, fixtures, folder)

            yield Case("checkpoints", f"{command}: {name}", command, make)
    for k, (name, value) in enumerate(PAYLOADS.items()):

        def payload(folder: Path, fixtures: Fixtures, rng: Any, value: Any = value, command: str = "") -> Any:
            import torch

            contents = torch.load(fixtures.run / "checkpoints" / "best.ckpt", weights_only=True)
            contents["hyper_parameters"]["network"]["encoder"] = value
            torch.save(contents, folder / "best.ckpt")
            return _with_model(command, folder / "best.ckpt", fixtures, folder)

        command = ("predict", "test", "export")[k % 3]
        yield Case(
            "checkpoints", f"encoder is {name}", command,
            lambda f, x, r, p=payload, c=command: p(f, x, r, command=c),
        )  # fmt: skip


def _runs() -> Iterator[Case]:
    files = (
        ("config.yaml", True), ("environment.json", True), ("metrics.csv", True), ("hparams.yaml", True),
        ("checkpoints/last.ckpt", False), ("checkpoints/best.ckpt", False),
    )  # fmt: skip
    for file, is_text in files:
        for name, damage in (DAMAGES | TEXTS if is_text else DAMAGES).items():

            def make(folder: Path, fixtures: Fixtures, rng: Any, damage: Any = damage, file: str = file) -> Any:
                run = copied(fixtures.stopped, folder / "run")
                damage(run / file, rng)
                return [f"resume={run}"]

            needed = file == "checkpoints/last.ckpt" or (file == "config.yaml" and name not in ("flipped", "last byte"))
            yield Case("runs to resume", f"{file}: {name}", "train", make, (2,) if needed else (0, 2))


def _results() -> Iterator[Case]:
    words = {
        "table": lambda a, b: ["table", a], "compare": lambda a, b: ["compare", a, b],
        "figures": lambda a, b: ["figures", a, "--out", "figures"],
    }  # fmt: skip
    verb_cycle = ("table", "compare", "figures", "compare")
    for file in ("results.json", "pairs.csv", "config.yaml"):
        for k, (name, damage) in enumerate((DAMAGES | TEXTS).items()):
            verbs = [verb_cycle[k % 4]] if file != "results.json" else [verb_cycle[k % 4], verb_cycle[(k + 1) % 4]]
            for verb in verbs:

                def make(folder: Path, fixtures: Fixtures, rng: Any, verb: str = verb, damage: Any = damage,
                         file: str = file) -> Any:  # fmt: skip
                    source = fixtures.run / "test" / "shapes-unseen-paper"
                    copy = copied(source, folder / "results")
                    damage(copy / file, rng)
                    return words[verb](str(copy), str(source))

                is_absent = name in ("missing", "dangling link")
                unread = file == "config.yaml" and verb in ("table", "compare")
                optional = (verb, file) in (
                    ("compare", "results.json"),
                    ("table", "pairs.csv"),
                )
                codes = (0,) if unread else (0, 2) if optional and is_absent else (2,)
                yield Case("results", f"{verb}, {file}: {name}", "report", make, codes)


def _studies() -> Iterator[Case]:
    cut = ("half", "last byte")  # a journal's last record may be unfinished
    for file in ("journal.log", "overrides.json"):
        for name, damage in (DAMAGES | TEXTS).items():
            for command in ("sweep", "report"):

                def make(folder: Path, fixtures: Fixtures, rng: Any, damage: Any = damage, file: str = file,
                         command: str = command) -> Any:  # fmt: skip
                    study = copied(fixtures.study, folder / "study")
                    damage(study / file, rng)
                    if command == "report":
                        return ["sweep", str(study)]
                    words = [f"study.runs={folder}", "study.trials=2", "model.kernel_sizes=[3],[1,3]", *TRAIN]
                    return [*words, "trainer.max_epochs=1"]

                # The last byte of the overrides is the end of the line.
                may_pass = (file == "journal.log" and name in (*cut, "flipped")) or name == "last byte"
                codes = (0, 2) if may_pass else (2,)
                yield Case("studies", f"{command}, {file}: {name}", command, make, codes)


def _data() -> Iterator[Case]:
    for layout in ("folder", "voc", "msrc", "icoseg", "internet"):
        for kind in ("image", "mask"):
            for name, damage in DAMAGES.items():
                for is_train in (False, True) if layout in ("folder", "voc") else (False,):
                    yield _data_case(layout, kind, name, damage, is_train)


def _data_case(layout: str, kind: str, name: str, damage: Any, is_train: bool) -> Case:
    def make(folder: Path, fixtures: Fixtures, rng: Any) -> Any:
        root = copied(fixtures.datasets[layout], folder / "data")
        files = sorted(path for path in root.rglob("*") if path.suffix in (".jpg", ".png", ".bmp"))
        places = {"masks", "SegmentationClass", "GroundTruth", "ground_truth"}
        of_masks = [path for path in files if places & {*path.parts}]
        chosen = of_masks if kind == "mask" else [path for path in files if path not in of_masks]
        damage(chosen[int(rng.integers(len(chosen)))], rng)
        if not is_train:
            return fixtures.check(layout, root)
        split = [] if layout == "folder" else ["dataset.split_val=false"]
        words = [*without_data(TRAIN), f"dataset={layout}", f"dataset.root={root}", *split, *SHORT]
        # all pairs of one pass: a file that is in no pair can do no harm
        return [*words, "data.pairs_per_epoch=null", "data.val_pairs=null", f"runs={folder / 'runs'}"]

    def shows(ended: Ended, folder: Path, fixtures: Fixtures) -> bool:
        return name in may_pass or bool(fixtures.new_problems(layout, folder / "data", ended.out))

    may_pass = ("flipped", "last byte")  # a changed pixel is a picture, too
    if not is_train:
        codes = (0, 2) if name in may_pass else (2,)
        return Case("data sets", f"check {layout}, {kind}: {name}", "data", make, codes, shows=shows)
    # A mask that belongs to no image is reported by coseg-data check, and no training asks for it.
    stray = layout == "folder" and kind == "image" and name in ("missing", "folder")
    codes = (0,) if stray else (0, 2) if name in may_pass else (2,)
    return Case("data sets", f"train {layout}, {kind}: {name}", "train", make, codes)


_FORMATS = ("JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "PPM", "TGA", "ICO", "PCX", "JPEG2000")


def _photographs() -> Iterator[Case]:
    for form in _FORMATS:
        for name in ("empty", "binary", "half", "last byte", "flipped", "folder", "dangling link", "pipe"):

            def make(folder: Path, fixtures: Fixtures, rng: Any, form: str = form, name: str = name) -> Any:
                path = album(folder / "album", 2) / f"2.{form.lower().replace('jpeg2000', 'jp2')}"
                Image.fromarray(picture(2)[0]).save(path, form)
                DAMAGES[name](path, rng)
                return ["album", str(path), "--out", "out", "--checkpoint", str(fixtures.model)]

            may_pass = name in ("flipped", "last byte", "half", "folder")
            yield Case("photographs", f"{form}: {name}", "predict", make, (0, 2) if may_pass else (2,))
    programs = {"eps": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(canary) (w) file closefile\n",
                "svg": b"<svg xmlns='http://www.w3.org/2000/svg'/>", "pdf": b"%PDF-1.4\n", "txt": b"word"}  # fmt: skip
    for suffix, content in programs.items():

        def program(folder: Path, fixtures: Fixtures, rng: Any, suffix: str = suffix, content: bytes = content) -> Any:
            path = album(folder / "album", 2) / f"2.{suffix}"
            path.write_bytes(content)
            return ["album", str(path), "--out", "out"]

        yield Case("photographs", f"a program or text as .{suffix}", "predict", program)


def _archives() -> Iterator[Case]:
    def zipped(members: dict[str, bytes]) -> bytes:
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in members.items():
                archive.writestr(name, content)
        return file.getvalue()

    def tarred(member: tarfile.TarInfo) -> bytes:
        file = io.BytesIO()
        with tarfile.open(fileobj=file, mode="w:gz") as archive:
            archive.addfile(member)
        return file.getvalue()

    def link(kind: bytes, target: str) -> tarfile.TarInfo:
        member = tarfile.TarInfo("member")
        member.type, member.linkname = kind, target
        return member

    contents = {
        "empty": b"", "text": b"word", "empty zip": zipped({}), "of something else": zipped({"readme.txt": b"word"}),
        "upwards": zipped({"../canary": b"x"}), "absolute": zipped({"/tmp/canary": b"x"}),
        "bomb": zipped({f"{k}.bmp": bytes(50 << 20) for k in range(3)}),
        "many": zipped({f"d/{k}": b"" for k in range(5000)}),
        "half": zipped({"a.jpg": os.urandom(5000)})[:2500], "link": tarred(link(tarfile.SYMTYPE, "/etc/passwd")),
        "device": tarred(link(tarfile.CHRTYPE, "")), "pipe": tarred(link(tarfile.FIFOTYPE, "")),
    }  # fmt: skip
    for name, content in contents.items():
        for layout in ("icoseg", "internet", "voc", "msrc"):

            def make(folder: Path, fixtures: Fixtures, rng: Any, content: bytes = content, layout: str = layout) -> Any:
                (folder / "archive").write_bytes(content)
                return ["download", layout, "--root", str(folder / "new"), "--archive", str(folder / "archive")]

            yield Case("archives", f"{layout}: {name}", "data", make)


def _values() -> Iterator[Case]:
    for key in KEYS:
        for value in NUMBERS:
            if (key, value) in ENDLESS:
                continue
            words = [*TRAIN, *SHORT, f"{key}={value}"]
            code = 0 if value in VALID.get(("train", key), ()) else 2
            yield Case("numbers", f"train {key}={value}", "train", lambda f, x, r, w=words: w, (code,))
    for key in TEST_KEYS:
        for value in NUMBERS:

            def make(folder: Path, fixtures: Fixtures, rng: Any, key: str = key, value: str = value) -> Any:
                return [*_with_model("test", fixtures.model, fixtures, folder), f"{key}={value}"]

            code = 0 if value in VALID.get(("test", key), ()) else 2
            yield Case("numbers", f"test {key}={value}", "test", make, (code,))


def _places() -> Iterator[Case]:
    places = {"a file": "file", "below a file": "file/below", "a long name": "n" * 300, "a nul": "a\0b",
              "a device": "/dev/null", "proc": "/proc/none", "below a device": "/dev/null/below"}  # fmt: skip
    for name, place in places.items():
        if "\0" in place:
            continue
        for command in ("train", "sweep", "test", "export", "predict", "data", "report"):

            def make(folder: Path, fixtures: Fixtures, rng: Any, place: str = place, command: str = command) -> Any:
                (folder / "file").write_text("word")
                out = str(folder / place) if not place.startswith("/") else place
                result = str(fixtures.run / "test" / "shapes-unseen-paper")
                return {
                    "train": [*TRAIN, *SHORT, f"runs={out}"],
                    "sweep": [*TRAIN, *SHORT, "study.trials=1", "model.kernel_sizes=[3],[1,3]", f"study.runs={out}"],
                    "test": [*TEST, "split=unseen", f"ckpt={fixtures.model}", f"runs={out}"],
                    "export": [str(fixtures.model), "--format", "safetensors", "--out", out],
                    "predict": [str(fixtures.album), "--checkpoint", str(fixtures.model), "--out", out],
                    "data": [
                        "pairs",
                        "folder",
                        "--root",
                        str(fixtures.datasets["folder"]),
                        "--csv",
                        f"{out}/pairs.csv",
                    ],
                    "report": ["table", result, "--out", f"{out}/table.md"],
                }[command]

            yield Case("places", f"{command} into {name}", command, make)
    names = (
        "My Photos (2020)",
        "a,b",
        "[x]",
        "a=b",
        "~tilde",
        "ä ö",
        "$HOME",
        "${x}",
        "'quote'",
        "new\nline",
        "%s",
        "#1",
    )
    for name in names:

        def odd(folder: Path, fixtures: Fixtures, rng: Any, name: str = name) -> Any:
            album(folder / name, 2)
            return [name, "--out", f"{name}/out", "--checkpoint", str(fixtures.model)]

        def unquoted(folder: Path, fixtures: Fixtures, rng: Any, name: str = name) -> Any:
            root = copied(fixtures.datasets["folder"], folder / name)
            return [*without_data(TRAIN), *SHORT, "dataset=folder", f"dataset.root={root}"]

        yield Case("places", f"predict from {name!r}", "predict", odd, (0, 2))
        yield Case("places", f"train from {name!r}, not quoted", "train", unquoted, (0, 2))
