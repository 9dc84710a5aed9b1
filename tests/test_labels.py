"""Label maps and target maps."""

import numpy as np
import pytest
import torch

from coseg.labels import pair_targets, target_table


def naive_target(labels, common):
    target = np.zeros_like(labels)
    for y, x in np.ndindex(labels.shape):
        if labels[y, x] == 255:
            target[y, x] = 255
        elif labels[y, x] > 0:
            target[y, x] = 1 if labels[y, x] in common else 2
    return target


@pytest.mark.parametrize("classes", [1, 3, 20, 200])
def test_table_against_a_loop(classes):
    rng = np.random.default_rng(classes)
    for _ in range(20):
        common = rng.random(classes) < rng.random()
        labels = np.concatenate([rng.integers(0, classes + 1, 60), [0, 255, classes]]).astype(np.uint8).reshape(9, 7)
        table = target_table(common)
        assert (table.shape, table.dtype) == ((256,), np.uint8)
        assert np.array_equal(table[labels], naive_target(labels, 1 + np.flatnonzero(common)))


def test_targets_of_label_maps_as_of_pairs() -> None:
    labels = torch.randint(0, 4, (2, 5, 6), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    labels[0, 0] = 255
    common = np.array([[True, False, False], [False, True, True]])
    expected = [torch.from_numpy(target_table(each)[one]) for each, one in zip(common, labels.numpy(), strict=True)]
    assert torch.equal(pair_targets(labels, torch.from_numpy(common)), torch.stack(expected))
