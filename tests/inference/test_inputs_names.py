"""What results are called."""

from __future__ import annotations

import os
import random
import unicodedata
from pathlib import Path

import pytest

from coseg.inference.inputs import alike, fitted_name, longest_name, printable, result_names, unique_names


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (["x.jpg", "y.jpg"], ["x", "y"]),
        (["x.jpg", "x.png"], ["x-jpg", "x-png"]),
        (["x.jpg", "X.JPEG"], ["x-jpg", "X-JPEG"]),
        (["a/x.jpg", "b/x.jpg"], ["a-x", "b-x"]),
        (["p/a/x.jpg", "q/a/x.jpg"], ["p-a-x", "q-a-x"]),
        (["a/x.jpg", "b/x.jpg", "b/x.png"], ["a-x-jpg", "b-x-jpg", "b-x-png"]),
        (["a/x.jpg", "b/x.jpg", "a-x.jpg"], ["a-x", "b-x", "a-x-2"]),
    ],
)
def test_names_of_results(paths: list[str], names: list[str]) -> None:
    assert list(result_names([Path(path) for path in paths])) == names


def test_composed_and_decomposed_names_are_alike() -> None:
    composed, decomposed = (Path(unicodedata.normalize(form, "café.jpg")) for form in ("NFC", "NFD"))
    names = result_names([composed, Path("x") / decomposed])
    assert alike(names[0]) != alike(names[1])


@pytest.mark.parametrize("letter", ["x", "é", "猫", "🎄", "\udcff"])
@pytest.mark.parametrize("limit", [20, 100, 219])
def test_names_fit_and_stay_different(letter: str, limit: int) -> None:
    names = [letter * 63 + end for end in ("", "1", "2")] + [letter * 62 + letter.upper()]
    fitting = unique_names(names, limit)
    assert all(len(os.fsencode(name)) <= limit for name in fitting)
    assert len({alike(name) for name in fitting}) == len(names)
    assert unique_names(names, limit) == fitting
    assert fitted_name("short", limit) == "short"


def test_many_names_of_all_sorts() -> None:
    """No two results of any album have one file, on file systems of any kind."""
    draw = random.Random(0)
    for _ in range(50):
        stems = ["".join(draw.choices("aAbB-2éÉ", k=draw.randint(1, 3))) for _ in range(12)]
        paths = list({Path(draw.choice(["p", "q", "P"]), stem + draw.choice([".jpg", ".png"])) for stem in stems})
        names = result_names(paths, draw.choice([None, 12]))
        assert len({alike(name) for name in names}) == len(names)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("猫 Ёлка é.jpg", "猫 Ёлка é.jpg"),
        ("two\nlines", r"two\nlines"),
        ("\x1b[2J", r"\x1b[2J"),
        ("gpj.\u202eexe", r"gpj.\u202eexe"),
        ("\udcff", r"\udcff"),
        ("C:\\a", "C:\\a"),
    ],
)
def test_printable(text: str, line: str) -> None:
    assert printable(text) == line


def test_the_longest_name_of_a_file_system(tmp_path: Path) -> None:
    longest = longest_name(tmp_path / "not" / "there")
    (tmp_path / ("x" * longest)).touch()
    with pytest.raises(OSError):
        (tmp_path / ("x" * (longest + 1))).touch()
