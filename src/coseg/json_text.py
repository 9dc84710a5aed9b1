"""JSON as all programs read it: what is not a finite number is ``null``, for JSON has no other word for it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any


def json_text(document: Any, indent: int | None = 2) -> str:
    """`document` as JSON, with a line end.

    >>> json_text({"a": float("nan"), "b": [1.5, float("-inf")]}, indent=None)
    '{"a": null, "b": [1.5, null]}\\n'
    """
    return json.dumps(_finite(document), indent=indent, ensure_ascii=False, allow_nan=False) + "\n"


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return value
