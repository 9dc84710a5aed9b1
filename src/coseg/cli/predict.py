"""``coseg-predict``: cut the common object out of photographs."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from coseg.cli.options import cutout_style
from coseg.cli.predict_options import check_processes, check_together, exemplar_words, json_target
from coseg.cli.predict_options import predict_parser as _parser
from coseg.errors import CosegError
from coseg.inference.inputs import printable

if TYPE_CHECKING:
    from coseg.cli.predict_output import PredictOutput
    from coseg.inference.exemplar import Exemplars
    from coseg.inference.inputs import Inputs
    from coseg.inference.outputs import Targets
    from coseg.inference.processes import Processes
    from coseg.inference.segmenter import CoSegmenter
    from coseg.inference.split import SplitFolder


def _predict(
    options: argparse.Namespace, output: PredictOutput, scores_file: Path | None, processes: Processes
) -> None:
    from coseg.files.writing import remove_leftovers
    from coseg.inference.inputs import collect
    from coseg.inference.outputs import Targets, check_folder, longest_of_results
    from coseg.training.slurm import is_restarted

    style = cutout_style(options)
    check_folder(options.out)
    remove_leftovers(options.out)
    inputs = collect(options.images, options.recursive, options.out, longest_of_results(options.out))
    for problem in inputs.problems if inputs.paths or not options.watch else ():
        output.problem(problem)
    exemplars = options.exemplars
    names = [name for name in exemplars if name]
    if not inputs.paths and exemplars:
        raise CosegError("There are no images in which the exemplar's object could be searched for: give some.")
    if len(inputs.paths) < 2 and not options.watch and not exemplars:
        what = f"{printable(str(inputs.paths[0]))} is the only image" if inputs.paths else "There are no images"
        raise CosegError(f"{what}, but to have something in common there must be at least two: give more.")
    for name in names:
        check_folder(options.out / name)
        remove_leftovers(options.out / name)
    if scores_file is not None:
        check_folder(scores_file.parent)
    split = None if options.split_out is None else _split_folder(options, output, inputs, names)
    further = [] if scores_file is None else [scores_file]
    shown = [part for pairs in exemplars.values() for pair in pairs for part in pair if isinstance(part, Path)]
    targets = Targets(
        options.out, inputs.names, options.only, options.pairs, options.overwrite, further, [*inputs.paths, *shown],
        style, options.chosen, names, is_restarted(),
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
        replaces = "They are given as images or exemplars" if options.overwrite else "--overwrite replaces"
        report = output.say if is_restarted() and not options.overwrite else output.problem  # of its first start
        report(f"{first}{rest} {stay}. {replaces}, --out gives another folder.")
        if len(targets.kept) == targets.count and options.json != "-" and split is None:
            processes.require_same((inputs, targets.kept))  # they meet, so that none ends before the first has printed
            return
    _segment(options, output, inputs, targets, scores_file, split, processes)


def _segment(
    options: argparse.Namespace,
    output: PredictOutput,
    inputs: Inputs,
    targets: Targets,
    scores_file: Path | None,
    split: SplitFolder | None,
    processes: Processes,
) -> None:
    output.say("Loading the model …")
    from coseg.hub.load import load_pretrained
    from coseg.inference.segmenter import CoSegmenter

    network, settings, source = load_pretrained(options.checkpoint, options.trust)
    segmenter = CoSegmenter(
        network, settings, options.device, options.size, options.threshold, source, options.keep_islands
    )
    segmenter.processes = processes
    processes.require_same((inputs, targets.kept, source, segmenter.size, segmenter.threshold))
    size = "" if segmenter.size is None else f" at {segmenter.size} pixels"
    output.say(f"Segmenting with {source}{size} on {segmenter.device}.")
    if segmenter.size_note is not None:
        output.say(segmenter.size_note)
    if split is not None:
        from coseg.inference.split import require_likelihoods

        require_likelihoods(segmenter, len(inputs.paths) == 2 and not options.exemplars)
        split = split if processes.rank == 0 else None
    if targets.objects:
        _segment_objects(options, output, inputs, targets, scores_file, segmenter, source, split)
        return
    if not options.watch:
        shown = options.exemplars.get("")
        search = None if shown is None else segmenter.exemplar(shown, options.everywhere)
        _segment_all(options, output, inputs, targets, scores_file, segmenter, source, search, split)
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
    split: SplitFolder | None = None,
) -> None:
    from coseg.inference.album import Album
    from coseg.inference.cosegmentation import common_sentence, reliability

    album = Album(segmenter, inputs.paths, targets, output.problem, output.progress, source, search, options.clusters)
    results: list[dict[str, Any]] = []
    copies_alone: dict[int, str] = {}
    try:
        for cosegmentation, result in album.run():
            results.append(result)
            if split is not None:
                places = [image["number"] - 1 for image in result["images"]]
                copies = (
                    split.group(places, len(results)) if options.clusters else split.belonging(places, cosegmentation)
                )
                for image in result["images"]:
                    image |= {"copy": copies[k]} if (k := image["number"] - 1) in copies else {}
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
        if split is not None:
            copies_alone = {place + 1: copy for place, copy in split.group(album.alone, None).items()}
    if split is not None:
        output.say(split.sentence())
    several = options.pairs or options.clusters
    count = 2 if several else len(results[0]["images"])
    scores = {
        **segmenter.model_scores(source, count),
        **({"threshold": segmenter.exemplar_threshold, "calibration": None} if search is not None else {}),
        **({"pairs" if options.pairs else "groups": results} if several else results[0]),
        **({"alone": [place + 1 for place in album.alone]} if options.clusters else {}),
        **({"alone_copies": copies_alone} if options.clusters and split is not None else {}),
        "problems": output.problems,
    }
    _end(options, output, scores, scores_file, targets, segmenter)


def _segment_objects(
    options: argparse.Namespace,
    output: PredictOutput,
    inputs: Inputs,
    targets: Targets,
    scores_file: Path | None,
    segmenter: CoSegmenter,
    source: str,
    split: SplitFolder | None,
) -> None:
    """Search for several named objects."""
    from coseg.inference.objects_album import ObjectsAlbum

    search = segmenter.exemplars(options.exemplars, options.everywhere)
    album = ObjectsAlbum(search, inputs.paths, targets, output.problem, output.progress, source)
    try:
        result, places, scores = album.results()
    finally:
        output.done()
    if split is not None:
        for name, of_object in result.items():
            copies = split.belonging(places, of_object, name)
            for image in scores["images"]:
                image["objects"][name] |= {"copy": copies[k]} if (k := image["number"] - 1) in copies else {}
    output.objects(result, [place + 1 for place in places], album.numbered)
    if options.how_sure:
        output.say("How sure: not measured for exemplars.")
    if split is not None:
        output.say(split.sentence())
    if options.json is not None:
        about = {**segmenter.model_scores(source), "threshold": segmenter.exemplar_threshold, "calibration": None}
        scores = {**about, **scores, "problems": output.problems}
    _end(options, output, scores, scores_file, targets, segmenter)


def _end(
    options: argparse.Namespace,
    output: PredictOutput,
    scores: dict[str, Any],
    scores_file: Path | None,
    targets: Targets,
    segmenter: CoSegmenter,
) -> None:
    """Write the scores, where they are wanted, and say where the results are."""
    if options.json is not None and segmenter.processes.rank == 0:
        _write_scores(scores, scores_file, output, scores_file is not None and targets.is_kept(scores_file))
    if options.chosen is None:
        output.say(f"The results are in {options.out}/.")


def _split_folder(
    options: argparse.Namespace, output: PredictOutput, inputs: Inputs, names: Sequence[str]
) -> SplitFolder:
    from coseg.inference.outputs import check_folder
    from coseg.inference.split import SplitFolder
    from coseg.training.slurm import is_restarted

    check_folder(options.split_out)
    return SplitFolder(
        options.split_out, inputs.paths, inputs.names, output.problem, names, options.clusters, is_restarted()
    )


def _write_scores(scores: dict[str, Any], file: Path | None, output: PredictOutput, kept: bool) -> None:
    from coseg.cli.sentences import writing
    from coseg.files.writing import write_text_atomically
    from coseg.inference.cosegmentation import for_json

    text = output.aliased(json.dumps(for_json(scores), indent=2, allow_nan=False))
    if file is None:
        print(text, flush=True)  # before the processes part: torchrun ends this one after another's exit code
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
    scores_file = json_target(options)
    check_together(parser, options)
    if not options.images:
        parser.error("give images: files, folders or patterns (see --help)")
    from coseg.cli.predict_output import PredictOutput
    from coseg.cli.sentences import guard
    from coseg.cli.streams import STREAM, to_standard_output, with_standard_streams
    from coseg.cli.watch import check_watch
    from coseg.inference.processes import ALONE, LaunchedProcesses
    from coseg.signals import Stopped, StopSignal, stopping_at_once
    from coseg.training.launched import this_job

    launched = this_job()
    processes = ALONE if launched is None else LaunchedProcesses(launched)
    to_stderr = options.json == "-" or to_standard_output(options)
    output = PredictOutput(options.quiet, to_stderr, silent=processes.rank > 0)

    # Threads that wait for work shall sleep: images of this size are small jobs, and beside other work on the machine
    # waiting took ten times the processor time of the network itself. It is read when torch is loaded.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

    def job() -> None:
        out = options.out
        try:
            check_watch(options)
            check_processes(options, processes.size)
            options.exemplars = exemplar_words(options.exemplar)
            with processes:
                with_standard_streams(options, output, lambda: _predict(options, output, scores_file, processes))
        except StopSignal as stop:
            if str(out) == STREAM:  # whose result nobody gets now
                raise SystemExit(128 + stop.number) from None
            raise Stopped(out, stop.number) from None

    with stopping_at_once():
        guard(job)
    raise SystemExit(2 if output.problems else 0)


if __name__ == "__main__":
    main()
