"""The command line of ``coseg-predict``: its options, and which go together."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from coseg.cli.options import add_cutout_style, add_trust, whole
from coseg.errors import CosegError
from coseg.inference.folders import home_expanded, is_object_name
from coseg.inference.inputs import exemplar_word, printable

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
  coseg-predict album/ --exemplar horse=a.jpg:m.png --exemplar rider=b.jpg:12,30   several objects, by name
  coseg-predict album/ --split-out sorted/      and copies of the photographs in sorted/belongs, unsure, does_not_belong
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


class PredictParser(argparse.ArgumentParser):
    """Tells of a file whose name was taken for an option."""

    words: Sequence[str] = ()

    def error(self, message: str) -> NoReturn:
        dashed = [word for word in self.words if word.startswith("-") and os.path.lexists(word)]
        hint = f" (for the image {dashed[0]}: -- {dashed[0]}, after all options)" if dashed else ""
        super().error(printable(message + hint))


def predict_parser() -> PredictParser:
    """The options of `coseg-predict`; what does not go together is refused by `check_together`."""
    parser = PredictParser(
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
        metavar="[NAME=]PHOTO:OBJECT",
        help="search for this object: PHOTO shows it at OBJECT, a mask file, x,y,width,height or x,y in pixels; may be "
        "repeated for one object, or with NAME= for several: horse=a.jpg:a_mask.png",
    )
    add(
        "--everywhere", action="store_true", help="with --exemplar: the object is in every image, so no mask is emptied"
    )
    split = "copy the photographs into folders in this one: belongs, unsure, does_not_belong, or of each group"
    add("--split-out", type=_place, metavar="FOLDER", help=split)
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


def json_target(options: argparse.Namespace) -> Path | None:
    """The file for the scores; None where there is none or they are printed. ``--json a.jpg`` means an image."""
    if options.json is None or options.json == "-":
        return None
    if not options.json.lower().endswith(".json"):
        options.images.insert(0, options.json)
        options.json = "-"
        return None
    return home_expanded(options.json)


def check_together(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    """End with an error of the parser where options don't go together."""
    if options.exemplar and (options.pairs or options.watch):
        parser.error("--exemplar searches each image by itself: leave --pairs and --watch out")
    if options.clusters and (options.pairs or options.exemplar or options.watch):
        parser.error("--clusters goes with neither --pairs nor --exemplar nor --watch")
    if options.everywhere and not options.exemplar:
        parser.error("--everywhere is about the object of an exemplar: give --exemplar PHOTO:OBJECT")
    if options.split_out is not None and (options.pairs or options.watch or "-" in options.images):
        parser.error("--split-out copies the files of a pair, a group or a search: leave out --pairs, --watch and -")


def check_processes(options: argparse.Namespace, size: int) -> None:
    """Refuse what one process alone can do, where a launcher has started several.

    Raises:
        CosegError: it is asked for.
    """
    if size > 1 and (options.watch or "-" in options.images or str(options.out) == "-"):
        raise CosegError(
            f"--watch, and - for standard input or output, need one process, but a launcher has started {size}: leave "
            "torchrun or srun out."
        )


Shown = tuple[Path, Path | tuple[float, ...]]
"""The photograph of an exemplar, and where the object is in it."""


def exemplar_words(words: Sequence[str]) -> dict[str, list[Shown]]:
    """The exemplars of each object, by its name; of one without a name under ``""``.

    ``NAME=PHOTO:OBJECT``: what is before the first ``=`` is a name if it has only letters, digits, ``-``, ``_`` and
    spaces. So a path with a folder, such as ``./x=1.jpg``, never begins with a name.

    Raises:
        CosegError: some have a name and others none; see also `coseg.inference.inputs.exemplar_word`.
    """
    objects: dict[str, list[Shown]] = {}
    for word in words:
        name, equals, rest = word.partition("=")
        if not equals or not is_object_name(name):
            name, rest = "", word
        try:
            shown = exemplar_word(rest)
        except CosegError as error:
            if name and any(os.path.isfile(word[:k]) for k in range(len(word)) if word[k] == ":"):
                raise CosegError(f"{error} '{name}' is taken for an object's name: write ./{word} else.") from None
            raise
        objects.setdefault(name, []).append(shown)
    if "" in objects and len(objects) > 1:
        raise CosegError(
            f"Of the exemplars some are of a named object, such as '{list(objects)[-1] or next(iter(objects))}', and "
            "others have no name: give all a name, NAME=PHOTO:OBJECT, or none."
        )
    return objects
