from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from coseg.errors import CosegError, DamagedFile, checked_threshold, is_users_file, unknown_choice, user_error

MODULE = """
import json

def look_up():
    return {}[12]

def parse():
    return json.loads("{")

def rename():
    try:
        look_up()
    except KeyError as error:
        raise ValueError("no  such\\nclass.") from error
"""


def test_an_unknown_choice_names_the_choices_and_the_nearest() -> None:
    error = unknown_choice("model.pooling", "averge", ["average", "max"])
    assert isinstance(error, CosegError)
    assert "averge" in str(error) and "average, max" in str(error) and str(error).count("'average'") == 1
    assert "mean" not in str(unknown_choice("pooling", "x", ["max"])).lower()


@pytest.mark.parametrize("threshold", [-0.1, 1.1, float("nan"), True, "0.5", None])
def test_a_threshold_is_a_probability(threshold: object) -> None:
    with pytest.raises(CosegError, match="probability"):
        checked_threshold(threshold)


def test_thresholds_that_are_kept() -> None:
    assert [checked_threshold(value) for value in (0, 0.5, 1)] == [0.0, 0.5, 1.0]
    assert issubclass(DamagedFile, CosegError)


@pytest.fixture
def module(tmp_path: Path) -> Iterator[ModuleType]:
    """A user's."""
    path = tmp_path / "users_module.py"
    path.write_text(MODULE)
    spec = importlib.util.spec_from_file_location("users_module", path)
    assert spec is not None and spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    yield made
    sys.modules.pop("users_module", None)


@pytest.mark.parametrize(
    ("function", "words", "line"),
    [("look_up", "KeyError: 12", 5), ("parse", "JSONDecodeError: Expecting", 8), ("rename", "ValueError: no such", 14)],
)  # fmt: skip
def test_an_error_in_a_users_code(module: ModuleType, function: str, words: str, line: int) -> None:
    """What the user's code calls fails in its own file, but the line is the user's."""
    with pytest.raises(Exception) as raised:
        getattr(module, function)()
    error = raised.value
    error.__traceback__ = error.__traceback__.tb_next if error.__traceback__ is not None else None  # without this file
    place = user_error(error)
    assert place is not None
    assert (
        place.words.startswith(words) and place.file == module.__file__ and (place.line, place.name) == (line, function)
    )
    assert f"line {line}, in {function}" in str(place) and "HYDRA_FULL_ERROR" in str(place) and "\n" not in str(place)


def test_an_error_of_another_process() -> None:
    text = (
        "Caught KeyError in DataLoader worker process 0.\nOriginal Traceback (most recent call last):\n"
        f'  File "{json.__file__}", line 3, in fetch\n    data = dataset[i]\n'
        '  File "/home/ada/mine/own.py", line 7, in image\n    {}[12]\n    ~~^^^^\nKeyError: 12\n'
    )
    place = user_error(KeyError(text))
    assert place is None or place.words == "KeyError: 12"
    place = user_error(RuntimeError(text))
    assert place is not None and tuple(place) == ("KeyError: 12", "/home/ada/mine/own.py", 7, "image")
    assert user_error(RuntimeError(text.replace("/home/ada/mine", "/home/ada/site-packages/mine"))) is None


def test_files_of_libraries() -> None:
    assert not any(
        map(is_users_file, (json.__file__, pytest.__file__, str(sys.modules["coseg.errors"].__file__), "<x>"))
    )
    assert is_users_file("/home/ada/mine/own.py")
