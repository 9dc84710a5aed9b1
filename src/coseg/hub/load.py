"""The network of a shared model, a checkpoint, a run or a name on the Hugging Face hub. Without Lightning.

>>> from coseg import load_network
>>> network = load_network("bundled")  # doctest: +SKIP
>>> logits_a, logits_b = network(images_a, images_b)  # uint8 (B, 3, H, W) each  # doctest: +SKIP"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

from coseg.errors import CosegError
from coseg.hub.card import training_of_checkpoint
from coseg.hub.checkpoint import read_network
from coseg.hub.settings import BUNDLED, BUNDLED_TITLE, CARD, CONFIG, THRESHOLD, WEIGHTS, bundled_folder, settings_of
from coseg.hub.shared_weights import read_shared
from coseg.models.base import CosegNetwork
from coseg.run_dir import BEST, CHECKPOINTS

RUN_CHECKPOINT = Path(CHECKPOINTS) / BEST
"""In the directory of a run: the checkpoint that is taken for it."""


_BUNDLED_BEFORE = "box"  # the name in earlier versions


class Pretrained(NamedTuple):
    """A network ready for use, in evaluation mode, on the CPU.

    Attributes:
        network: in float32.
        settings: what ``config.json`` holds, see `coseg.hub.settings.settings_of`.
        source: where it came from: a path, a name on the hub, or ``the bundled model``.
    """

    network: CosegNetwork
    settings: dict[str, Any]
    source: str


class FittedWeights(NamedTuple):
    """What a network took of a model's weights, by the names of tensors.

    Attributes:
        source: see `Pretrained.source`.
        model: the name of the network that the weights are of.
        loaded: tensors that both have in one shape.
        missing: those of the network that the model lacks: they keep their values.
        reshaped: those that both have in different shapes: likewise.
        unused: those of the model that the network lacks.
    """

    source: str
    model: str
    loaded: tuple[str, ...]
    missing: tuple[str, ...]
    reshaped: tuple[str, ...]
    unused: tuple[str, ...]

    def __str__(self) -> str:
        """How many fit, and the names of the first of those that do not."""
        total = len(self.loaded) + len(self.missing) + len(self.reshaped)
        text = f"weights of {self.source} ({self.model}): {len(self.loaded)} of {total} tensors are loaded"
        lists = {"not in it": self.missing, "of another shape": self.reshaped, "not used": self.unused}
        return "; ".join([text, *(f"{words}: {_listed(names)}" for words, names in lists.items() if names)])


def _listed(names: Sequence[str], most: int = 5) -> str:
    rest = f" and {len(names) - most} more" if len(names) > most else ""
    return f"{len(names)} ({', '.join(names[:most])}{rest})"


def load_fitting(network: CosegNetwork, source: str | Path, trust: bool = False) -> FittedWeights:
    """Load into `network` those weights of a model that have the name and the shape of its own.

    Args:
        network: whose other tensors keep their values.
        source: see `load_pretrained`.
        trust: likewise.

    Raises:
        CosegError: the model can't be read, or no parameter fits.
    """
    model = load_pretrained(source, trust)
    given, wanted = model.network.state_dict(), network.state_dict()
    loaded = {name: value for name, value in given.items() if name in wanted and value.shape == wanted[name].shape}
    report = FittedWeights(
        source=model.source,
        model=model.network.name,
        loaded=tuple(loaded),
        missing=tuple(name for name in wanted if name not in given),
        reshaped=tuple(name for name in wanted if name in given and name not in loaded),
        unused=tuple(name for name in given if name not in wanted),
    )
    if not any(name in loaded for name, _ in network.named_parameters()):
        raise CosegError(
            f"No weights of {report.source} fit: they are of {report.model}, and the network is {network.name}. Choose "
            f"its model= and encoder@model.encoder=, or an experiment that has them. {str(report)[0].upper()}"
            f"{str(report)[1:]}."
        )
    network.load_state_dict(loaded, strict=False)
    return report


def load_network(source: str | Path = BUNDLED, trust: bool = False) -> CosegNetwork:
    """The network in `source`, in evaluation mode, on the CPU, at the input size at which the model is used.

    Args:
        source: ``bundled``, the model that comes with coseg; a checkpoint or the directory of a run; the folder or the
            ``.safetensors`` file of a shared model; ``owner/name`` on the Hugging Face hub. See `load_pretrained`.
        trust: it may name classes outside of coseg, which are imported.

    Raises:
        CosegError: it does not exist, is damaged, of a newer format, or not of a network of coseg.
    """
    network, settings, _ = load_pretrained(source, trust)
    return _at_size(network, settings)


def load_pretrained(source: str | Path | None = None, trust: bool = False) -> Pretrained:
    """The network in `source`. Nothing is unpickled but the checkpoints of coseg, and those as tensors alone.

    Args:
        source: a folder with ``model.safetensors`` and ``config.json``; a ``.safetensors`` file with ``config.json``
            beside it; a ``.ckpt`` that coseg-train made, or the directory of its run, whose ``checkpoints/best.ckpt``
            is taken; or, as a string that names no file here, ``owner/name`` or ``owner/name@revision`` on the Hugging
            Face hub. None or ``bundled``: the bundled model.
        trust: the model may name a network or an encoder outside of coseg, which is imported: it is your own, or you
            know who wrote it.

    Raises:
        CosegError: it does not exist, is damaged, of a newer format, or not of a network of coseg.
    """
    if source is None or source == BUNDLED:
        return _bundled()
    path = Path(source).expanduser()
    if path.is_dir():
        return _from_folder(path, trust)
    if path.is_file():
        if path.suffix == ".safetensors":
            return _from_files(path, path.with_name(CONFIG), str(path), trust)
        if path.suffix == ".ckpt":
            return _from_checkpoint(path, trust)
        raise CosegError(
            f"{path} is not a model: give a .safetensors file with config.json beside it, a .ckpt of coseg-train, or a "
            "folder of either."
        )
    if isinstance(source, str) and is_hub_name(source):
        folder = download(source)
        return _from_files(folder / WEIGHTS, folder / CONFIG, source, trust)
    raise CosegError(
        f"There is no model {source}: it is not a file or folder here, nor a name on the Hugging Face hub (owner/name)."
    )


def network_file(path: str | Path) -> Path:
    """The file that ``ckpt=`` of a test names: itself, or the weights in the folder of a shared model.

    ``bundled`` (or its name in earlier versions) is the model that comes with coseg.

    Raises:
        CosegError: a folder holds no shared model.
    """
    folder = bundled_folder() if str(path) in (BUNDLED, _BUNDLED_BEFORE) else Path(path)
    if not folder.is_dir():
        return folder
    if not (folder / WEIGHTS).exists():
        raise CosegError(f"{folder} holds no {WEIGHTS}: give a checkpoint, or the folder of a shared model.")
    return folder / WEIGHTS


def network_in_file(path: Path, trust: bool = False) -> tuple[CosegNetwork, float]:
    """The network in a file of `network_file`, at the size at which the model is used, and its threshold.

    Args:
        path: of a checkpoint, whatever its name ends with, or of ``.safetensors`` weights.
        trust: it may name classes outside of coseg, which are imported.

    Raises:
        CosegError: it is neither, or it can't be used.
    """
    if path.suffix != ".safetensors":
        return read_network(path, trust).network, THRESHOLD
    network, settings = read_shared(path, path.with_name(CONFIG), trust)
    return _at_size(network, settings), settings["threshold"]


def _at_size(network: CosegNetwork, settings: dict[str, Any]) -> CosegNetwork:
    if network.input_size is not None and settings["size"] is not None:
        network.input_size = settings["size"]
    return network


def _bundled() -> Pretrained:
    folder = bundled_folder()
    if not (folder / WEIGHTS).is_file():
        raise CosegError(
            "This installation has no bundled model: give one, a run directory, a checkpoint, a folder that "
            "coseg-export made, or owner/name on the Hugging Face hub."
        )
    return _from_files(folder / WEIGHTS, folder / CONFIG, BUNDLED_TITLE)


def _from_folder(folder: Path, trust: bool) -> Pretrained:
    if (folder / WEIGHTS).exists() or (folder / CONFIG).exists():
        return _from_files(folder / WEIGHTS, folder / CONFIG, str(folder), trust)
    if (folder / RUN_CHECKPOINT).exists():
        return _from_checkpoint(folder / RUN_CHECKPOINT, trust)
    raise CosegError(
        f"{folder} holds no model: neither {WEIGHTS} with {CONFIG} nor, as the directory of a run does, "
        f"{RUN_CHECKPOINT.as_posix()}."
    )


def _from_checkpoint(path: Path, trust: bool) -> Pretrained:
    trained = read_network(path, trust)
    network = trained.network.eval()
    settings = {"training": training_of_checkpoint(path, trained.class_names, trained.step)}
    return Pretrained(network, settings_of(trained.config, network, settings), str(path))


def _from_files(weights: Path, config: Path, source: str, trust: bool = False) -> Pretrained:
    network, settings = read_shared(weights, config, trust)
    return Pretrained(network, settings, source)


_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*(@[\w./-]+)?")


def is_hub_name(source: str) -> bool:
    """Whether `source` has the form ``owner/name`` or ``owner/name@revision``.

    >>> is_hub_name("ada/birds"), is_hub_name("ada/birds@v1.0"), is_hub_name("./birds"), is_hub_name("runs/a/b")
    (True, True, False, False)
    """
    return _NAME.fullmatch(source) is not None


def download(source: str) -> Path:
    """The folder with the files of the model ``owner/name[@revision]``, fetched unless they are there already.

    Raises:
        CosegError: there is no such model, or the hub can't be reached.
    """
    from huggingface_hub import snapshot_download

    name, _, revision = source.partition("@")
    with hub_errors(f"{source} is no file or folder here, and it could not be fetched from the Hugging Face hub"):
        return Path(snapshot_download(name, revision=revision or None, allow_patterns=[WEIGHTS, CONFIG, CARD]))


@contextmanager
def hub_errors(problem: str) -> Iterator[None]:
    """Turn what the hub's client raises into the sentence ``problem (reason): …``.

    Raises:
        CosegError: in place of it.
    """
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    errors: list[type[Exception]] = [HfHubHTTPError, HFValidationError, OSError]
    with suppress(ImportError):  # its client since 1.0; earlier ones raise OSError
        import httpx

        errors.append(httpx.HTTPError)
    try:
        yield
    except tuple(errors) as error:
        first = next(iter(str(error).strip().splitlines()), "").rstrip(".")
        reason = f"{type(error).__name__}: {first}" if first else type(error).__name__
        raise CosegError(
            f"{problem} ({reason}). Check the name, the connection, and for a private model that you are logged in "
            "(hf auth login)."
        ) from error
