"""The table of a comparison, against numbers worked out by hand."""

from __future__ import annotations

from typing import Any

from coseg.evaluation.comparison import Finished, comparison_table
from coseg.evaluation.table import as_markdown


def finished(name: str, seed: int, jaccard: float, **changes: Any) -> Finished:
    results = {
        "jaccard": jaccard, "jaccard_class_mean": jaccard / 2, "jaccard_global": 0.25, "jaccard_distractor": None,
        "pixel_accuracy": 0.9, "seconds": 2.0, "pairs": 100,
        "intervals": {"jaccard": [jaccard - 0.1, jaccard + 0.2], "jaccard_distractor": [None, None]},
    }  # fmt: skip
    return Finished(name, seed, 1_234_567, 0.5, 1000 + seed, 1.0 + seed, results | changes)


def test_a_row_for_each_name_the_best_first() -> None:
    jobs = [finished("siamese", 0, 0.3), finished("cross", 0, 0.4), finished("cross", 1, 0.5)]
    table = comparison_table(jobs, "network", ["Twelve minutes each."])
    rows = table.blocks[0][1]
    assert [row[0] for row in rows] == ["cross", "siamese"]
    head = dict(zip(table.head, rows[0], strict=True))
    assert head["jaccard"] == "45.0 (35.0 to 65.0); 40.0, 50.0"
    assert head["jaccard_class_mean"] == "22.5; 20.0, 25.0"  # without intervals
    assert head["jaccard_distractor"] == "-"
    assert (head["M parameters"], head["s a step"], head["steps"], head["GB"]) == ("1.23", "0.500", "1000", "2.00")
    assert head["ms a test pair"] == "20.0"
    assert rows[1][1] == "30.0 (20.0 to 50.0)"
    assert as_markdown(table).splitlines()[-3] == "Twelve minutes each."
