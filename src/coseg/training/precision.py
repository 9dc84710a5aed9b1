"""Which precision a machine is fast in."""

from __future__ import annotations

import torch

AUTO = "auto"
"""The setting that leaves it to the machine."""

FLOAT32, BFLOAT16 = "32-true", "bf16-mixed"
"""Lightning's names."""


def native_precision(device: str) -> str:
    """bfloat16 where a device computes it, float32 where it would only be imitated, at more than twice the time.

    Args:
        device: ``cpu``, ``cuda`` or another of torch's kinds, for which float32 is the answer.
    """
    if device == "cuda":
        return BFLOAT16 if torch.cuda.is_bf16_supported(including_emulation=False) else FLOAT32
    if device == "cpu":
        # The only words that torch has for it; versions without them compute in float32.
        asked = ("_is_amx_tile_supported", "_is_avx512_bf16_supported")
        return BFLOAT16 if any(getattr(torch.cpu, name, bool)() for name in asked) else FLOAT32
    return FLOAT32


def chosen_precision(setting: object, accelerator: object) -> object:
    """What ``trainer.precision`` comes to: itself, or for `AUTO` what suits ``trainer.accelerator``."""
    if setting != AUTO:
        return setting
    cuda = accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available()
    return native_precision("cuda" if cuda else "cpu" if accelerator in ("auto", "cpu") else str(accelerator))
