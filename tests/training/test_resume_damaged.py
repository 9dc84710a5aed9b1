"""Each part of a run, damaged in each way: ``resume=`` gives a sentence that names it, and changes nothing."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import DictConfig

from coseg.errors import CosegError
from coseg.training import fit as fit_module
from coseg.training.tracking import make_loggers

GARBAGE = bytes(range(256)) * 20

Damage = Callable[[Path], Any]


def empty(path: Path) -> None:
    path.write_bytes(b"")


def garbage(path: Path) -> None:
    path.write_bytes(GARBAGE)


def folder(path: Path) -> None:
    path.unlink(missing_ok=True)
    path.mkdir()


def dangling(path: Path) -> None:
    path.unlink(missing_ok=True)
    path.symlink_to("nowhere")


def text(content: str) -> Damage:
    def write(path: Path) -> None:
        path.write_text(content)

    return write


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def bit(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(data)


def without(*keys: str) -> Damage:
    """A checkpoint that lacks something."""

    def write(path: Path) -> None:
        state = torch.load(path, weights_only=True)
        inner = state
        for key in keys[:-1]:
            inner = inner[key]
        del inner[keys[-1]]
        torch.save(state, path)

    return write


def with_value(key: str, value: Any) -> Damage:
    def write(path: Path) -> None:
        torch.save({**torch.load(path, weights_only=True), key: value}, path)

    return write


def other_weights(path: Path) -> None:
    state = torch.load(path, weights_only=True)
    name = max(state["state_dict"], key=lambda name: state["state_dict"][name].numel())
    state["state_dict"][name] = state["state_dict"][name][:1]
    torch.save(state, path)


def other_network(path: Path) -> None:
    state = torch.load(path, weights_only=True)
    state["hyper_parameters"]["network"]["kernel_sizes"] = [1]
    torch.save(state, path)


def file_lacks(word: str) -> Damage:
    """A configuration without the lines that begin so, and what is under them."""

    def write(path: Path) -> None:
        kept, leaving = [], False
        for line in path.read_text().splitlines():
            leaving = line.startswith(f"{word}:") or (leaving and line.startswith((" ", "-")))
            kept += [] if leaving else [line]
        path.write_text("\n".join(kept) + "\n")

    return write


CHECKPOINT = {
    "empty": empty, "garbage": garbage, "cut": cut, "bit": bit, "other weights": other_weights,
    "other network": other_network, "tensor": lambda path: torch.save(torch.zeros(3), path),
    "no weights": without("state_dict"), "no hyper-parameters": without("hyper_parameters"),
}  # fmt: skip
CASES: dict[str, dict[str, Damage]] = {
    "config.yaml": {
        "empty": empty, "garbage": garbage, "folder": folder, "list": text("- 1\n- 2\n"), "number": text("3\n"),
        "brackets": text("{" * 50), "no trainer": file_lacks("trainer"), "no model": file_lacks("model"),
        "no data": file_lacks("data"), "no seed": file_lacks("seed"), "a word": text("trainer: x\n"),
    },
    "environment.json": {
        "empty": empty, "garbage": garbage, "folder": folder, "object": text("{}"), "numbers": text("[1]"), "cut": cut,
        "dangling": dangling,
    },
    "metrics.csv": {
        "empty": empty, "garbage": garbage, "folder": folder, "JSON": text('{"a": 1}\n'), "no step": text("a,b\n1,2\n"),
        "words": text("a,step\nx,1\n"), "step": text("a,step\n1,x\n"), "cells": text("a,step\n1\n"),
    },
    "hparams.yaml": {"folder": folder},
    "curves.png": {"folder": folder},
    "finished.json": {
        "empty": empty, "garbage": garbage, "folder": folder, "list": text("[]"), "keys": text("{}"),
        "words": text('{"jaccard": "x", "step": 8}'), "cut": text('{"jaccard": 0.5, "st'),
    },
    "wandb.json": {"folder": folder},
    "checkpoints/last.ckpt": {
        **CHECKPOINT, "gone": Path.unlink, "folder": folder, "no optimizer": without("optimizer_states"),
        "no loops": without("loops"), "no progress": without("loops", "fit_loop", "epoch_progress"),
        "loops": with_value("loops", []), "no step": without("global_step"), "step": with_value("global_step", "x"),
        "no callbacks": without("callbacks"), "optimizers": with_value("optimizer_states", [1]),
    },
    "checkpoints/best.ckpt": {**CHECKPOINT, "folder": folder, "no callbacks": without("callbacks")},
    "checkpoints": {"file": lambda path: (shutil.rmtree(path), path.write_text("x"))},
    "panels": {"file": lambda path: (shutil.rmtree(path, ignore_errors=True), path.write_text("x"))},
}  # fmt: skip


@pytest.fixture(scope="module")
def unfinished(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that has not come to its end."""
    made = tmp_path_factory.mktemp("unfinished") / "run"
    shutil.copytree(trained, made, ignore=shutil.ignore_patterns("test"))
    (made / "finished.json").unlink()
    return made


def contents(run: Path) -> dict[str, bytes | str | None]:
    found: dict[str, bytes | str | None] = {}
    for path in run.rglob("*"):
        link = path.readlink().as_posix() if path.is_symlink() else None
        found[str(path.relative_to(run))] = link or (path.read_bytes() if path.is_file() else None)
    return found


@pytest.mark.parametrize(
    ("file", "damage"), [pytest.param(file, way, id=f"{file}: {way}") for file, ways in CASES.items() for way in ways]
)
def test_a_damaged_part(
    file: str,
    damage: str,
    unfinished: Path,
    tmp_path: Path,
    command: Callable[..., tuple[int, str, str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = shutil.copytree(unfinished, tmp_path / "run")
    CASES[file][damage](run / file)
    before = contents(run)

    def trained_on(*_: Any, **__: Any) -> None:
        raise AssertionError("training goes on")

    monkeypatch.setattr(fit_module, "make_trainer", trained_on)
    code, out, err = command("train", f"resume={run}")
    assert code == 2, out + err
    assert str(run) in err and "Traceback" not in err
    if file != "checkpoints":
        assert Path(file).name in err
    assert contents(run) == before


def test_state_that_lightning_cannot_take_over(
    unfinished: Path, tmp_path: Path, command: Callable[..., tuple[int, str, str]]
) -> None:
    run = shutil.copytree(unfinished, tmp_path / "run")
    last = run / "checkpoints" / "last.ckpt"
    state = torch.load(last, weights_only=True)
    state["optimizer_states"][0]["param_groups"] *= 2
    torch.save(state, last)
    before = last.read_bytes()
    code, _, err = command("train", f"resume={run}")
    assert code == 2, err
    assert str(last) in err and "Traceback" not in err
    assert last.read_bytes() == before


def test_what_a_kill_leaves_of_the_table_is_no_damage(
    unfinished: Path, tmp_path: Path, command: Callable[..., tuple[int, str, str]]
) -> None:
    run = shutil.copytree(unfinished, tmp_path / "run")
    table = run / "metrics.csv"
    whole = table.read_text()
    table.write_text(whole + "7,0.5")  # a line that is cut
    code, _, err = command("train", f"resume={run}")
    assert code == 0, err
    assert table.read_text() == whole
    (run / "finished.json").unlink()
    table.rename(run / ".metrics-before.csv")  # killed while the table was put back
    code, _, err = command("train", f"resume={run}")
    assert code == 0, err
    assert table.read_text() == whole and not (run / ".metrics-before.csv").exists()


@pytest.mark.parametrize("content", [b"", GARBAGE, b"[1]", b"3", b'{"id": 3}', b'{"id": {}}', b"{"])
def test_a_damaged_file_of_wandb(content: bytes, tiny: Callable[..., DictConfig], tmp_path: Path) -> None:
    (tmp_path / "wandb.json").write_bytes(content)
    with pytest.raises(CosegError, match=r"wandb\.json.*remove"):
        make_loggers(tiny("logger=wandb"), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["wandb.json"]
    assert (tmp_path / "wandb.json").read_bytes() == content
