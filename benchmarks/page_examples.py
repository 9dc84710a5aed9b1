"""Which drawn scenes the model answers rightly, for the examples of the page (`coseg.page.examples.EXAMPLES`).

    python benchmarks/page_examples.py                            # the bundled model
    python benchmarks/page_examples.py --checkpoint RUN --seeds 40

It first checks the examples of today, then searches: for each object and seed, a pair, a group of five, a pair with
another object, and three scenes with two kinds of objects, one of which is clicked on. It prints the best as a
replacement for `EXAMPLES`: run it again when the bundled model is exchanged.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Iterable
from itertools import permutations
from typing import NamedTuple

import numpy as np

from coseg.inference.segmenter import CoSegmenter, Encoded
from coseg.page.examples import EXAMPLES, OBJECTS, Example, Scene, SceneSpec, draw_scene, point_on

LEAST_IOU = 0.75
"""Of each mask with what was drawn, in an example that is answered rightly."""

LEAST_SURE = 0.65
"""How likely the right answer to "do they have an object in common?" must be, for a model that is calibrated."""


class Answer(NamedTuple):
    """The answer to one example.

    Attributes:
        ious: of each mask with the common object that was drawn; empty where there is none.
        common: the co-occurrence probability; nan for a model without a calibration.
        right: how likely the right verdict is, by `common`; 1 for a model without a calibration.
    """

    ious: tuple[float, ...]
    common: float
    right: float

    @property
    def is_right(self) -> bool:
        """Whether every mask and the verdict are good enough for an example."""
        return self.right >= LEAST_SURE and min(self.ious, default=1.0) >= LEAST_IOU


Known = dict[SceneSpec, tuple[Scene, Encoded]]
"""Scenes that were drawn and encoded before."""


def answer(segmenter: CoSegmenter, example: Example, known: Known | None = None) -> Answer:
    """The model's answer to an example; `known` saves drawing and encoding a scene again."""
    known = {} if known is None else known
    for spec in example.scenes:
        if spec not in known:
            drawn = draw_scene(spec)
            known[spec] = drawn, segmenter.encode(drawn.picture)
    scenes = [known[spec][0] for spec in example.scenes]
    encoded = [known[spec][1] for spec in example.scenes]
    result = segmenter.cosegment(encoded)
    segments = list(result)
    if example.shown and example.common is not None:
        search = segmenter.exemplar([(encoded[0], point_on(scenes[0], example.common))])
        segments = [search.segment_encoded(image) for image in encoded]
    ious = []
    for scene, segment in zip(scenes, segments, strict=True):
        if example.common is not None:
            truth, mask = scene.masks[example.common], segment.mask()
            ious.append(float((truth & mask).sum() / max((truth | mask).sum(), 1)))
    right = 1.0 if math.isnan(result.common) else result.common if example.common is not None else 1 - result.common
    return Answer(tuple(ious), result.common, right)


def candidates(seeds: int) -> Iterable[tuple[int, Example]]:
    """For each of `EXAMPLES`, by its index, what could replace it."""
    pair, group, nothing, two = EXAMPLES
    size = len(group.scenes)
    for name in OBJECTS:
        for first in range(1, seeds, 2):
            yield 0, pair._replace(scenes=tuple(SceneSpec((name,), first + k) for k in range(2)), common=name)
            companions = [other for other in OBJECTS if other != name]
            beside = [SceneSpec((name, companions[(first + k) % len(companions)]), first + k) for k in range(2)]
            yield 0, pair._replace(scenes=tuple(beside), common=name)
        for first in range(1, seeds - size + 2, size):
            yield 1, group._replace(scenes=tuple(SceneSpec((name,), first + k) for k in range(size)), common=name)
    for a, b in permutations(OBJECTS, 2):
        for seed in range(1, max(2, seeds // 4)):
            yield 2, nothing._replace(scenes=(SceneSpec((a,), seed), SceneSpec((b,), seed + 1)), common=None)
            scenes = (SceneSpec((a, b), seed), SceneSpec((b, a), seed + 10), SceneSpec((a, b), seed + 20))
            yield 3, two._replace(scenes=scenes, common=b)


def _line(example: Example, found: Answer) -> str:
    ious = " ".join(f"{iou:.2f}" for iou in found.ious)
    scenes = " ".join(f"{'+'.join(spec.objects)}:{spec.seed}" for spec in example.scenes)
    return f"{'right' if found.is_right else 'wrong'}  {scenes}  common {found.common:.2f}  IoU {ious or '-'}"


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", help="file, folder or run (the bundled model)")
    parser.add_argument("--seeds", type=int, default=12, help="how many of each object are tried (%(default)s)")
    parser.add_argument("--show", type=int, default=3, help="how many candidates of each set are listed (%(default)s)")
    options = parser.parse_args()
    if options.seeds < len(EXAMPLES[1].scenes):
        parser.error(f"a group has {len(EXAMPLES[1].scenes)} scenes: --seeds must be as many or more")
    segmenter = CoSegmenter.from_pretrained(options.checkpoint)
    for example in EXAMPLES:
        print(f"{example.name}: {_line(example, answer(segmenter, example))}")
    answers: list[list[tuple[float, Example, Answer]]] = [[] for _ in EXAMPLES]
    known: Known = {}
    for k, example in candidates(options.seeds):
        tried = answer(segmenter, example, known)
        answers[k].append((float(np.min([tried.right, *tried.ious])), example, tried))
    best = []
    for tries in answers:
        tries.sort(key=lambda entry: entry[0], reverse=True)
        counts = {"set": tries[0][1].name, "right": sum(entry[2].is_right for entry in tries), "tried": len(tries)}
        print(f"\n{json.dumps(counts)}\nThe best:")
        for _, example, tried in tries[: options.show]:
            print(f"  {_line(example, tried)}")
        best.append(tries[0][1])
    print("\nEXAMPLES = (\n" + "".join(f"    {example},\n" for example in best) + ")")


if __name__ == "__main__":
    main()
