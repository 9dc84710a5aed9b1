"""Where a network runs."""

from __future__ import annotations

import torch

from coseg.errors import CosegError


def chosen_device(name: str) -> torch.device:
    """The device `name`; ``auto`` is an NVIDIA GPU, Apple's, or the CPU, whichever there is.

    Raises:
        CosegError: there is no such device.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device).cpu()
    except (RuntimeError, AssertionError, NotImplementedError, TypeError) as error:
        first = next(iter(str(error).splitlines()), type(error).__name__).rstrip(".")
        raise CosegError(f"The device '{name}' can't be used ({first}): choose auto, cpu, cuda or mps.") from None
    return device
