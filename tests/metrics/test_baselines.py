import numpy as np
import pytest
import torch
from torch import Tensor

from coseg.errors import CosegError
from coseg.metrics.baselines import SHARES, BaselineScores, ellipse_ious
from coseg.metrics.mask_counts import mask_score


def ellipses(height: int, width: int) -> np.ndarray:
    """Dense masks of the 64 ellipses, by the inequality, at pixel centres."""
    y = ((np.arange(height) + 0.5) / (height / 2) - 1)[:, None]
    x = ((np.arange(width) + 0.5) / (width / 2) - 1)[None, :]
    return np.stack([(y / p) ** 2 + (x / q) ** 2 <= 1 for p in SHARES for q in SHARES])


def random_targets(seed: int, *shape: int) -> Tensor:
    rng = np.random.default_rng(seed)
    return torch.from_numpy(rng.choice(np.array([0, 0, 1, 2, 255], np.uint8), shape))


def test_the_grid_is_eight_by_eight() -> None:
    assert SHARES == (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)


@pytest.mark.parametrize("void", ["background", "ignored"])
@pytest.mark.parametrize("size", [(33, 47), (40, 31), (1, 1), (2, 9), (96, 64)])
def test_ellipses_agree_with_dense_masks(void: str, size: tuple[int, int]) -> None:
    targets = random_targets(3, 3, *size)
    targets[0, 0, 0] = 1
    targets[2] = 2  # no truth
    found = ellipse_ious(targets, void)
    for target, ious in zip(targets, found, strict=True):
        expected = [mask_score(torch.from_numpy(mask), target, void).iou for mask in ellipses(*size)]
        torch.testing.assert_close(ious, torch.stack(expected), rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("void", ["background", "ignored"])
def test_baselines_agree_with_scoring_their_masks(void: str) -> None:
    targets_a, targets_b = random_targets(0, 4, 24, 32), random_targets(1, 4, 30, 20)
    targets_a[0][targets_a[0] == 2] = 0
    targets_b[1][targets_b[1] == 1] = 2
    baselines = BaselineScores(void)
    baselines.update(targets_a[:3], targets_b[:3])
    other = BaselineScores(void)
    other.update(targets_a[3:], targets_b[3:])
    baselines.merge_state(other)
    found = {name: value.item() for name, value in baselines.compute().items()}

    used = [target for target in (*targets_a, *targets_b) if (target == 1).any()]
    assert len(used) == 7

    def jaccard(predict: list[Tensor], keep: list[Tensor]) -> float:
        return float(np.mean([mask_score(p, t, void).iou for p, t in zip(predict, keep, strict=True)]))

    distracted = [target for target in used if (target == 2).any()]
    everything = jaccard([torch.ones_like(t).bool() for t in used], used)
    constants = [jaccard([torch.from_numpy(ellipses(*t.shape)[k]) for t in used], used) for k in range(64)]
    assert found == pytest.approx(
        {
            "all_foreground": everything,
            "constant": max(everything, *constants),
            "all_objects": jaccard([(t == 1) | (t == 2) for t in used], used),
            "all_objects_distractor": jaccard([(t == 1) | (t == 2) for t in distracted], distracted),
        }
    )


def test_the_constant_is_the_best_of_all() -> None:
    target = torch.from_numpy(ellipses(40, 60)[2 * 8 + 5].astype(np.uint8))[None]
    baselines = BaselineScores()
    baselines.update(target, target)
    assert baselines.compute()["constant"] == 1
    full = torch.ones(1, 40, 60, dtype=torch.uint8)
    baselines.reset()
    baselines.update(full, full)
    assert baselines.compute()["constant"] == baselines.compute()["all_foreground"] == 1


def test_no_truth_gives_nan_and_void_must_be_known() -> None:
    baselines = BaselineScores()
    baselines.update(torch.zeros(1, 4, 4, dtype=torch.uint8), torch.full((1, 4, 4), 255, dtype=torch.uint8))
    assert all(value.isnan() for value in baselines.compute().values())
    with pytest.raises(CosegError, match="void"):
        BaselineScores("nothing")
