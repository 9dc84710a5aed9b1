"""The description of exported graphs: ``config.json`` for a server, and ``README.md`` for a person.

`coseg.export.export_model` writes both.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from coseg.export.formats import OPSET, SUFFIXES
from coseg.export.graphs import Graphs
from coseg.imaging.read import FORMATS


def config_of(
    settings: Mapping[str, Any], graphs: Graphs, square: bool, mirrored: bool, differences: Mapping[str, float]
) -> dict[str, Any]:
    """`settings` (see `coseg.hub.settings.settings_of`) and under ``graphs`` what a server needs to run them."""
    about = {
        "inputs": {"encode": ["images"], "cosegment": graphs.names},
        "outputs": {"encode": graphs.names, "cosegment": ["logits"]},
        "features": list(graphs.features),
        "kernels": list(graphs.kernels),
        "resize": "square" if square else "longest",
        "any_size": graphs.size is None,
        "single": graphs.single,
        "stride": graphs.stride,
        "group": graphs.group,
        "mirrored": mirrored,
        "opset": OPSET,
        "differences": {form: float(f"{difference:.2g}") for form, difference in differences.items()},
    }
    return {**settings, "graphs": about}


def readme(config: Mapping[str, Any], source: str) -> str:
    """The section of ``README.md`` about the graphs; `config` is made by `config_of`."""
    about = config["graphs"]
    forms = [form for form in (*SUFFIXES, "int8") if form in about["differences"] or form in about]
    parts = [_HEAD.format(source=source), _files(forms), _takes(config), _gives(config)]
    if "onnx" in forms:
        parts.append(_EXAMPLE.format(code=example(config)))
    return "\n\n".join(parts) + "\n"


def example(config: Mapping[str, Any]) -> str:
    """A program of numpy, PIL and onnxruntime that cuts the common object out of two photographs."""
    about, size = config["graphs"], config["size"]
    if about["resize"] == "square":
        resized = f"image.resize(({size}, {size}), Image.Resampling.BILINEAR)"
    elif size is not None:
        resized = f"ImageOps.contain(image, ({size}, {size}), Image.Resampling.BILINEAR)"
    else:
        resized = "image"
    return _CODE.format(
        resized=resized,
        count=len(about["features"]),
        names=about["inputs"]["cosegment"],
        threshold=config["threshold"],
        formats=FORMATS,
    )


def _files(forms: list[str]) -> str:
    descriptions = {
        "onnx": f"`encode.onnx`, `cosegment.onnx`: ONNX, opset {OPSET}, float32",
        "torch": "`encode.pt2`, `cosegment.pt2`: `torch.export.load(path).module()`, float32",
        "int8": "`encode.int8.onnx`, `cosegment.int8.onnx`: ONNX with 8-bit convolutions, for CPUs; the same inputs "
        "and outputs",
    }
    return "\n".join(f"- {descriptions[form]}" for form in forms)


def _takes(config: Mapping[str, Any]) -> str:
    about, size, stride = config["graphs"], config["size"], config["graphs"]["stride"]
    lines = [
        "`encode` takes `images`, RGB, uint8 (B, 3, height, width), 0..255. "
        + (f"Normalising and padding to multiples of {stride} are" if stride > 1 else "Normalising is")
        + " in the graph, resizing is not:",
        "",
    ]
    if about["resize"] == "square":
        lines.append(
            f"- Resize each photograph to {size} x {size}, whatever its shape, bilinear with antialiasing (PIL's "
            "`BILINEAR`; not OpenCV's, which has none). The network was made for that."
        )
    elif size is not None:
        lines.append(f"- Shrink each photograph to a longest side of {size}, bilinear with antialiasing.")
    if about["any_size"]:
        lines.append(
            f"- The graph itself takes any height and width from {stride + 1} on, and any batch; the two images of a "
            "pair may have different sizes."
        )
    else:
        batch = "one image at a time" if about["single"] else "any batch"
        lines.append(f"- The graph takes {batch}, and this size only.")
    if about["mirrored"]:
        lines.append(
            "- The graphs also use the mirror image of each image, as the network does: nothing is left to do. "
            "`coseg-export --no-mirrored` leaves that out, for half the cost and other masks."
        )
    return "\n".join(lines)


def _gives(config: Mapping[str, Any]) -> str:
    about = config["graphs"]
    kernels = ", ".join(f"`{name}`" for name in about["kernels"])
    features = ", ".join(f"`{name}`" for name in about["features"])
    if not about["kernels"]:
        first = (
            f"`encode` gives {features} of each image, and `cosegment` turns them into logits: this network looks at "
        )
        first += "each image alone."
    else:
        first = (
            f"`encode` gives {features} and {kernels} of each image: keep both, an image is encoded once. `cosegment` "
            f"takes {features} of an image and {kernels} of its partner. Call it once for each side of a pair"
        )
        first += "." if about["single"] else ", or, where both images have one size, once with both sides in the batch."
    lines = [first, ""]
    if about["group"] == "join" and about["kernels"]:
        lines += [
            f"A group of n images of one size takes n calls: give each image the {kernels} of all others, joined on "
            f"axis 1. For large groups average {kernels} over cells of a grid first, see `docs/export.md` of coseg.",
            "",
        ]
    elif about["group"] and about["kernels"]:
        lines += [
            f"A group of n images takes n calls: give each image the mean of the {kernels} of all others.",
            "",
        ]
    elif about["kernels"]:
        lines += ["For a group, take the mean of the logits of an image with each of the others.", ""]
    rounded = f", rounded up to multiples of {about['stride']}: cut them to the image, `[:, :, :height, :width]`"
    rounded = rounded if about["stride"] > 1 else ""
    lines.append(
        f"`logits` are float32 (B, 2, H, W), H and W the image's{rounded}. The softmax over axis 1 gives, in channel "
        "1, the probability that a pixel is of the common object. Resize that to the photograph: the foreground is "
        f"where it is above {config['threshold']}."
    )
    return "\n".join(lines)


_HEAD = """# Graphs for a server
Made by `coseg-export` from {source}. `config.json` holds the same for programs, under `graphs`."""

_EXAMPLE = """## Two photographs
```python
{code}```

`python example.py a.jpg b.jpg`, with this text in a file here, writes `a.mask.png` and `b.mask.png`."""

_CODE = """import sys

import numpy as np
import onnxruntime
from PIL import Image, ImageOps

encode, cosegment = (onnxruntime.InferenceSession(f"{{name}}.onnx") for name in ("encode", "cosegment"))


# No other decoder sees a file: some of Pillow's run programs.
FORMATS = {formats}


def encoded(path):
    image = ImageOps.exif_transpose(Image.open(path, formats=FORMATS)).convert("RGB")
    pixels = np.asarray({resized})
    outputs = encode.run(None, {{"images": pixels.transpose(2, 0, 1)[None]}})
    return outputs[:{count}], outputs[{count}:], pixels.shape[:2], image.size


def mask(image, partner):
    features, _, (height, width), size = image
    inputs = dict(zip({names}, [*features, *partner[1]]))
    background, common = cosegment.run(None, inputs)[0][0, :, :height, :width]
    probability = Image.fromarray(1 / (1 + np.exp(background - common)))
    return np.asarray(probability.resize(size, Image.Resampling.BILINEAR)) > {threshold}


a, b = (encoded(path) for path in sys.argv[1:3])
for name, image, partner in (("a", a, b), ("b", b, a)):
    Image.fromarray(mask(image, partner)).save(f"{{name}}.mask.png")
"""
