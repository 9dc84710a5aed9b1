"""Soft edges on drawn fur and hair, whose alpha and colours are known."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from coseg.imaging import matting
from coseg.imaging.matting import soften, trimap

SIDE, FINER = 220, 4


def drawn(kind: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A photograph uint8 (SIDE, SIDE, 3), its alpha, and the colours of the object, both 0..1."""
    random = np.random.default_rng(0)
    side = SIDE * FINER
    canvas, middle = np.zeros((side, side), np.uint8), side // 2
    cv2.circle(canvas, (middle, middle), side // 4, 255, -1)
    strokes, steps, thin, thick = (200, 9, 2, 6) if kind == "hair" else (1200, 4, 3, 8)
    for _ in range(strokes):
        angle = random.uniform(0, 2 * np.pi)
        points = [middle + side / 4.1 * np.array([np.cos(angle), np.sin(angle)])]
        for _ in range(steps):
            points.append(points[-1] + side / 150 * np.array([np.cos(angle), np.sin(angle)]))
            angle += random.normal(0, 0.12)
        cv2.polylines(canvas, [np.array(points).astype(np.int32)], False, 255, int(random.integers(thin, thick)))
    alpha = cv2.resize(canvas, (SIDE, SIDE), interpolation=cv2.INTER_AREA) / 255
    front = np.clip((0.6, 0.35, 0.15) + textured(random, 4) * 0.05, 0, 1)
    back = np.clip((0.3, 0.5, 0.5) + textured(random, 18) * 0.08, 0, 1)
    mixed = front * alpha[..., None] + back * (1 - alpha[..., None]) + random.normal(0, 0.008, (SIDE, SIDE, 3))
    return np.rint(mixed.clip(0, 1) * 255).astype(np.uint8), alpha, front


def textured(random: np.random.Generator, grain: int) -> np.ndarray:
    coarse = random.normal(0, 1, (SIDE // grain + 2, SIDE // grain + 2, 3))
    return cv2.resize(coarse, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)


def predicted(alpha: np.ndarray, coarser: int = 5) -> np.ndarray:
    """What a network would say: it sees the body and not the hairs."""
    blurred = cv2.GaussianBlur(alpha, (0, 0), 0.8 * coarser)
    small = cv2.resize(blurred, (SIDE // coarser, SIDE // coarser), interpolation=cv2.INTER_AREA)
    return (1 / (1 + np.exp(-14 * (small - 0.5)))).astype(np.float32)


def gradients(alpha: np.ndarray) -> np.ndarray:
    smooth = cv2.GaussianBlur(alpha.astype(np.float64), (0, 0), 1.4)
    return np.hypot(cv2.Sobel(smooth, -1, 1, 0, scale=1 / 8), cv2.Sobel(smooth, -1, 0, 1, scale=1 / 8))


def gradient_error(alpha: np.ndarray, truth: np.ndarray) -> float:
    """Rhemann et al. 2009: the sum of the squared differences between the lengths of the gradients."""
    return float(((gradients(alpha) - gradients(truth)) ** 2).sum())


@pytest.mark.parametrize(("kind", "share"), [("hair", 0.6), ("fur", 0.25)])
@pytest.mark.parametrize("longest", [1024, 96])
def test_soft_edges_are_nearer_to_the_truth_than_hard_ones(
    kind: str, share: float, longest: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(matting, "LONGEST", longest)
    image, truth, colours = drawn(kind)
    probability = predicted(truth)
    hard = cv2.resize(probability, (SIDE, SIDE), interpolation=cv2.INTER_LINEAR) > 0.5
    alpha, front = soften(image, probability, 0.5)
    share = share if longest == 1024 else 1.4 * share
    assert gradient_error(alpha / 255, truth) < share * gradient_error(hard, truth)
    assert np.abs(alpha / 255 - truth).mean() < np.abs(hard - truth).mean()
    # Where the object is half transparent, its colour is without that of the background.
    mixed = (truth > 0.2) & (truth < 0.8) & (alpha > 50)
    assert np.abs(front / 255 - colours)[mixed].mean() < 0.75 * np.abs(image / 255 - colours)[mixed].mean()
    assert not front[alpha == 0].any()
    assert np.array_equal(front[alpha == 255] > 0, image[alpha == 255] > 0)


def test_nothing_and_everything() -> None:
    image = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    alpha, front = soften(image, np.zeros((10, 15), np.float32), 0.5)
    assert alpha.shape == (40, 60) and not alpha.any() and not front.any()
    alpha, front = soften(image, np.ones((10, 15), np.float32), 0.5)
    assert (alpha == 255).all()
    assert np.abs(front.astype(int) - image).max() <= 1


@pytest.mark.parametrize("shape", [(2, 2, 3), (1, 40, 3), (300, 3, 3)])
def test_narrow_pictures(shape: tuple[int, ...]) -> None:
    image = np.full(shape, 90, np.uint8)
    probability = np.full((2, 2), 0.1, np.float32)
    probability[0] = 0.9
    alpha, front = soften(image, probability, 0.5)
    assert alpha.shape == shape[:2] and front.shape == shape


def test_thin_parts_keep_a_middle() -> None:
    likely = np.zeros((200, 200), np.float32)
    likely[50:150, 50:150] = likely[98:104, 10:190] = 1
    known = trimap(likely, 0.5)
    assert (known[100:102, 15:40] == 1).any() and (known[80:120, 80:120] == 1).all()
    assert np.isnan(known[50, 50:60]).all() and (known[:30] == 0).all()
