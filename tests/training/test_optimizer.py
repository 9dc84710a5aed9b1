"""Learning rates by layer, against rates worked out by hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from metrics_file import read_rows
from omegaconf import DictConfig

from coseg.errors import CosegError
from coseg.instantiate import build, plain
from coseg.models.encoders.timm import TimmEncoder
from coseg.models.encoders.vgg import VGG16Encoder
from coseg.models.siamese import SiameseNetwork
from coseg.training.fit import fit
from coseg.training.optimizer import parameter_groups, scale_rates, scaled_schedule, split_scales


def vit(**settings: object) -> SiameseNetwork:
    return SiameseNetwork(TimmEncoder("test_vit", [1], **settings))  # type: ignore[arg-type]


def made(network: SiameseNetwork, **settings: object) -> torch.optim.Optimizer:
    optimizer, scales = split_scales({"_target_": "torch.optim.AdamW", "lr": 1e-2, **settings})
    groups = parameter_groups(network, **scales)
    found = build(optimizer, torch.optim.Optimizer, "optimizer", params=groups)
    scale_rates(found)
    return found


def test_rates_fall_with_the_depth_below_the_top() -> None:
    network = vit()
    groups = made(network, encoder_lr_scale=0.1, layer_decay=0.5).param_groups
    assert [group["name"] for group in groups] == ["rest", "encoder_02", "encoder_01", "encoder_00"]
    assert [group["lr"] for group in groups] == pytest.approx([1e-2, 1e-3, 5e-4, 2.5e-4])
    features = network.encoder.features.model
    parts = (network.decoder, features.blocks[1], features.blocks[0], features.patch_embed)  # type: ignore[index,union-attr]
    for group, part in zip(groups, parts, strict=True):
        inside = {id(parameter) for parameter in group["params"]}
        assert {id(parameter) for parameter in part.parameters()} <= inside  # type: ignore[union-attr]
    assert any(parameter is features.pos_embed for parameter in groups[3]["params"])  # the very one, no copy
    assert sum(len(group["params"]) for group in groups) == len(list(network.parameters()))


def test_vgg16_has_a_rate_for_each_convolution() -> None:
    groups = made(SiameseNetwork(VGG16Encoder(0.125, "conv4_3", 8)), layer_decay=0.9).param_groups
    assert [group["lr"] for group in groups] == pytest.approx([1e-2] + [1e-2 * 0.9**k for k in range(10)])


@pytest.mark.parametrize("settings", [{}, {"encoder_lr_scale": 1, "layer_decay": 1.0}])
def test_without_factors_there_is_one_group(settings: dict[str, float]) -> None:
    network = vit()
    (group,) = made(network, **settings).param_groups
    assert group["lr"] == 1e-2
    assert [id(parameter) for parameter in group["params"]] == [id(parameter) for parameter in network.parameters()]


def test_frozen_parameters_are_left_out() -> None:
    network = vit(frozen=True)
    for settings in ({}, {"layer_decay": 0.5}):
        (group,) = made(network, **settings).param_groups
        assert len(group["params"]) == len(list(network.decoder.parameters()))
    network.decoder.requires_grad_(False)
    with pytest.raises(CosegError, match="no parameter"):
        parameter_groups(network)
    part = vit()
    part.encoder.features.model.blocks[0].requires_grad_(False)  # type: ignore[index,union-attr]
    assert [group["name"] for group in parameter_groups(part, 0.1)] == ["rest", "encoder_02", "encoder_00"]


def test_a_schedule_s_own_rates_become_one_for_each_group(compose: Callable[..., DictConfig]) -> None:
    optimizer = made(vit(), encoder_lr_scale=0.1, layer_decay=0.5)
    config = plain(compose("train", "schedule=one_cycle", "optimizer.lr=1e-2").schedule) | {"total_steps": 100}
    assert config["max_lr"] == 1e-2
    config = scaled_schedule(config, optimizer)
    assert config["max_lr"] == pytest.approx([1e-2, 1e-3, 5e-4, 2.5e-4])
    schedule = build(config, torch.optim.lr_scheduler.LRScheduler, "schedule", optimizer=optimizer)
    assert schedule.get_last_lr() == pytest.approx([1e-2 / 25, 1e-3 / 25, 5e-4 / 25, 2.5e-4 / 25])
    highest = [0.0] * 4
    for _ in range(99):
        optimizer.step()
        schedule.step()
        highest = [max(pair) for pair in zip(highest, schedule.get_last_lr(), strict=True)]
    assert highest == pytest.approx([1e-2, 1e-3, 5e-4, 2.5e-4])
    cosine = {"_target_": "torch.optim.lr_scheduler.CosineAnnealingLR", "T_max": 10}
    assert scaled_schedule(cosine, optimizer) == cosine


def test_a_training_s_rates_are_logged(tiny: Callable[..., DictConfig], tmp_path: Path) -> None:
    settings = ("optimizer.lr=1e-2", "optimizer.encoder_lr_scale=0.5", "optimizer.layer_decay=0.5")
    fit(tiny(*settings, "callbacks=learning_rates", "trainer.limit_val_batches=1"), tmp_path)
    rows = [row for row in read_rows(tmp_path) if row["lr/rest"]]
    assert len(rows) == 8  # 2 epochs of 16 pairs in batches of 4
    for row in rows:
        for layer in range(13):
            scale = 0.5 * 0.5 ** (12 - layer)
            assert float(row[f"lr/encoder_{layer:02d}"]) == pytest.approx(scale * float(row["lr/rest"]), rel=1e-4)
    rates = [float(row["lr/rest"]) for row in rows]
    assert max(rates) == pytest.approx(1e-2, rel=0.1)
    assert rates[-1] < 1e-2 / 25


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"encoder_lr_scale": 0}, r"optimizer\.encoder_lr_scale .*'0'.*positive"),
        ({"layer_decay": 1.5}, r"optimizer\.layer_decay .*'1\.5'.*positive.*\b1\b"),
        ({"layer_decay": "slow"}, r"optimizer\.layer_decay.*'slow'"),
    ],
)
def test_factors_are_checked(settings: dict[str, object], words: str) -> None:
    with pytest.raises(CosegError, match=words):
        made(vit(), **settings)


def test_networks_without_an_encoder() -> None:
    with pytest.raises(CosegError, match=r"encoder.*Linear"):
        parameter_groups(torch.nn.Linear(2, 2), layer_decay=0.5)
