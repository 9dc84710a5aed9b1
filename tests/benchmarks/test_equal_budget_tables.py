"""The table of a comparison, against numbers worked out by hand."""

from __future__ import annotations

from typing import Any

from benchmarks.equal_budget.records import Cost, Finished, Gap
from benchmarks.equal_budget.tables import comparison_table, differences_table
from coseg.reports.tables import as_markdown


def finished(name: str, seed: int, jaccard: float, **changes: Any) -> Finished:
    results = {
        "jaccard": jaccard, "jaccard_class_mean": jaccard / 2, "jaccard_global": 0.25, "jaccard_distractor": None,
        "pixel_accuracy": 0.9,
        "intervals": {"jaccard": [jaccard - 0.1, jaccard + 0.2], "jaccard_distractor": [None, None]},
    }  # fmt: skip
    return Finished(name, seed, Cost(1_234_567, 16, 0.5, 0.02, 1.0 + seed), 1000 + seed, results | changes)


def test_a_row_for_each_name_the_best_first() -> None:
    jobs = [finished("siamese", 0, 0.3), finished("cross", 0, 0.4), finished("cross", 1, 0.5)]
    table = comparison_table(jobs, "network")
    rows = table.blocks[0][1]
    assert [row[0] for row in rows] == ["cross", "siamese"]
    head = dict(zip(table.head, rows[0], strict=True))
    assert head["jaccard"] == "45.0 (35.0 to 65.0); 40.0, 50.0"
    assert head["jaccard_class_mean"] == "22.5; 20.0, 25.0"  # without intervals
    assert head["jaccard_distractor"] == "-"
    assert (head["M parameters"], head["s a step"], head["steps"], head["GB"]) == ("1.23", "0.500", "1000", "2.00")
    assert head["ms a pair"] == "20"
    assert rows[1][1] == "30.0 (20.0 to 50.0)"


def test_what_all_were_trained_with_is_a_note() -> None:
    jobs = [
        finished("siamese", seed, 0.3)._replace(minutes=12.0, training=f"experiment=x model=siamese seed={seed}")
        for seed in (0, 1)
    ]
    assert comparison_table(jobs, "network").notes[0].count("`experiment=x`") == 1
    assert "`experiment=x`" not in as_markdown(comparison_table([*jobs, finished("cross", 0, 0.4)], "network"))


def test_differences_by_what_is_subtracted_then_by_their_size() -> None:
    def gap(a: str, b: str, seed: int, value: float, distractor: float | None = None) -> Gap:
        ends = [None, None] if distractor is None else [distractor - 0.01, distractor + 0.02]
        return Gap(
            a, b, seed, {"jaccard": [value, value - 0.02, value + 0.01], "jaccard_distractor": [distractor, *ends]}
        )

    gaps = [gap("cross", "siamese", 1, 0.04), gap("other", "cross", 0, -0.02), gap("cross", "siamese", 0, 0.01, 0.1)]
    gaps += [gap("best", "cross", 0, 0.04, 0.05)]
    table = differences_table(gaps)
    assert table.head == ["A - B", "jaccard", "jaccard_distractor"]
    assert table.blocks[0][1] == [
        ["best - cross", "+4.0 (+2.0 to +5.0)", "+5.0 (+4.0 to +7.0)"],
        ["other - cross", "-2.0 (-4.0 to -1.0)", "-"],
        ["cross - siamese", "+2.5 (+0.5 to +3.5); +1.0, +4.0", "-"],
    ]
