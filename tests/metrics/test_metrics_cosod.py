"""MAE, S-, E- and F-measure of grey maps: by hand, and beside the programs that the field uses."""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from coseg.metrics import COSOD_SCORES
from coseg.metrics.cosod import MapScores, cosod_means, map_scores, mean_scores

Map = tuple[NDArray[np.uint8], NDArray[np.bool_]]


RECORD = Path(__file__).with_name("cosod_oracle.json")
"""What `pysodmetrics` 1.6.2 gave for the maps of these tests: it wants older versions of NumPy and OpenCV than ours.
``python tests/metrics/test_metrics_cosod.py``, where it is installed (``--no-deps``), writes it anew."""

SINGLE = {"seed": 1, "number": 12}
SEVERAL = {"seed": 2, "number": 3}


def recorded(name: str) -> list[list[float]]:
    """Scores in the order of `COSOD_SCORES`, null for what is no number there."""
    rows: list[list[float | None]] = json.loads(RECORD.read_text())[name]
    return [[math.nan if value is None else value for value in row] for row in rows]


def oracle(maps: Iterable[Map]) -> list[float]:
    """What `pysodmetrics` gives, in the order of `COSOD_SCORES`."""
    sod = pytest.importorskip("py_sod_metrics", reason="pip install --no-deps pysodmetrics")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        measures = mae, s, e, f = sod.MAE(), sod.Smeasure(), sod.Emeasure(), sod.Fmeasure()
        for grey, truth in maps:
            for measure in measures:
                measure.step(grey, truth.astype(np.uint8) * 255)
        of_e, of_f = e.get_results()["em"], f.get_results()["fm"]
    curves = [value for of in (of_e, of_f) for value in (of["curve"].max(), of["curve"].mean(), of["adp"])]
    return [float(value) for value in (mae.get_results()["mae"], s.get_results()["sm"], *curves)]


def truths(rng: np.random.Generator, height: int, width: int) -> dict[str, NDArray[np.bool_]]:
    rectangle = np.zeros((height, width), bool)
    top, bottom = sorted(rng.integers(0, height + 1, 2))
    left, right = sorted(rng.integers(0, width + 1, 2))
    rectangle[top:bottom, left:right] = True
    return {
        "empty": np.zeros((height, width), bool),
        "full": np.ones((height, width), bool),
        "rectangle": rectangle,
        "sparse": rng.random((height, width)) < 0.05,
        "dense": rng.random((height, width)) < 0.9,
    }


def greys(rng: np.random.Generator, truth: NDArray[np.bool_]) -> dict[str, NDArray[np.uint8]]:
    noise = rng.integers(0, 256, truth.shape)
    band = np.full(truth.shape, rng.integers(0, 256))
    band[: len(truth) // 3] = rng.integers(0, 256)
    band[0, 0], band[-1, -1] = 255, 0
    drawn = {
        "noise": noise,
        "constant": np.full(truth.shape, rng.integers(1, 255)),
        "black": np.zeros(truth.shape),
        "white": np.full(truth.shape, 255),
        "right": truth * 255,
        "wrong": ~truth * 255,
        "two values": np.where(truth, 170, 60),
        "band": band,
        "soft": np.clip(truth * 150 + noise / 3, 0, 255),
    }
    return {name: grey.astype(np.uint8) for name, grey in drawn.items()}


def drawn_maps(seed: int, number: int) -> list[tuple[str, Map]]:
    rng = np.random.default_rng(seed)
    sizes = [tuple(rng.integers(2, 60, 2)) for _ in range(number)]
    return [
        (f"{size} {truth_name}, {name}", (grey, truth))
        for size in sizes
        for truth_name, truth in truths(rng, *size).items()
        for name, grey in greys(rng, truth).items()
    ]


def several() -> dict[str, list[Map]]:
    maps = [drawn for name, drawn in drawn_maps(**SEVERAL) if "rectangle" not in name]
    return {"all": maps, "a": maps[:10], "b": maps[10:90], "c": maps[90:]}


def record() -> dict[str, list[list[float]]]:
    return {
        "single": [oracle([drawn]) for _, drawn in drawn_maps(**SINGLE)],
        "several": [oracle(maps) for maps in several().values()],
    }


def test_each_score_is_that_of_the_fields_programs() -> None:
    compared = 0
    for (name, drawn), row in zip(drawn_maps(**SINGLE), recorded("single"), strict=True):
        wanted, values = np.array(row), np.array([*mean_scores([map_scores(*drawn)]).values()])
        assert np.isfinite(values).all(), name
        if np.isfinite(wanted).all():  # where the foreground's centre is at the border, theirs is nan
            assert np.abs(values - wanted).max() < 1e-9, (name, dict(zip(COSOD_SCORES, values - wanted, strict=True)))
            compared += 1
    assert compared > 500


def test_means_are_those_of_the_fields_programs() -> None:
    maps, wanted = several(), dict(zip(several(), recorded("several"), strict=True))
    parts = {name: part for name, part in maps.items() if name != "all"}
    means = cosod_means({name: [map_scores(*drawn) for drawn in part] for name, part in parts.items()})
    assert list(means.mean_of_images.values()) == pytest.approx(wanted["all"], abs=1e-9)
    for name in parts:
        assert list(means.per_group[name].values()) == pytest.approx(wanted[name], abs=1e-9)
    for score in COSOD_SCORES:
        mean = sum(scores[score] for scores in means.per_group.values()) / 3
        assert means.mean_of_groups[score] == pytest.approx(mean)
    assert means.mean_of_groups != means.mean_of_images


def test_the_record_is_what_the_fields_programs_give() -> None:
    for name, rows in record().items():
        np.testing.assert_allclose(np.array(rows), np.array(recorded(name)), atol=1e-12)


def test_by_hand() -> None:
    truth = np.zeros((10, 10), bool)
    truth[2:6, 3:8] = True  # 20 pixels
    perfect = mean_scores([map_scores(truth.astype(np.uint8) * 255, truth)])
    assert perfect["mae"] == 0
    assert [perfect[name] for name in ("s_measure", "max_f_measure", "adaptive_f_measure")] == pytest.approx([1] * 3)
    assert perfect["max_e_measure"] == pytest.approx(100 / 99)  # by its definition, which divides by one less
    grey = np.zeros((10, 10), np.uint8)
    grey[2:6, 3:5] = 255  # 8 of the 20
    grey[8:, :1] = 255  # and 2 that are wrong
    scores = map_scores(grey, truth)
    precision, recall = 0.8, 0.4
    assert scores.mae == pytest.approx(0.14)
    assert scores.adaptive_f == pytest.approx(1.3 * precision * recall / (0.3 * precision + recall))
    assert scores.f_curve[:-1] == pytest.approx(scores.adaptive_f)
    assert scores.f_curve[-1] == pytest.approx(1.3 * 0.2 / (0.3 * 0.2 + 1))  # at threshold 0 all is foreground


def test_edges() -> None:
    nothing, everything = np.zeros((4, 6), bool), np.ones((4, 6), bool)
    for truth, black in ((nothing, 1), (everything, 0)):
        for value, s_measure in ((0, black), (255, 1 - black), (51, 0.8 if black else 0.2)):
            scores = map_scores(np.full((4, 6), value, np.uint8), truth)
            assert scores.s_measure == pytest.approx(s_measure)
            assert scores.mae == pytest.approx(1 - s_measure)
    border = np.zeros((4, 6), bool)
    border[:, -1] = True  # the quadrants on the right are empty
    assert map_scores(border.astype(np.uint8) * 255, border).s_measure == pytest.approx(1)
    assert np.isfinite(map_scores(np.zeros((1, 1), np.uint8), np.ones((1, 1), bool)).row).all()


def test_a_row_holds_all_of_it() -> None:
    rng = np.random.default_rng(0)
    scores = map_scores(rng.integers(0, 256, (9, 7), dtype=np.uint8), rng.random((9, 7)) < 0.4)
    assert scores.row.shape == (516,)
    back = MapScores.from_row(scores.row)
    assert back[:4] == scores[:4]
    assert np.array_equal(back.e_curve, scores.e_curve) and np.array_equal(back.f_curve, scores.f_curve)


@pytest.mark.parametrize(
    ("grey", "truth"),
    [
        (np.zeros((2, 2)), np.zeros((2, 2), bool)),
        (np.zeros((2, 2), np.uint8), np.zeros((2, 2), np.uint8)),
        (np.zeros((2, 2), np.uint8), np.zeros((2, 3), bool)),
        (np.zeros((0, 2), np.uint8), np.zeros((0, 2), bool)),
    ],
)
def test_what_is_no_map(grey: NDArray, truth: NDArray) -> None:
    with pytest.raises(ValueError, match=r"expected|pixel"):
        map_scores(grey, truth)


if __name__ == "__main__":
    values = {
        name: [[round(value, 13) if math.isfinite(value) else None for value in row] for row in rows]
        for name, rows in record().items()
    }
    RECORD.write_text(json.dumps(values, separators=(",", ":")) + "\n")
