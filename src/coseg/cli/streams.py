"""``coseg-predict - … --out -``: one picture from standard input, or its result to standard output."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from coseg.errors import CosegError

if TYPE_CHECKING:
    from coseg.cli.predict_output import PredictOutput

STREAM = "-"
"""In place of an image: standard input; of the output folder: standard output."""

_NAME = "stdin"  # of the results of the picture from standard input
_PIECE = 2**20


def to_standard_output(options: argparse.Namespace) -> bool:
    """Whether a result goes to standard output."""
    return str(options.out) == STREAM


def with_standard_streams(options: argparse.Namespace, output: PredictOutput, job: Callable[[], None]) -> None:
    """Run `job`, with a file in place of standard input among the images, and a folder in place of standard output.

    Args:
        options: of ``coseg-predict``; `images`, `out`, `only` and `chosen` are replaced.
        output: its messages.
        job: segments the images of `options`, and writes to its folder.

    Raises:
        CosegError: the options don't fit, no picture comes, or there is no result.
    """
    from coseg.files.writing import temporary_folder

    if STREAM not in options.images and not to_standard_output(options):
        job()
        return
    with temporary_folder("coseg-predict") as folder:
        streamed = to_standard_output(options)
        if streamed:
            _check(options)
            options.out, options.chosen = Path(folder) / "out", (0,)
            output.aliases[str(options.out)] = "standard output"
        if STREAM in options.images:
            _take_input(options, output, Path(folder) / _NAME)
        elif not os.path.isfile(options.images[0]):
            raise CosegError(
                f"{options.images[0]} is no file, but with --out - the result of the first image is written: give a "
                "picture first."
            )
        try:
            job()
        except CosegError as error:
            raise CosegError(output.aliased(str(error))) from error
        if streamed:
            _give_output(options.out)


def _check(options: argparse.Namespace) -> None:
    """Refuse options that give no single picture, and make cut-outs the only one where none is asked for."""
    from coseg.inference.outputs import OUTPUTS, PICTURES

    if options.pairs or options.json == STREAM:
        raise CosegError("--out - writes one picture to standard output: leave out --pairs and --json without a file.")
    if set(options.only) == set(OUTPUTS):
        options.only = ("cutout",)
    if options.only == ("cutout",) and any(options.exemplars):
        raise CosegError(
            "--out - writes one picture, but named objects have a cut-out each: choose --only mask, for their label "
            "map, or overlay."
        )
    if len(options.only) != 1 or options.only[0] not in PICTURES:
        raise CosegError(f"--out - writes one picture to standard output: choose --only {', '.join(PICTURES)}.")
    if sys.stdout.isatty():
        raise CosegError("--out - writes a picture, but standard output is a terminal: add > FILE, or a pipe.")


def _take_input(options: argparse.Namespace, output: PredictOutput, path: Path) -> None:
    """Copy standard input to `path`, which becomes the first of the images."""
    from coseg.imaging.read import MAX_FILE

    if options.images.count(STREAM) > 1:
        raise CosegError("Standard input, -, is given twice: it holds one picture.")
    if sys.stdin is None or sys.stdin.isatty():
        raise CosegError("An image, -, comes from standard input, but that is a terminal: add < FILE, or a pipe.")
    size = 0
    with path.open("wb") as file:
        while piece := sys.stdin.buffer.read(_PIECE):
            size += file.write(piece)
            if size > MAX_FILE:
                raise CosegError(f"Standard input has more than the {MAX_FILE:,} bytes of any photograph.")
    if not size:
        raise CosegError("Standard input is empty: give a picture.")
    options.images = [str(path), *(word for word in options.images if word != STREAM)]
    output.aliases[str(path)] = "standard input"


def _give_output(folder: Path) -> None:
    """Write the only file of `folder` to standard output."""
    files = list(folder.iterdir()) if folder.is_dir() else []
    if not files:
        raise CosegError("There is no result for standard output.")
    try:
        with files[0].open("rb") as file:
            while piece := file.read(_PIECE):
                sys.stdout.buffer.write(piece)
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes it at its end
        raise CosegError("Standard output was closed before all of the picture was written.") from None
