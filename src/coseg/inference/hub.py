"""Models from the Hugging Face hub, with a sentence for everything that can go wrong on the way."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from coseg.errors import CosegError

FILES = ("model.safetensors", "config.json", "README.md")
"""What a shared model consists of; nothing else is fetched."""

_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*(@[\w./-]+)?")


def is_hub_id(source: str) -> bool:
    """Whether `source` has the form ``owner/name`` or ``owner/name@revision``.

    >>> is_hub_id("ada/birds"), is_hub_id("ada/birds@v1.0"), is_hub_id("./birds"), is_hub_id("runs/a/b")
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
    with told(f"{source} is no file or folder here, and it could not be fetched from the Hugging Face hub"):
        return Path(snapshot_download(name, revision=revision or None, allow_patterns=list(FILES)))


@contextmanager
def told(what: str) -> Iterator[None]:
    """Turn what the hub's client raises into the sentence ``what (reason): …``.

    Raises:
        CosegError: in place of it.
    """
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    errors: list[type[Exception]] = [HfHubHTTPError, HFValidationError, OSError]
    with suppress(ImportError):  # its client since 1.0; that of before raises OSError
        import httpx

        errors.append(httpx.HTTPError)
    try:
        yield
    except tuple(errors) as error:
        first = next(iter(str(error).strip().splitlines()), "").rstrip(".")
        reason = f"{type(error).__name__}: {first}" if first else type(error).__name__
        raise CosegError(
            f"{what} ({reason}). Check the name, the connection, and for a private model that you are logged in "
            "(hf auth login)."
        ) from error
