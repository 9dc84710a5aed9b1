"""The page as an ASGI app, asked by strangers: no port, no network."""

from __future__ import annotations

from typing import Any

import pytest

PORT = 7860


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
