"""The endpoints, asked in this process."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import threading
import time
import zipfile
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from facts import mentions
from fake_service import PAIR, Service, picture
from PIL import Image

from coseg.errors import CosegError
from coseg.serve.app import _Answer
from coseg.serve.jobs import Jobs, Limits


def test_a_pair_as_json(serve: Callable[..., Service]) -> None:
    answer = serve().post("/pair", PAIR)
    assert answer.status_code == 200 and answer.headers["content-type"] == "application/json"
    body = answer.json()
    assert body["common"] == 0.9 and body["shares"] is True and body["model"] == "a fake"
    for image, left in zip(body["images"], (10, 20), strict=True):
        mask = np.asarray(Image.open(io.BytesIO(base64.b64decode(image["mask"]))))
        assert mask.shape == (30, 40) and set(np.unique(mask)) == {0, 255}
        assert mask[5:15, left : left + 10].all() and mask.sum() == 100 * 255
    assert [image["file"] for image in body["images"]] == ["a.png", "b.png"]


@pytest.mark.parametrize("how", [{"params": {"format": "zip"}}, {"headers": {"Accept": "application/zip"}}])
def test_a_group_as_a_zip_file(serve: Callable[..., Service], how: dict[str, Any]) -> None:
    files = [("images", (f"../{name}.png", picture(left=5 * k))) for k, name in enumerate("aäa")]
    answer = serve().post("/group", files, **how)
    assert answer.headers["content-type"] == "application/zip"
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        result = json.loads(archive.read("result.json"))
        names = [image["mask"] for image in result["images"]]
        assert len(set(names)) == 3 and set(archive.namelist()) == {*names, "result.json"}
        assert not any("/" in name or ".." in name for name in names)
        assert Image.open(io.BytesIO(archive.read(names[1]))).size == (40, 30)
    assert result["outside"] == []


def test_the_threshold_is_a_parameter(serve: Callable[..., Service]) -> None:
    service = serve()
    assert service.post("/pair", PAIR, params={"threshold": 1}).json()["images"][0]["foreground"] == 0
    for wrong in (-1, 2, "x", "nan"):
        answer = service.post("/pair", PAIR, params={"threshold": wrong})
        assert answer.status_code == 422 and mentions(answer.json()["detail"], "threshold")


@pytest.mark.parametrize(
    ("path", "files", "status", "words"),
    [
        ("/pair", PAIR[:1], 422, ["2"]),
        ("/pair", [*PAIR, PAIR[0]], 422, ["2"]),
        ("/pair", [("images", ("a.png", b"x"))], 422, ["images", "'a'"]),
        ("/group", [("images", ("a.png", picture()))], 422, ["1 image"]),
        ("/group", [("images", (f"{k}.png", picture())) for k in range(4)], 400, ["3"]),
        ("/pair", [PAIR[0], ("b", ("notes.txt", b"no image"))], 422, ["notes.txt"]),
        ("/pair", [PAIR[0], ("b", ("broken.png", picture()[:60]))], 422, ["broken.png"]),
        ("/pair", [PAIR[0], ("b", ("empty.png", b""))], 422, ["empty.png"]),
        ("/pair", [PAIR[0], ("b", ("wide.png", picture(width=2000, height=600)))], 413, ["wide.png", "megapixels"]),
        ("/pair", [PAIR[0], ("b", ("heavy.png", bytes(3 * 2**20)))], 413, ["2 MB"]),
    ],
)
def test_bad_input_is_a_sentence(
    serve: Callable[..., Service], path: str, files: Any, status: int, words: list[str]
) -> None:
    service = serve(images=3, megapixels=1.0, request_bytes=2 * 2**20)
    answer = service.post(path, files)
    assert answer.status_code == status
    assert mentions(answer.json()["detail"], *words) and "Traceback" not in answer.text
    assert service.jobs.taken == 0
    assert service.post("/pair", PAIR).status_code == 200


def test_bodies_that_are_no_form(serve: Callable[..., Service]) -> None:
    client = serve().client
    assert client.post("/pair", content=b"{}", headers={"content-type": "application/json"}).status_code == 415
    assert client.post("/pair", data={"a": "x", "b": "y"}).status_code == 415
    broken = client.post("/pair", content=b"x", headers={"content-type": "multipart/form-data"})
    assert broken.status_code == 400 and broken.json()["detail"]
    assert client.get("/pair").status_code == 405 and client.get("/none").status_code == 404
    assert client.get("/none").json()["detail"]


def test_a_body_without_a_length_is_counted(serve: Callable[..., Service]) -> None:
    def endless() -> Any:
        yield b'--x\r\nContent-Disposition: form-data; name="a"; filename="a.png"\r\n\r\n'
        for _ in range(64):
            yield bytes(2**16)

    service = serve(request_bytes=2**20)
    answer = service.client.post(
        "/pair", content=endless(), headers={"content-type": "multipart/form-data; boundary=x"}
    )
    assert answer.status_code == 413 and service.jobs.taken == 0


def test_a_full_queue_refuses_at_once(serve: Callable[..., Service]) -> None:
    service = serve(waiting=1)
    service.model.hold.clear()
    answers: list[Any] = []
    threads = [threading.Thread(target=lambda: answers.append(service.post("/pair", PAIR))) for _ in range(2)]
    for thread in threads:
        thread.start()
    _until(lambda: service.jobs.taken == 2)
    refused = service.post("/pair", PAIR)
    assert refused.status_code == 503 and int(refused.headers["retry-after"]) >= 1
    health = service.client.get("/health").json()
    assert (health["status"], health["running"], health["waiting"]) == ("busy", 1, 1)
    service.model.hold.set()
    for thread in threads:
        thread.join(30)
    assert [answer.status_code for answer in answers] == [200, 200] and service.jobs.taken == 0


def test_stopping_finishes_what_runs_and_refuses_the_rest(serve: Callable[..., Service]) -> None:
    service = serve(waiting=4)
    service.model.hold.clear()
    answers: list[int] = []
    threads = [threading.Thread(target=lambda: answers.append(service.post("/pair", PAIR).status_code)) for _ in "abc"]
    for thread in threads:
        thread.start()
    _until(lambda: service.jobs.taken == 3 and service.model.began.is_set())
    service.jobs.stop()
    _until(lambda: len(answers) == 2)
    assert answers == [503, 503] and service.post("/pair", PAIR).status_code == 503
    assert service.client.get("/health").status_code == 503
    service.model.hold.set()
    for thread in threads:
        thread.join(30)
    assert sorted(answers) == [200, 503, 503]


def test_what_takes_too_long_ends_in_a_sentence(serve: Callable[..., Service]) -> None:
    service = serve(seconds=1)
    service.model.hold.clear()
    answer = service.post("/pair", PAIR)
    assert answer.status_code == 504 and mentions(answer.json()["detail"], "1 seconds")
    assert service.jobs.taken == 1  # as long as the thread computes
    service.model.hold.set()
    _until(lambda: service.jobs.taken == 0)
    assert service.post("/pair", PAIR).status_code == 200


def test_a_defect_shows_no_traceback(serve: Callable[..., Service]) -> None:
    service = serve()
    service.model.fails = True
    answer = service.post("/pair", PAIR)
    assert answer.status_code == 500 and answer.json()["detail"] and "secret" not in answer.text
    assert service.jobs.taken == 0


def test_an_error_of_the_model_is_its_sentence(serve: Callable[..., Service], monkeypatch: Any) -> None:
    service = serve()

    def refuse(encoded: Any) -> Any:
        raise CosegError("Send pairs.")

    monkeypatch.setattr(service.model, "cosegment", refuse)
    answer = service.post("/pair", PAIR)
    assert answer.status_code == 422 and answer.json()["detail"] == "Send pairs."


def test_the_page_and_the_description(serve: Callable[..., Service]) -> None:
    client = serve().client
    description = client.get("/openapi.json").json()
    form = description["paths"]["/pair"]["post"]["requestBody"]["content"]["multipart/form-data"]
    assert set(form["schema"]["properties"]) == {"a", "b"}
    for path in ("/", "/docs"):
        page = client.get(path)
        assert page.headers["content-type"].startswith("text/html") and mentions(page.text, "/group", "a fake")
        assert "<script" not in page.text and "http://" not in page.text and "https://" not in page.text


def test_an_answer_that_nobody_reads_gives_its_slot_back() -> None:
    jobs = Jobs(Limits())
    pieces: list[int] = []

    async def send(message: Any) -> None:
        pieces.append(len(message.get("body", b"")))
        if len(pieces) > 3:
            await asyncio.sleep(60)

    answer = _Answer(bytes(2**20), "application/zip", jobs.take(), seconds=1)
    asyncio.run(answer({"path": "/pair"}, None, send))  # type: ignore[arg-type]
    assert jobs.taken == 0 and len(pieces) == 4 and max(pieces) <= 2**16


def test_strangers_are_refused(serve: Callable[..., Service]) -> None:
    service = serve()
    assert service.post("/pair", PAIR, headers={"Host": "evil.example"}).status_code == 403
    assert service.post("/pair", PAIR, headers={"Origin": "http://evil.example"}).status_code == 403
    assert "coseg-serve" in service.client.get("/health", headers={"Host": "evil.example"}).json()["detail"]


def _until(condition: Callable[[], bool]) -> None:
    for _ in range(1000):
        if condition():
            return
        time.sleep(0.02)
    raise AssertionError("it did not happen")
