"""Batches of training pairs, and how they come from the processes that make them: in shared memory that is used again.

By torch's own way each tensor of a batch gets a new file of shared memory, whose pages the system has to clear and
whose descriptor goes through a socket. Here a worker keeps a few slots, which are announced once; what is sent of a
batch is the number of its slot. The batch that arrives lies in the slot itself. When its last tensor is gone, the slot
is free for another batch: whoever keeps batches keeps their slots, and the worker takes new memory.
"""

from __future__ import annotations

import math
import multiprocessing
import os
import weakref
from collections.abc import Mapping, Sequence
from multiprocessing.reduction import ForkingPickler
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar, cast

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, get_worker_info

from coseg.errors import CosegError
from coseg.signals import ignore_stop_signals, workers_started

if TYPE_CHECKING:
    from coseg.data.dataset import PairBatch

T_co = TypeVar("T_co", covariant=True)

Layout = tuple[tuple[str, torch.dtype, tuple[int, ...]], ...]
"""Name, type and shape of each tensor of a batch, in the order in which they lie in a slot."""

_ALIGNMENT = 8
"""Bytes of the largest number in a batch: each tensor of a slot begins at a multiple."""

_HEADER = 64
"""Bytes of a slot before its batch."""

_WORKER, _RECEIVER = 0, 1
"""The bytes of a header that are 1 while the worker, or the process that a batch was sent to, holds a tensor of it."""

_SLOTS = 8
"""Slots of a worker, at most; past it, batches get memory that is not used again."""


def collate(items: Sequence[PairBatch]) -> PairBatch:
    """Stack items into a batch.

    Raises:
        CosegError: images of a side have several sizes.
    """
    for side in ("a", "b"):
        require_one_size([item[f"image_{side}"] for item in items])  # type: ignore[literal-required]
    fields = [cast("dict[str, Tensor]", item) for item in items]
    stacked = {name: [item[name][None] for item in fields] for name in fields[0]}
    return cast("PairBatch", joined(stacked))


def require_one_size(images: Sequence[Tensor]) -> None:
    """Check that images (..., H, W) of a batch can be stacked.

    Raises:
        CosegError: they have several sizes.
    """
    sizes = list(dict.fromkeys(f"{height} x {width}" for height, width in (image.shape[-2:] for image in images)))
    if len(sizes) > 1:
        raise CosegError(
            f"The images of a training batch have several sizes ({', '.join(sizes[:4])}): give an augmentation that "
            "crops or resizes them to one, augmentation=[albumentations.Resize(128, 128)] of PairDataModule say, or "
            "take batches of one pair."
        )


def joined(parts: Mapping[str, Sequence[Tensor]]) -> Any:
    """The batch of which `parts` has pieces of each tensor, joined along the first dimension.

    In a worker it lies in a slot and arrives as a plain dictionary.
    """
    if get_worker_info() is None:
        return {name: torch.cat(tuple(pieces)) for name, pieces in parts.items()}
    return _SlotBatch(parts)


class _Slot:
    """Shared memory of a worker for one batch at a time; `number` None: it is not used again."""

    def __init__(self, number: int | None, size: int) -> None:
        shared = torch.UntypedStorage._new_shared(_HEADER + size)  # as torch's own default_collate does
        self.tensor = torch.empty(0, dtype=torch.uint8).set_(shared)  # type: ignore[call-overload]
        self.memory: NDArray[np.uint8] = self.tensor.numpy()
        self.memory[:_HEADER] = 0
        self.number = number
        self.announced = False


class _Slots:
    """The slots of this worker."""

    def __init__(self) -> None:
        self.name = os.urandom(16)  # of a worker: another may get its process id
        self.slots: dict[int, _Slot] = {}
        self._count = 0

    def free(self, size: int) -> _Slot:
        """A slot for `size` bytes that nobody holds."""
        unused = [slot for slot in self.slots.values() if not slot.memory[:_HEADER].any()]
        for slot in unused:
            if len(slot.memory) >= _HEADER + size:
                return slot
        for slot in unused:  # too small: batches have grown
            del self.slots[cast("int", slot.number)]
        if len(self.slots) >= _SLOTS:
            return _Slot(None, size)
        self._count += 1
        self.slots[self._count] = _Slot(self._count, size)
        return self.slots[self._count]


_slots: _Slots | None = None  # of this process, where it is a worker


def _worker_slots() -> _Slots:
    global _slots
    if _slots is None:
        _slots = _Slots()
    return _slots


class _SlotBatch(dict[str, Tensor]):
    """A batch whose tensors lie in a slot, one after the other."""

    def __init__(self, parts: Mapping[str, Sequence[Tensor]]) -> None:
        self.layout: Layout = tuple(
            (name, pieces[0].dtype, (sum(map(len, pieces)), *pieces[0].shape[1:])) for name, pieces in parts.items()
        )
        size = sum(_space(dtype, shape) for _, dtype, shape in self.layout)
        self.slot = _worker_slots().free(size)
        self.views = _views(_held(self.slot.memory, _WORKER), self.layout)
        for name, view in self.views.items():
            torch.cat(tuple(parts[name]), out=view)
        super().__init__(self.views)

    def __reduce__(self) -> tuple[Any, ...]:
        """A copy is a plain dictionary with memory of its own."""
        return dict, (dict(self),)


def _sent(batch: _SlotBatch) -> tuple[Any, ...]:
    """How a batch is pickled for another process."""
    slot, slots = batch.slot, _worker_slots()
    # A user's collate function may have put other tensors into the batch, or taken some out, or sent it before.
    same = list(batch) == list(batch.views) and all(batch[name] is view for name, view in batch.views.items())
    if not same or slot.memory[_RECEIVER]:
        return batch.__reduce__()
    slot.memory[_RECEIVER] = 1
    tensor = None if slot.announced else slot.tensor
    slot.announced = True
    return _received, (_Message(slots.name, os.getpid(), slot.number, tensor, batch.layout, tuple(slots.slots)),)


ForkingPickler.register(_SlotBatch, _sent)


class _Message(NamedTuple):
    """What is sent of a batch.

    Attributes:
        name: of the worker's slots.
        worker: its process id.
        number: of the slot that holds the batch.
        tensor: the slot's memory, the first time.
        layout: of the batch.
        numbers: of all slots that the worker has; it will not name others that it had.
    """

    name: bytes
    worker: int
    number: int | None
    tensor: Tensor | None
    layout: Layout
    numbers: tuple[int, ...]


_announced: dict[bytes, tuple[int, dict[int, NDArray[np.uint8]]]] = {}
"""The process ids of workers, and their slots, by the names of these."""


def _received(message: _Message) -> dict[str, Tensor]:
    """The batch that a worker sent: views into its slot, which is held until none is left.

    Raises:
        CosegError: the slot was announced to another process.
    """
    if message.number is None:
        memory = cast("Tensor", message.tensor).numpy()
    else:
        entry = _announced.get(message.name)
        if entry is None:
            forget_ended_workers()
            entry = _announced[message.name] = message.worker, {}
        memories = entry[1]
        if message.tensor is not None:
            memories[message.number] = message.tensor.numpy()
        for number in memories.keys() - message.numbers:
            del memories[number]
        if message.number not in memories:
            raise CosegError(
                "A batch came from a worker that did not send it to this process before: only the process that starts "
                "workers gets their batches. Send others a copy, dict(batch)."
            )
        memory = memories[message.number]
    return _views(_held(memory, _RECEIVER), message.layout)


def forget_ended_workers() -> None:
    """Give back the memory of slots whose workers have ended, but for that of batches which are still in use."""
    running = {process.pid for process in multiprocessing.active_children()}
    for name, (worker, _) in [*_announced.items()]:
        if worker not in running:
            _announced.pop(name, None)  # another thread, which pins the batches of another loader, may have done it


def _held(memory: NDArray[np.uint8], holder: int) -> Tensor:
    """The part of a slot that batches lie in; the slot's byte `holder` is 1 until no tensor of that part is left."""
    part = memory[_HEADER:]
    memory[holder] = 1
    weakref.finalize(part, _release, memory, holder, os.getpid()).atexit = False
    return torch.from_numpy(part)  # whose storage keeps `part`


def _release(memory: NDArray[np.uint8], holder: int, process: int) -> None:
    if os.getpid() == process:  # a forked process has a copy of what is held
        memory[holder] = 0


def _views(block: Tensor, layout: Layout) -> dict[str, Tensor]:
    views, start = {}, 0
    for name, dtype, shape in layout:
        count = math.prod(shape) * dtype.itemsize
        views[name] = block[start : start + count].view(dtype).view(shape)
        start += _space(dtype, shape)
    return views


def _space(dtype: torch.dtype, shape: tuple[int, ...]) -> int:
    """The bytes of a tensor, rounded up so that what follows is aligned."""
    return -(-math.prod(shape) * dtype.itemsize // _ALIGNMENT) * _ALIGNMENT


class Loader(DataLoader[T_co]):
    """A `DataLoader` whose workers outlive stop signals to their process group; see `worker_settings`."""

    def __iter__(self) -> Any:
        """Start the workers."""
        if not self.num_workers:
            return super().__iter__()
        with workers_started():
            batches = super().__iter__()
        weakref.finalize(batches, forget_ended_workers).atexit = False  # workers end with their iterator
        return batches


def worker_settings(workers: int) -> dict[str, Any]:
    """Arguments of a `DataLoader` for so many workers."""
    settings: dict[str, Any] = {"num_workers": workers, "worker_init_fn": start_worker}
    methods = multiprocessing.get_all_start_methods()
    # A launcher of parallel jobs may have made a way of its own the default, which can start nothing but its jobs.
    if workers and multiprocessing.get_start_method() not in ("fork", "spawn", "forkserver"):
        settings["multiprocessing_context"] = "fork" if "fork" in methods else "spawn"
    return settings


def start_worker(worker: int) -> None:
    """Ignore stop signals, and use one thread."""
    ignore_stop_signals()
    cv2.setNumThreads(0)  # or each worker keeps as many threads as there are cores
