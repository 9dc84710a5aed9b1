"""Host names; the page's own tests of the guard are in tests/page."""

from __future__ import annotations

import pytest

from coseg.serve.guard import Names


@pytest.mark.parametrize(
    ("listening", "host", "allowed"),
    [
        ("127.0.0.1", "localhost:8000", True),
        ("127.0.0.1", "10.0.0.1:8000", False),
        ("0.0.0.0", "10.0.0.1:8000", True),
        ("0.0.0.0", "10.0.0.1:8001", False),
        ("0.0.0.0", "evil.example:8000", False),
        ("127.0.0.1", "photos.example.org", True),
    ],
)
def test_names(listening: str, host: str, allowed: bool) -> None:
    assert Names(listening, 8000, ["photos.example.org"]).allow(host) is allowed
