"""`facts`: what a text must name, and what is too little."""

from __future__ import annotations

import pytest
from facts import mentions

MESSAGE = "data.batch_size is 0, but must be 1 or more.\nDid you mean 'a.jpg', 24x32, of 1,234 (0.5)?"


@pytest.mark.parametrize(
    "parts",
    [
        ("data.batch_size", 0),
        (1, "DATA.batch_size"),
        ("24x32", "a.jpg"),
        (0.5,),
        ("1,234",),
        (("absent", "did you mean"), "1"),
        (),
    ],
)
def test_what_a_text_names(parts):
    assert mentions(MESSAGE, *parts)


@pytest.mark.parametrize(
    "parts", [("data.workers",), ("data.batch_size", 2), (24,), (5,), (234,), (("absent", "none"),), ("aXjpg",)]
)
def test_what_a_text_does_not_name(parts):
    assert not mentions(MESSAGE, *parts)


def test_an_exception_is_read_as_its_text():
    assert mentions(ValueError("a is -1"), "-1") and not mentions(ValueError("a is -1"), 1)
