from collections.abc import Iterator
from copy import deepcopy

import pytest
import torch
from torch import Tensor

from coseg.errors import CosegError
from coseg.metrics.pair_scores import SCORES, PairScores


def maps(*rows: str) -> Tensor:
    """Target maps of one row each, from digits; v is void."""
    return torch.tensor([[[255 if c == "v" else int(c) for c in row]] for row in rows], dtype=torch.uint8)


def masks(*rows: str) -> Tensor:
    return maps(*rows).bool()


def two_pairs(scores: PairScores) -> None:
    """Pair 1 shares classes 0 and 1, pair 2 shares class 1."""
    scores.update(
        masks("1100", "1111"),
        maps("1000", "1102"),  # IoU 1/2, and 2/4 with a distractor
        masks("0110", "0000"),
        maps("0111", "1220"),  # IoU 2/3, and 0 with a distractor
        torch.tensor([[True, True, False], [False, True, False]]),
    )


def test_each_score_by_hand() -> None:
    scores = PairScores(3)
    two_pairs(scores)
    found = {name: value.item() for name, value in scores.compute().items()}
    first, second = (1 / 2 + 2 / 3) / 2, (1 / 2 + 0) / 2
    assert tuple(found) == SCORES
    assert found == pytest.approx(
        {
            "jaccard": (1 / 2 + 2 / 4 + 2 / 3 + 0) / 4,
            "jaccard_class_mean": (first + (first + second) / 2) / 2,
            "jaccard_global": (1 + 2 + 2 + 0) / (2 + 4 + 3 + 1),
            "jaccard_distractor": (2 / 4 + 0) / 2,
            "pixel_accuracy": (3 / 4 + 2 / 4 + 3 / 4 + 3 / 4) / 4,
        }
    )
    per_class = scores.per_class()
    assert per_class[:2].tolist() == pytest.approx([first, (first + second) / 2])
    assert per_class[2].isnan()


def test_void_moves_all_scores() -> None:
    found = {}
    for void in ("background", "ignored"):
        scores = PairScores(1, void)
        scores.update(masks("1111"), maps("11vv"), masks("0111"), maps("1v00"), torch.ones(1, 1, dtype=torch.bool))
        found[void] = scores.compute()
    assert found["background"]["jaccard"] == (1 / 2 + 0) / 2
    assert found["ignored"]["jaccard"] == (1 + 0) / 2
    assert found["background"]["jaccard_global"] == 2 / 8
    assert found["ignored"]["jaccard_global"] == 2 / (2 + 3)
    assert found["background"]["pixel_accuracy"] == (2 / 4 + 0) / 2
    assert found["ignored"]["pixel_accuracy"] == (1 + 0) / 2
    with pytest.raises(CosegError, match=r"protocol\.void.*'none'"):
        PairScores(1, "none")


def test_a_large_perfect_and_a_small_missed_object_pool_to_99_hundredths() -> None:
    large, small = torch.ones(1, 9, 11, dtype=torch.uint8), torch.zeros(1, 9, 11, dtype=torch.uint8)
    small[0, 4, 4] = 1
    scores = PairScores(1)
    scores.update(large.bool(), large, torch.zeros_like(small).bool(), small, torch.tensor([[True]]))
    found = scores.compute()
    assert found["jaccard_global"] == 0.99
    assert found["jaccard"] == found["jaccard_class_mean"] == 0.5


def test_empty_truth_counts_for_global_and_accuracy_alone() -> None:
    scores = PairScores(2)
    scores.update(masks("1000"), maps("0222"), masks("0000"), maps("0000"), torch.zeros(1, 2, dtype=torch.bool))
    found = scores.compute()
    assert all(found[name].isnan() for name in ("jaccard", "jaccard_class_mean", "jaccard_distractor"))
    assert scores.per_class().isnan().all()
    assert found["jaccard_global"] == 0
    assert found["pixel_accuracy"] == (3 / 4 + 1) / 2


def test_no_pair_scores_nan() -> None:
    scores = PairScores(0)
    with pytest.warns(UserWarning, match="before the ``update``"):
        assert all(value.isnan() for value in scores.compute().values())


def test_batches_and_merged_processes_equal_one() -> None:
    generator = torch.Generator().manual_seed(1)

    def pick(values: list[int], *shape: int) -> Tensor:
        return torch.tensor(values, dtype=torch.uint8)[torch.randint(len(values), shape, generator=generator)]

    n = 7
    args = (
        pick([0, 1], n, 5, 6).bool(),
        pick([0, 1, 1, 2, 255], n, 5, 6),
        pick([0, 1], n, 4, 3).bool(),
        pick([0, 0, 1, 255], n, 4, 3),
        pick([0, 1], n, 4).bool(),
    )
    whole = PairScores(4)
    whole.update(*args)
    left, right = PairScores(4), PairScores(4)
    left.update(*(arg[:3] for arg in args))
    for k in range(3, n):
        right.update(*(arg[k : k + 1] for arg in args))
    gathered = as_if_on_two_processes(left, right)
    expected = whole.compute()
    for found in (gathered.compute(), merged(left, right).compute()):
        for name in SCORES:
            torch.testing.assert_close(found[name], expected[name], msg=name)
    torch.testing.assert_close(gathered.per_class(), whole.per_class())
    # Gathering leaves the process with its own sums.
    torch.testing.assert_close(gathered.masks, left.masks)


def merged(left: PairScores, right: PairScores) -> PairScores:
    result = deepcopy(left)
    result.merge_state(right)
    return result


def as_if_on_two_processes(left: PairScores, right: PairScores) -> PairScores:
    """`left` as it would be on the first of two processes, the other of which holds `right`."""
    metric = deepcopy(left)
    others: Iterator[Tensor] = iter(())

    def gather(state: Tensor, group: object = None) -> list[Tensor]:
        nonlocal others
        other = next(others, None)
        if other is None:
            others = iter([getattr(right, name) for name in metric._reductions])
            other = next(others)
        return [state, other]

    metric.dist_sync_fn = gather
    metric.distributed_available_fn = lambda: True
    return metric
