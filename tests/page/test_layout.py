from __future__ import annotations

from typing import Any

import pytest
from facts import mentions

pytestmark = pytest.mark.usefixtures("gradio_environment")


def test_the_name_of_the_model_is_no_html(segmenter: Any) -> None:
    from coseg.page.layout import heading

    assert mentions(heading(segmenter, "<b>mine</b>"), "&lt;b&gt;mine&lt;/b&gt;", "32 pixels", "cpu")


def test_a_size_that_is_not_the_models_is_noted(segmenter: Any) -> None:
    from coseg.page.layout import heading

    segmenter.size_note = "The model works at 64 pixels, but was made for <32>."
    assert mentions(heading(segmenter, "mine"), "made for &lt;32&gt;")


def test_a_model_that_cannot_search_for_an_exemplar_is_known(segmenter: Any) -> None:
    import gradio as gr

    from coseg.page.layout import lay_out

    for network, words in ((segmenter.network, "click on an object"), (None, "cannot search")):
        segmenter.network = network
        with gr.Blocks():
            assert mentions(lay_out(segmenter, "mine", ["A pair"]).instructions.value, words)


def test_the_page_fetches_nothing_from_elsewhere() -> None:
    from coseg.page.layout import CSS, theme

    assert "url(" not in CSS and "@import" not in CSS
    assert not [sheet for sheet in theme()._stylesheets if "//" in sheet]


def test_there_is_a_choice_and_a_colour_for_every_object_and_only_those_with_a_label_are_seen() -> None:
    from types import SimpleNamespace

    from coseg.page.layout import CSS, NUMBERS, object_choices, which_choices
    from coseg.page.results import Showing, ShownObject

    showing = Showing((ShownObject(1, "<b>"), ShownObject(3, cosegmentation=SimpleNamespace())))  # type: ignore
    result: Any = SimpleNamespace(showing=showing)
    assert [number for _, number in which_choices(result)] == [0, *NUMBERS]
    assert [pair for pair in which_choices(result) if pair[0]] == [("All objects", 0), ("Object 3", 3)]
    assert [number for _, number in object_choices(None)] == list(NUMBERS)
    assert [number for label, number in object_choices(result) if label] == [1, 3]
    assert all(f'input[value="{number}"]' in CSS for number in NUMBERS) and mentions(CSS, "#ff6e14", ":empty")
