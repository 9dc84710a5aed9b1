"""``coseg-predict --watch``: after what is in the folders, each photograph that arrives, until Ctrl-C."""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from coseg.errors import CosegError
from coseg.signals import Stopped, StopRequest

if TYPE_CHECKING:
    from coseg.cli.predict_output import PredictOutput
    from coseg.inference.cosegmentation import Segment
    from coseg.inference.cutouts import CutoutStyle
    from coseg.inference.inputs import Inputs
    from coseg.inference.segmenter import CoSegmenter

INTERVAL = 1.0
"""Seconds between two looks into the folders."""


def check_watch(options: argparse.Namespace) -> None:
    """Refuse what does not go together with ``--watch``.

    Raises:
        CosegError: it does not.
    """
    if not options.watch:
        return
    if options.pairs or options.json is not None or str(options.out) == "-":
        raise CosegError("--watch has no end, so it goes with neither --pairs nor --json nor --out -.")
    if "-" in options.images or not any(os.path.isdir(Path(word).expanduser()) for word in options.images):
        raise CosegError("--watch waits for photographs in a folder: give one that exists.")


def watch(
    options: argparse.Namespace,
    output: PredictOutput,
    inputs: Inputs,
    finished: bool,
    style: CutoutStyle,
    segmenter: CoSegmenter,
) -> None:
    """Segment what arrives, until a stop signal.

    Args:
        options: of ``coseg-predict``.
        output: its messages.
        inputs: the photographs that were present at the start.
        finished: whether they have been segmented.
        style: of cut-outs.
        segmenter: the network.

    Raises:
        Stopped: by a signal.
    """
    from coseg.inference.arrivals import Arrivals
    from coseg.inference.cosegmentation import Cosegmentation
    from coseg.inference.inputs import files_of

    reported = set(inputs.problems)
    names = dict(zip(inputs.paths, inputs.names, strict=True))

    def listed() -> Iterable[Path]:
        paths, problems = files_of(options.images, options.recursive, options.out)
        for problem in problems if paths else ():
            if problem not in reported:
                reported.add(problem)
                output.problem(problem)
        return paths

    request = StopRequest("Stopping after the photographs that are being segmented …")
    request.listen(options.quiet)
    try:
        arrivals = Arrivals(segmenter, listed, output.problem, inputs.paths if finished else ())
        output.say(f"Waiting for photographs in {', '.join(options.images)}. Ctrl-C ends it.")
        while request.number is None:
            arrived = arrivals.look()
            for path, segment in arrived:
                _write(options, output, path, names, style, segment)
            if arrived:
                result, numbers = Cosegmentation(tuple(segment for _, segment in arrived)), list(names)
                output.images(result, [numbers.index(path) + 1 for path, _ in arrived], ())
            time.sleep(INTERVAL)
    finally:
        request.restore()
    raise Stopped(options.out, request.number)


def _write(
    options: argparse.Namespace,
    output: PredictOutput,
    path: Path,
    names: dict[Path, str],
    style: CutoutStyle,
    segment: Segment,
) -> None:
    """Write the pictures of one photograph under its name, a new one if it is in none of `names`."""
    from coseg.inference.inputs import unique_names
    from coseg.inference.outputs import PICTURES, Targets, longest_of_results, write_pictures

    if path not in names:
        names[path] = unique_names([*names.values(), path.stem], longest_of_results(options.out))[-1]
    name = names[path]
    if name != path.stem:
        output.problem(f"{path} has the name of another image, or one too long: its results are called {name}.")
    only = [picture for picture in options.only if picture in PICTURES]
    targets = Targets(options.out, [name], only, overwrite=options.overwrite, sources=[path], style=style)
    if targets.kept:
        which = ", ".join(map(str, targets.kept))
        output.problem(f"{which} existed: it is kept. --overwrite replaces, --out gives another folder.")
    try:
        write_pictures(path, segment, targets.wanted(0, (0,)), None, style)
    except CosegError as error:
        output.problem(str(error))
