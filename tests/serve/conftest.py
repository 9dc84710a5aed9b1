"""The service around a fake model, without a port."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fake_service import FakeModel, Service
from starlette.testclient import TestClient

from coseg.serve.app import make_app
from coseg.serve.guard import Guard, Names
from coseg.serve.jobs import Jobs, Limits
from coseg.serve.server import SERVICE

ADDRESS = "http://127.0.0.1:8000"


@pytest.fixture
def serve() -> Callable[..., Service]:
    """``serve(model, **limits)``: a service without a port; the model is a fake one."""

    def make(served: Any = None, **limits: Any) -> Service:
        model, jobs = served or FakeModel(), Jobs(Limits(**limits))
        app = Guard(make_app(model, jobs), Names("127.0.0.1", 8000), SERVICE)
        return Service(TestClient(app, base_url=ADDRESS, raise_server_exceptions=False), model, jobs)

    return make


def _export(folder: Path, network: Any, name: str) -> None:
    from coseg.export.export_model import export_model
    from coseg.hub.load import Pretrained

    size = network.input_size
    export_model(Pretrained(network, {"network": {}, "size": size, "threshold": 0.5}, name), ["onnx"], folder)


@pytest.fixture(scope="session")
def graphs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, Any]]:
    """By what becomes of the kernels of a group: an export, and its network."""
    pytest.importorskip("onnxscript")
    import torch

    from coseg.models.cross_correlation import CrossCorrelationNetwork
    from coseg.models.embedding_matching import EmbeddingMatchingNetwork
    from coseg.models.encoders.vgg import VGG16Encoder

    torch.manual_seed(0)
    networks = {
        "mean": CrossCorrelationNetwork(VGG16Encoder(width=0.125, stride=8), input_size=None).eval(),
        "join": EmbeddingMatchingNetwork(VGG16Encoder(width=0.125, stride=8), input_size=256).eval(),
    }
    made = {}
    for name, network in networks.items():
        folder = tmp_path_factory.mktemp("graphs") / name
        _export(folder, network, name)
        made[name] = (folder, network)
    return made
