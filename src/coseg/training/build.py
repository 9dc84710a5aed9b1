"""Objects from the plain dictionaries of a configuration or a checkpoint."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, TypeVar

import torch
from hydra.errors import InstantiationException
from hydra.utils import get_class, instantiate
from omegaconf import DictConfig, OmegaConf

from coseg.errors import CosegError
from coseg.models.network import CosegNetwork
from coseg.models.registry import described_network, known_network

T = TypeVar("T")


def plain(config: object) -> Any:
    """A configuration as primitives, dictionaries and lists, with its interpolations resolved."""
    return OmegaConf.to_container(config, resolve=True) if isinstance(config, DictConfig) else config


def make(config: Any, **arguments: Any) -> Any:
    """Instantiate ``{"_target_": …}``, as Hydra does, but let the sentences of `CosegError` through.

    Raises:
        CosegError: raised by the object itself, or there is an argument it does not take.
    """
    try:
        return instantiate(config, _convert_="all", **arguments)
    except InstantiationException as error:
        cause: BaseException | None = error
        while cause is not None:
            if isinstance(cause, CosegError):
                raise cause from None
            last, cause = cause, cause.__cause__
        found = re.search(r"target '([^']+)'", str(error))  # Hydra names the innermost one
        reason = " ".join(str(last).split())
        unknown = re.search(r"(\w+)\.__init__\(\) got an unexpected keyword argument '(\w+)'", reason)
        if unknown is not None:
            raise CosegError(
                f"{unknown[1]} has no setting '{unknown[2]}': leave out what sets it (a value, an experiment, an "
                "ablation), or choose another class."
            ) from error
        raise CosegError(f"{found[1] if found else 'This'} can't be made from the configuration: {reason}") from error


def build(config: Mapping[str, Any], kind: type[T], what: str, **arguments: Any) -> T:
    """Instantiate `config` and require a `kind`; `what` names the group in the sentence.

    It imports what `config` names: only for a configuration that the user composed, or trusts.

    Raises:
        CosegError: `config` does not describe a `kind`, or names something that is no such class.
    """
    _require_classes(config, (torch.nn.Module, torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler), what)
    made = make(config, **arguments)
    if not isinstance(made, kind):
        raise CosegError(f"{what} is a {type(made).__name__}, but must be a {kind.__name__}.")
    return made


def build_network(config: Mapping[str, Any], trust: bool = False) -> CosegNetwork:
    """The network that `config` describes.

    Args:
        config: ``{"_target_": class, …}``.
        trust: `config` may name classes outside of coseg, which are imported: the user composed it, or says so. False:
            coseg's own by `coseg.models.registry`, and nothing is imported or resolved.

    Raises:
        CosegError: see `build` and `described_network`.
    """
    if trust and not known_network(config):
        return build(config, CosegNetwork, "model")  # type: ignore[type-abstract]
    network = described_network(config)
    assert isinstance(network, CosegNetwork)
    return network


def without_weights(config: Mapping[str, Any]) -> dict[str, Any]:
    """`config` with every ``weights`` set to None, on all levels."""
    return {
        key: without_weights(value) if isinstance(value, Mapping) else (None if key == "weights" else value)
        for key, value in config.items()
    }


def _require_classes(config: object, kinds: tuple[type, ...], what: str) -> None:
    if isinstance(config, list | tuple):
        for value in config:
            _require_classes(value, kinds, what)
    if not isinstance(config, Mapping):
        return
    if "_target_" in config:
        target = str(config["_target_"])
        try:
            found = get_class(target)
        except Exception as error:
            reason = " ".join(str(error).split())
            raise CosegError(f"{what}: there is no class {target} ({reason}).") from None
        if not issubclass(found, kinds):
            raise CosegError(f"{what}: {target} is no network, optimiser or schedule.")
    for value in config.values():
        _require_classes(value, kinds, what)
