"""The campaign: python tests/campaign/run.py --seed 0 [--inputs N] [--kills N] [--out report.json] [--markdown PAGE]

Exit code 0 when everything held, 1 when anything failed.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from pathlib import Path

if not __package__:  # started as a script: the package is found in tests/, whose other modules hide nobody else's
    sys.path[:] = [*sys.path[1:], str(Path(__file__).resolve().parents[1])]

from campaign.cases import Result, try_case
from campaign.fixtures import Fixtures
from campaign.inputs import cases
from campaign.report import print_summary, write_json, write_markdown
from campaign.zygote import Zygote, adopt_orphans


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Kills and bad inputs by the hundred.")
    parser.add_argument("--seed", type=int, default=0, help="of the damage and of the moments of the kills (0)")
    parser.add_argument("--inputs", type=int, metavar="N", help="bad inputs, spread over all groups (all of them)")
    parser.add_argument("--kills", type=int, default=110, metavar="N", help="kills at least (110); 0: none")
    parser.add_argument("--only", metavar="TEXT", help="only cases whose group and name hold this text; no kills")
    parser.add_argument("--timeout", type=float, default=60, metavar="S", help="of one command (60)")
    parser.add_argument("--out", type=Path, metavar="FILE", help="the report as JSON")
    parser.add_argument("--markdown", type=Path, metavar="PAGE", help="renew the counts in this page")
    return parser


def try_inputs(
    zygote: Zygote, folder: Path, seed: int, count: int | None, timeout: float, only: str | None = None
) -> list[Result]:
    """Run the bad inputs, or `count` of them."""
    chosen = [case for case in cases() if only is None or only in f"{case.group} {case.name}"]
    if count is not None and count < len(chosen):
        chosen = [chosen[k * len(chosen) // count] for k in range(count)]
    fixtures = Fixtures(folder / "fixtures", zygote)
    results = []
    for number, case in enumerate(chosen):
        result = try_case(case, fixtures, zygote, folder / "cases" / f"{number:05}", seed, timeout)
        results.append(result)
        if result.failed:
            print(f"{result.group}: {result.name}: {result.verdict}", flush=True)
    return results


def main() -> None:
    """Run it."""
    options = _parser().parse_args()
    began = time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix="campaign-"))
    try:
        adopt_orphans()
        zygote = Zygote(folder / "outputs")
        inputs = []
        if options.inputs != 0:
            inputs = try_inputs(zygote, folder, options.seed, options.inputs, options.timeout, options.only)
        kills = []
        if options.kills and not options.only:
            from campaign.kills import run_kills

            kills = run_kills(zygote, folder / "kills", options.seed, options.kills)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print_summary(inputs, kills, time.monotonic() - began)
    if options.out is not None:
        write_json(options.out, options.seed, inputs, kills)
    if options.markdown is not None:
        write_markdown(options.markdown, options.seed, inputs, kills)
    raise SystemExit(int(any(result.failed for result in (*inputs, *kills))))


if __name__ == "__main__":
    main()
