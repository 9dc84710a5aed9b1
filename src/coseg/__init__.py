"""Image co-segmentation: mark, in each of several images, the pixels of the objects that they have in common.

Importing `coseg` imports neither torch nor lightning; the rooms below it do:

- `coseg.data`: catalogs, readers, pairs, the data module;
- `coseg.models`: networks, plain `torch.nn.Module`;
- `coseg.training`: the `LightningModule` around a network, and callbacks;
- `coseg.evaluation`: scores, references, results, pictures;
- `coseg.cli`: the commands.
"""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("coseg")
except PackageNotFoundError:  # a checkout that is not installed
    __version__ = "0.0.0+checkout"
