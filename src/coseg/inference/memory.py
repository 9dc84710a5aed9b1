"""Too little memory, told as a sentence whichever library notices it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from coseg.errors import CosegError

_SIGNS = (
    "can't allocate memory",  # torch on Linux and macOS
    "not enough memory",  # torch on Windows
    "out of memory",  # CUDA, MPS
    "Insufficient memory",  # OpenCV
    "bad_alloc",
    "Cannot allocate memory",  # the system, where a library is loaded
    "failed to map segment",
    "can't start new thread",
)


def is_memory_error(error: BaseException) -> bool:
    """Whether `error`, of Python or of a library, says that there is too little memory."""
    return isinstance(error, MemoryError) or any(sign in str(error) for sign in _SIGNS)


@contextmanager
def enough_memory(advice: str) -> Iterator[None]:
    """Turn an error of too little memory into a sentence that ends with `advice`.

    Raises:
        CosegError: there was too little.
    """
    try:
        yield
    except CosegError:
        raise
    except Exception as error:
        if not is_memory_error(error):
            raise
        raise CosegError(f"There is too little memory: {advice}") from error
