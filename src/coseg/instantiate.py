"""Objects from configurations: by Hydra for what a user composed, by our own table for what a file names."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from difflib import get_close_matches
from inspect import Parameter, signature
from typing import Any, TypeVar

import torch
from hydra.errors import InstantiationException
from hydra.utils import get_class, get_object, instantiate
from omegaconf import DictConfig, OmegaConf

from coseg.configs import choices, started
from coseg.errors import (
    CosegError,
    UserError,
    causes,
    error_words,
    hidden_module,
    unknown_choice,
    user_error,
)
from coseg.models.base import CosegNetwork, checked_input_size
from coseg.models.encoders.base import Encoder, check_encoder
from coseg.models.registry import described_network, known_network, with_current_names

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
        chain = list(causes(error))
        for cause in chain:
            if isinstance(cause, CosegError):
                raise cause from None
        match = re.search(r"target '([^']+)'", str(error))  # Hydra names the innermost one
        target = match[1] if match is not None else "This"
        raise CosegError(_why_not_made(target, chain[-1], user_error(error))) from error


def _why_not_made(target: str, reason: BaseException, place: UserError | None) -> str:
    """The sentence for a class `target` whose object can't be made for a `reason`, an error in a user's code or not."""
    if (hidden := hidden_module(target)) is not None:
        return hidden
    if place is not None:
        return f"{target} can't be made from the configuration: {place}"
    if isinstance(reason, ImportError):
        return f"The configuration can't be used: {_no_class(target, reason)}"
    words = " ".join(str(reason).split())
    unknown = re.search(r"\.__init__\(\) got an unexpected keyword argument '(\w+)'", words)
    if unknown is not None and unknown[1] == "encoder":
        return f"{target} takes no encoder: let the file of the network have 'encoder: null'."
    if unknown is not None:
        return (
            f"{target.rpartition('.')[2]} has no setting '{unknown[1]}': leave out what sets it (a value, an "
            "experiment, an ablation), or choose another class."
        )
    if not isinstance(reason, InstantiationException | CosegError):
        words = error_words(reason)
    return f"{target} can't be made from the configuration: {words}"


def parameters_of_target(target: str) -> set[str] | None:
    """The names of the arguments that what ``_target_`` names takes; None: any, or it can't be imported."""
    try:
        with _quiet():
            parameters = signature(get_object(target)).parameters.values()
    except Exception:  # of the user's module, which `make` reports
        return None
    if any(parameter.kind is Parameter.VAR_KEYWORD for parameter in parameters):
        return None
    return {parameter.name for parameter in parameters}


def build(config: Mapping[str, Any], base: type[T], what: str, **arguments: Any) -> T:
    """Instantiate `config` and require a `base`; `what` names the group in the sentence.

    It imports what `config` names: only for a configuration that the user composed, or trusts.

    Raises:
        CosegError: `config` does not describe a `base`, or names something that is no such class.
    """
    _require_classes(config, (torch.nn.Module, torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler), what)
    made = make(config, **arguments)
    if not isinstance(made, base):
        raise CosegError(f"{what} is a {type(made).__name__}, but must be a {base.__name__}.")
    return made


def target_class(config: Mapping[str, Any], what: str) -> type:
    """The class that ``_target_`` of `config` names, imported: only for a configuration that the user trusts.

    Raises:
        CosegError: there is none; `what` names the group in the sentence.
    """
    target = config.get("_target_")
    if not isinstance(target, str):
        raise CosegError(f"{what} has no _target_: give the name of a class.")
    try:
        with _quiet():
            return get_class(target)
    except Exception as error:
        if (hidden := hidden_module(target)) is not None:
            raise CosegError(hidden) from error
        if (place := user_error(error)) is not None:
            raise CosegError(f"{what}: the module of {target} can't be imported: {place}") from error
        raise CosegError(f"{what}: {_no_class(target, error)}") from None


@contextmanager
def _quiet() -> Iterator[None]:
    """Without Hydra's own line for a class that is not there: the sentence has its words."""
    logger = logging.getLogger("hydra.utils")
    before, logger.disabled = logger.disabled, True
    try:
        yield
    finally:
        logger.disabled = before


def _no_class(target: str, reason: BaseException) -> str:
    module, _, name = target.rpartition(".")
    names = [key for key, value in vars(sys.modules.get(module, object)).items() if isinstance(value, type)]
    if nearest := get_close_matches(name, names, n=1):
        return f"there is no class {target}. Did you mean {module}.{nearest[0]}?"
    words = " ".join(str(reason).split())
    return f"there is no class {target} ({words}). If it is your own, give the directory of its module as --config-dir."


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
        config = with_current_names(config)
        if "encoder" in config and (config["encoder"] is None or "_target_" not in config["encoder"]):
            config = {key: value for key, value in config.items() if key != "encoder"}  # a network without one
        config = dict(config)
        size = None
        taken = parameters_of_target(str(config.get("_target_")))
        if taken is not None and "input_size" not in taken:  # experiments set it; the base class has it
            size = checked_input_size(config.pop("input_size", None), "model.input_size")
        made = build(config, CosegNetwork, "model")  # type: ignore[type-abstract]
        if size is not None:
            made.input_size = size
        _check_encoders(made)
        return made
    network = described_network(config)
    assert isinstance(network, CosegNetwork)
    return network


def _check_encoders(network: CosegNetwork) -> None:
    for module in network.modules():
        if isinstance(module, Encoder):
            check_encoder(module)


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
        if not issubclass(target_class({"_target_": target}, what), kinds):
            raise CosegError(f"{what}: {target} is no network, loss, metric, optimiser or schedule.")
    for value in config.values():
        _require_classes(value, kinds, what)


_ENCODER = "encoder_"


def create_network(
    name_or_config: str | Mapping[str, Any] = "cross_correlation",
    encoder: str | Mapping[str, Any] | None = None,
    **settings: Any,
) -> CosegNetwork:
    """A network as ``model=NAME encoder@model.encoder=NAME`` configures it; its parameters are random.

    Weights are read or fetched where `encoder_weights` asks for it, and nowhere else.

    Args:
        name_or_config: a name of the configurations ``model`` (``cross_correlation``, ``siamese``, …), or a
            configuration ``{"_target_": class, …}``. The class may be your own: what it names is imported.
        encoder: a name of the configurations ``encoder`` (``vgg16_bn``, ``resnet50``, …), or a configuration. None:
            the one that belongs to the network.
        **settings: of the network (``kernel_sizes=[3]``) and, as ``encoder_…``, of its encoder
            (``encoder_weights="timm"``, ``encoder_frozen=True``), in place of those of the configurations.

    Raises:
        CosegError: there is no such name (it lists those that there are) or setting, or a value is out of its range.

    Example:
        >>> network = create_network("siamese", encoder="resnet50", encoder_out_indices=[1, 2], input_size=64)
        >>> network.encoder.level_channels
        (256, 512)
    """
    config = _composed(name_or_config, encoder if isinstance(encoder, str) else None)
    if isinstance(encoder, Mapping):
        config["encoder"] = _plain(encoder)
    for key, value in settings.items():
        if key.startswith(_ENCODER):
            if not isinstance(config.get("encoder"), dict):
                raise CosegError(f"The network has no encoder, so {key} sets nothing: leave it out.")
            config["encoder"][key.removeprefix(_ENCODER)] = _plain(value)
        else:
            config[key] = _plain(value)
    if known_network(config):
        network: object = described_network(config)
    else:
        network = make(with_current_names(config))
        if isinstance(network, CosegNetwork):
            _check_encoders(network)
    if not isinstance(network, CosegNetwork):
        raise CosegError(f"The configuration makes a {type(network).__name__}, but must make a CosegNetwork.")
    return network


def _composed(name_or_config: str | Mapping[str, Any], encoder: str | None) -> dict[str, Any]:
    """The configuration of a network with that of its encoder, as plain data."""
    if encoder is not None:
        _require("encoder", encoder)
    if isinstance(name_or_config, str):
        _require("model", name_or_config)
        return _model(name_or_config, encoder)
    config = _plain(name_or_config)
    if "_target_" not in config:
        raise CosegError("The configuration of a network must name its class as '_target_'.")
    if encoder is not None:
        config["encoder"] = _model(None, encoder)["encoder"]
    return config


def _model(name: str | None, encoder: str | None) -> dict[str, Any]:
    from hydra import compose
    from omegaconf import OmegaConf

    overrides = [f"model={name}"] if name is not None else []
    overrides += [f"encoder@model.encoder={encoder}"] if encoder is not None else []
    with started():
        composed = OmegaConf.to_container(compose("network", overrides).model, resolve=True)
    assert isinstance(composed, dict)
    return {str(key): value for key, value in composed.items()}


def _require(group: str, name: str) -> None:
    names = choices(group)
    if name not in names:
        raise unknown_choice(group, name, names)


def _plain(value: Any) -> Any:
    """Plain data as dictionaries and lists, those of OmegaConf, too."""
    from omegaconf import OmegaConf

    if OmegaConf.is_config(value):
        return OmegaConf.to_container(value, resolve=True)
    if isinstance(value, Mapping):
        return {str(key): _plain(part) for key, part in value.items()}
    return [_plain(part) for part in value] if isinstance(value, list | tuple) else value
