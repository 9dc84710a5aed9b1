"""Paths of any letters as overrides: the one form that docs/faq.md shows works for all of them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Compose = Callable[..., Any]

NAMES = (
    "My Photos (2020)",
    'a [x], b = {c: d} ~e #f "g" h! %i &j ',
    "D:\\ünï 猫",
)


@pytest.mark.parametrize("name", NAMES)
def test_single_quotes_inside_take_any_path(compose: Compose, name: str) -> None:
    assert compose("train", "dataset=folder", f"dataset.root='/data/{name}'").dataset.root == f"/data/{name}"


def test_an_apostrophe_is_escaped(compose: Compose) -> None:
    assert compose("train", "dataset=folder", r"dataset.root='/data/Anna\'s'").dataset.root == "/data/Anna's"


@pytest.mark.parametrize("name", [*NAMES, "Anna's"])
def test_the_environment_takes_any_path(compose: Compose, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv("COSEG_FOLDER_ROOT", f"/data/{name}")
    assert compose("train", "dataset=folder").dataset.root == f"/data/{name}"


def test_the_home_folder_is_meant_within_quotes(compose: Compose, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/somebody")
    config = compose("train", "dataset=folder", "dataset.root='~/My Photos, new'")
    assert config.dataset.reader.root == "/home/somebody/My Photos, new"


def test_the_lines_of_the_documentation(compose: Compose) -> None:
    """As bash hands them over."""
    text = (Path(__file__).parents[1] / "docs" / "faq.md").read_text(encoding="utf-8")
    section = text[text.index("### Paths with spaces") :].partition("```\n")[0]
    lines = re.findall(r"^coseg-(train|test) (.*)$", section, re.MULTILINE)
    assert len(lines) == 3
    roots = [str(compose(name, *shlex.split(words)).dataset.root) for name, words in lines]
    assert roots == ["/data/My Photos (2020)", "/data/cats, dogs [new] = all", "~/Bilder/Jürgens Katzen"]
