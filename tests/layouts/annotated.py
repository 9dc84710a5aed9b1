"""Write images with label maps of several classes as COCO's instances, labelme's files and CVAT's export of masks.

The keys, formats and modes of the files are those that the programs write.
"""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from coseg.imaging.regions import compressed_counts, mask_runs
from layouts.voc import JPEG_QUALITY, voc_palette

Items = Iterable[tuple[str, NDArray[np.uint8], NDArray[np.uint8]]]
"""``(id, image, labels)``: RGB uint8 (H, W, 3), and uint8 (H, W) of 0, the numbers of the classes from 1, 255 void."""

VOID = 255


def write_coco(root: Path, items: Items, classes: Sequence[str], split: str = "train2017") -> Path:
    """Write ``annotations/instances_<split>.json`` and ``<split>/<id>.jpg``; void as a crowd of the first class.

    Objects are run lengths, of even numbers as text and of odd ones as lists; ids have gaps, as COCO's have.
    """
    images, annotations = [], []
    for number, (name, image, labels) in enumerate(items, 1):
        _save(image, root / split / f"{name}.jpg")
        height, width = labels.shape
        images.append({"id": 7 * number, "file_name": f"{name}.jpg", "height": height, "width": width, "license": 1})
        for label in np.unique(labels[labels > 0]).tolist():
            crowd = label == VOID
            runs = mask_runs(labels == label)
            counts = runs.counts.tolist() if label % 2 else compressed_counts(runs.counts)
            annotations.append(
                {
                    "id": 1000 + len(annotations), "image_id": 7 * number, "category_id": 10 * (1 if crowd else label),
                    "segmentation": {"size": [height, width], "counts": counts}, "area": runs.area,
                    "bbox": [0, 0, width, height], "iscrowd": int(crowd),
                }
            )  # fmt: skip
    categories = [{"id": 10 * k, "name": name, "supercategory": "thing"} for k, name in enumerate(classes, 1)]
    return write_instances(root / "annotations" / f"instances_{split}.json", images, annotations, categories)


def write_instances(path: Path, images: list[Any], annotations: list[Any], categories: list[Any]) -> Path:
    """Write a file of instances."""
    path.parent.mkdir(parents=True, exist_ok=True)
    document = {
        "info": {"year": 2017, "contributor": "drawn"}, "licenses": [{"id": 1, "name": "none"}], "images": images,
        "annotations": annotations, "categories": categories,
    }  # fmt: skip
    path.write_text(json.dumps(document), encoding="utf-8")
    return path


def write_labelme(folder: Path, items: Items, classes: Sequence[str]) -> None:
    """Write ``<id>.jpg`` and ``<id>.json`` with a shape of the type mask for each class; void as ``__ignore__``."""
    for name, image, labels in items:
        shapes = []
        for label in np.unique(labels[labels > 0]).tolist():
            rows, columns = np.nonzero(labels == label)
            top, bottom, left, right = rows.min(), rows.max(), columns.min(), columns.max()
            text = png_text((labels == label)[top : bottom + 1, left : right + 1])
            points = [[float(left), float(top)], [float(right), float(bottom)]]
            title = "__ignore__" if label == VOID else classes[label - 1]
            shapes.append(shape(title, points, "mask", mask=text))
        _save(image, folder / f"{name}.jpg")
        write_shapes(folder / f"{name}.json", shapes, f"{name}.jpg", labels.shape)


def png_text(mask: NDArray[np.bool_]) -> str:
    """A mask as labelme keeps it in JSON."""
    buffer = io.BytesIO()
    Image.fromarray(mask.astype(np.uint8)).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


def shape(label: str, points: Any, kind: str = "polygon", **keys: Any) -> dict[str, Any]:
    """A shape of labelme."""
    return {"label": label, "points": points, "group_id": None, "shape_type": kind, "flags": {}, **keys}


def write_shapes(path: Path, shapes: list[Any], image: str, size: Sequence[int] | None) -> None:
    """Write a file of labelme; `size` is height and width."""
    height, width = size or (None, None)
    document = {
        "version": "5.5.0", "flags": {}, "shapes": shapes, "imagePath": image, "imageData": "aGVsbG8=" * 10,
        "imageHeight": height, "imageWidth": width,
    }  # fmt: skip
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=2), encoding="utf-8")


def write_cvat(root: Path, items: Items, classes: Sequence[str], lists: Mapping[str, Sequence[str]]) -> None:
    """Write VOC's folders with RGB masks, and ``labelmap.txt``; the colours are VOC's, in another order."""
    palette = voc_palette()
    colours = {label: palette[(37 * label) % 251 + 1] for label in range(1, len(classes) + 1)}
    table = np.zeros((256, 3), np.uint8)
    for label, colour in colours.items():
        table[label] = colour
    table[VOID] = (224, 224, 192)
    for name, image, labels in items:
        _save(image, root / "JPEGImages" / f"{name}.jpg")
        _save(table[labels], root / "SegmentationClass" / f"{name}.png")
    lines = ["# label:color_rgb:parts:actions", "background:0,0,0::"]
    lines += [f"{title}:{','.join(map(str, colours[label]))}::" for label, title in enumerate(classes, 1)]
    (root / "labelmap.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    sets = root / "ImageSets" / "Segmentation"
    sets.mkdir(parents=True, exist_ok=True)
    for split, ids in lists.items():
        (sets / f"{split}.txt").write_text("".join(f"{name}\n" for name in ids), encoding="utf-8")


def _save(pixels: NDArray[np.uint8], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, quality=JPEG_QUALITY)
