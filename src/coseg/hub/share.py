"""Share a network: write it to a folder as a shared model, or push it to the Hugging Face hub."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from huggingface_hub import ModelHubMixin
from safetensors import SafetensorError

from coseg.errors import CosegError
from coseg.files.seals import file_digest
from coseg.files.writing import json_text, write_text_atomically
from coseg.hub.card import calibration_text, model_card
from coseg.hub.load import Pretrained, hub_errors, load_pretrained
from coseg.hub.settings import CARD, CHECKSUM, CONFIG, WEIGHTS, settings_of
from coseg.hub.shared_weights import load_weights, stored_weights, write_weights
from coseg.instantiate import build_network
from coseg.models.base import CosegNetwork, PairClassifier
from coseg.models.mirrored import MirroredNetwork
from coseg.models.registry import known_network


def save_pretrained(
    folder: str | Path,
    network_config: Mapping[str, Any],
    network: CosegNetwork,
    settings: Mapping[str, Any] | None = None,
    half: bool = True,
) -> None:
    """Write `network` into `folder` as a model to share: weights, ``config.json`` and a model card.

    Each file is whole or not written; ``config.json`` comes last. Files of these names are replaced.

    Args:
        folder: made if needed.
        network_config: ``{"_target_": class, …}``, from which `coseg.instantiate.build_network` makes it.
        network: with its weights.
        settings: see `coseg.hub.settings.settings_of`; missing keys take their defaults.
        half: floating-point weights in half precision, half of the bytes. Tensors with values beyond its range stay
            as they are, and so do whole numbers.

    Raises:
        CosegError: a setting is not valid, `network_config` is not of `network`, or the folder can't be written.

    Example, from a checkpoint: ``save_pretrained(folder, *shareable("runs/shapes/…"))``.
    """
    complete = settings_of(network_config, network, settings)
    weights = stored_weights(network, half)
    if known_network(complete["network"]):  # a user's own class may not be made here: a model may be shared unseen
        load_weights(build_network(complete["network"]), weights, str(folder))
    folder = Path(folder)
    try:
        write_weights(folder / WEIGHTS, weights)
        complete[CHECKSUM] = file_digest(folder / WEIGHTS)
        write_text_atomically(folder / CARD, model_card(complete, network))
        write_text_atomically(folder / CONFIG, json_text(complete))
    except (OSError, SafetensorError) as error:
        raise CosegError(f"The model can't be written to {folder} ({error}): choose another folder.") from error


def update_card(folder: Path, before: Mapping[str, Any], settings: Mapping[str, Any]) -> None:
    """Replace what a model's card says of the calibration of `before`; a card without it stays as it is.

    Args:
        folder: of the model.
        before: its settings as they were.
        settings: its settings.

    Raises:
        CosegError: the card can't be written.
    """
    path = folder / CARD
    try:
        written = path.read_text(encoding="utf-8") if path.is_file() else ""
        former, current = (calibration_text(values.get("cooccurrence")) for values in (before, settings))
        changed = written.replace(former, current)
        if changed != written:
            write_text_atomically(path, changed)
    except (OSError, UnicodeDecodeError) as error:
        raise CosegError(f"{path} can't be replaced ({error}): its figures are those of before.") from error


def shareable(source: str | Path | None, trust: bool = False) -> tuple[dict[str, Any], CosegNetwork, dict[str, Any]]:
    """What `save_pretrained` takes after its folder, for what `load_pretrained` reads from `source`.

    Raises:
        CosegError: see `load_pretrained`.
    """
    network, settings, _ = load_pretrained(source, trust)
    return settings["network"], network, settings


def mirrored(model: Pretrained) -> Pretrained:
    """The model as one that sees each image and its mirror image; see `coseg.models.mirrored.MirroredNetwork`.

    Raises:
        CosegError: its network is mirrored already, or has an image-level classifier, whose answer would be lost.
    """
    if isinstance(model.network, PairClassifier | MirroredNetwork):
        raise CosegError(f"{model.network.name} can't be mirrored: leave that out.")
    config = {"_target_": f"{MirroredNetwork.__module__}.MirroredNetwork", "network": model.settings["network"]}
    return model._replace(
        network=MirroredNetwork(model.network), settings={**model.settings, "network": config, "cooccurrence": None}
    )


def unmirrored(model: Pretrained) -> Pretrained:
    """The model without mirror images, at half the cost; the inverse of `mirrored`. A model without them as it is."""
    if not isinstance(model.network, MirroredNetwork):
        return model
    settings = {**model.settings, "network": model.settings["network"]["network"], "cooccurrence": None}
    return model._replace(network=model.network.network, settings=settings)


class SharedModel(ModelHubMixin):
    """A network with its settings, shared as by huggingface_hub's mixin, but for the differences in `save_pretrained`.

    Attributes:
        network: whose weights are shared.
        settings: see `coseg.hub.settings.settings_of`.
        size: that which is used, in place of that of `settings`.
        threshold: likewise.
    """

    network: CosegNetwork
    settings: dict[str, Any]
    size: int | None
    threshold: float

    def save_pretrained(  # type: ignore[override]
        self,
        save_directory: str | Path,
        *,
        repo_id: str | None = None,
        push_to_hub: bool = False,
        config: object = None,
        model_card_kwargs: object = None,
        **options: Any,
    ) -> str | None:
        """Write the model to a folder, in half precision: weights, ``config.json`` and model card.

        The mixin's own would delete an older ``config.json`` before anything else is written; here each file is
        replaced once its successor is whole. ``config`` and the card come from `settings`: the mixin's arguments for
        them are ignored.

        Args:
            save_directory: made if needed.
            repo_id: see `push_to_hub`; None: the folder's name.
            push_to_hub: upload it as well; its address is returned then.
            config: not used.
            model_card_kwargs: not used.
            options: of `push_to_hub`.

        Raises:
            CosegError: the folder can't be written, or the hub can't be reached.
        """
        self._save_pretrained(Path(save_directory))
        return self.push_to_hub(repo_id or Path(save_directory).name, **options) if push_to_hub else None

    def _save_pretrained(self, save_directory: Path) -> None:
        settings = {**self.settings, "size": self.size, "threshold": self.threshold}
        save_pretrained(save_directory, self.settings["network"], self.network, settings)

    def push_to_hub(self, repo_id: str, **options: Any) -> str:  # type: ignore[override]
        """Upload the model to the Hugging Face hub as `repo_id`, ``owner/name``; the address of the upload.

        `options` are those of `huggingface_hub.ModelHubMixin.push_to_hub`: ``private``, ``token``, ``branch``, ….

        Raises:
            CosegError: the hub can't be reached, or refuses.
        """
        with hub_errors(f"The model could not be uploaded to {repo_id}"):
            return str(super().push_to_hub(repo_id, **options))
