"""Image co-segmentation: mark, in each of several images, the pixels of the objects that they have in common.

>>> from coseg import CoSegmenter
>>> model = CoSegmenter.from_pretrained()  # doctest: +SKIP
>>> model.pair("a.jpg", "b.jpg")[0].mask()  # doctest: +SKIP

Importing `coseg` imports neither torch nor lightning; `CoSegmenter`, when it is first used, and the rooms below do:

- `coseg.data`: catalogs, readers, pairs, the data module;
- `coseg.models`: networks, plain `torch.nn.Module`;
- `coseg.training`: the `LightningModule` around a network, and callbacks;
- `coseg.evaluation`: scores, references, results, pictures;
- `coseg.inference`: trained networks on photographs, shared models;
- `coseg.cli`: the commands.
"""

from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from coseg.inference.segmenter import CoSegmenter

__all__ = ["CoSegmenter", "__version__"]

try:
    __version__ = version("coseg")
except PackageNotFoundError:  # a checkout that is not installed
    __version__ = "0.0.0+checkout"


def __getattr__(name: str) -> Any:
    """`CoSegmenter`, imported when it is asked for: it needs torch, which takes seconds."""
    if name == "CoSegmenter":
        from coseg.inference.segmenter import CoSegmenter

        return CoSegmenter
    raise AttributeError(f"module '{__name__}' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
