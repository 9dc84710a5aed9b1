"""An object shown in one photograph and searched for in others."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_networks import batch, network_config, picture, tiny_network

from coseg import CoSegmenter
from coseg.errors import CosegError
from coseg.hub.calibration import Calibration
from coseg.hub.settings import settings_of
from coseg.inference import exemplar
from coseg.inference.cooccurrence.descriptors import ALIKE
from coseg.models.base import CosegNetwork
from coseg.models.exemplar import Exemplar

A, B = picture(40, 50), picture(31, 66, 1)
HALF = np.arange(50) < 25


def made(bias: float | None = None, config: dict[str, Any] | None = None, **options: Any) -> CoSegmenter:
    """A tiny model; with a `bias`, one that finds each object equally likely."""
    config = config or network_config(kernel_sizes=[1, 3], rescale=True)
    network = tiny_network(config)
    settings = settings_of(config, network)
    if bias is not None:
        settings["cooccurrence"] = Calibration(ALIKE, (0.0, 0.0), (1.0, 1.0), (0.0, 0.0), bias).to_dict()
    return CoSegmenter(network, settings, "cpu", **options)


def mask() -> np.ndarray[Any, Any]:
    return np.tile(HALF, (40, 1))


def expected(network: CosegNetwork, region: Any) -> np.ndarray[Any, Any]:
    with torch.inference_mode():
        shown = Exemplar(network.encode(batch(A)), (40, 50), torch.from_numpy(np.asarray(region, np.uint8)))
        (logits,) = network.cosegment_exemplars([shown], [network.encode(batch(B))], [(31, 66)])
    probability: np.ndarray[Any, Any] = logits.softmax(1)[0, 1].numpy()
    return probability


def test_the_masks_are_those_of_the_network(tmp_path: Path) -> None:
    model = made()
    Image.fromarray(mask()).save(tmp_path / "mask.png")
    for region in (mask(), mask().astype(np.int64), torch.from_numpy(mask()), tmp_path / "mask.png"):
        result = model.exemplar([(A, region)]).segment([B])
        assert len(result) == 1 and result.exemplars == 1 and math.isnan(result.common)
        np.testing.assert_allclose(result[0].probability, expected(model.network, mask()), atol=1e-3)
        assert result[0].size == (31, 66) and result[0].threshold == 0.5 and math.isnan(result[0].belongs)


def test_a_rectangle_and_a_point_are_regions_around_them() -> None:
    model = made(threshold=0.0)
    search = model.exemplar([(A, (0, 0, 25, 40))])
    assert search._exemplars[0].region.numpy().tolist() == mask().tolist()  # above 0 all of the rectangle is object
    inside = made(threshold=0.5).exemplar([(A, [3.5, 2, 12, 9])])._exemplars[0].region
    assert inside.any() and not inside[12:].any() and not inside[:, 17:].any()
    for x, y in ((0, 0), (49.9, 39.9), (20, 10)):
        region = model.exemplar([(A, (x, y))])._exemplars[0].region
        assert region.shape == (32, 32) and region[int(y / 40 * 32), int(x / 50 * 32)] == 1


def test_several_exemplars_are_one_object() -> None:
    model = made()
    alone, twice = (model.exemplar([(A, mask())] * times).segment([B, A]) for times in (1, 2))
    assert twice.exemplars == 2
    for one, other in zip(alone, twice, strict=True):
        np.testing.assert_allclose(one.probability, other.probability, atol=1e-3)


def test_an_image_without_the_object_gets_an_empty_mask() -> None:
    likely = made(3.0).exemplar([(A, mask())]).segment([A, B])
    assert [segment.belongs for segment in likely] == pytest.approx([1 / (1 + math.exp(-3))] * 2)
    unlikely = made(-3.0).exemplar([(A, mask())]).segment([A, B])
    assert [segment.belongs for segment in unlikely] == [0.2, 0.2]  # never surer
    assert unlikely.outside == (0, 1) and not any(segment.mask().any() for segment in unlikely)
    everywhere = made(-3.0).exemplar([(A, mask())], everywhere=True).segment([A, B])
    for one, other in zip(everywhere, likely, strict=True):
        assert np.array_equal(one.probability, other.probability)


def test_images_that_cannot_be_read_are_left_out() -> None:
    calls: list[tuple[int, int]] = []
    problems: list[int] = []
    search = made().exemplar([(A, mask())])
    result = search.segment([A, b"no image", B], lambda *x: calls.append(x), lambda k, _: problems.append(k))
    assert len(result) == 2 and problems == [1] and calls == [(1, 3), (2, 3), (3, 3)]
    with pytest.raises(CosegError):
        search.segment([b"no image"])
    with pytest.raises(CosegError, match="no image"):
        search.segment([])


WRONG = {
    "empty": (np.zeros((40, 50), bool), "empty"),
    "of another size": (np.ones((50, 40), bool), "40 x 50"),
    "labels": (np.arange(2000).reshape(40, 50), "several values"),
    "missing": ("missing.png", "missing.png"),
    "point outside": ((50, 3), "outside"),
    "negative point": ((-1, 3), "outside"),
    "rectangle outside": ((50, 0, 5, 5), "rectangle"),
    "empty rectangle": ((5, 5, 0, 5), "rectangle"),
    "three numbers": ((1, 2, 3), "rectangle"),
    "not a number": ((1, math.nan), "point"),
    "nothing": (None, "mask"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_objects_get_a_sentence(case: str) -> None:
    region, word = WRONG[case]
    with pytest.raises(CosegError, match=word):
        made().exemplar([(A, region)])


def test_wrong_exemplars_get_a_sentence() -> None:
    for shown in ([], [A], [(A,)]):
        with pytest.raises(CosegError, match="xemplar"):
            made().exemplar(shown)
    siamese = made(config=network_config("siamese.SiameseNetwork"))
    with pytest.raises(CosegError, match="SiameseNetwork"):
        siamese.exemplar([(A, mask())])


def test_void_is_neither_object_nor_rest() -> None:
    labels = np.where(mask(), 1, 0)
    labels[:, 25:40] = 255
    region = made().exemplar([(A, labels)])._exemplars[0].region
    assert np.array_equal(region.numpy(), labels)
    assert np.array_equal(made().exemplar([(A, mask() * 255)])._exemplars[0].region.numpy(), mask())


def test_a_rectangle_that_ends_beyond_all_numbers_has_no_pixel_or_ends_at_the_edge() -> None:
    with pytest.raises(CosegError, match="has no pixel"):
        made().exemplar([(A, (1e308, 0, 1e308, 10))])
    assert len(made().exemplar([(A, (3, 3, 1.7e308, 1.7e308))])) == 1


def test_a_large_region_is_kept_small_and_its_positions_are_computed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    model, calls = made(), []
    counted = type(model.network).shown_positions
    monkeypatch.setattr(
        type(model.network), "shown_positions", lambda self, *shown: calls.append(1) or counted(self, *shown)
    )
    large = mask().repeat(3, 0).repeat(3, 1)
    search = exemplar.Exemplars(model, [(replace(model.encode(A), size=large.shape), large)])
    shown = search._exemplars[0]
    assert shown.positions is not None and np.array_equal(shown.region.numpy(), mask())
    expected = search.network.exemplar_positions(
        Exemplar(shown.features, shown.size, torch.from_numpy(large.astype(np.uint8)))
    )
    calls.clear()
    for another in (False, True):
        objects, rest = search.network.exemplar_positions(shown._replace(another=another))
        assert torch.equal(rest if another else objects, expected[0])
        assert not objects.any() if another else torch.equal(rest, expected[1])
    search.segment([A, B])
    assert not calls


def test_the_search_needs_nothing_of_the_photograph_but_its_features() -> None:
    model = made()
    encoded = model.encode(A)
    search = exemplar.Exemplars(model, [(encoded, mask())])
    assert np.array_equal(
        search.segment_encoded(model.encode(B)).probability, model.exemplar([(A, mask())]).segment([B])[0].probability
    )
