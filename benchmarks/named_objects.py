"""What several named objects at once are worth: photographs of two classes, each class shown by another photograph.

    python -m benchmarks.named_objects --root … [--dataset voc] [--set split_val=false]
        [--prompt mask|rectangle|point] [--shown together|apart] [--everywhere] [--seed S] [--checkpoint MODEL]

For each image of two classes, both are searched for: each by itself, as `CoSegmenter.exemplar` does, and at once, as
`CoSegmenter.exemplars` does. The exemplars, chosen at random, are one photograph that shows both classes (``together``)
or for each class one without the other (``apart``). A line of JSON has

- ``alone``, ``at_once``: the mean Jaccard index of the masks; void counts as background.
- ``gain``: their difference and its 95 % interval, by bootstrap over images (`coseg.metrics.bootstrap`).
- ``overlap``: the share of the pixels of the masks that both objects have when each is searched for by itself.
"""

from __future__ import annotations

import argparse
import json

import numpy as np
import torch

from benchmarks.exemplar import jaccard, options, prompt
from coseg.cli.datasets import chosen_dataset
from coseg.cli.sentences import guard
from coseg.data.catalog import Catalog
from coseg.inference.named_objects import NamedExemplars
from coseg.inference.segmenter import CoSegmenter
from coseg.metrics.bootstrap import difference


def exemplars_of(catalog: Catalog, image: int, shown: str, rng: np.random.Generator) -> list[tuple[int, int]]:
    """For each class of the image the class and the photograph that shows it; empty if there is none."""
    presence = np.asarray(catalog.presence)
    classes = np.flatnonzero(presence[image])
    chosen: list[tuple[int, int]] = []
    for index in classes:
        rest = classes[classes != index]
        usable = presence[:, index] & (presence[:, rest].all(1) if shown == "together" else ~presence[:, rest].any(1))
        usable[image] = False
        if not usable.any():
            return []
        first = shown == "together" and bool(chosen)
        chosen.append((int(index), chosen[0][1] if first else int(rng.choice(np.flatnonzero(usable)))))
    return chosen


def run(arguments: argparse.Namespace) -> None:
    torch.set_num_threads(arguments.threads)
    chosen = chosen_dataset(arguments.dataset, arguments.root, words=arguments.set)
    catalog = chosen.reader.read(chosen.val)
    segmenter = CoSegmenter.from_pretrained(arguments.checkpoint, device=arguments.device)
    rng = np.random.default_rng(arguments.seed)
    units, alone, at_once, both, either = [], [], [], 0, 0
    for image in np.flatnonzero(np.asarray(catalog.presence).sum(1) == 2).tolist():
        pairs = exemplars_of(catalog, image, arguments.shown, rng)
        if not pairs:
            continue
        partners = {k: segmenter.encode(catalog.image(k), catalog.ids[k]) for _, k in pairs}
        objects = {
            f"class {index}": [(partners[k], prompt(catalog.labels(k), index + 1, arguments.prompt))]
            for index, k in pairs
        }
        encoded, labels = segmenter.encode(catalog.image(image), catalog.ids[image]), catalog.labels(image)
        truths = [labels == index + 1 for index, _ in pairs]
        together = NamedExemplars(segmenter, objects, arguments.everywhere).segment_encoded(encoded)
        single = [
            segmenter.exemplar(shown, arguments.everywhere).segment_encoded(encoded).mask()
            for shown in objects.values()
        ]
        units.append(image)
        alone.append([jaccard(mask, truth) for mask, truth in zip(single, truths, strict=True)])
        at_once.append([jaccard(segment.mask(), truth) for segment, truth in zip(together, truths, strict=True)])
        both += int((single[0] & single[1]).sum())
        either += int((single[0] | single[1]).sum())
    figures: dict[str, object] = {"images": len(units), "shown": arguments.shown, "prompt": arguments.prompt}
    if units:
        gain = difference(np.array(units)[:, None], np.array(at_once), np.array(alone))
        figures |= {
            "alone": round(float(np.mean(alone)), 4),
            "at_once": round(float(np.mean(at_once)), 4),
            "gain": [round(float(value), 4) for value in gain],
            "overlap": round(both / max(1, either), 4),
        }
    print(json.dumps(figures))


def main() -> None:
    parser = options(__doc__ or "")
    parser.add_argument("--shown", choices=("together", "apart"), default="apart", help="in one photograph, or in two")
    parser.add_argument("--seed", type=int, default=0, help="of the choice of exemplars")
    arguments = parser.parse_args()
    guard(lambda: run(arguments))


if __name__ == "__main__":
    main()
