"""What a browser sends to the page: calls and uploads, without a port and without a network."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from facts import mentions

from coseg.page.visitors import Visitors

LOOK = ["Mask", "As added", 0.5, 0]


def _function(page: Any, name: str) -> int:
    return next(i for i, function in page.fns.items() if function.name == name)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("draw", {"data": []}),
        ("draw", {"data": None}),
        ("draw", {"data": [*LOOK[:2], "high", 0]}),
        ("draw", {"data": [*LOOK[:2], 7, 0]}),
        ("draw", {"data": ["Everything", *LOOK[1:]]}),
        ("draw", {"data": [["Mask"], *LOOK[1:]]}),
        ("draw", {"data": [*LOOK[:3], 9]}),
        ("find_common", {"data": ["a"]}),
        ("find_common", {"data": [[{"path": "/etc/passwd"}]]}),
        ("find_common", {"data": [[{"path": "http://127.0.0.1:1/x", "url": "http://127.0.0.1:1/x"}]]}),
        ("find_common", {"data": [[{"path": "a\0b"}]]}),
        ("find_common", {"data": [[{}]]}),
        ("rename", {"data": ["", None]}),
        ("rename", {"data": ["", "a" * 201]}),
        ("select", {"data": ["", 0]}),
        ("draw", {"session_hash": None}),
        ("draw", {"session_hash": "../x"}),
        ("draw", {"fn_index": 999}),
        ("draw", {"fn_index": True}),
        ("draw", {"trigger_id": "x"}),
    ],
)
def test_malformed_calls_get_a_sentence(
    client: Any, name: str, change: dict[str, Any], capsys: Any, caplog: Any
) -> None:
    http, page, _ = client
    call = {"data": LOOK, "fn_index": _function(page, name), "session_hash": "abc"} | change
    answer = http.post("/gradio_api/queue/join", json=call)
    assert answer.status_code == 400 and mentions(answer.json()["detail"], "page")
    assert "Traceback" not in capsys.readouterr().err + caplog.text


@pytest.mark.parametrize("index", [None, 5, [5], [5, None], [5, 1e9], ["a", "b"], [5, 5, 5]])
def test_a_click_has_a_place(client: Any, index: Any) -> None:
    http, page, _ = client
    call = {"data": ["", "A point on it"], "fn_index": _function(page, "click"), "session_hash": "abc"}
    answer = http.post("/gradio_api/queue/join", json=call | {"event_data": {"index": index}})
    assert answer.status_code == 400 and mentions(answer.json()["detail"], "page")


@pytest.mark.parametrize("index", [None, True, -1, 2, 0.5, [0, 0], "a.png"])
def test_a_visitor_can_only_choose_photographs_of_the_own_page(client: Any, index: Any) -> None:
    http, page, visitors = client
    photographs = SimpleNamespace(names=("a.png", "b.png"), previews=(), encoded=(), showing=None)
    photographs.cosegmentation = SimpleNamespace(segments=())
    visitors.keep_result("mine", photographs)
    call = {"data": [""], "fn_index": _function(page, "choose"), "event_data": {"index": index}}
    for tab in ("mine", "of somebody else"[:2]):
        answer = http.post("/gradio_api/queue/join", json=call | {"session_hash": tab})
        assert answer.status_code == 400 and mentions(answer.json()["detail"], "photograph")
    other = http.post("/gradio_api/queue/join", json=call | {"session_hash": "other", "event_data": {"index": 1}})
    assert other.status_code == 400


@pytest.mark.parametrize(
    ("body", "status"), [(b"{", 400), (b"[" * 10**5, 400), (b"[]", 400), (b'{"a": NaN}', 400), (b" " * 2**21, 413)]
)
def test_what_is_no_call_gets_a_sentence(client: Any, body: bytes, status: int) -> None:
    answer = client[0].post("/gradio_api/queue/join", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == status and answer.json()["detail"]


def test_uploads_have_a_quota(client: Any) -> None:
    http, _, visitors = client

    def upload(*contents: bytes) -> Any:
        return http.post("/gradio_api/upload", files=[("files", (f"{k}.png", c)) for k, c in enumerate(contents)])

    assert upload(b"x" * 1001).status_code == 413  # a file
    assert upload(*[b"x" * 900] * 6).status_code == 413  # a visitor's bytes
    assert not list(visitors.folder.glob("tmp*"))
    assert upload(b"a").status_code == 200
    assert visitors.counts()["files"] == 1
    several = upload(b"b", b"c", b"d")
    assert several.status_code == 413 and "files" in several.text
    assert len(list(visitors.folder.glob("*/*.png"))) == 1


def test_what_a_visitor_has_goes_when_the_page_is_closed(tmp_path: Path) -> None:
    import asyncio

    from coseg.page.calls import COOKIE, Calls

    visitors = Visitors(tmp_path)
    path = tmp_path / "checksum" / "photograph.png"

    async def app(*_: Any) -> None:
        """Gradio's heartbeat, which lasts as long as the page is open."""
        path.parent.mkdir()
        path.write_bytes(b"content")
        visitors.finish_upload("me", 0, [path])
        visitors.remove_idle()
        assert path.exists()
        raise asyncio.CancelledError

    scope = {"type": "http", "method": "GET", "path": "/gradio_api/heartbeat/abc"}
    scope |= {"headers": [(b"cookie", f"{COOKIE}=me".encode())]}  # type: ignore[dict-item]
    calls = Calls(app, None, visitors, [])  # type: ignore[arg-type]
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(calls(scope, None, None))  # type: ignore[arg-type]
    assert not path.exists()
