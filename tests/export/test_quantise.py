from __future__ import annotations

import re
from typing import Any

import pytest


def test_int8_is_smaller_and_was_scored(exported: Any) -> None:
    for name in ("encode", "cosegment"):
        sizes = [(exported.folder / f"{name}{suffix}").stat().st_size for suffix in (".onnx", ".int8.onnx")]
        assert sizes[1] < 0.7 * sizes[0]
    rows = dict(re.findall(r"^(float32|int8|difference) +([-+.\d]+)", exported.out, re.MULTILINE))
    float32, int8, difference = (float(rows[name]) for name in ("float32", "int8", "difference"))
    assert int8 - float32 == pytest.approx(difference, abs=2e-4)
    assert abs(difference) < 0.1
