"""Image co-segmentation: mark, in each of several images, the pixels of the objects that they have in common.

>>> from coseg import CoSegmenter
>>> model = CoSegmenter.from_pretrained()  # doctest: +SKIP
>>> model.pair("a.jpg", "b.jpg")[0].mask()  # doctest: +SKIP

Importing `coseg` imports neither torch nor lightning; its names (`CoSegmenter`, `load_network`, `create_network`,
`CosegNetwork`, `PairIndex`, `PairDataModule`, `PairScores`, `CosegTask`), when they are first used, and the rooms below
do:

- `coseg.data`: catalogs, readers, pairs, the data module;
- `coseg.models`: networks, plain `torch.nn.Module`;
- `coseg.hub`: checkpoints and shared models;
- `coseg.training`: the `LightningModule` around a network, and callbacks;
- `coseg.metrics`: scores, baselines, intervals; `coseg.reports`: results, tables, pictures;
- `coseg.evaluation`: running a test;
- `coseg.inference`: trained networks on photographs;
- `coseg.cli`: the commands.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    __version__: str

    from coseg.data.datamodule import PairDataModule
    from coseg.data.pair_index import PairIndex
    from coseg.hub.load import load_network
    from coseg.inference.segmenter import CoSegmenter
    from coseg.instantiate import create_network
    from coseg.metrics.pair_scores import PairScores
    from coseg.models.base import CosegNetwork
    from coseg.training.task import CosegTask

__all__ = [
    "CoSegmenter",
    "CosegNetwork",
    "CosegTask",
    "PairDataModule",
    "PairIndex",
    "PairScores",
    "__version__",
    "create_network",
    "load_network",
]

_MODULES = {
    "CoSegmenter": "coseg.inference.segmenter",
    "CosegNetwork": "coseg.models.base",
    "CosegTask": "coseg.training.task",
    "PairDataModule": "coseg.data.datamodule",
    "PairIndex": "coseg.data.pair_index",
    "PairScores": "coseg.metrics.pair_scores",
    "create_network": "coseg.instantiate",
    "load_network": "coseg.hub.load",
}


def __getattr__(name: str) -> Any:
    """A name of the public interface, imported when it is asked for: most need torch, which takes seconds."""
    if name == "__version__":
        return import_module("coseg.run_dir").coseg_version()
    if name in _MODULES:
        return getattr(import_module(_MODULES[name]), name)
    raise AttributeError(f"module '{__name__}' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
