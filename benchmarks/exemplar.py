"""What an exemplar is worth: photographs of two classes, and a partner that shows both.

    python -m benchmarks.exemplar --root … [--dataset voc] [--set split_val=false]
        [--prompt mask|rectangle|point] [--everywhere] [--partners P] [--checkpoint MODEL]

For each such image, partner and class two masks of the image are scored against the class alone: that of the pair as it
is, and that with the partner's class as exemplar (its label map, the rectangle around it, or its innermost point). The
partners of an image come in random order; after each round, in which every image has one more partner, a line of JSON
has the figures so far. The last line has those of all pairs, or of P partners an image:

- ``without``, ``exemplar``: the mean Jaccard index; void counts as background.
- ``gain``: their difference and its 95 % interval, by bootstrap over images (`coseg.metrics.bootstrap`).
- ``gain_of_images``: the same where each image counts once, by the mean over its partners.
- ``emptied``: the share of masks that were left empty, since the image seemed not to show the object.
"""

from __future__ import annotations

import argparse
import json

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from coseg.cli.datasets import chosen_dataset
from coseg.cli.sentences import guard
from coseg.data.catalog import Catalog
from coseg.inference.cooccurrence.descriptors import describe
from coseg.inference.cosegmentation import Segment
from coseg.inference.encoded_images import Encoded
from coseg.inference.exemplar import Exemplars, Region
from coseg.inference.segmenter import CoSegmenter
from coseg.labels import VOID
from coseg.metrics.bootstrap import difference


def prompt(labels: NDArray[np.uint8], label: int, way: str) -> Region:
    """How the class `label` of a label map is shown: its mask, the rectangle around it, or its innermost point."""
    mask = labels == label
    if way == "mask":
        return np.where(labels == VOID, VOID, mask).astype(np.uint8)
    if way == "rectangle":
        rows, columns = np.nonzero(mask)
        return columns.min(), rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1
    depth = cv2.distanceTransform(np.pad(mask, 1).astype(np.uint8), cv2.DIST_L2, 5)[1:-1, 1:-1]
    y, x = np.unravel_index(depth.argmax(), depth.shape)
    return int(x), int(y)


def jaccard(mask: NDArray[np.bool_], truth: NDArray[np.bool_]) -> float:
    return float((mask & truth).sum() / (mask | truth).sum())


class Records:
    """Scores of pairs: of each the image, the partner, and for both classes the Jaccard without and with exemplar."""

    def __init__(self) -> None:
        self.units: list[tuple[int, int]] = []
        self.without: list[list[float]] = []
        self.exemplar: list[list[float]] = []
        self.emptied: list[bool] = []

    def figures(self) -> dict[str, object]:
        units, without, exemplar = np.array(self.units), np.array(self.without), np.array(self.exemplar)
        images = np.unique(units[:, 0])
        means = [[values[units[:, 0] == image].mean() for image in images] for values in (exemplar, without)]
        return {
            "images": len(images),
            "pairs": len(units),
            "masks": without.size,
            "without": round(float(without.mean()), 4),
            "exemplar": round(float(exemplar.mean()), 4),
            "gain": [round(float(value), 4) for value in difference(units, exemplar, without)],
            "gain_of_images": [round(float(value), 4) for value in difference(images[:, None], *means)],
            "emptied": round(float(np.mean(self.emptied)), 4),
        }


def score(
    segmenter: CoSegmenter,
    catalog: Catalog,
    image: int,
    partner: int,
    way: str,
    everywhere: bool,
    known: dict[int, Encoded],
) -> tuple[list[float], list[float], list[bool]]:
    """Of the image's two classes: the Jaccard index without and with exemplar, and whether the mask was left empty."""
    for k in (image, partner):
        if k not in known:
            known[k] = segmenter.encode(catalog.image(k), catalog.ids[k])
    a, b = known[image], known[partner]
    labels, partner_labels = catalog.labels(image), catalog.labels(partner)
    with torch.inference_mode():
        logits, _ = segmenter.network.cosegment(a.features, b.features, a.working, b.working)
    plain = Segment(a.name, a.size, segmenter.probability(logits), segmenter.threshold, keep_islands=False).mask()
    described = describe(segmenter.network, a.features, a.working)
    without, exemplar, emptied = [], [], []
    for index in np.flatnonzero(catalog.presence[image]):
        truth = labels == index + 1
        search = Exemplars(segmenter, [(b, prompt(partner_labels, int(index) + 1, way))], everywhere)
        segment = search.segment_encoded(a, described)
        without.append(jaccard(plain, truth))
        exemplar.append(jaccard(segment.mask(), truth))
        emptied.append(not segment.probability.any())
    return without, exemplar, emptied


def run(arguments: argparse.Namespace) -> None:
    torch.set_num_threads(arguments.threads)
    chosen = chosen_dataset(arguments.dataset, arguments.root, words=arguments.set)
    catalog = chosen.reader.read(chosen.val)
    segmenter = CoSegmenter.from_pretrained(arguments.checkpoint, device=arguments.device)
    presence, rng = np.asarray(catalog.presence), np.random.default_rng(0)
    partners = {}
    for image in np.flatnonzero(presence.sum(1) == 2):
        both = presence[:, presence[image]].all(1)
        both[image] = False
        if both.any():
            partners[int(image)] = rng.permutation(np.flatnonzero(both)).tolist()
    records, known = Records(), dict[int, Encoded]()
    rounds = max(map(len, partners.values()), default=0)
    for k in range(rounds if arguments.partners is None else min(rounds, arguments.partners)):
        for image, order in partners.items():
            if k < len(order):
                without, exemplar, emptied = score(
                    segmenter, catalog, image, order[k], arguments.prompt, arguments.everywhere, known
                )
                records.units.append((image, order[k]))
                records.without.append(without)
                records.exemplar.append(exemplar)
                records.emptied += emptied
        print(json.dumps({"round": k + 1, "prompt": arguments.prompt, **records.figures()}), flush=True)
    if not rounds:
        print(json.dumps({"images": 0}))


def options(description: str) -> argparse.ArgumentParser:
    """What every benchmark of exemplars takes; the description is the first line of a text."""
    parser = argparse.ArgumentParser(description=description.split("\n")[0])
    parser.add_argument("--prompt", choices=("mask", "rectangle", "point"), default="mask")
    parser.add_argument("--everywhere", action="store_true", help="no mask is emptied: the images show the objects")
    parser.add_argument("--dataset", default="voc")
    parser.add_argument("--root", help="the folder of the data set")
    parser.add_argument("--set", nargs="+", default=[], metavar="KEY=VALUE", help="settings of the data set")
    parser.add_argument("--checkpoint", help="a model (the bundled one)")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    return parser


def main() -> None:
    parser = options(__doc__ or "")
    parser.add_argument("--partners", type=int, help="of each image, at most (all)")
    arguments = parser.parse_args()
    guard(lambda: run(arguments))


if __name__ == "__main__":
    main()
