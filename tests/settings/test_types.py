"""Types of settings: what pydantic accepts with them, and what a refusal says."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from coseg.settings.types import finite, listed, mapping, number, one_of, part, path, steps, switch, whole, word


def accepts(annotation: Any, value: object) -> bool:
    try:
        TypeAdapter(annotation).validate_python(value)
    except ValidationError:
        return False
    return True


@pytest.mark.parametrize(
    ("annotation", "good", "bad"),
    [
        (whole(1, 5, also=-1), (1, 5, -1), (0, 6, 1e3, True, "1", None)),
        (whole(1, null=True), (1, None), (0, 1.5)),
        (number(0, 1), (0, 0.5, 1), (-0.1, 1.1, float("nan"), "x", None)),
        (number(0, 1, above=True, below=True), (0.5,), (0, 1)),
        (finite(), (-3.5, 2), (float("inf"), "x")),
        (steps(0), (0, 1e5), (1.5, -1)),
        (part(), (3, 0.5, None), (1.5, -1)),
        (switch(), (True, False, 0, 1), ("no", 2, None)),
        (switch(words=("warn",)), (True, "warn"), ("no",)),
        (word(), ("a",), (1, None)),
        (path(), ("a", None), (1, [1])),
        (one_of("a", 16), ("a", 16), ("b", None)),
        (listed(whole(0), "numbers"), ([0, 1],), ([], [-1], 1)),
        (mapping(number(0)), ({"a": 1},), ({"a": -1}, [1])),
    ],
)
def test_values(annotation: Any, good: tuple[object, ...], bad: tuple[object, ...]) -> None:
    assert [value for value in good if not accepts(annotation, value)] == []
    assert [value for value in bad if accepts(annotation, value)] == []


def test_a_refusal_names_the_range() -> None:
    with pytest.raises(ValidationError, match="from 1 to 5, or null"):
        TypeAdapter(whole(1, 5, null=True)).validate_python(9)
    with pytest.raises(ValidationError, match="finite"):
        TypeAdapter(number(0)).validate_python(float("nan"))
