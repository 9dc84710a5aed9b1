"""``python -m coseg.cli.calibrate``: teach a model to say whether images have a common object at all.

It learns from the label maps of the training split which features mean which class. Then it fits small regressions on
pairs and groups of the validation split, which the network was not trained on, and measures each half of its images by
what was fitted on the other half; with ``--fit train``, fitted on the training split, which the network knows, and
measured on the validation split. The result goes into the model's ``config.json``, and the measures onto its card.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from coseg.cli.options import MOST_PIXELS, MOST_SEED, MOST_THREADS, add_trust, whole
from coseg.errors import CosegError
from coseg.progress import Progress

if TYPE_CHECKING:
    from coseg.hub.calibration import Calibration, SizeMeasures


def _calibrate(options: argparse.Namespace) -> None:
    from coseg.cli.datasets import chosen_dataset
    from coseg.files.writing import require_writable
    from coseg.hub.settings import CONFIG, WEIGHTS, write_settings
    from coseg.hub.share import save_pretrained, shareable, update_card
    from coseg.inference.cooccurrence.calibrate import calibrate
    from coseg.inference.segmenter import CoSegmenter

    source = Path(options.checkpoint)
    shared = source.is_dir() and (source / WEIGHTS).is_file()
    if options.out is None and not shared:
        raise CosegError(
            f"{source} is no folder of a shared model, so there is no {CONFIG} to write the calibration to: give a "
            "folder for both as --out."
        )
    require_writable(options.out or source, "choose another --out, or make room")
    if options.threads:
        import torch

        torch.set_num_threads(options.threads)
    dataset = chosen_dataset(options.dataset, options.root, None, options.set, options.config_dir)
    taught, unseen = dataset.reader.read(dataset.train), dataset.reader.read(dataset.val)
    fitted, held_out = (taught, unseen) if options.fit == "train" else (unseen, None)
    network_config, network, settings = shareable(options.checkpoint, options.trust)
    model = CoSegmenter(network, settings, options.device, options.size)
    with _Bars() as bars:
        calibration = calibrate(
            model,
            fitted,
            held_out,
            taught,
            options.pairs,
            options.seed,
            options.groups,
            options.images,
            bars.show,
        )
    before, settings = settings, {**settings, "cooccurrence": calibration.to_dict()}
    if options.size is not None:
        settings["size"] = options.size
    if options.out is None:
        write_settings(source / CONFIG, settings)
        update_card(source, before, settings)
    else:
        save_pretrained(options.out, network_config, network, settings)
    for line in _lines(calibration, options.groups > 0):
        print(line)
    print(f"written to {(options.out or source) / CONFIG}")


def _lines(calibration: Calibration, groups: bool) -> Iterator[str]:
    for name, weight in zip(calibration.names, calibration.weights, strict=True):
        yield f"{name:<24} {weight:+.3f}"
    yield _measured(f"{calibration.pairs} pairs of {calibration.data}", calibration.sizes[0])
    if calibration.group is not None:
        yield _measured(f"{calibration.group.pairs} groups", calibration.group)
        for size in calibration.group.sizes:
            yield _measured(f"  {size.groups} of {size.size} images", size)
    elif groups:
        yield "The data set has no groups that share a class and such that share none: groups are not calibrated."
    for held in calibration.held_out:
        of_five = "" if not held.groups else f"; groups of 5: {held.group_brier:.3f}, lowest {held.group_lowest:.2f}"
        yield f"{held.name} held out: accuracy {held.accuracy:.3f}, Brier score {held.brier:.3f}{of_five}"


def _measured(what: str, measures: Calibration | SizeMeasures) -> str:
    from coseg.hub.measures import SizeMeasures

    low, high = measures.interval
    line = f"on {what}: area {measures.auc:.3f}, accuracy {measures.accuracy:.3f} ({low:.3f} to {high:.3f})"
    if isinstance(measures, SizeMeasures):
        counts = {"yes": measures.yes, "no": measures.no, "intruder": measures.intruder, "outside": measures.outside}
        line += "".join(f", {name} {count.right}/{count.total}" for name, count in counts.items() if count.total)
    return line


class _Bars:
    """A progress bar for each catalog in turn."""

    def __init__(self) -> None:
        self._bar: Progress | None = None

    def __enter__(self) -> _Bars:
        return self

    def __exit__(self, *error: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def show(self, done: int, total: int) -> None:
        if done == 1 or self._bar is None:
            self.__exit__()
            self._bar = Progress("Calibrating", total, "step")
        self._bar.reach(done)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m coseg.cli.calibrate",
        description="Calibrate whether images have a common object, and write it into a model's config.json.",
    )
    parser.add_argument(
        "--checkpoint",
        required=True,
        metavar="PATH",
        help="the folder of a shared model, whose config.json is replaced; with --out also a checkpoint or a run",
    )
    add_trust(parser, "the model")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="where the model is written with its calibration")
    parser.add_argument("--dataset", required=True, metavar="NAME", help="whose pairs: voc, shapes, ...")
    parser.add_argument("--root", metavar="FOLDER", help="the data set's folder")
    parser.add_argument(
        "--set", nargs="+", default=[], metavar="KEY=VALUE", help="further values, such as split_val=false"
    )
    parser.add_argument(
        "--fit",
        choices=("train", "val"),
        default="val",
        help="on the validation split, each half measured by a fit on the other (val); or on the training split",
    )
    parser.add_argument(
        "--pairs",
        type=whole(1),
        default=2000,
        metavar="N",
        help="with and without a common class each, for the fit and for the measures (2000)",
    )
    parser.add_argument(
        "--groups", type=whole(0), default=100, metavar="N", help="of each size, likewise (100); 0: none"
    )
    parser.add_argument(
        "--images", type=whole(4), default=800, metavar="N", help="of each split, at most; rare classes first (800)"
    )
    parser.add_argument("--seed", type=whole(0, MOST_SEED), default=0, metavar="N", help="of the sampling (0)")
    parser.add_argument("--size", type=whole(1, MOST_PIXELS), metavar="N", help="input size, if not the model's own")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or mps")
    parser.add_argument("--threads", type=whole(1, MOST_THREADS), metavar="N", help="torch's threads on a CPU")
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point."""
    from coseg.cli.sentences import guard

    options = _parser().parse_args(arguments)
    guard(lambda: _calibrate(options))
    raise SystemExit(0)


if __name__ == "__main__":
    main()
