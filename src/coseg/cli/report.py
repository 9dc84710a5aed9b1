"""``coseg-report``: tables of results beside published scores, and what tells two results apart."""

from __future__ import annotations

import argparse
import json
import math
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from coseg.cli.options import MOST_SEED, add_trust, whole


def _table(options: argparse.Namespace) -> int:
    from coseg.cli.sentences import writing
    from coseg.errors import CosegError
    from coseg.files.writing import write_text_atomically
    from coseg.reports.collect import find_results
    from coseg.reports.results import COSOD
    from coseg.reports.tables import FORMATS, class_table, cosod_table, icoseg_table, score_table

    results = find_results(options.results)
    of_maps = bool(results) and all(COSOD in result.values for result in results)
    by = options.by or ("cosod" if of_maps and options.score is None else "test")
    if by == "icoseg":
        table = icoseg_table(results)
    elif by == "cosod":
        table = cosod_table(results)
    elif by == "class":
        if not results:
            raise CosegError("A table by class needs results: give the folders that coseg-test names last, or runs.")
        table = class_table(results)
    else:
        table = score_table(results, options.score or "jaccard")
    text = FORMATS[options.format](table)
    if options.out is None:
        print(text, end="")
    else:
        with writing(options.out):
            write_text_atomically(options.out, text)
        print(options.out)
    return 0


def _figures(options: argparse.Namespace) -> int:
    from coseg.cli.sentences import writing
    from coseg.errors import CosegError
    from coseg.evaluation.predictions import predicted_records
    from coseg.imaging.draw import save_picture
    from coseg.reports.collect import find_results, titles
    from coseg.reports.figures import choose_records, draw_bars, draw_sheet
    from coseg.reports.records import read_records

    results = find_results(options.results)
    if not results:
        raise CosegError("Figures need results: give the folders that coseg-test names last, or runs.")
    sheets = {}  # all of them before the first is written: a mistake in the last result leaves nothing behind
    for number, result in enumerate(results, 1):
        chosen = choose_records(read_records(result.folder), options.pairs, options.choose)
        captions = [f"{', '.join(row.classes)}  {row.mean:.2f}" for row in chosen]
        path = options.out / f"{result.folder.name}-{number}-{options.choose}.png"
        sheets[path] = draw_sheet(predicted_records(result.folder, chosen, options.trust), captions)
    with writing(options.out):
        for path, sheet in sheets.items():
            save_picture(path, sheet)
            print(path)
        for number, test in enumerate(titles(results), 1):
            path = options.out / f"bars-{number}.png"
            draw_bars([result for result in results if result.test == test], path)
            print(path)
    return 0


def _compare(options: argparse.Namespace) -> int:
    from coseg.reports.compare import changes, compare
    from coseg.reports.records import PairRecord

    differences = compare(options.a, options.b, options.resamples, options.seed)
    changed = changes(options.a, options.b)[: options.pairs]
    of_pairs = all(isinstance(change.record, PairRecord) for change in changed)
    key = ("id_a", "id_b") if of_pairs else ("group", "id")
    if options.json:
        document: dict[str, Any] = {
            "a": str(options.a),
            "b": str(options.b),
            "differences": {
                name: {key: None if math.isnan(number) else round(number, 6) for key, number in value._asdict().items()}
                for name, value in differences.items()
            },
            "changes": [
                dict(zip(key, change.record.key, strict=True))
                | {"classes": list(change.record.classes), "a": round(change.a, 6), "b": round(change.b, 6)}
                for change in changed
            ],
        }
        print(json.dumps(document, indent=2, ensure_ascii=False))
        return 0
    print(f"A = {options.a}\nB = {options.b}\n\n{'A - B':<18}  {'value':>6}  95 % interval over images")
    for name, (value, low, high) in differences.items():
        print(f"{name:<18}  {value:+.3f}  {low:+.3f} to {high:+.3f}" if value == value else f"{name:<18}  {'-':>6}")
    if changed:
        head = f"{'pairs' if of_pairs else 'masks'} that changed most"
        width = max(len(head), *(len("  ".join(change.record.key)) for change in changed))
        print(f"\n{head:<{width}}      A      B   A - B  common classes")
        for change in changed:
            ids = "  ".join(change.record.key)
            scores = f"{change.a:.3f}  {change.b:.3f}  {change.gain:+.3f}"
            print(f"{ids:<{width}}  {scores}  {', '.join(change.record.classes)}")
    return 0


def _sweep(options: argparse.Namespace) -> int:
    from coseg.cli.sentences import writing
    from coseg.files.writing import write_text_atomically
    from coseg.reports.tables import FORMATS
    from coseg.sweeps.jobs import DAMAGED, read_sweep
    from coseg.sweeps.report import NAME, draw_parameters, experiment_path, experiment_text, jobs_table, values_table

    sweep = read_sweep(options.sweep.resolve())
    out: Path = options.out or sweep.folder / "report"
    print("\n".join(FORMATS[options.format](table) for table in (jobs_table(sweep), values_table(sweep))), end="")
    best = next(iter(sweep.ranked()), None)
    text = None if best is None else experiment_text(sweep, best, _composed(best.overrides), options.trust)
    with writing(out):
        if draw_parameters(sweep, out / "parameters.png"):
            print(f"\n{out / 'parameters.png'}")
        if text is not None:
            write_text_atomically(experiment_path(out), text)
            print(f"{experiment_path(out)}: coseg-train --config-dir {shlex.quote(str(out))} experiment={NAME}")
    damaged = [job for job in sweep.jobs if job.state == DAMAGED]
    for job in damaged:
        print(f"job {job.number}: {job.error}", file=sys.stderr)
    return 2 if damaged else 0


def _composed(overrides: Sequence[str]) -> Any:
    """What these overrides of coseg-train compose; None where the configuration has changed, or had parts elsewhere."""
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    from coseg.configs import compose_config
    from coseg.files.plain_data import has_interpolation

    if has_interpolation(overrides) or any(word.startswith("hydra") for word in overrides):
        return None  # a file's words: nothing in them is resolved, nor differences elsewhere
    try:
        return compose_config("train", list(overrides))
    except (HydraException, OmegaConfBaseException):
        return None


def _parser() -> argparse.ArgumentParser:
    from coseg.reports.tables import FORMATS

    parser = argparse.ArgumentParser(prog="coseg-report", description="Tables and comparisons of tests.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    text = "a table of tests beside published scores"
    table = commands.add_parser("table", help=text, description=f"{text[0].upper()}{text[1:]}.")
    table.set_defaults(job=_table)
    table.add_argument("results", nargs="*", type=Path, metavar="RESULTS", help="folders of results, or runs")
    by = "what the rows or columns are (test; cosod where all results have scores of grey maps)"
    table.add_argument("--by", choices=("test", "class", "icoseg", "cosod"), help=by)
    table.add_argument("--score", metavar="SCORE", help="which score of masks (jaccard)")
    table.add_argument("--format", choices=tuple(FORMATS), default="markdown", help="how it is written (markdown)")
    table.add_argument("--out", type=Path, metavar="FILE", help="where, instead of the terminal")

    text = "sheets of pairs with what was predicted, and bars of scores"
    figures = commands.add_parser("figures", help=text, description=f"{text[0].upper()}{text[1:]}.")
    figures.set_defaults(job=_figures)
    figures.add_argument("results", nargs="+", type=Path, metavar="RESULTS", help="folders of results, or runs")
    figures.add_argument("--out", type=Path, default=Path("figures"), metavar="FOLDER", help="where (figures)")
    figures.add_argument("--pairs", type=whole(1, 1000), default=8, metavar="N", help="pairs on a sheet (8)")
    add_trust(figures, "the run of a test")
    figures.add_argument("--choose", default="even", metavar="HOW", help="even, best or worst (even)")

    text = "the difference of two tests of the same pairs, with intervals, and the pairs that changed most"
    compare = commands.add_parser("compare", help=text, description=f"{text[0].upper()}{text[1:]}.")
    compare.set_defaults(job=_compare)
    compare.add_argument("a", type=Path, metavar="A", help="folder of results of the first, or a run with one test")
    compare.add_argument("b", type=Path, metavar="B", help="those of the second")
    compare.add_argument("--pairs", type=whole(0), default=10, metavar="N", help="how many pairs to list (10)")
    compare.add_argument(
        "--resamples",
        dest="resamples",
        type=whole(1, 100_000),
        default=1000,
        metavar="N",
        help="resamples of the bootstrap (1000)",
    )
    compare.add_argument("--seed", type=whole(0, MOST_SEED), default=0, metavar="N", help="seed of the bootstrap (0)")
    compare.add_argument("--json", action="store_true", help="as JSON")

    text = "the jobs of a sweep, what each value came to, and the best configuration as an experiment"
    sweep = commands.add_parser("sweep", help=text, description=f"{text[0].upper()}{text[1:]}.")
    sweep.set_defaults(job=_sweep)
    sweep.add_argument("sweep", type=Path, metavar="SWEEP", help="folder of coseg-train -m, or of a study")
    sweep.add_argument("--format", choices=tuple(FORMATS), default="markdown", help="how tables are written (markdown)")
    add_trust(sweep, "its runs")
    sweep.add_argument("--out", type=Path, metavar="FOLDER", help="where picture and experiment go (SWEEP/report)")
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point."""
    from coseg.cli.sentences import guard

    options = _parser().parse_args(arguments)
    codes: list[int] = []
    guard(lambda: codes.append(options.job(options)))
    raise SystemExit(codes[0])


if __name__ == "__main__":
    main()
