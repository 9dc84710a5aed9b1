from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from facts import mentions, naming

from coseg.errors import CosegError
from coseg.page import showing
from coseg.page.pictures import MASK, gallery
from coseg.page.results import PageResult, cosegment_files
from coseg.page.showing import POINT, RECTANGLE, choose, instructions, take_back


def click(segmenter: Any, result: PageResult, x: float, y: float, *arguments: Any) -> PageResult:
    """A click at a pixel of a photograph of 90 x 60, which is enlarged for the visitor."""
    return showing.click(segmenter, result, x * 1024 / 90, y * 1024 / 90, *arguments)


@pytest.fixture
def result(tmp_path: Path, segmenter, half_red: Callable[..., Path]) -> PageResult:
    files = [half_red(tmp_path / "a.png"), half_red(tmp_path / "b.png", 600, 400)]
    return cosegment_files(segmenter, files)[0]


def masks(result: PageResult) -> list[np.ndarray]:
    return [np.asarray(picture) > 0 for picture, _ in gallery(result, MASK, result.current[0].threshold)]


def test_a_point_finds_that_object_everywhere_and_shows_what_it_was_taken_for(result: PageResult, segmenter) -> None:
    steps: list[str] = []
    blue = click(segmenter, result, 80, 30, POINT, lambda done, total, text: steps.append(f"{done}/{total} {text}"))
    assert [mask[:, -20:].all() and not mask[:, :20].any() for mask in masks(blue)] == [True, True]
    assert masks(result)[0][:, :20].all()  # what they have in common was the red part
    (shown,) = blue.showing.exemplars
    assert shown.region is not None and shown.region.shape == (60, 90) and abs(shown.region.mean() - 0.5) < 0.05
    assert blue.current.exemplars == 1 and blue.current[0].threshold == 0.4
    assert mentions(steps[1], "1/2", "photograph 2 of 2", "b.png")
    assert [response.shape for response in blue.showing.responses] == [(21, 32), (21, 32)]


def test_two_clicks_are_a_rectangle_in_any_order(result: PageResult, segmenter) -> None:
    for first, second in (((60, 10), (88, 50)), ((88, 50), (60, 10))):
        half = click(segmenter, result, *first, RECTANGLE)
        assert half.current is result.current and half.showing.corner is not None
        assert mentions(instructions(segmenter, half), "opposite corner")
        blue = click(segmenter, half, *second, RECTANGLE)
        (shown,) = blue.showing.exemplars
        assert (
            shown.place == pytest.approx((60 / 90, 10 / 60, 28 / 90, 40 / 60), abs=0.002)
            and blue.showing.corner is None
        )
        assert masks(blue)[1][:, -20:].all()


def test_exemplars_of_several_photographs_add_up_and_can_be_taken_back(result: PageResult, segmenter) -> None:
    one = click(segmenter, result, 80, 30, POINT)
    two = click(segmenter, choose(one, 1), 10, 10, POINT)
    assert [shown.photograph for shown in two.showing.exemplars] == [0, 1] and two.current.exemplars == 2
    assert all(mask[:, :20].all() and mask[:, -20:].all() for mask in masks(two))
    assert mentions(instructions(segmenter, two), "1. a point in <b>a.png", "2. a point in <b>b.png", "taken for")
    back = take_back(segmenter, two, everything=False)
    assert [shown.photograph for shown in back.showing.exemplars] == [0]
    assert not masks(back)[1][:, :20].any() and back.showing.photograph == 1
    asked = list(segmenter.asked)
    assert take_back(segmenter, two, everything=True).current is result.current and segmenter.asked == asked


def test_a_corner_is_taken_back_first(result: PageResult, segmenter) -> None:
    one = click(segmenter, result, 80, 30, POINT)
    back = take_back(segmenter, click(segmenter, one, 5, 5, RECTANGLE), everything=False)
    assert back.showing.corner is None and back.current is one.current
    assert choose(click(segmenter, one, 5, 5, RECTANGLE), 1).showing.corner is None


def test_a_photograph_without_the_object_is_named(result: PageResult, segmenter) -> None:
    from coseg.page.words import answer

    segmenter.belongs = {"a.png": 0.9, "b.png": 0.25}
    found = click(segmenter, result, 80, 30, POINT)
    assert not masks(found)[1].any() and mentions(answer(found.current), "one of the two", "not in b.png")
    assert mentions(gallery(found, MASK, 0.4)[1][1], "not recognised", "25\u00a0%")


def test_clicks_that_mean_nothing_get_a_sentence(result: PageResult, segmenter, monkeypatch) -> None:
    for x, y in ((95, 10), (10, 62), (-5, 10)):
        with pytest.raises(CosegError, match=naming("outside of a.png")):
            click(segmenter, result, x, y, POINT)
    assert click(segmenter, result, 90, -0.05, POINT).current.exemplars == 1  # at the very edge
    with pytest.raises(CosegError, match=naming("too small")):
        click(segmenter, click(segmenter, result, 5, 5, RECTANGLE), 5, 5, RECTANGLE)
    monkeypatch.setattr(showing, "MOST_EXEMPLARS", 1)
    with pytest.raises(CosegError, match=naming("takes 1", "take one back")):
        click(segmenter, click(segmenter, result, 5, 5, POINT), 6, 6, POINT)


def test_a_model_that_cannot_search_shows_what_is_similar(result: PageResult, segmenter) -> None:
    segmenter.network = None
    once = click(segmenter, result, 80, 30, RECTANGLE)
    assert "exemplar" not in segmenter.asked and len(once.showing.responses) == 2
    assert once.current is result.current and mentions(instructions(segmenter, once), "cannot search")
    assert len(click(segmenter, once, 10, 30, POINT).showing.exemplars) == 1
