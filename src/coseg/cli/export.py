"""``coseg-export``: a trained model as graphs for a server, or as weights to share."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from coseg.cli.options import MOST_PIXELS, MOST_THREADS, add_trust, positive, whole

FORMATS = ("onnx", "torch", "safetensors")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="coseg-export",
        description="Write a trained model as two graphs, image to features and kernels, and features and kernels to "
        "logits, so that a server encodes each image once; or as weights to share.",
    )
    parser.add_argument(
        "source",
        nargs="?",
        metavar="MODEL",
        help="a checkpoint, a run, a folder of a shared model, or a name on the Hugging Face hub (the bundled model)",
    )
    parser.add_argument("--format", nargs="+", choices=FORMATS, default=["onnx"], help="what to write (onnx)")
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="where")
    parser.add_argument("--overwrite", action="store_true", help="into a folder that is not empty")
    parser.add_argument(
        "--size",
        type=whole(1, MOST_PIXELS, "a number of pixels"),
        metavar="N",
        help="side, or longest side, of images (the model's own)",
    )
    add_trust(parser)
    parser.add_argument(
        "--mirrored",
        action=argparse.BooleanOptionalAction,
        help="the mean over images and their mirror images, at twice the cost (as the model is)",
    )
    parser.add_argument(
        "--threshold",
        type=positive(1, "a probability"),
        metavar="P",
        help="probability above which a pixel is foreground (the model's)",
    )
    parser.add_argument("--half", action="store_true", help="safetensors in half precision: half of the bytes")
    int8 = parser.add_argument_group("int8, for CPUs")
    int8.add_argument("--int8", action="store_true", help="also write ONNX graphs with 8-bit convolutions")
    int8.add_argument(
        "--calibrate",
        nargs="+",
        metavar="WHAT",
        help="photographs to calibrate with: a folder, or dataset=voc dataset.root=... for its training images",
    )
    int8.add_argument("--images", type=whole(1), default=100, metavar="N", help="how many to calibrate with (100)")
    int8.add_argument(
        "--measure", nargs="+", metavar="SETTING", help="score the ONNX graphs on pairs: dataset=voc dataset.root=..."
    )
    int8.add_argument("--pairs", type=whole(1), default=500, metavar="N", help="how many to score (500)")
    int8.add_argument(
        "--threads", type=whole(1, MOST_THREADS), default=1, metavar="N", help="of onnxruntime when scoring (1)"
    )
    return parser


def _export(options: argparse.Namespace) -> None:
    from coseg.errors import CosegError
    from coseg.export.export_model import export_model, scored
    from coseg.export.formats import check_folder
    from coseg.export.quantise import folder_images, resized
    from coseg.files.writing import require_writable
    from coseg.hub.load import load_pretrained
    from coseg.hub.share import mirrored, unmirrored

    if options.int8 != (options.calibrate is not None):
        raise CosegError("int8 is calibrated with photographs: give both --int8 and --calibrate, or neither.")
    if options.measure and "onnx" not in options.format:
        raise CosegError("Scored are the ONNX graphs: add onnx to --format, or leave out --measure.")
    if options.int8 and "onnx" not in options.format:
        raise CosegError("int8 is made from ONNX: add onnx to --format.")
    check_folder(options.out, options.overwrite, "safetensors" in options.format)
    require_writable(options.out, "choose another --out, or make room")
    model = load_pretrained(options.source, options.trust)
    if options.mirrored is not None:
        model = mirrored(model) if options.mirrored else unmirrored(model)
    if options.threshold is not None:
        model = model._replace(settings={**model.settings, "threshold": options.threshold})
    print(f"model: {model.source}")
    images = None
    if options.calibrate:
        if len(options.calibrate) == 1 and "=" not in options.calibrate[0]:
            photographs = folder_images(Path(options.calibrate[0]), options.images)
        else:
            photographs = _training_images(options.calibrate, options.images)
        images = resized(photographs, model, options.size)
    measured = _test_pairs(options.measure, options.pairs) if options.measure else None
    export_model(model, options.format, options.out, options.overwrite, options.size, images, options.half)
    print(f"written: {options.out}")
    if measured is not None:
        datamodule, void = measured
        print(scored(options.out, datamodule, void, options.threads))


def _training_images(overrides: Sequence[str], count: int) -> Any:
    from coseg.configs import compose_config
    from coseg.export.quantise import catalog_images
    from coseg.settings.check import check_settings
    from coseg.training.fit import make_datamodule

    datamodule = make_datamodule(check_settings(compose_config("test", list(overrides)), "test"))
    return catalog_images(datamodule.catalog("train"), count)


def _test_pairs(overrides: Sequence[str], count: int) -> Any:
    from coseg.configs import compose_config
    from coseg.settings.check import check_settings
    from coseg.training.fit import make_datamodule

    config = check_settings(compose_config("test", [*overrides, f"data.test_pairs={count}"]), "test")
    tests = config.dataset.splits.test
    split = config.split or (tests if isinstance(tests, str) else tests[0])
    datamodule = make_datamodule(config, splits={"train": split, "val": split, "test": str(split)})
    datamodule.setup("test")
    return datamodule, config.protocol.void


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point."""
    from coseg.cli.sentences import guard

    options = _parser().parse_args(arguments)
    guard(lambda: _export(options))


if __name__ == "__main__":
    main()
