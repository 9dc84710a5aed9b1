"""How a test encodes images: in float32, and those that several processes need by one of them, read by the others."""

from __future__ import annotations

import copy
import logging
import pickle
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import lightning as L
import torch
from torch import Tensor, nn

from coseg.data.dataset import ImageItem
from coseg.errors import CosegError
from coseg.files.writing import atomic_path
from coseg.models.base import CosegNetwork
from coseg.models.features import map_levels, size_in_bytes
from coseg.models.siamese import gives_logits

log = logging.getLogger(__name__)

SHARED = "features"
"""The folder of the files, beside the partial results: all processes, of other machines too, read and write there."""

_HALF = {"bf16": torch.bfloat16, "16": torch.float16}
_BATCH_NORMS = nn.BatchNorm2d.forward, nn.SyncBatchNorm.forward  # of batch norm in 1, 2 and 3 dimensions


def half_type(precision: object) -> torch.dtype | None:
    """The data type of a half precision of Lightning's, such as ``bf16-true`` or ``16-mixed``; None for the others."""
    return _HALF.get(str(precision).partition("-")[0])


def context_after_test(trainer: L.Trainer, network: CosegNetwork) -> AbstractContextManager[Any]:
    """In it, the network predicts as in a test of this trainer; in float32 where that was in half precision."""
    if half_type(trainer.precision) is not None:
        return nullcontext()
    trainer.precision_plugin.convert_module(network)
    return trainer.precision_plugin.forward_context()


class FullPrecision:
    """What a test in half precision does in float32: encoding images, of whose features pairs are matched and decoded.

    An image is encoded once and is in many pairs, so this costs little. Most of the error of half precision comes from
    the encoder, which has the most layers. Much of the rest is of batch norm, whose rounded numbers shift all logits
    alike: it is in float32, too.

    Args:
        network: in float32.
        dtype: of the features.
    """

    def __init__(self, network: CosegNetwork, dtype: torch.dtype) -> None:
        self.network = network.eval()
        self.dtype = dtype

    def encode(self, images: Tensor) -> Any:
        """As `CosegNetwork.encode` gives them, but in the data type."""
        return self._encoded(self.network.encode, images, self.dtype)

    def encode_for_pairs(self, images: Tensor) -> Any:
        """Likewise of `CosegNetwork.encode_for_pairs`; as they are where they are logits already."""
        dtype = torch.float32 if gives_logits(self.network) else self.dtype
        return self._encoded(self.network.encode_for_pairs, images, dtype)

    def for_pairs(self, precision: object) -> CosegNetwork:
        """The network that matches and decodes: a copy, which Lightning converts; with mixed precision the same one.

        Raises:
            CosegError: it can't be copied.
        """
        if str(precision).endswith("-mixed"):  # the weights stay in float32
            return self.network
        try:
            return copy.deepcopy(self.network)
        except Exception as error:  # of the user's network, whatever it holds
            mixed = str(precision).replace("true", "mixed")
            raise CosegError(
                f"A test with trainer.precision={precision} needs a copy of the network {self.network.name}, which "
                f"can't be made ({type(error).__name__}: {error}): take trainer.precision={mixed} or 32-true."
            ) from error

    def join(self, network: CosegNetwork, device: torch.device, layout: torch.memory_format) -> None:
        """Move to the device, and give a copy in half precision batch norms in float32.

        Classes that are derived from these stay as they are: their `forward` may not take both types.
        """
        self.network.to(device=device, memory_format=layout)  # type: ignore[call-overload]
        if network is self.network:
            return
        for half, full in zip(network.modules(), self.network.modules(), strict=True):
            if getattr(type(half), "forward", None) in _BATCH_NORMS:
                half.float().load_state_dict(full.state_dict())

    def _encoded(self, encode: Callable[[Tensor], Any], images: Tensor, dtype: torch.dtype) -> Any:
        with _in_float32(images.device):
            features = encode(images)
        return map_levels(lambda level: level.to(dtype) if level.is_floating_point() else level, features)


def fastest_layout(network: nn.Module, device: torch.device) -> torch.memory_format:
    """Channels-last on a CPU, where convolutions take three quarters of the time; it has none for kernels in 3-D."""
    flat = all(parameter.dim() < 5 for parameter in network.parameters())
    return torch.channels_last if device.type == "cpu" and flat else torch.preserve_format


@contextmanager
def _in_float32(device: torch.device) -> Iterator[None]:
    """Undoes what the precision of a trainer does to everything within."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    try:
        with torch.autocast(device.type, enabled=False):
            yield
    finally:
        torch.set_default_dtype(before)


def encoders(needed: Sequence[Iterable[int]]) -> dict[int, int]:
    """Which process encodes an image that several need: among these, the one that has the fewest to encode so far.

    Args:
        needed: of each process the images.

    Returns:
        The process of each image that two or more need.
    """
    by_image: dict[int, list[int]] = {}
    for rank, images in enumerate(needed):
        for image in images:
            by_image.setdefault(image, []).append(rank)
    load = [0] * len(needed)  # what one process alone needs is encoded later, as its pairs are scored
    result: dict[int, int] = {}
    for image in sorted(image for image, ranks in by_image.items() if len(ranks) > 1):
        result[image] = min(by_image[image], key=lambda rank: load[rank])
        load[result[image]] += 1
    return result


class SharedFeatures:
    """Features in files, one for each image, of the encoder as it is: they are removed when the test ends.

    Nothing depends on them. What is not there, since the bound was reached or another machine does not see the folder,
    is encoded by each process that needs it.

    Args:
        folder: of the files.
        gigabytes: bound on the files that this process writes.
    """

    def __init__(self, folder: Path, gigabytes: float) -> None:
        self.folder = folder
        self._left = int(gigabytes * 1e9)

    def write(self, items: Iterable[ImageItem], encode: Callable[[Tensor], Any], device: torch.device) -> None:
        """Encode these images, and write their features, until the bound or the end of the disk is reached."""
        for item in items:
            features = map_levels(lambda level: level.cpu(), encode(item.image[None].to(device)))
            self._left -= size_in_bytes(features)
            if self._left < 0:
                log.info(f"{self.folder} has reached shared_gb: each process encodes the images that are not in it")
                return
            try:
                self.folder.mkdir(parents=True, exist_ok=True)
                with atomic_path(self._path(item.i)) as path:
                    torch.save(features, path)
            except OSError as error:
                log.warning(
                    f"{self.folder} can't be written ({error.strerror or error}): each process encodes by itself"
                )
                return

    def read(self, image: int, device: torch.device) -> Any | None:
        """The features of an image, a batch of one; None if they are not there."""
        path = self._path(image)
        try:
            features = torch.load(path, map_location="cpu", weights_only=True)
        except (OSError, RuntimeError, EOFError, pickle.UnpicklingError):
            return None
        return map_levels(lambda level: level.to(device), features)

    def remove(self) -> None:
        """Delete all of them, those of a killed test included."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _path(self, image: int) -> Path:
        return self.folder / f"{image}.pt"
