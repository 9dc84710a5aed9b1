"""The figures of the service, as Prometheus reads them."""

from __future__ import annotations

import re
from collections.abc import Callable

from fake_service import PAIR, Service

from coseg.serve.metrics import memory


def test_answers_are_counted_by_path_and_status(serve: Callable[..., Service]) -> None:
    service = serve()
    for _ in range(2):
        service.post("/pair", PAIR)
    service.post("/pair", PAIR[:1])
    service.client.get("/one/of/a/stranger")
    text = service.client.get("/metrics").text
    figures = dict(re.findall(r"^([a-z_]+(?:\{[^}]*\})?) ([0-9.e+-]+)$", text, re.MULTILINE))
    assert figures['coseg_requests_total{path="/pair",status="200"}'] == "2"
    assert figures['coseg_requests_total{path="/pair",status="422"}'] == "1"
    assert figures['coseg_requests_total{path="other",status="404"}'] == "1"
    assert figures["coseg_jobs_total"] == "2" and figures["coseg_requests_waiting"] == "0"
    assert float(figures["process_resident_memory_bytes"]) > 1e7
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    assert len(figures) == len(lines)


def test_memory() -> None:
    now, peak = memory()
    assert 1e7 < now <= peak * 1.01
