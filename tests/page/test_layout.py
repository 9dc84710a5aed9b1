from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from facts import mentions

from coseg.page.server import prepare_gradio
from coseg.page.visitors import Visitors


@pytest.fixture(autouse=True)
def _environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("gradio")
    for name in ("GRADIO_TEMP_DIR", "GRADIO_ANALYTICS_ENABLED", "HF_HUB_DISABLE_TELEMETRY", "no_proxy", "NO_PROXY"):
        monkeypatch.setenv(name, "")
    prepare_gradio(tmp_path)


def test_the_name_of_the_model_is_no_html(segmenter: Any) -> None:
    from coseg.page.layout import heading

    assert mentions(heading(segmenter, "<b>mine</b>"), "&lt;b&gt;mine&lt;/b&gt;", "32 pixels", "cpu")


def test_a_size_that_is_not_the_models_is_noted(segmenter: Any) -> None:
    from coseg.page.layout import heading

    segmenter.size_note = "The model works at 64 pixels, but was made for <32>."
    assert mentions(heading(segmenter, "mine"), "made for &lt;32&gt;")


def test_every_function_of_the_page_is_private_and_the_network_runs_one_at_a_time(
    segmenter: Any, tmp_path: Path
) -> None:
    from coseg.page.layout import build

    page = build(segmenter, "a model", {"A pair": [tmp_path / "a.png"]}, tmp_path, Visitors(tmp_path))
    functions = [function for function in page.fns.values() if function.fn is not None]
    names = [function.name for function in functions]
    assert {"find_common", "rethreshold", "match", "click", "pack"} <= set(names)
    assert {function.api_visibility for function in functions} == {"private"}
    on_network = [function for function in functions if function.name in ("find_common", "run", "match")]
    assert {(function.concurrency_limit, function.concurrency_id) for function in on_network} == {(1, "network")}


def test_the_page_fetches_nothing_from_elsewhere() -> None:
    from coseg.page.layout import CSS, theme

    assert "url(" not in CSS and "@import" not in CSS
    assert not [sheet for sheet in theme()._stylesheets if "//" in sheet]
