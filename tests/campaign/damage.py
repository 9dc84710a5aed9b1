"""Ways to damage a file: each takes its path, and a generator of random numbers where one is needed."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

Damage = Callable[[Path, np.random.Generator], None]


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _write(content: bytes) -> Damage:
    return lambda path, rng: (_remove(path), path.write_bytes(content))[0]


def _cut(share: float) -> Damage:
    def damage(path: Path, rng: np.random.Generator) -> None:
        content = path.read_bytes()
        path.write_bytes(content[: int(len(content) * share)])

    return damage


def _flip(path: Path, rng: np.random.Generator) -> None:
    content = bytearray(path.read_bytes())
    for place in rng.integers(0, len(content), 3):
        content[place] ^= 1 << int(rng.integers(0, 8))
    path.write_bytes(bytes(content))


def _folder(path: Path, rng: np.random.Generator) -> None:
    _remove(path)
    path.mkdir()


def _link(path: Path, rng: np.random.Generator) -> None:
    _remove(path)
    path.symlink_to("nowhere")


def _pipe(path: Path, rng: np.random.Generator) -> None:
    _remove(path)
    os.mkfifo(path)


DAMAGES: dict[str, Damage] = {
    "missing": lambda path, rng: _remove(path),
    "empty": _write(b""),
    "zeros": _write(bytes(2000)),
    "binary": lambda path, rng: _write(rng.bytes(2000))(path, rng),
    "half": _cut(0.5),
    "last byte": _cut(0.999),
    "flipped": _flip,
    "folder": _folder,
    "dangling link": _link,
    "pipe": _pipe,
}
"""Of any file."""

TEXTS: dict[str, Damage] = {
    "list": _write(b"[1, 2, 3]"),
    "word": _write(b"word\n"),
    "null": _write(b"null\n"),
    "no keys": _write(b"{}"),
    "brackets": _write(b"[" * 100_000),
    "levels": _write(b'{"a":' * 400 + b"1" + b"}" * 400),
    "interpolation": _write(b'{"a": "${oc.env:HOME}", "format": "${a}", "network": "${a}"}'),
    "not utf-8": _write(b'{"a": "\xff\xfe\xfa"}'),
}
"""Of a file of text: JSON, YAML or CSV."""


def set_value(path: Path, keys: tuple[str | int, ...], value: Any) -> None:
    """Set one value of a JSON file."""
    document = json.loads(path.read_text(encoding="utf-8"))
    place = document
    for key in keys[:-1]:
        place = place[key]
    place[keys[-1]] = value
    path.write_text(json.dumps(document), encoding="utf-8")
