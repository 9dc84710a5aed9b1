"""The example pictures: the same every time, and the bundled model answers each set rightly, as the page shows it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.page_examples import LEAST_IOU, answer, candidates
from coseg.inference.segmenter import CoSegmenter
from coseg.page.examples import EXAMPLES, HEIGHT, OBJECTS, WIDTH, SceneSpec, draw_examples, draw_scene, point_on
from coseg.page.results import cosegment_files
from coseg.page.showing import POINT, Seen, click


@pytest.fixture(scope="module")
def bundled() -> CoSegmenter:
    return CoSegmenter.from_pretrained(device="cpu")


def test_a_scene_shows_its_objects_and_is_the_same_every_time() -> None:
    for name in OBJECTS:
        spec = SceneSpec((name, OBJECTS[0 if name != OBJECTS[0] else 1]), 3)
        scene = draw_scene(spec)
        assert scene.picture.shape == (HEIGHT, WIDTH, 3) and scene.picture.dtype == np.uint8
        assert (draw_scene(spec).picture == scene.picture).all()
        assert set(scene.masks) == set(spec.objects)
        assert all(0.02 < mask.mean() < 0.4 for mask in scene.masks.values())
        assert not np.logical_and(*scene.masks.values()).any()
        assert (draw_scene(spec._replace(seed=4)).picture != scene.picture).any()


def test_the_files_are_the_scenes(tmp_path: Path) -> None:
    files = draw_examples(tmp_path / "new")
    assert {name: len(paths) for name, paths in files.items()} == {e.name: len(e.scenes) for e in EXAMPLES}
    for example in EXAMPLES:
        for path, spec in zip(files[example.name], example.scenes, strict=True):
            assert (np.asarray(Image.open(path)) == draw_scene(spec).picture).all()


def test_the_sets_show_what_they_claim() -> None:
    pair, group, nothing, two = EXAMPLES
    for example in (pair, group, two):
        assert all(example.common in spec.objects for spec in example.scenes)
    assert len(pair.scenes) == 2 and len(group.scenes) > 2 and pair.common != group.common
    assert nothing.common is None and not set(nothing.scenes[0].objects) & set(nothing.scenes[1].objects)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.stem)
def test_a_press_of_each_example_is_answered_rightly(example, bundled: CoSegmenter, tmp_path: Path) -> None:
    """Where this fails after an exchange of the bundled model: ``python benchmarks/page_examples.py``."""
    result = cosegment_files(bundled, draw_examples(tmp_path)[example.name])
    assert result.messages == () and result.current.shares is (example.common is not None)
    if example.common is not None:
        if example.shown:
            x, y = point_on(draw_scene(example.scenes[0]), example.common)
            scale = result.clicked_size(0)[1] / WIDTH
            result = click(bundled, result, Seen.of(result), scale * x, scale * y, POINT)
        for k, spec in enumerate(example.scenes):
            truth, predicted = draw_scene(spec).masks[example.common], result.mask(k, result.current[k].threshold)
            assert (truth & predicted).sum() / (truth | predicted).sum() >= LEAST_IOU


def test_the_search_measures_answers_and_offers_each_set(bundled: CoSegmenter) -> None:
    assert {k for k, _ in candidates(6)} == set(range(len(EXAMPLES)))
    wrong = EXAMPLES[2]._replace(common="boat", scenes=(SceneSpec(("boat",), 1), SceneSpec(("boat", "aeroplane"), 24)))
    found = answer(bundled, wrong)
    assert len(found.ious) == 2 and found.right == pytest.approx(found.common)
    assert answer(bundled, EXAMPLES[2]).is_right and answer(bundled, EXAMPLES[3]).is_right
