"""Which training classes the unseen classes of a test are nearest to: what `coseg-report nearest` asks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from torch import Tensor

from coseg.data.catalog import Catalog
from coseg.errors import CosegError
from coseg.evaluation.nearest import Nearest, class_features, nearest_classes
from coseg.evaluation.results import read_results
from coseg.models.network import EncoderDecoderNetwork
from coseg.training.fit import make_datamodule
from coseg.training.tested import tested, tested_config


def nearest_training_classes(folder: Path, trust: bool = False) -> list[Nearest]:
    """The classes of a test that training did not show, with the training class that is nearest to each.

    Args:
        folder: of the results. Their configuration names the data, and the network is taken to be trained on its
            training split.
        trust: see `coseg.training.tested.tested`.

    Raises:
        CosegError: the configuration, the checkpoint or the data is gone; the network has no single encoder; or
            training showed all classes.
    """
    network, datamodule = tested(folder, trust)
    if not isinstance(network, EncoderDecoderNetwork):
        raise CosegError(f"{type(network).__name__} has no encoder with one feature map to compare classes in.")

    def map_of(image: Tensor) -> Tensor:
        features: Tensor = network.encoder(network.resize(image))
        return features

    train, test = make_datamodule(tested_config(folder, trust)).catalog("train"), datamodule.catalog("test")
    if _shown(test) <= _shown(train):
        raise CosegError(f"{folder} has no class that {train.name}/{train.split} lacks: there is nothing to compare.")
    per_class = read_results(folder / "results.json")["per_class"]
    return nearest_classes(class_features(map_of, train), class_features(map_of, test), per_class)


def _shown(catalog: Catalog) -> set[str]:
    return {catalog.class_names[k] for k in np.flatnonzero(catalog.presence.any(axis=0)).tolist()}
