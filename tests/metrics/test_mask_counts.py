import numpy as np
import pytest
import torch

from coseg.errors import CosegError
from coseg.metrics.mask_counts import counts_from_table, counts_table, mask_score, predicted_mask
from coseg.metrics.pair_scores import PairScores


def naive(prediction: np.ndarray, target: np.ndarray, void: str) -> dict[str, int]:
    counts = dict.fromkeys(("intersection", "union", "correct", "counted", "truth"), 0)
    for p, t in zip(prediction.flat, target.flat, strict=True):
        if void == "ignored" and t == 255:
            continue
        truth = t == 1
        counts["intersection"] += bool(p and truth)
        counts["union"] += bool(p or truth)
        counts["correct"] += bool(p == truth)
        counts["counted"] += 1
        counts["truth"] += bool(truth)
    return counts


@pytest.mark.parametrize("void", ["background", "ignored"])
def test_counts_agree_with_a_loop_over_pixels(void: str) -> None:
    rng = np.random.default_rng(0)
    target = rng.choice(np.array([0, 1, 2, 255], np.uint8), (5, 9, 7))
    target[3] = np.where(target[3] == 2, 0, target[3])
    target[4] = np.where(target[4] == 1, 0, target[4])
    prediction = rng.random((5, 9, 7)) < 0.4
    batch = mask_score(torch.from_numpy(prediction), torch.from_numpy(target), void)
    for k in range(5):
        single = mask_score(torch.from_numpy(prediction[k]), torch.from_numpy(target[k]), void)
        for name, count in naive(prediction[k], target[k], void).items():
            assert getattr(batch, name)[k] == getattr(single, name) == count, name
        assert bool(batch.distractor[k]) == bool(single.distractor) == (k != 3)
    assert batch.iou.isnan().tolist() == [False] * 4 + [True]
    assert batch.iou[0] == batch.intersection[0].item() / batch.union[0].item()


def test_predicted_void_pixels_are_wrong_or_not_there() -> None:
    target = torch.tensor([[1, 1, 255, 255]], dtype=torch.uint8)
    everything = torch.ones(1, 4, dtype=torch.bool)
    assert mask_score(everything, target, "background").iou == 0.5
    assert mask_score(everything, target, "ignored").iou == 1.0


def test_bad_input_is_refused() -> None:
    target = torch.zeros(2, 2, dtype=torch.uint8)
    with pytest.raises(CosegError, match=r"'ignore'.*'ignored'"):
        mask_score(target.bool(), target, "ignore")
    with pytest.raises(ValueError, match="bool"):
        mask_score(target, target, "ignored")
    with pytest.raises(ValueError, match=r"\(2,\).*bool \(2, 2\)"):
        mask_score(torch.zeros(2, dtype=torch.bool), target, "ignored")


def test_predicted_mask_is_the_argmax() -> None:
    logits = torch.randint(-2, 3, (3, 2, 7, 9), generator=torch.Generator().manual_seed(0)).float()
    assert (logits[:, 0] == logits[:, 1]).any()
    assert torch.equal(predicted_mask(logits), logits.argmax(1).bool())


@pytest.mark.parametrize("void", ["background", "ignored"])
def test_scores_from_a_table(void: str) -> None:
    generator = torch.Generator().manual_seed(0)
    values = torch.tensor([0, 1, 2, 255], dtype=torch.uint8)
    first, second = PairScores(3, void), PairScores(3, void)
    tables, common = [], torch.rand(9, 3, generator=generator) > 0.5
    for k in range(3):
        targets = [values[torch.randint(4, (3, 6, 7 + side), generator=generator)] for side in range(2)]
        masks = [torch.rand(target.shape, generator=generator) > 0.5 for target in targets]
        first.update(masks[0], targets[0], masks[1], targets[1], common[3 * k : 3 * k + 3])
        scores = [mask_score(mask, target, void) for mask, target in zip(masks, targets, strict=True)]
        tables.append(counts_table(torch.tensor([[k, 5], [k, 6], [k, 7]]), *scores))
    table = torch.cat(tables)
    assert table.shape == (9, 14) and table.dtype == torch.int64
    assert table[4, :2].tolist() == [1, 6]
    second.add_counts(counts_from_table(table), common)
    expected, found = first.compute(), second.compute()
    assert {name: float(value) for name, value in found.items()} == pytest.approx(
        {name: float(value) for name, value in expected.items()}, abs=1e-12
    )
    torch.testing.assert_close(first.per_class(), second.per_class())
