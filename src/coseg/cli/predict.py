"""``coseg-predict``: cut the common object out of photographs."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from coseg.cli.options import add_trust, whole
from coseg.errors import CosegError
from coseg.inference.folders import home_expanded
from coseg.inference.inputs import printable

if TYPE_CHECKING:
    from coseg.cli.predict_output import PredictOutput
    from coseg.inference.inputs import Inputs
    from coseg.inference.outputs import Targets

EXAMPLES = """\
examples:
  coseg-predict cat1.jpg cat2.jpg               a pair
  coseg-predict album/ --out cutouts/           all images of a folder, as one group
  coseg-predict 'album/*.jpg' --only cutout     a pattern, and nothing but the cut-outs
  coseg-predict album/ --pairs                  each pair of images by itself, a folder for each
  coseg-predict album/ --json scores.json       what was cosegmentation, as numbers; --json alone prints them
  coseg-predict album/ --checkpoint runs/voc/…  with a network that coseg-train made

The results of <name>.jpg are <name>_mask.png (0 and 255) and <name>_cutout.png (transparent around the object), both
at the size of the photograph, and <name>_overlay.jpg, at most 1600 pixels wide or high. sheet.png shows all of them.
Put -- before names that begin with a dash. What exists as it is written is no pattern: 'album [2020]/*.jpg' works.
Exit code 0; 2 if something was wrong: it is reported, and the rest is done; 130 after Ctrl-C.
"""

KINDS = ("mask", "overlay", "cutout", "sheet")


def _kinds(text: str) -> tuple[str, ...]:
    words = tuple(word.strip() for word in text.split(",") if word.strip())
    if not words or not set(words) <= set(KINDS):
        raise argparse.ArgumentTypeError(f"'{text}' is not a list of {', '.join(KINDS)}, such as mask,sheet")
    return words


def _share(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"'{text}' is not a number from 0 to 1, such as 0.5")
    return value


def _place(text: str) -> Path:
    if not text:
        raise argparse.ArgumentTypeError("the folder's name is empty")
    return home_expanded(text)


class _Parser(argparse.ArgumentParser):
    """Tells of a file whose name was taken for an option."""

    words: Sequence[str] = ()

    def error(self, message: str) -> NoReturn:
        dashed = [word for word in self.words if word.startswith("-") and os.path.lexists(word)]
        hint = f" (for the image {dashed[0]}: -- {dashed[0]}, after all options)" if dashed else ""
        super().error(printable(message + hint))


def _parser() -> _Parser:
    parser = _Parser(
        prog="coseg-predict",
        description="Cut the object that photographs have in common out of each of them.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add, size = parser.add_argument, whole(16, 8192, "a number of pixels")
    add("images", nargs="*", metavar="IMAGE", help="image files, folders of them, or patterns such as 'album/*.jpg'")
    add("--out", type=_place, default=Path("coseg-output"), metavar="FOLDER", help="for the results (coseg-output)")
    add("--pairs", action="store_true", help="each pair of images by itself, rather than all as one group")
    add("--recursive", action="store_true", help="look into the folders in folders too, linked ones as well")
    add("--only", type=_kinds, default=KINDS, metavar="KINDS", help=f"write only these: {','.join(KINDS)} is all")
    add("--overwrite", action="store_true", help="replace files that exist; otherwise they are kept")
    add("--json", nargs="?", const="-", metavar="FILE", help="write scores to FILE.json, or print them")
    add(
        "--threshold",
        type=_share,
        metavar="P",
        help="of the foreground's pixels, at least (the model's, mostly 0.5)",
    )
    add("--size", type=size, metavar="PIXELS", help="at which the network works (the model's; others are often worse)")
    add("--keep-islands", action="store_true", help="keep small islands and strips along the border in the masks")
    add("--checkpoint", metavar="MODEL", help="file, folder, run directory or hub id (the bundled model)")
    add_trust(parser)
    add("--device", default="auto", metavar="NAME", help="cpu, cuda, mps (the fastest there is)")
    add("--how-sure", action="store_true", help="also how often such answers were right, and on which images")
    add("--quiet", action="store_true", help="only tell what went wrong")
    return parser


def _json_target(options: argparse.Namespace) -> Path | None:
    """The file for the scores; None where there is none or they are printed. ``--json a.jpg`` means an image."""
    if options.json is None or options.json == "-":
        return None
    if not options.json.lower().endswith(".json"):
        options.images.insert(0, options.json)
        options.json = "-"
        return None
    return home_expanded(options.json)


def _predict(options: argparse.Namespace, output: PredictOutput, scores_file: Path | None) -> None:
    # Threads that wait for work shall sleep: images of this size are small jobs, and beside other work on the machine
    # waiting took ten times the processor time of the network itself. It is read when torch is loaded.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    from coseg.files.writing import remove_leftovers
    from coseg.inference.inputs import collect
    from coseg.inference.outputs import Targets, check_folder, longest_of_results

    check_folder(options.out)
    remove_leftovers(options.out)
    inputs = collect(options.images, options.recursive, options.out, longest_of_results(options.out))
    for problem in inputs.problems:
        output.problem(problem)
    if len(inputs.paths) < 2:
        what = f"{printable(str(inputs.paths[0]))} is the only image" if inputs.paths else "There are no images"
        raise CosegError(f"{what}, but to have something in common there must be at least two: give more.")
    if scores_file is not None:
        check_folder(scores_file.parent)
    further = [] if scores_file is None else [scores_file]
    targets = Targets(
        options.out, inputs.names, options.only, options.pairs, options.overwrite, further, sources=inputs.paths
    )
    if targets.shortened:
        output.problem(
            f"The names of {targets.shortened} folders of pairs are too long and were shortened: --json lists the "
            "files of each pair."
        )
    if targets.kept:
        first = ", ".join(map(str, targets.kept[:3]))
        rest = f" and {len(targets.kept) - 3} more" if len(targets.kept) > 3 else ""
        stay = "exists: it is kept" if len(targets.kept) == 1 else "exist: they are kept"
        replaces = "They are given as images" if options.overwrite else "--overwrite replaces"
        output.problem(f"{first}{rest} {stay}. {replaces}, --out gives another folder.")
        if len(targets.kept) == targets.count and options.json != "-":
            return
    _segment(options, output, inputs, targets, scores_file)


def _segment(
    options: argparse.Namespace, output: PredictOutput, inputs: Inputs, targets: Targets, scores_file: Path | None
) -> None:
    output.say("Loading the model …")
    from coseg.hub.load import load_pretrained
    from coseg.inference.album import Album
    from coseg.inference.cosegmentation import common_sentence, reliability
    from coseg.inference.segmenter import CoSegmenter

    network, settings, source = load_pretrained(options.checkpoint, options.trust)
    segmenter = CoSegmenter(
        network, settings, options.device, options.size, options.threshold, source, options.keep_islands
    )
    size = "" if segmenter.size is None else f" at {segmenter.size} pixels"
    output.say(f"Segmenting with {source}{size} on {segmenter.device}.")
    if segmenter.size_note is not None:
        output.say(segmenter.size_note)
    album = Album(segmenter, inputs.paths, targets, output.problem, output.progress, source)
    results: list[dict[str, Any]] = []
    try:
        for cosegmentation, result in album.run():
            results.append(result)
            if options.pairs:
                output.pair(cosegmentation)
            else:
                output.images(cosegmentation, [image["number"] for image in result["images"]], album.numbered)
                output.say(common_sentence(cosegmentation, segmenter.calibration))
                if options.how_sure:
                    count = len(cosegmentation)
                    output.say(reliability(segmenter.calibration, count, segmenter.size) or "How sure: not measured.")
    finally:
        output.done()
    if options.pairs:
        output.pairs()
        if options.how_sure:
            output.say(reliability(segmenter.calibration, 2, segmenter.size) or "How sure: not measured.")
        output.numbered(inputs.paths, album.numbered)
    count = 2 if options.pairs else len(results[0]["images"])
    scores = {
        **segmenter.model_scores(source, count),
        **({"pairs": results} if options.pairs else results[0]),
        "problems": output.problems,
    }
    if options.json is not None:
        _write_scores(scores, scores_file, output, scores_file is not None and targets.is_kept(scores_file))
    output.say(f"The results are in {options.out}/.")


def _write_scores(scores: dict[str, Any], file: Path | None, output: PredictOutput, kept: bool) -> None:
    from coseg.cli.sentences import writing
    from coseg.files.writing import write_text_atomically
    from coseg.inference.cosegmentation import for_json

    text = json.dumps(for_json(scores), indent=2, allow_nan=False)
    if file is None:
        print(text)
    elif not kept:
        with writing(file):
            write_text_atomically(file, text + "\n")


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    end = words.index("--") if "--" in words else len(words)
    parser = _parser()
    parser.words = words[:end]
    options = parser.parse_intermixed_args(words[:end])  # images may stand between options
    options.images += words[end + 1 :]
    scores_file = _json_target(options)
    if not options.images:
        parser.error("give images: files, folders or patterns (see --help)")
    from coseg.cli.predict_output import PredictOutput
    from coseg.cli.sentences import guard

    output = PredictOutput(options.quiet, to_stderr=options.json == "-")
    guard(lambda: _predict(options, output, scores_file))
    raise SystemExit(2 if output.problems else 0)


if __name__ == "__main__":
    main()
