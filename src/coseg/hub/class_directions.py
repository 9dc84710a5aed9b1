"""The classes that a calibration knows: a linear classifier of feature vectors, stored in ``config.json``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from coseg.errors import CosegError

_DIGITS = 4  # of the numbers in JSON: more say nothing, and the file would be three times as long
_RIDGE = 1e-3


@dataclass(frozen=True, eq=False)
class ClassDirections:
    """Softmax regression from a feature vector to background and K classes.

    Attributes:
        names: of the K classes.
        weight: float32 (K + 1, C); background comes first.
        bias: float32 (K + 1,).
        mean: float32 (C,), of the feature vectors of objects.
    """

    names: tuple[str, ...]
    weight: Tensor
    bias: Tensor
    mean: Tensor

    def logits(self, vectors: Tensor) -> Tensor:
        """Of feature vectors (..., C) the logits of background and each class, float32 (..., K + 1).

        Raises:
            CosegError: the vectors are of another length.
        """
        if vectors.shape[-1] != self.weight.shape[1]:
            raise CosegError(
                f"The calibration in 'cooccurrence' is of {self.weight.shape[1]} channels, but this network has "
                f"{vectors.shape[-1]}: fit it again, or set it to null."
            )
        return vectors @ self.weight.T + self.bias

    @classmethod
    def fit(cls, names: Sequence[str], vectors: Tensor, classes: Tensor) -> ClassDirections:
        """The regression by L-BFGS; each class has the same weight, whether its vectors are many or few.

        Args:
            names: K.
            vectors: (N, C), finite.
            classes: int64 (N,): 0 background, k + 1 class k.
        """
        count = torch.bincount(classes, minlength=len(names) + 1).double()
        values, share = vectors.double(), 1 / (count[classes] * (count > 0).sum())
        centre, scale = values.mean(0), values.std(0).clamp_min(1e-6)
        scaled = ((values - centre) / scale).float()
        parameters = torch.zeros(len(names) + 1, values.shape[1] + 1, requires_grad=True)
        optimizer = torch.optim.LBFGS([parameters], max_iter=100, line_search_fn="strong_wolfe")
        missing = torch.where(count > 0, 0.0, -30.0).float()  # a class without a vector is never the answer

        def loss() -> Tensor:
            optimizer.zero_grad()
            logits = scaled @ parameters[:, :-1].T + parameters[:, -1] + missing
            total = (F.cross_entropy(logits, classes, reduction="none") * share.float()).sum()
            total = total + _RIDGE / 2 * parameters[:, :-1].square().sum()
            total.backward()  # type: ignore[no-untyped-call]
            return total

        with torch.enable_grad():
            optimizer.step(loss)  # type: ignore[no-untyped-call]
        fitted = parameters.detach().double()
        weight = fitted[:, :-1] / scale
        bias = fitted[:, -1] + missing.double() - weight @ centre
        objects = values[classes > 0] if (classes > 0).any() else values
        return cls(tuple(names), weight.float(), bias.float(), objects.mean(0).float())

    def to_dict(self) -> dict[str, Any]:
        """As primitives, for JSON."""
        return {
            "names": list(self.names),
            **{
                name: [[round(value, _DIGITS) for value in line] for line in values.tolist()]
                for name, values in {
                    "weight": self.weight, "bias": self.bias[None], "mean": self.mean[None]
                }.items()
            },
        }  # fmt: skip

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ClassDirections:
        """The inverse of `to_dict`.

        Raises:
            KeyError, TypeError, ValueError, AttributeError: `values` are not of this form.
        """
        names = tuple(str(name) for name in values["names"])
        weight, bias, mean = (torch.tensor(values[name], dtype=torch.float32) for name in ("weight", "bias", "mean"))
        shapes = ((len(names) + 1, weight.shape[-1]), (1, len(names) + 1), (1, weight.shape[-1]))
        if tuple(map(tuple, (weight.shape, bias.shape, mean.shape))) != shapes:
            raise ValueError("the numbers of its classes differ in shape")
        if not all(bool(tensor.isfinite().all()) for tensor in (weight, bias, mean)):
            raise ValueError("a number of its classes is not finite")
        return cls(names, weight, bias[0], mean[0])
