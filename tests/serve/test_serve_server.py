"""The service at a real port."""

from __future__ import annotations

import threading
import time

import httpx
import pytest
from fake_service import PAIR, FakeModel

from coseg.errors import CosegError
from coseg.serve.jobs import Limits
from coseg.serve.server import address_of, free_port, serving


def test_it_serves_and_finishes_what_it_computes() -> None:
    model = FakeModel()
    codes: list[int] = []

    def ask(address: str) -> None:
        codes.append(httpx.post(f"{address}pair", files=PAIR, timeout=60).status_code)

    with serving(model, Limits(seconds=30)) as address:
        assert httpx.get(f"{address}health").json()["status"] == "ok"
        large = httpx.post(f"{address}pair", files=PAIR, headers={"Host": "evil.example"})
        assert large.status_code == 403
        model.hold.clear()
        model.began.clear()
        threads = [threading.Thread(target=ask, args=(address,)) for _ in range(2)]
        for thread in threads:
            thread.start()
        assert model.began.wait(30)
        while float(httpx.get(f"{address}health").json()["waiting"]) < 1:
            time.sleep(0.02)
        threading.Timer(0.5, model.hold.set).start()
    for thread in threads:
        thread.join(30)
    assert sorted(codes) == [200, 503]
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{address}health")


def test_the_sender_of_a_large_body_reads_why_it_is_refused() -> None:
    with serving(FakeModel(), Limits(request_bytes=2**20)) as address:
        heavy = [PAIR[0], ("b", ("b.png", bytes(2 * 2**20)))]
        answer = httpx.post(f"{address}pair", files=heavy)
        assert answer.status_code == 413 and answer.json()["detail"]
        assert httpx.post(f"{address}pair", files=PAIR).status_code == 200


def test_addresses() -> None:
    assert address_of("0.0.0.0", 80) == "http://127.0.0.1:80/" and address_of("::1", 8) == "http://[::1]:8/"
    with pytest.raises(CosegError, match="service"):
        free_port("203.0.113.1", 0, "service")
