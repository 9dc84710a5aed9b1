"""Several named objects at once."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from test_exemplar import A, B, made, mask

from coseg.errors import CosegError
from coseg.inference.cosegmentation import Segment
from coseg.inference.exemplar import Exemplars
from coseg.inference.named_objects import NamedExemplars, _half, at_threshold, check_names, contested
from coseg.inference.segmenter import CoSegmenter

LEFT, RIGHT = mask(), ~mask()


def test_one_object_is_that_of_its_exemplars() -> None:
    model = made()
    result = model.exemplars({"horse": [(A, LEFT)]}).segment([A, B])
    alone = model.exemplar([(A, LEFT)]).segment([A, B])
    assert list(result) == ["horse"] == list(result.names) and result.images == 2
    for one, other in zip(result["horse"], alone, strict=True):
        assert np.array_equal(one.probability, other.probability) and np.array_equal(one.mask(), other.mask())
    assert np.array_equal(result.labels(1), alone[1].mask())


@pytest.mark.parametrize("threshold", [0.1, 0.5, 0.55])
def test_a_pixel_is_of_one_object_at_most(threshold: float) -> None:
    model = made(threshold=threshold, keep_islands=True)
    names = {"left": [(A, LEFT)], "right": [(A, RIGHT)], "all": [(B, (3, 3, 40, 20)), (A, (7, 8))]}
    result = model.exemplars(names).segment([A, B])
    for k in range(2):
        masks = np.stack([segment.mask() for segment in result.segments(k)])
        assert masks.sum(0).max() <= 1
        labels = result.labels(k)
        assert labels.shape == masks.shape[1:] and labels.dtype == np.uint8
        for n in range(3):
            assert np.array_equal(labels == n + 1, masks[n])
    assert [result[name].exemplars for name in result] == [1, 1, 2]


def test_the_likeliest_of_several_objects_keeps_its_own_probability() -> None:
    odds = torch.tensor([[[3.0, 0.5, 3.0]], [[-2.0, 1.0, 3.1]], [[-3.0, -3.0, -9.0]]])
    decided = contested(odds, 0.5)
    assert decided[:, 0, 0].argmax() == 0 and float(decided[0, 0, 0]) == pytest.approx(0.95, abs=0.02)
    assert ((decided > 0.5).sum(0) == 1).all() and (decided[:, 0, 2] > 0.5).tolist() == [False, True, False]
    same = contested(torch.ones(2, 1, 1), 0.5)
    assert (same <= 0.5).all()
    assert ((contested(odds, 0.0) > 0).sum(0) == 1).all() and not (contested(odds, 1.0) > 1).any()


def test_what_another_object_shows_is_rest() -> None:
    model = made()
    pair = {"a": [(A, LEFT)], "b": [(B, (0, 0, 30, 30))]}
    together, alone = NamedExemplars(model, pair), NamedExemplars(model, {"a": pair["a"]})
    image = model.encode(B)
    assert not torch.equal(together.searches["a"].logits(image), alone.searches["a"].logits(image))
    shown = {"a": [(A, LEFT)], "b": [(A, RIGHT)]}  # the rest of one photograph is rest already
    assert torch.equal(NamedExemplars(model, shown).searches["a"].logits(image), alone.searches["a"].logits(image))


def test_an_object_that_an_image_does_not_show_takes_no_pixel() -> None:
    unlikely = made(-3.0).exemplars({"a": [(A, LEFT)], "b": [(A, RIGHT)]}).segment([A, B])
    assert unlikely["a"].outside == unlikely["b"].outside == (0, 1) and not unlikely.labels(0).any()
    assert all("'" in sentence and "empty" in sentence for sentence in unlikely.sentences())
    everywhere = made(-3.0).exemplars({"a": [(A, LEFT)], "b": [(A, RIGHT)]}, everywhere=True).segment([A])
    assert everywhere["a"][0].probability.any() and everywhere["a"][0].belongs == pytest.approx(0.2)


def test_each_photograph_is_encoded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    model, names = made(), []
    encode = CoSegmenter.encode

    def counted(self: CoSegmenter, image: Any, name: str = "image 1") -> Any:
        names.append(name)
        return encode(self, image, name)

    monkeypatch.setattr(CoSegmenter, "encode", counted)
    problems: list[int] = []
    search = model.exemplars({"a": [(A, LEFT), (B, (2, 2))], "b": [(A, RIGHT)], "c": [(B, (9, 9))]})
    result = search.segment([A, b"no image", B], None, lambda k, _: problems.append(k))
    assert names == ["exemplar 1", "exemplar 2", "image 1", "image 2", "image 3"]
    assert result.images == 2 and problems == [1] and math.isnan(result["a"].common)


def test_exemplars_are_read_one_at_a_time() -> None:
    model, steps = made(), []
    encode = model.encode

    def shown(name: str) -> Any:
        for k in range(2):
            steps.append(f"{name} {k}")
            yield encode(A), LEFT

    def described(*_: Any) -> None:
        steps.append("added")

    with pytest.MonkeyPatch.context() as patch:
        add = Exemplars._add
        patch.setattr(Exemplars, "_add", lambda *given: (described(), add(*given)))
        model.exemplars({"a": shown("a"), "b": shown("b")})
    assert steps == ["a 0", "added", "a 1", "added", "b 0", "added", "b 1", "added"]


def test_probabilities_of_half_precision_are_rounded_down() -> None:
    values = np.array([0.50001, 0.5, 0.49999, 0.0, 1.0, 0.33333], np.float32)
    half = _half(values)
    assert half.dtype == np.float16 and (half <= values).all() and np.allclose(half, values, atol=1e-3)
    assert half[[1, 3, 4]].tolist() == [0.5, 0, 1]
    tied = contested(torch.tensor([[[2.0]], [[2.0]]]), 0.3).numpy()
    assert (_half(tied) <= np.float32(0.3)).all()


def test_a_threshold_of_one_image_replaces_that_of_the_model() -> None:
    search = made().exemplars({"a": [(A, LEFT)], "b": [(A, RIGHT)]})
    low = search.segment_encoded(search.segmenter.encode(B), threshold=0.1)
    assert all(segment.threshold == 0.1 for segment in low)
    assert sum(segment.mask().astype(int) for segment in low).max() <= 1


@pytest.mark.parametrize(
    "objects",
    [
        {},
        {"a": []},
        {"": [(A, LEFT)]},
        {"a/b": [(A, LEFT)]},
        {"..": [(A, LEFT)]},
        {" a": [(A, LEFT)]},
        {"a" * 61: [(A, LEFT)]},
        {"Horse": [(A, LEFT)], "horse": [(A, RIGHT)]},
        {"a": [(A, LEFT)], "b": [(A, RIGHT & LEFT)]},
        [(A, LEFT)],
    ],
)
def test_wrong_objects_get_a_sentence(objects: Any) -> None:
    with pytest.raises(CosegError):
        made().exemplars(objects)


def test_names() -> None:
    check_names(["horse", "my rider 2", "a_b-c", "größe", "घोड़ा"])
    with pytest.raises(CosegError, match="255"):
        check_names([f"o{k}" for k in range(255)])


@pytest.mark.parametrize("threshold", [0.02, 0.3, 0.5, 0.8, 0.98])
def test_masks_at_another_threshold_do_not_overlap_either(threshold: float) -> None:
    rng = np.random.default_rng(0)
    smooth = [np.kron(rng.random((4, 6)), np.ones((4, 4))).astype(np.float16) for _ in range(3)]
    segments = [Segment("a", (61, 97), probability, 0.5) for probability in smooth]
    moved = at_threshold(segments, threshold)
    masks = np.stack([segment.mask() for segment in moved])
    assert {segment.threshold for segment in moved} == {threshold}
    if threshold != 0.5:  # for which they were made
        assert masks.sum(0).max() <= 1
        at_working_size = np.stack([segment.probability for segment in moved]) > np.float32(threshold)
        stacked = np.stack(smooth)
        expected = (stacked > np.float32(threshold)) & (stacked == stacked.max(0))
        assert (at_working_size == expected).mean() > 0.99
    (alone,) = at_threshold(segments[:1], threshold)
    assert alone.probability is smooth[0] and alone.threshold == threshold
