from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from omegaconf import DictConfig

from coseg.training.fit import make_trainer
from coseg.training.precision import chosen_precision, native_precision


@pytest.mark.parametrize(
    ("amx", "avx", "expected"),
    [(True, False, "bf16-mixed"), (False, True, "bf16-mixed"), (False, False, "32-true"), (None, None, "32-true")],
)
def test_a_cpu_that_only_imitates_bfloat16_computes_in_float32(
    amx: bool | None, avx: bool | None, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, supported in (("_is_amx_tile_supported", amx), ("_is_avx512_bf16_supported", avx)):
        if supported is None:
            monkeypatch.delattr(torch.cpu, name, raising=False)
        else:
            monkeypatch.setattr(torch.cpu, name, lambda supported=supported: supported, raising=False)
    assert native_precision("cpu") == expected
    assert chosen_precision("auto", "cpu") == expected
    assert chosen_precision("bf16-mixed", "cpu") == "bf16-mixed"


@pytest.mark.parametrize(("supported", "expected"), [(True, "bf16-mixed"), (False, "32-true")])
def test_a_gpu_is_asked_for_what_it_computes_itself(
    supported: bool, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[dict[str, Any]] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **words: asked.append(words) or supported)
    assert chosen_precision("auto", "auto") == chosen_precision("auto", "gpu") == expected
    assert asked == [{"including_emulation": False}] * 2
    assert chosen_precision("auto", "mps") == "32-true"


def test_the_trainer_gets_it(tiny: Callable[..., DictConfig], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False, raising=False)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False, raising=False)
    assert make_trainer(tiny("trainer.precision=auto"), [], False).precision == "32-true"
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: True, raising=False)
    assert make_trainer(tiny("trainer.precision=auto"), [], False).precision == "bf16-mixed"
