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
from coseg.page.showing import MOST_OBJECTS, POINT, RECTANGLE, Seen, add, choose, merged, rename, take_all_back
from coseg.page.words import instructions


def click(segmenter: Any, result: PageResult, x: float, y: float, *arguments: Any) -> PageResult:
    """A click at a pixel of a photograph of 90 x 60, which is enlarged for the visitor."""
    return showing.click(segmenter, result, Seen.of(result), x * 1024 / 90, y * 1024 / 90, *arguments)


def take_back(segmenter: Any, result: PageResult) -> PageResult:
    return showing.take_back(segmenter, result, Seen.of(result))


@pytest.fixture
def result(tmp_path: Path, segmenter, half_red: Callable[..., Path]) -> PageResult:
    files = [half_red(tmp_path / "a.png"), half_red(tmp_path / "b.png", 600, 400)]
    return cosegment_files(segmenter, files)


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
    assert [response.shape for response in blue.showing.current.responses] == [(21, 32), (21, 32)]


def test_two_clicks_are_a_rectangle_in_any_order(result: PageResult, segmenter) -> None:
    for first, second in (((60, 10), (88, 50)), ((88, 50), (60, 10))):
        half = click(segmenter, result, *first, RECTANGLE)
        assert half.current is result.current and half.showing.corner is not None
        assert mentions(instructions(half), "opposite corner")
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
    assert mentions(instructions(two), "1. a point in <b>a.png", "2. a point in <b>b.png", "taken for")
    back = take_back(segmenter, two)
    assert [shown.photograph for shown in back.showing.exemplars] == [0]
    assert not masks(back)[1][:, :20].any() and back.showing.photograph == 1
    asked = list(segmenter.asked)
    assert take_all_back(two).current is result.current and segmenter.asked == asked


def test_a_corner_is_taken_back_first(result: PageResult, segmenter) -> None:
    one = click(segmenter, result, 80, 30, POINT)
    back = take_back(segmenter, click(segmenter, one, 5, 5, RECTANGLE))
    assert back.showing.corner is None and back.current is one.current
    elsewhere = choose(click(segmenter, one, 5, 5, RECTANGLE), 1)
    assert "opposite" not in instructions(elsewhere) and "opposite" in instructions(choose(elsewhere, 0))


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
    assert "exemplars" not in segmenter.asked and len(once.showing.current.responses) == 2
    assert once.current is result.current and mentions(instructions(once, False), "cannot search")
    assert len(click(segmenter, once, 10, 30, POINT).showing.exemplars) == 1


def test_what_the_visitor_saw_is_read_from_its_text_alone(result: PageResult) -> None:
    seen = Seen.of(choose(result, 1))
    assert Seen.read(str(seen)) == seen == Seen(result.serial, 0, 1, 1)
    for text in ("", "x", str(seen) + " ", str(seen)[1:], f"{seen}-1", "../" + str(seen)):
        assert Seen.read(text) is None


def test_each_object_is_searched_for_with_the_others(result: PageResult, segmenter) -> None:
    one = add(rename(click(segmenter, result, 10, 30, POINT), 1, "red"))
    assert one.showing.selected == 2 and [shown.title for shown in one.showing.objects] == ["red", "Object 2"]
    two = click(segmenter, choose(one, 1), 80, 30, POINT)
    assert [len(shown.exemplars) for shown in two.showing.objects] == [1, 1] and two.is_of_objects
    labels = two.labels(1, 0.4)
    assert (labels[:, :230] == 1).all() and (labels[:, 350:] == 2).all()
    assert [shown.cosegmentation.exemplars for shown in two.showing.searched] == [1, 1]  # type: ignore[union-attr]
    assert two.showing.current.responses and two.showing.searches == 2
    left = showing.remove(segmenter, two, Seen.of(two)._replace(number=1))
    assert [shown.number for shown in left.showing.objects] == [2]  # which keeps its colour
    assert set(np.unique(left.labels(1, 0.4))) == {0, 2} and left.is_of_objects
    assert [shown.number for shown in add(left).showing.objects] == [2, 1]
    with pytest.raises(CosegError, match=naming("removed")):
        showing.click(segmenter, left, Seen.of(two)._replace(number=1), 100, 340, POINT)
    assert take_all_back(left).current is result.cosegmentation and not take_all_back(left).showing.is_named
    assert showing.remove(segmenter, left, Seen.of(left)).current is result.cosegmentation


def test_an_object_that_is_not_shown_yet_is_used_before_another_is_added(result: PageResult, segmenter) -> None:
    assert add(result).showing.selected == 1 and len(add(result).showing.objects) == 2
    many = result
    for _ in range(MOST_OBJECTS - 1):
        many = add(many)
    assert [shown.number for shown in many.showing.objects] == list(range(1, MOST_OBJECTS + 1))
    with pytest.raises(CosegError, match=naming(str(MOST_OBJECTS), "remove one")):
        add(many)
    asked = list(segmenter.asked)
    fewer = showing.remove(segmenter, many, Seen.of(many))
    assert len(fewer.showing.objects) == MOST_OBJECTS - 1 and segmenter.asked == asked


def test_names_are_those_of_folders_and_differ(result: PageResult) -> None:
    two = rename(add(result), 1, " my   horse ")
    assert two.showing.objects[0].name == "my horse"
    for number, name in ((2, "My Horse"), (2, "object 1"), (2, "a/b"), (2, ".."), (1, "Object 3"), (1, "x" * 61)):
        with pytest.raises(CosegError, match=naming("name")):
            rename(two, number, name)
    assert rename(two, 1, "Object 1").showing.objects[0].name == "" == rename(two, 1, " ").showing.objects[0].name
    assert rename(two, 1, "object 1").showing.objects[0].title == "Object 1"  # its own default name
    assert rename(two, 7, "gone").showing == two.showing


def test_all_objects_together_have_a_limit(result: PageResult, segmenter, monkeypatch) -> None:
    monkeypatch.setattr(showing, "MOST_IN_ALL", 1)
    two = add(click(segmenter, result, 80, 30, POINT))
    with pytest.raises(CosegError, match=naming("takes 1", "all objects")):
        click(segmenter, two, 10, 30, POINT)


def test_what_changed_during_a_search_is_merged(result: PageResult, segmenter) -> None:
    before = add(click(segmenter, result, 80, 30, POINT))
    after = click(segmenter, before, 10, 30, POINT)
    now = choose(add(rename(before, 1, "blue")), 1)
    both = merged(before, after, now)
    assert [shown.title for shown in both.showing.objects] == ["blue", "Object 2", "Object 3"]
    assert both.showing.photograph == 1 and both.showing.selected == now.showing.selected == 2
    assert [len(shown.exemplars) for shown in both.showing.objects] == [1, 1, 0]
    removed = merged(before, showing.remove(segmenter, before, Seen.of(before)), before)
    assert [shown.number for shown in removed.showing.objects] == [1] == [removed.showing.selected]
