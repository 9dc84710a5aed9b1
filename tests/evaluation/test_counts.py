"""A table of counts gives the scores of the masks that it was counted on."""

import pytest
import torch

from coseg.evaluation.counts import counts_table, mask_counts
from coseg.evaluation.metrics import PairScores
from coseg.evaluation.scores import mask_score


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
    second.add_counts(mask_counts(table), common)
    expected, found = first.compute(), second.compute()
    assert {name: float(value) for name, value in found.items()} == pytest.approx(
        {name: float(value) for name, value in expected.items()}, abs=1e-12
    )
    torch.testing.assert_close(first.per_class(), second.per_class())
