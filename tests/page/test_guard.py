"""The page as an ASGI app, asked by strangers: no port, no network."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from coseg.page.guard import Names
from coseg.page.server import make_app
from coseg.page.visitors import Quota, Visits

PORT = 7860
HOME = f"http://127.0.0.1:{PORT}"


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[TestClient, Any, Visits]]:
    quota = Quota(file_bytes=1000, visitor_bytes=5000, visitor_files=3)
    folder = tmp_path_factory.mktemp("page")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("GRADIO_TEMP_DIR", "GRADIO_ANALYTICS_ENABLED", "HF_HUB_DISABLE_TELEMETRY", "no_proxy", "NO_PROXY"):
            patch.setenv(name, "")
        app, page, visits = make_app(_Segmenter(), "fake", folder, Names("127.0.0.1", PORT), quota)  # type: ignore
        with TestClient(app, base_url=HOME, raise_server_exceptions=True) as opened:
            yield opened, page, visits


class _Segmenter:
    threshold, device, size, calibration = 0.5, "cpu", 32, None


ROUTES = ("/", "/config", "/gradio_api/info", "/gradio_api/queue/data?session_hash=a", "/assets/x", "/theme.css")


@pytest.mark.parametrize("host", ["evil.example", "evil.example:7860", "127.0.0.1", "127.0.0.1:80", "", "[::2]:7860"])
@pytest.mark.parametrize("route", ROUTES)
def test_another_host_name_gets_nothing(client: Any, host: str, route: str) -> None:
    assert client[0].get(route, headers={"Host": host}).status_code == 403


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]"])
def test_its_own_names_are_answered(client: Any, host: str) -> None:
    own = {"Host": f"{host}:{PORT}", "Origin": f"http://{host}:{PORT}"}
    assert client[0].get("/config", headers=own).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:7861"},
        {"Referer": "http://evil.example/x"},
        {"Sec-Fetch-Site": "cross-site"},
    ],
)
@pytest.mark.parametrize("route", ["queue/join", "upload", "cancel"])
def test_pages_of_other_sites_get_nothing(client: Any, headers: dict[str, str], route: str) -> None:
    assert client[0].post(f"/gradio_api/{route}", headers=headers, json={}).status_code == 403


@pytest.mark.parametrize("path", ["proxy=http://a.example/", "file=http://a.example/x", "vibe-edit", "run/predict"])
def test_routes_that_the_page_does_not_use_are_not_there(client: Any, path: str) -> None:
    assert client[0].post(f"/gradio_api/{path}", json={}).status_code == 404


@pytest.mark.parametrize("path", ["/etc/passwd", "../../etc/passwd", "..%2f..%2fetc/passwd"])
def test_files_elsewhere_are_not_given(client: Any, path: str) -> None:
    assert client[0].get(f"/gradio_api/file={path}").status_code in (403, 404)


def _press(page: Any) -> int:
    return next(i for i, function in page.fns.items() if function.name == "look_at")


@pytest.mark.parametrize(
    "change",
    [
        {"data": []},
        {"data": [None, "high"]},
        {"data": [None, 7]},
        {"data": ["a", 0.5]},
        {"data": [[{"path": "/etc/passwd"}], 0.5]},
        {"data": [[{"path": "http://127.0.0.1:1/x", "url": "http://127.0.0.1:1/x"}], 0.5]},
        {"data": [[{"path": "a\0b"}], 0.5]},
        {"data": [[{}], 0.5]},
        {"data": None},
        {"session_hash": None},
        {"session_hash": "../x"},
        {"fn_index": 999},
        {"fn_index": True},
        {"trigger_id": "x"},
    ],
)
def test_malformed_calls_get_a_sentence(client: Any, change: dict[str, Any], capsys: Any, caplog: Any) -> None:
    http, page, _ = client
    call = {"data": [None, 0.5], "fn_index": _press(page), "session_hash": "abc"} | change
    answer = http.post("/gradio_api/queue/join", json=call)
    assert answer.status_code == 400 and "not one that the page makes" in answer.json()["detail"]
    assert "Traceback" not in capsys.readouterr().err + caplog.text


@pytest.mark.parametrize(
    ("body", "status"), [(b"{", 400), (b"[" * 10**5, 400), (b"[]", 400), (b'{"a": NaN}', 400), (b" " * 2**21, 413)]
)
def test_what_is_no_call_gets_a_sentence(client: Any, body: bytes, status: int) -> None:
    answer = client[0].post("/gradio_api/queue/join", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == status and answer.json()["detail"]


def test_uploads_have_a_quota(client: Any) -> None:
    http, _, visits = client

    def upload(*contents: bytes) -> Any:
        return http.post("/gradio_api/upload", files=[("files", (f"{k}.png", c)) for k, c in enumerate(contents)])

    assert upload(b"x" * 1001).status_code == 413  # a file
    assert upload(*[b"x" * 900] * 6).status_code == 413  # a visitor's bytes
    assert not list(visits.folder.glob("tmp*"))
    assert upload(b"a").status_code == 200
    assert visits.counts()["files"] == 1
    several = upload(b"b", b"c", b"d")
    assert several.status_code == 413 and "files" in several.text
    assert len(list(visits.folder.glob("*/*.png"))) == 1


def test_what_a_visitor_has_goes_when_the_page_is_closed(tmp_path: Path) -> None:
    import asyncio

    from coseg.page.calls import COOKIE, Calls

    visits = Visits(tmp_path)
    path = tmp_path / "checksum" / "photograph.png"

    async def app(*_: Any) -> None:
        """Gradio's heartbeat, which lasts as long as the page is open."""
        path.parent.mkdir()
        path.write_bytes(b"content")
        visits.finish_upload("me", 0, [path])
        visits.sweep()
        assert path.exists()
        raise asyncio.CancelledError

    scope = {"type": "http", "method": "GET", "path": "/gradio_api/heartbeat/abc"}
    scope |= {"headers": [(b"cookie", f"{COOKIE}=me".encode())]}  # type: ignore[dict-item]
    calls = Calls(app, None, visits, [])  # type: ignore[arg-type]
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(calls(scope, None, None))  # type: ignore[arg-type]
    assert not path.exists()
