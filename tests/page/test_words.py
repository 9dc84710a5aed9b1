from __future__ import annotations

import math

import numpy as np
import pytest
from facts import mentions

from coseg.inference.cosegmentation import Cosegmentation, Segment
from coseg.page.results import ShownObject
from coseg.page.words import (
    answer,
    caption,
    caption_of_objects,
    count,
    how_sure,
    likelihood,
    listed,
    notice,
    object_label,
    verdict,
    verdict_of_objects,
)  # fmt: skip


def cosegmentation(common: float = 0.9, belongs: tuple[float, ...] = (0.9,) * 5, exemplars: int = 0) -> Cosegmentation:
    segments = tuple(
        Segment(f"{k}.jpg", (1, 1), np.full((1, 1), 0.0 if likely < 0.3 else 0.9, np.float16), belongs=likely)
        for k, likely in enumerate(belongs)
    )
    return Cosegmentation(segments, math.nan if exemplars else common, exemplars=exemplars)


def test_the_answer_is_a_sentence_without_numbers_of_how_sure_it_is() -> None:
    assert answer(cosegmentation()) == "All five photographs seem to show the same object."
    assert answer(cosegmentation(belongs=(math.nan,) * 2)) == "Both photographs seem to show the same object."
    few = answer(cosegmentation(belongs=(0.9, 0.1, 0.9)))
    assert mentions(few, "Two of the three", "1.jpg does not")
    unsure = answer(cosegmentation(belongs=(0.9, 0.5, 0.9, 0.1)))
    assert mentions(unsure, "Two of the four", "not clear whether 1.jpg belongs", "3.jpg does not")
    assert mentions(answer(cosegmentation(0.2)), "five photographs do not", "nothing")
    assert mentions(answer(cosegmentation(0.5)), "not clear") and mentions(answer(cosegmentation(math.nan)), "cannot")


def test_the_answer_of_what_was_shown_names_where_it_is_not() -> None:
    assert "in all five" in answer(cosegmentation(exemplars=1))
    assert mentions(answer(cosegmentation(belongs=(0.9, 0.1, 0.9), exemplars=1)), "two of the three", "not in 1.jpg")
    unsure = answer(cosegmentation(belongs=(0.9, 0.5, 0.5), exemplars=1))
    assert mentions(unsure, "in one of the three", "not clear whether 1.jpg and 2.jpg show it")
    assert "not clear" in answer(cosegmentation(belongs=(0.5, 0.1), exemplars=1))
    assert "not recognised in any" in answer(cosegmentation(belongs=(0.1, 0.1), exemplars=2))


@pytest.mark.parametrize(("common", "style"), [(0.8, "yes"), (0.2, "no"), (0.5, "unknown"), (math.nan, "unknown")])
def test_how_sure_it_is_is_behind_the_answer(common: float, style: str) -> None:
    html = verdict(cosegmentation(common), None)
    assert f"verdict {style}" in html
    shown, _, behind = html.partition("<details>")
    assert "%" not in shown and mentions(behind, "not calibrated" if math.isnan(common) else "likely")
    assert mentions(" ".join(how_sure(cosegmentation(exemplars=1), None)), "what you showed", "mask is empty")


def test_captions_have_words_and_per_cent() -> None:
    segment = cosegmentation(belongs=(0.94,))[0]
    assert mentions(caption("a.jpg", segment, 0.23, False), "a.jpg\n23\u00a0%", "belongs", "94\u00a0%")
    assert mentions(caption("a.jpg", segment, 0.0, True), "not recognised", "shows the object")
    assert likelihood(math.nan, False) == "" and mentions(likelihood(0.1, True), "not seem to show", "10\u00a0%")


def test_names_are_listed_and_are_no_html() -> None:
    assert listed(["a"]) == "a" and listed(["a", "b"]) == "a and b"
    assert listed(list("abcdef")) == "a, b, c, d and two more" and count(13) == "13"
    assert mentions(notice(["<img src=x>.png is no image"]), "&lt;img") and notice([]) == ""


def test_each_of_several_objects_has_an_answer_with_its_name_and_colour() -> None:
    objects = [
        ShownObject(1, "<b>", cosegmentation=cosegmentation(exemplars=1)),
        ShownObject(3, cosegmentation=cosegmentation(belongs=(0.9, 0.1), exemplars=2)),
        ShownObject(4, "not shown"),
    ]
    html = verdict_of_objects(objects)
    assert mentions(
        html, "“&lt;b&gt;” seems to be in all five", "“Object 3” seems to be in one of the two", "not in 1.jpg"
    )
    assert html.count('<p class="answer">') == 2 and "not shown" not in html
    assert mentions(html, "verdict yes", "background: #ff6e14", "background: #28be3c")
    nowhere = [ShownObject(cosegmentation=cosegmentation(belongs=(0.1, 0.1), exemplars=1))]
    assert mentions(verdict_of_objects(nowhere), "verdict no", "“Object 1” was not recognised in any")


def test_captions_of_several_objects_have_a_line_for_each() -> None:
    segments = cosegmentation(belongs=(0.94, 0.5, 0.1, math.nan)).segments
    text = caption_of_objects("a.jpg", list(zip("abcd", segments, (0.23, 0.1, 0.0, 0.2), strict=True)))
    name, *lines = text.replace("\u00a0", " ").split("\n")
    assert name == "a.jpg" and lines[0] == "a: 23 % of the picture (94 % likely)"
    assert mentions(lines[1], "not clear", "50 % likely") and mentions(lines[2], "not recognised", "10 %")
    assert lines[3] == "d: 20 % of the picture"


def test_the_list_of_objects_has_the_number_of_clicks() -> None:
    labels = [object_label(ShownObject(1, "horse", ((0, (0.5, 0.5)),) * clicks)) for clicks in range(3)]  # type: ignore
    assert labels == ["horse · not shown yet", "horse · 1 click", "horse · 2 clicks"]
