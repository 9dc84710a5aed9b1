import math

from coseg.evaluation.outcome import breakdowns
from coseg.reports.records import PairRecord

RECORDS = [
    PairRecord(0, 1, "2007_a", "2007_b", ("cat", "person"), 0.5, 1 / 3, True, False, 0.01, 0.5),
    PairRecord(0, 2, "2007_a", "odd, id", ("cat",), 0.25, math.nan, False, True, 0.05, 0.0),
    PairRecord(1, 2, "2007_b", "odd, id", (), 1.0, 0.125, True, True, 0.2, 0.049),
]


def test_parts_of_the_masks() -> None:
    """Sizes begin at 5 % and at 20 % of an image; the mask without truth counts nowhere."""
    found = breakdowns(RECORDS)
    assert found["by_size"] == {
        "small": {"jaccard": round((0.5 + 0.125) / 2, 6), "masks": 2},
        "medium": {"jaccard": 0.25, "masks": 1},
        "large": {"jaccard": round((1 / 3 + 1.0) / 2, 6), "masks": 2},
    }
    assert found["by_distractor"] == {
        "without": {"jaccard": round((1 / 3 + 0.25) / 2, 6), "masks": 2},
        "with": {"jaccard": round((0.5 + 1.0 + 0.125) / 3, 6), "masks": 3},
    }
    assert breakdowns(RECORDS[:0])["by_size"]["small"] == {"jaccard": None, "masks": 0}
