from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from facts import mentions

from coseg.page.pictures import CUTOUT, MASK, MATCHED, OVERLAY, VIEWS, chosen_picture, gallery, heat_map
from coseg.page.results import Corner, PageResult, Showing, Shown, ShownObject, cosegment_files

Draw = Callable[..., Path]


@pytest.fixture
def result(tmp_path: Path, segmenter, half_red: Draw) -> PageResult:
    segmenter.belongs = {"a.png": 0.2, "b.png": 0.9}
    files = [half_red(tmp_path / "a.png"), half_red(tmp_path / "b.png", 80, 100, 100)]
    return cosegment_files(segmenter, files)


def test_one_gallery_shows_overlays_cutouts_or_masks(result: PageResult) -> None:
    masks, overlays, cutouts = ([np.asarray(picture) for picture, _ in gallery(result, view, 0.5)] for view in
                                (MASK, OVERLAY, CUTOUT))  # fmt: skip
    assert masks[0].shape == (60, 90) and np.unique(masks[0]).tolist() == [0, 255] and not masks[1].any()
    assert (cutouts[0][..., 3] == masks[0]).all()
    assert (overlays[0][:, :40] == (200, 0, 0)).all()  # the object keeps its colours
    assert {MASK, OVERLAY, CUTOUT, MATCHED} == set(VIEWS)


def test_captions_have_the_name_the_share_and_the_likelihood(result: PageResult) -> None:
    first, second = (caption for _, caption in gallery(result, MASK, 0.5))
    assert mentions(first, "a.png", "49\u00a0%", "not seem to belong", "20\u00a0%")
    assert mentions(second, "b.png", "nothing", "90\u00a0%") and "not seem" not in second


def test_the_threshold_and_the_order_need_no_network(result: PageResult, segmenter) -> None:
    before = list(segmenter.asked)
    shares = [np.asarray(gallery(result, MASK, level)[1][0]).mean() / 255 for level in (0.3, 0.5)]
    assert abs(shares[0] - 0.5) < 0.05 and shares[1] == 0
    assert [caption[:5] for _, caption in gallery(result, MASK, 0.5, likeliest_first=True)] == ["b.png", "a.png"]
    assert segmenter.asked == before


def test_what_is_like_the_point_is_hot(result: PageResult) -> None:
    assert "click" in gallery(result, MATCHED, 0.5)[0][1]
    response = np.array([[1.0, 0.0], [1.0, 0.5]], np.float32)
    hot = replace(result, showing=Showing((ShownObject(responses=(response, response)),)))
    picture, caption = gallery(hot, MATCHED, 0.5)[1]
    assert picture.size == (80, 100) and mentions(caption, "b.png", "0.00", "1.00")
    heat = heat_map(result.previews[1], response)
    left, right = heat.pixels[50, 10].astype(int), heat.pixels[5, 75].astype(int)
    assert left[0] > left[2] and right[2] > right[0] + 5  # hot is red, cold is blue


def test_the_chosen_photograph_has_the_places_and_what_they_were_taken_for(result: PageResult) -> None:
    region = np.zeros((60, 90), bool)
    region[20:40, 50:80] = True
    places = (Shown(0, (0.7, 0.5), region), Shown(0, (0.1, 0.1, 0.2, 0.5)), Shown(1, (0.5, 0.5)))
    shown = replace(result, showing=Showing((ShownObject(exemplars=places),)))
    before = chosen_picture(result)
    assert before.shape == (*result.clicked_size(0), 3) == (683, 1024, 3)
    changed = (chosen_picture(shown) != before).any(-1)
    assert changed[250:430, 600:680].all() and changed[68, 105:300].all()
    assert not changed[570:].any() and not changed[:40].any()
    corner = replace(result, showing=replace(result.showing, corner=Corner(1, 0, (0.5, 0.5))))
    ring = np.argwhere((chosen_picture(corner) != before).any(-1))
    assert np.abs(ring.mean(0) - (341, 512)).max() < 3
