"""A model that can be written to a folder and pushed to the Hugging Face hub."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from huggingface_hub import ModelHubMixin

from coseg.inference.hub import told
from coseg.inference.pretrained import save_pretrained
from coseg.models.network import CosegNetwork


class SharedModel(ModelHubMixin):
    """A network with its settings, shared as huggingface_hub's mixin does it but for what `save_pretrained` tells.

    Attributes:
        network: whose weights are shared.
        settings: see `coseg.inference.pretrained.settings_of`.
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
        replaced once its successor is whole. ``config`` and the card come from `settings`, so what the mixin would
        take for them is left aside.

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
        with told(f"The model could not be uploaded to {repo_id}"):
            return str(super().push_to_hub(repo_id, **options))
