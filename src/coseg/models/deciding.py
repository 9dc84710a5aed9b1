"""The seam of networks that also say whether two images have a common object at all."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

from torch import Tensor

from coseg.models.network import CosegNetwork


class DecidingNetwork(CosegNetwork):
    """A network that decides, beside its masks, whether a pair has a common object.

    The decision is an output of its own, scored by `coseg.evaluation.decision.DecisionScores`. It must be equal
    whichever image comes first.
    """

    @abstractmethod
    def embed(self, features: Any) -> Tensor:
        """A vector for each image, float32 (B, D): images that share a class should lie closer than those that don't.

        `features` is what `encode` returned.
        """

    @abstractmethod
    def decide(self, features_a: Any, features_b: Any) -> Tensor:
        """The logit that each of B pairs has a common object, float32 (B,): above 0 it is decided that it has."""
