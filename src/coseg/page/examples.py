"""The example pictures of the page: scenes with aeroplanes, boats, cars or sheep, drawn from seeds.

No photograph is shipped. `EXAMPLES` are scenes that the bundled model answers rightly, which
``tests/page/test_examples.py`` checks; ``python benchmarks/page_examples.py`` searches for others if the model changes.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from coseg.data.drawing.textures import smooth_noise

WIDTH, HEIGHT = 400, 300
"""Of an example in pixels."""

_FINE = 3
"""Scenes are drawn this many times larger and averaged down, which smooths their edges."""

Pixels = NDArray[np.uint8]
Colour = tuple[float, float, float]
"""RGB, 0..255."""
Points = list[tuple[float, float]]
"""Corners of an outline as (x, y), y downwards, in units of the object's length, from its centre."""


class SceneSpec(NamedTuple):
    """What to draw: the objects, in order from behind, and the seed of everything else.

    >>> SceneSpec(("sheep",), 1)
    SceneSpec(objects=('sheep',), seed=1)
    """

    objects: tuple[str, ...]
    seed: int


class Example(NamedTuple):
    """A set of examples: the scenes, and the object that all of them show; None: they have none in common.

    `shown`: they have another in common, too, so a person clicks on that object in the first scene.
    """

    name: str
    stem: str
    scenes: tuple[SceneSpec, ...]
    common: str | None
    shown: bool = False


EXAMPLES = (
    Example("A pair", "pair", (SceneSpec(("aeroplane",), 1), SceneSpec(("aeroplane",), 2)), "aeroplane"),
    Example("A group of 5", "group", tuple(SceneSpec(("car",), seed) for seed in range(6, 11)), "car"),
    Example("Nothing in common", "nothing", (SceneSpec(("aeroplane",), 1), SceneSpec(("sheep",), 2)), None),
    Example(
        "Two kinds of objects",
        "two",
        (
            SceneSpec(("aeroplane", "sheep"), 3),
            SceneSpec(("sheep", "aeroplane"), 13),
            SceneSpec(("aeroplane", "sheep"), 23),
        ),
        "sheep",
        shown=True,
    ),
)
"""The sets of the page, by the names of their buttons."""


class Scene(NamedTuple):
    """A drawn picture, RGB uint8 (H, W, 3), and the mask of each of its objects, bool (H, W)."""

    picture: Pixels
    masks: dict[str, NDArray[np.bool_]]


def point_on(scene: Scene, name: str) -> tuple[float, float]:
    """A point (x, y) in the middle of an object of a scene, in pixels."""
    rows, columns = np.nonzero(scene.masks[name])
    return float(np.median(columns)), float(np.median(rows))


def draw_examples(folder: Path) -> dict[str, list[Path]]:
    """Draw `EXAMPLES` into `folder` as PNG files.

    Returns:
        Name of each set to its files.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files: dict[str, list[Path]] = {}
    for example in EXAMPLES:
        files[example.name] = [folder / f"{example.stem}_{k}.png" for k in range(1, len(example.scenes) + 1)]
        for path, spec in zip(files[example.name], example.scenes, strict=True):
            Image.fromarray(draw_scene(spec).picture).save(path)
    return files


def draw_scene(spec: SceneSpec) -> Scene:
    """The scene of a specification: always the same for the same specification.

    The first object chooses the surroundings: sky, sea, meadow or road.
    """
    rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence([spec.seed, *map(ord, "".join(spec.objects))])))
    canvas = _Canvas(_SURROUNDINGS[spec.objects[0]](rng), rng)
    masks: dict[str, NDArray[np.bool_]] = {}
    for place, name in enumerate(spec.objects):
        covered = canvas.add(name, place, len(spec.objects))
        masks = {other: mask & ~covered for other, mask in masks.items()} | {name: covered}
    return Scene(canvas.finished(), masks)


class _Canvas:
    """A picture in progress, float32 RGB at the fine size, and the drawing of objects onto it."""

    def __init__(self, picture: NDArray[np.float32], rng: np.random.Generator) -> None:
        self.picture = picture
        self.rng = rng

    def add(self, name: str, place: int, count: int) -> NDArray[np.bool_]:
        """Draw the object `name`, the `place`-th of `count` from left to right; its mask at the final size."""
        rng, (height, width) = self.rng, self.picture.shape[:2]
        length = width * (rng.uniform(0.5, 0.68) if count == 1 else rng.uniform(0.34, 0.42))
        x = width * ((place + 0.5) / count + rng.uniform(-0.06, 0.06) / count)
        y = height * rng.uniform(*_HEIGHTS[name])
        layer = _Layer(height, width, (x, y), length, rng.choice([-1, 1]), _TILT.get(name, 0.02) * rng.uniform(-1, 1))
        _OBJECTS[name](layer, rng)
        cover = layer.cover.astype(np.float32)[..., None] / 255
        # Light from above: each object is brighter in its upper part, as things outdoors are.
        rows = np.flatnonzero(layer.cover.any(1))
        light = np.interp(np.arange(height), [rows[0], rows[-1]], [1.12, 0.8]).astype(np.float32)[:, None, None]
        grain = 1 + 0.12 * (smooth_noise(height, width, 9, rng)[..., None] - 0.5)
        self.picture += cover * (layer.colours * light * grain - self.picture)
        return _reduced(layer.cover) >= 128

    def finished(self) -> Pixels:
        """The picture at its final size, with the noise of a camera."""
        picture = _reduced(self.picture)
        picture = picture + self.rng.normal(0, 3, picture.shape)
        return np.clip(np.rint(picture), 0, 255).astype(np.uint8)


class _Layer:
    """An object: float32 colours (H, W, 3), uint8 cover (H, W), and shapes in the object's units."""

    def __init__(
        self, height: int, width: int, centre: tuple[float, float], length: float, facing: int, tilt: float
    ) -> None:
        self.colours = np.zeros((height, width, 3), np.float32)
        self.cover = np.zeros((height, width), np.uint8)
        self.centre, self.length = centre, length
        turn = np.array([[np.cos(tilt), -np.sin(tilt)], [np.sin(tilt), np.cos(tilt)]])
        self.matrix = length * turn @ np.diag([facing, 1.0])

    def polygon(self, points: Points, colour: Colour) -> None:
        """Fill an outline."""
        places = np.array(points) @ self.matrix.T + self.centre
        corners = [np.rint(places * 16).astype(np.int32)]
        cv2.fillPoly(self.colours, corners, colour, shift=4)
        cv2.fillPoly(self.cover, corners, 255, shift=4)

    def ellipse(self, x: float, y: float, a: float, b: float, colour: Colour) -> None:
        """Fill an ellipse with the half axes `a` and `b`."""
        turns = np.linspace(0, 2 * np.pi, 48)[:-1]
        self.polygon([(x + a * np.cos(t), y + b * np.sin(t)) for t in turns], colour)


def _aeroplane(layer: _Layer, rng: np.random.Generator) -> None:
    body, trim = _shade(rng, (225, 228, 232)), _bright(rng)
    grey: Colour = (150, 155, 165)
    layer.polygon([(-0.06, -0.02), (0.1, -0.02), (-0.12, -0.2), (-0.2, -0.2)], grey)  # the far wing
    layer.polygon([(-0.44, -0.02), (-0.33, -0.03), (-0.44, -0.2), (-0.52, -0.2)], trim)
    turns = np.linspace(-np.pi / 2, np.pi / 2, 20)
    nose: Points = [(0.36 + 0.14 * np.cos(t), 0.065 * np.sin(t)) for t in turns]
    layer.polygon([(-0.5, -0.05), *nose, (-0.25, 0.06)], body)
    layer.polygon([(-0.48, -0.01), (-0.4, -0.01), (-0.48, 0.05), (-0.55, 0.05)], grey)
    layer.polygon([(-0.42, 0.0), (0.49, 0.0), (0.485, 0.018), (-0.38, 0.018)], trim)
    for x in np.linspace(-0.3, 0.32, 14):
        layer.ellipse(x, -0.025, 0.012, 0.014, (70, 85, 110))
    layer.polygon([(0.41, -0.05), (0.45, -0.04), (0.47, -0.018), (0.41, -0.02)], (60, 75, 100))
    layer.ellipse(0.06, 0.1, 0.07, 0.03, (120, 125, 135))
    layer.polygon([(-0.08, 0.03), (0.14, 0.03), (-0.16, 0.24), (-0.26, 0.24)], (185, 190, 198))


def _boat(layer: _Layer, rng: np.random.Generator) -> None:
    hull, sail = _bright(rng), _shade(rng, (240, 236, 225))
    layer.polygon([(-0.03, -0.62), (-0.01, -0.62), (-0.01, 0.05), (-0.03, 0.05)], (110, 80, 50))
    layer.polygon([(0.0, -0.6), (0.34, 0.0), (0.0, 0.0)], sail)
    layer.polygon([(-0.05, -0.52), (-0.05, -0.02), (-0.36, -0.02)], _dimmed(sail, 0.9))
    layer.polygon([(-0.45, 0.04), (0.5, 0.04), (0.36, 0.2), (-0.36, 0.2)], hull)
    layer.polygon([(-0.45, 0.04), (0.5, 0.04), (0.47, 0.075), (-0.435, 0.075)], (245, 245, 240))


def _car(layer: _Layer, rng: np.random.Generator) -> None:
    paint = _bright(rng)
    glass: Colour = (75, 95, 115)
    layer.polygon([(-0.28, -0.06), (-0.18, -0.22), (0.12, -0.22), (0.27, -0.05)], paint)
    layer.polygon([(-0.22, -0.06), (-0.15, -0.19), (-0.03, -0.19), (-0.03, -0.06)], glass)
    layer.polygon([(0.0, -0.06), (0.0, -0.19), (0.1, -0.19), (0.21, -0.06)], glass)
    layer.polygon(
        [(-0.49, -0.02), (-0.42, -0.07), (0.28, -0.07), (0.46, -0.03), (0.5, 0.04), (0.49, 0.12), (-0.49, 0.12)], paint
    )
    layer.polygon([(-0.49, 0.08), (0.49, 0.08), (0.49, 0.12), (-0.49, 0.12)], _dimmed(paint, 0.75))
    layer.ellipse(0.46, 0.02, 0.03, 0.025, (250, 245, 200))
    layer.ellipse(-0.475, 0.02, 0.015, 0.03, (200, 30, 30))
    layer.polygon([(-0.09, -0.01), (-0.03, -0.01), (-0.03, 0.005), (-0.09, 0.005)], (230, 230, 230))
    for x in (-0.3, 0.3):
        layer.ellipse(x, 0.12, 0.1, 0.1, (30, 30, 32))
        layer.ellipse(x, 0.12, 0.055, 0.055, (175, 178, 182))


def _sheep(layer: _Layer, rng: np.random.Generator) -> None:
    wool, face = _shade(rng, (232, 226, 212)), _shade(rng, (70, 60, 55))
    for x in (-0.26, -0.16, 0.12, 0.22):
        layer.polygon([(x - 0.03, 0.1), (x + 0.03, 0.1), (x + 0.022, 0.36), (x - 0.022, 0.36)], face)
    layer.ellipse(0, 0, 0.36, 0.2, wool)
    for t in np.linspace(0, 2 * np.pi, 19)[:-1]:
        layer.ellipse(0.32 * np.cos(t), 0.16 * np.sin(t), 0.09, 0.085, _dimmed(wool, rng.uniform(0.9, 1.03)))
    for _ in range(26):
        t, r = rng.uniform(0, 2 * np.pi), rng.uniform(0, 0.9)
        layer.ellipse(0.3 * r * np.cos(t), 0.15 * r * np.sin(t), 0.05, 0.045, _dimmed(wool, rng.uniform(0.88, 1.04)))
    layer.polygon([(0.3, -0.16), (0.44, -0.2), (0.53, -0.04), (0.5, 0.02), (0.42, 0.02), (0.34, -0.02)], face)
    layer.ellipse(0.31, -0.13, 0.07, 0.03, _dimmed(face, 0.85))
    layer.ellipse(0.36, -0.2, 0.08, 0.06, wool)
    layer.ellipse(0.43, -0.11, 0.012, 0.012, (235, 235, 225))


_OBJECTS: dict[str, Callable[[_Layer, np.random.Generator], None]] = {
    "aeroplane": _aeroplane,
    "boat": _boat,
    "car": _car,
    "sheep": _sheep,
}
OBJECTS = tuple(_OBJECTS)
"""The names of what can be drawn."""

_HEIGHTS = {"aeroplane": (0.4, 0.55), "boat": (0.6, 0.66), "car": (0.62, 0.68), "sheep": (0.56, 0.62)}
_TILT = {"aeroplane": 0.2}


def _sky(rng: np.random.Generator, clouds: float = 0.5) -> NDArray[np.float32]:
    height, width = HEIGHT * _FINE, WIDTH * _FINE
    top, bottom = np.array(_shade(rng, (80, 135, 205))), np.array(_shade(rng, (185, 210, 232)))
    down = np.linspace(0, 1, height, dtype=np.float32)[:, None, None]
    picture = np.broadcast_to(top + down * (bottom - top), (height, width, 3)).astype(np.float32)
    haze = _cloudy(height, width, rng)
    return np.ascontiguousarray(picture + (clouds * haze)[..., None] * (np.float32(245) - picture))


def _cloudy(height: int, width: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """Soft patches, float32 (height, width), 0..1."""
    total = sum(smooth_noise(height, width, cell, rng) * share for cell, share in ((180, 0.6), (70, 0.3), (25, 0.1)))
    return np.clip((np.asarray(total) - 0.5) * 4, 0, 1).astype(np.float32)


def _ground(
    rng: np.random.Generator, colour: Colour, horizon: float, cells: tuple[int, int], strength: float
) -> NDArray[np.float32]:
    """A sky above ground of a colour, rough at two scales; the horizon is at this share of the height."""
    picture = _sky(rng, 0.3)
    height, width = picture.shape[:2]
    line = int(horizon * height)
    rough = sum(smooth_noise(height, width, cell, rng) - 0.5 for cell in cells)
    tone = np.array(_shade(rng, colour), np.float32) * (1 + strength * np.asarray(rough)[..., None])
    nearer = np.linspace(1.1, 0.85, height - line, dtype=np.float32)[:, None, None]
    picture[line:] = tone[line:] * nearer
    return picture


def _meadow(rng: np.random.Generator) -> NDArray[np.float32]:
    picture = _ground(rng, (105, 145, 65), rng.uniform(0.2, 0.36), (12, 90), 0.35)
    return picture


def _sea(rng: np.random.Generator) -> NDArray[np.float32]:
    picture = _ground(rng, (50, 105, 140), rng.uniform(0.5, 0.6), (60, 120), 0.2)
    height, width = picture.shape[:2]
    for _ in range(90):
        x, y, half = rng.integers(0, width), rng.integers(int(0.62 * height), height), int(rng.integers(10, 45))
        cv2.ellipse(picture, (int(x), int(y)), (half, 2), 0, 0, 360, _shade(rng, (95, 150, 180)), -1)
    return picture


def _road(rng: np.random.Generator) -> NDArray[np.float32]:
    picture = _ground(rng, (110, 140, 75), rng.uniform(0.35, 0.45), (12, 90), 0.3)
    height, width = picture.shape[:2]
    top = int(0.62 * height)
    asphalt = np.array(_shade(rng, (125, 125, 128)), np.float32)
    picture[top:] = asphalt * (1 + 0.15 * (smooth_noise(height, width, 6, rng)[top:, :, None] - 0.5))
    return picture


_SURROUNDINGS: dict[str, Callable[[np.random.Generator], NDArray[np.float32]]] = {
    "aeroplane": _sky,
    "boat": _sea,
    "car": _road,
    "sheep": _meadow,
}


def _bright(rng: np.random.Generator) -> Colour:
    """A strong colour: red, blue, yellow, white or green."""
    colours: list[Colour] = [(190, 40, 40), (40, 80, 170), (225, 180, 50), (230, 230, 230), (40, 120, 80)]
    return _shade(rng, colours[int(rng.integers(len(colours)))])


def _shade(rng: np.random.Generator, colour: Colour) -> Colour:
    """The colour, a little brighter or darker, warmer or colder."""
    red, green, blue = (float(np.clip(c * rng.uniform(0.93, 1.07), 0, 255)) for c in colour)
    return red, green, blue


def _dimmed(colour: Colour, share: float) -> Colour:
    red, green, blue = colour
    return share * red, share * green, share * blue


def _reduced(picture: NDArray[Any]) -> NDArray[Any]:
    return np.asarray(cv2.resize(picture, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA))
