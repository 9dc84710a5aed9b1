from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader

from coseg.data.batches import collate, joined, require_one_size
from coseg.data.dataset import PairDataset, PairSample
from coseg.data.readers.shapes import ShapesReader
from coseg.errors import CosegError

FIELDS = {
    "images": torch.arange(2 * 3 * 5 * 7, dtype=torch.uint8).view(2, 3, 5, 7),
    "common": torch.tensor([[True, False, True], [False, True, True]]),
    "pairs": torch.tensor([[0, 1], [2**40, 3]]),
    "none": torch.zeros(0, 2),
    "weights": torch.tensor([0.5, -1.0]),
}


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return list(first) == list(second) and all(
        first[name].dtype == second[name].dtype and torch.equal(first[name], second[name]) for name in first
    )


def test_a_block_is_unpickled_as_the_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    parts = {name: [tensor[:1], tensor[1:]] for name, tensor in FIELDS.items()}
    assert same(joined(parts), FIELDS)
    monkeypatch.setattr("coseg.data.batches.get_worker_info", lambda: "of a worker")
    block = joined(parts)
    arrived = block.__reduce__()[0](*block.__reduce__()[1])
    assert type(arrived) is dict and same(arrived, FIELDS)
    assert len({tensor.untyped_storage().data_ptr() for tensor in arrived.values()}) == 1


def test_workers_send_the_batches_that_one_process_makes() -> None:
    catalog = ShapesReader(size=48, train=6).read("train")
    samples = [PairSample(i, i + 1, 0) for i in range(4)]

    def batches(workers: int) -> list[Any]:
        return [*DataLoader(PairDataset(catalog), 2, sampler=samples, collate_fn=collate, num_workers=workers)]

    assert [same(*pair) for pair in zip(batches(0), batches(2), strict=True)] == [True, True]


def test_images_of_several_sizes_are_refused() -> None:
    require_one_size([torch.zeros(3, 4, 5), torch.zeros(2, 4, 5)])
    with pytest.raises(CosegError, match="4 x 5, 5 x 4"):
        require_one_size([torch.zeros(3, 4, 5), torch.zeros(3, 5, 4)])
    catalogs = [ShapesReader(size=size, train=4).read("train") for size in (48, 64)]
    with pytest.raises(CosegError, match="48 x 48, 64 x 64"):
        collate([PairDataset(catalog)[PairSample(0, 1, 0)] for catalog in catalogs])


def with_more(items: Any) -> Any:
    """A user's collate function around coseg's."""
    batch: Any = collate(items)
    batch["bright"] = batch["image_a"].float().mean((1, 2, 3))
    batch["image_b"] = 255 - batch["image_b"]
    batch["target_a"][:] = 1
    del batch["labels_b"]
    return batch


def test_a_collate_function_of_the_users_gets_the_batch_in_workers_too() -> None:
    catalog = ShapesReader(size=48, train=6).read("train")
    samples = [PairSample(i, i + 1, 0) for i in range(4)]
    plain, sent = (
        [*DataLoader(PairDataset(catalog), 2, sampler=samples, collate_fn=with_more, num_workers=workers)]
        for workers in (0, 1)
    )
    assert [same(*pair) for pair in zip(plain, sent, strict=True)] == [True, True]
    assert "bright" in sent[0] and "labels_b" not in sent[0] and (sent[0]["target_a"] == 1).all()
