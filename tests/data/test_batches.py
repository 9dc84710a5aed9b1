from __future__ import annotations

import copy
import os
import pickle
from multiprocessing.reduction import ForkingPickler
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader

from coseg.data import batches
from coseg.data.batches import Loader, collate, joined, require_one_size, worker_settings
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


# slots


PARTS = {name: [tensor[:1], tensor[1:]] for name, tensor in FIELDS.items()}


@pytest.fixture
def worker(monkeypatch: pytest.MonkeyPatch) -> None:
    """This process is a worker, too, which has sent nothing yet."""
    monkeypatch.setattr(batches, "get_worker_info", lambda: "of a worker")
    monkeypatch.setattr(batches, "_slots", None)
    monkeypatch.setattr(batches, "_announced", {})


def sent(batch: Any) -> Any:
    return pickle.loads(ForkingPickler.dumps(batch))


def place(batch: Any) -> int:
    return int(batch["images"].data_ptr())


def test_a_batch_arrives_in_one_slot_which_is_used_again(worker: None) -> None:
    assert same(joined(PARTS), FIELDS)
    places = set()
    for _ in range(6):
        arrived = sent(joined(PARTS))
        assert type(arrived) is dict and same(arrived, FIELDS)
        assert len({tensor.untyped_storage().data_ptr() for tensor in arrived.values()}) == 1
        places.add(place(arrived))
    assert len(places) == 2  # one is still held when the next batch is made


def test_what_is_left_of_a_batch_stays_as_it_is(worker: None) -> None:
    first = sent(joined(PARTS))["images"][1]  # all that is left of it
    mine = joined(PARTS)  # in the worker, which keeps it after sending it
    sent(mine)
    for value in range(4):
        sent(joined({"images": [torch.full((4, 3, 5, 7), value, dtype=torch.uint8)]}))
    assert torch.equal(first, FIELDS["images"][1]) and same(mine, FIELDS)


def test_batches_that_are_kept_take_new_memory(worker: None) -> None:
    counts = range(3 * batches._SLOTS)
    kept = [sent(joined({"images": [torch.full((2, 3), count)]})) for count in counts]
    assert [batch["images"].unique().item() for batch in kept] == [*counts]
    assert len(batches._worker_slots().slots) == batches._SLOTS


def test_larger_batches_take_the_place_of_smaller_ones(worker: None) -> None:
    for side in (2, 30, 400, 3):
        image = torch.full((1, side, side), side)
        assert torch.equal(sent(joined({"images": [image]}))["images"], image)
    ((_, memories),) = batches._announced.values()
    assert memories.keys() == batches._worker_slots().slots.keys() and len(memories) == 1


def test_a_process_that_has_not_heard_of_a_slot(worker: None) -> None:
    sent(joined(PARTS))
    batches._announced.clear()
    with pytest.raises(CosegError, match="copy"):
        sent(joined(PARTS))


def test_a_forked_process_leaves_the_slots_of_its_parent(worker: None) -> None:
    arrived = sent(joined(PARTS))
    child = os.fork()
    if not child:
        del arrived
        os._exit(0)
    os.waitpid(child, 0)
    ((_, memories),) = batches._announced.values()
    assert [memory[batches._RECEIVER] for memory in memories.values()] == [1]
    del arrived
    assert [memory[batches._RECEIVER] for memory in memories.values()] == [0]


def test_a_copy_and_a_second_sending_have_memory_of_their_own(worker: None) -> None:
    batch = joined(PARTS)
    copies = [sent(batch), sent(batch), copy.deepcopy(batch), pickle.loads(pickle.dumps(batch))]
    for arrived in copies:
        assert type(arrived) is dict and same(arrived, FIELDS)
        arrived["images"].zero_()
        assert not arrived["images"].any()
    del batch
    assert same(sent(joined(PARTS)), FIELDS) and not any(arrived["images"].any() for arrived in copies)


def test_slots_of_ended_workers_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "_announced", {})
    catalog = ShapesReader(size=48, train=6).read("train")
    samples = [PairSample(i, i + 1, 0) for i in range(4)]
    loader: Any = Loader(PairDataset(catalog), 1, sampler=samples, collate_fn=collate, **worker_settings(1))
    iterator = iter(loader)
    last = next(iterator)
    assert len(batches._announced) == 1
    expected = PairDataset(catalog)[samples[0]]["image_a"]
    del iterator
    assert not batches._announced and torch.equal(last["image_a"][0], expected)


def test_two_threads_may_forget_the_same_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each loader whose batches are pinned has a thread that receives them."""

    class Forgotten(dict[bytes, Any]):
        def items(self) -> Any:
            items = [*super().items()]
            self.clear()  # by the other thread
            return items

    announced = Forgotten({b"worker": (-1, {})})
    monkeypatch.setattr(batches, "_announced", announced)
    batches.forget_ended_workers()
    assert not announced


# workers


def test_workers_send_the_batches_that_one_process_makes() -> None:
    catalog = ShapesReader(size=48, train=6).read("train")
    samples = [PairSample(k % 5, k % 5 + 1, k) for k in range(50)]  # more batches than slots, and all are kept

    def batches_of(workers: int) -> list[Any]:
        return [*DataLoader(PairDataset(catalog), 2, sampler=samples, collate_fn=collate, num_workers=workers)]

    assert all(same(*pair) for pair in zip(batches_of(0), batches_of(2), strict=True))


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
