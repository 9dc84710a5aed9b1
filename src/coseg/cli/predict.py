"""``coseg-predict``: cut the common object out of photographs."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from coseg.cli.options import add_cutout_style, add_trust, cutout_style, whole
from coseg.errors import CosegError
from coseg.inference.folders import home_expanded
from coseg.inference.inputs import printable

if TYPE_CHECKING:
    from coseg.cli.predict_output import PredictOutput
    from coseg.inference.exemplar import Exemplars
    from coseg.inference.inputs import Inputs
    from coseg.inference.outputs import Targets
    from coseg.inference.segmenter import CoSegmenter

EXAMPLES = """\
examples:
  coseg-predict cat1.jpg cat2.jpg               a pair
  coseg-predict album/ --out cutouts/           all images of a folder, as one group
  coseg-predict 'album/*.jpg' --only cutout     a pattern, and nothing but the cut-outs
  coseg-predict album/ --only cutout --crop --soft-edges --format jpg --background white
  coseg-predict album/ --pairs                  each pair of images by itself, a folder for each
  coseg-predict album/ --clusters               an album of several objects: which photographs share what
  coseg-predict album/ --json scores.json       what was cosegmentation, as numbers; --json alone prints them
  coseg-predict album/ --watch                  and then what is copied into it, until Ctrl-C
  coseg-predict - b.jpg --out - <a.jpg >a.png   the cut-out of one picture, from and to a pipe
  coseg-predict album/ --exemplar a.jpg:m.png   the object of the mask m.png in a.jpg, not what all have in common
  coseg-predict album/ --exemplar a.jpg:12,9,80,60 --exemplar b.jpg:40,31   … in a rectangle, and at a point
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
    images = "image files, folders of them, patterns such as 'album/*.jpg', or - for one from standard input"
    add("images", nargs="*", metavar="IMAGE", help=images)
    folder = "for the results (coseg-output); -: one result to standard output"
    add("--out", type=_place, default=Path("coseg-output"), metavar="FOLDER", help=folder)
    add("--pairs", action="store_true", help="each pair of images by itself, rather than all as one group")
    add("--clusters", action="store_true", help="groups of images that share an object, each of them by itself")
    add("--watch", action="store_true", help="then wait for new photographs in the folders, until Ctrl-C")
    add(
        "--exemplar",
        action="append",
        default=[],
        metavar="PHOTO:OBJECT",
        help="search for this object: PHOTO shows it at OBJECT, a mask file, x,y,width,height or x,y in pixels; may be "
        "repeated for one object",
    )
    add("--everywhere", action="store_true", help="with --exemplar: the object is in every image, so no mask is empty")
    add("--recursive", action="store_true", help="look into the folders in folders too, linked ones as well")
    add("--only", type=_kinds, default=KINDS, metavar="KINDS", help=f"write only these: {','.join(KINDS)} is all")
    add_cutout_style(parser)
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
    parser.set_defaults(chosen=None)
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
    from coseg.inference.inputs import collect, exemplar_word
    from coseg.inference.outputs import Targets, check_folder, longest_of_results

    style = cutout_style(options)
    check_folder(options.out)
    remove_leftovers(options.out)
    inputs = collect(options.images, options.recursive, options.out, longest_of_results(options.out))
    for problem in inputs.problems if inputs.paths or not options.watch else ():
        output.problem(problem)
    exemplars = [exemplar_word(word) for word in options.exemplar]
    if options.watch and exemplars:
        raise CosegError("--watch and --exemplar can't be given together: leave one out.")
    if not inputs.paths and exemplars:
        raise CosegError("There are no images in which the exemplar's object could be searched for: give some.")
    if len(inputs.paths) < 2 and not options.watch and not exemplars:
        what = f"{printable(str(inputs.paths[0]))} is the only image" if inputs.paths else "There are no images"
        raise CosegError(f"{what}, but to have something in common there must be at least two: give more.")
    if scores_file is not None:
        check_folder(scores_file.parent)
    further = [] if scores_file is None else [scores_file]
    targets = Targets(
        options.out, inputs.names, options.only, options.pairs, options.overwrite, further, inputs.paths, style,
        options.chosen,
    )  # fmt: skip
    if targets.shortened:
        output.problem(
            f"The names of {targets.shortened} folders of pairs are too long and were shortened: --json lists the "
            "files of each pair."
        )
    if targets.kept and not options.watch:
        first = ", ".join(map(str, targets.kept[:3]))
        rest = f" and {len(targets.kept) - 3} more" if len(targets.kept) > 3 else ""
        stay = "exists: it is kept" if len(targets.kept) == 1 else "exist: they are kept"
        replaces = "They are given as images" if options.overwrite else "--overwrite replaces"
        output.problem(f"{first}{rest} {stay}. {replaces}, --out gives another folder.")
        if len(targets.kept) == targets.count and options.json != "-":
            return
    _segment(options, output, inputs, targets, scores_file, exemplars)


def _segment(
    options: argparse.Namespace,
    output: PredictOutput,
    inputs: Inputs,
    targets: Targets,
    scores_file: Path | None,
    exemplars: list[tuple[Path, Any]],
) -> None:
    output.say("Loading the model …")
    from coseg.hub.load import load_pretrained
    from coseg.inference.segmenter import CoSegmenter

    network, settings, source = load_pretrained(options.checkpoint, options.trust)
    segmenter = CoSegmenter(
        network, settings, options.device, options.size, options.threshold, source, options.keep_islands
    )
    size = "" if segmenter.size is None else f" at {segmenter.size} pixels"
    output.say(f"Segmenting with {source}{size} on {segmenter.device}.")
    if segmenter.size_note is not None:
        output.say(segmenter.size_note)
    if not options.watch:
        search = segmenter.exemplar(exemplars, options.everywhere) if exemplars else None
        _segment_all(options, output, inputs, targets, scores_file, segmenter, source, search)
        return
    from coseg.cli.watch import watch

    finished = len(inputs.paths) >= 2
    if finished and len(targets.kept) < targets.count:
        try:
            _segment_all(options, output, inputs, targets, scores_file, segmenter, source)
        except CosegError as error:  # fewer than two can be read yet
            output.problem(str(error))
            finished = False
    watch(options, output, inputs, finished, targets.style, segmenter)


def _segment_all(
    options: argparse.Namespace,
    output: PredictOutput,
    inputs: Inputs,
    targets: Targets,
    scores_file: Path | None,
    segmenter: CoSegmenter,
    source: str,
    search: Exemplars | None = None,
) -> None:
    from coseg.inference.album import Album
    from coseg.inference.cosegmentation import common_sentence, reliability

    album = Album(segmenter, inputs.paths, targets, output.problem, output.progress, source, search, options.clusters)
    results: list[dict[str, Any]] = []
    try:
        for cosegmentation, result in album.run():
            results.append(result)
            if options.pairs:
                output.pair(cosegmentation)
            else:
                if options.clusters:
                    output.say(f"Group {len(results)}:")  # how often they are right was not measured
                output.images(cosegmentation, [image["number"] for image in result["images"]], album.numbered)
                if options.clusters:
                    continue
                output.say(common_sentence(cosegmentation, segmenter.calibration))
                if options.how_sure and search is not None:
                    output.say("How sure: not measured for exemplars.")
                elif options.how_sure:
                    count = len(cosegmentation)
                    output.say(reliability(segmenter.calibration, count, segmenter.size) or "How sure: not measured.")
    finally:
        output.done()
    if options.pairs:
        output.pairs()
        if options.how_sure:
            output.say(reliability(segmenter.calibration, 2, segmenter.size) or "How sure: not measured.")
        output.numbered(inputs.paths, album.numbered)
    if options.clusters:
        output.alone([inputs.paths[place].name for place in album.alone])
    several = options.pairs or options.clusters
    count = 2 if several else len(results[0]["images"])
    scores = {
        **segmenter.model_scores(source, count),
        **({"threshold": segmenter.exemplar_threshold, "calibration": None} if search is not None else {}),
        **({"pairs" if options.pairs else "groups": results} if several else results[0]),
        **({"alone": [place + 1 for place in album.alone]} if options.clusters else {}),
        "problems": output.problems,
    }
    if options.json is not None:
        _write_scores(scores, scores_file, output, scores_file is not None and targets.is_kept(scores_file))
    if options.chosen is None:
        output.say(f"The results are in {options.out}/.")


def _write_scores(scores: dict[str, Any], file: Path | None, output: PredictOutput, kept: bool) -> None:
    from coseg.cli.sentences import writing
    from coseg.files.writing import write_text_atomically
    from coseg.inference.cosegmentation import for_json

    text = output.aliased(json.dumps(for_json(scores), indent=2, allow_nan=False))
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
    if options.exemplar and options.pairs:
        parser.error("--exemplar searches each image by itself: leave --pairs out")
    if options.clusters and (options.pairs or options.exemplar or options.watch):
        parser.error("--clusters goes with neither --pairs nor --exemplar nor --watch")
    if options.everywhere and not options.exemplar:
        parser.error("--everywhere is about the object of an exemplar: give --exemplar PHOTO:OBJECT")
    if not options.images:
        parser.error("give images: files, folders or patterns (see --help)")
    from coseg.cli.predict_output import PredictOutput
    from coseg.cli.sentences import guard
    from coseg.cli.streams import to_standard_output, with_standard_streams
    from coseg.cli.watch import check_watch

    output = PredictOutput(options.quiet, to_stderr=options.json == "-" or to_standard_output(options))

    def job() -> None:
        check_watch(options)
        with_standard_streams(options, output, lambda: _predict(options, output, scores_file))

    guard(job)
    raise SystemExit(2 if output.problems else 0)


if __name__ == "__main__":
    main()
