"""The tables of a comparison, of the records that there are."""

from __future__ import annotations

from pathlib import Path

from coseg.evaluation.comparison import comparison_table, differences_table
from coseg.evaluation.records import Finished, Gap, read_records
from coseg.evaluation.table import as_markdown
from coseg.files import write_text_atomically

BASELINE = "cross_correlation"
"""The network whose ablations are run; among them it is called `UNCHANGED`."""

UNCHANGED = "none"

CONTROL = "siamese"
"""The network without matching."""

COSTS = "costs"
"""The folder among the records that holds the `Cost` of each job."""

DIFFERENCES = "differences"
"""The folder among the records that holds the `Gap` of two."""

TESTS = "tests"
"""The folder among the records that holds the rows of the tests that others are compared with."""


def write_tables(records: Path, out: Path) -> None:
    """Write ``models.md`` and ``ablations.md`` into `out`: all scores, then paired differences.

    Raises:
        CosegError: a record is damaged.
    """
    models = read_records(records / "models", Finished)
    ablations = read_records(records / "ablations", Finished)
    if ablations:
        seeds = {each.seed for each in ablations}
        same = [each._replace(name=UNCHANGED) for each in models if each.name == BASELINE and each.seed in seeds]
        ablations += same
    for kind, what, jobs in (("models", "network", models), ("ablations", "variant", ablations)):
        if not jobs:
            continue
        text = as_markdown(comparison_table(jobs, what))
        gaps = read_records(records / DIFFERENCES / kind, Gap)
        if gaps:
            text += "\n" + as_markdown(differences_table(gaps))
        write_text_atomically(out / f"{kind}.md", text)
