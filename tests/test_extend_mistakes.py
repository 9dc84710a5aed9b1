"""Mistakes in a user's own classes, in a directory outside the package: one sentence each, exit code 2."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from extensions import write_extensions
from facts import mentions

Command = Callable[..., Any]

ENCODER = """
from torch import nn
from coseg.models.encoders.base import Encoder

class Mine(Encoder):
    def __init__(self, channels=8):
        {before}
        super().__init__({layers}, {arguments})

    def forward(self, images):
        {then}
        return super().forward(images)
"""
CONV = "nn.Conv2d(3, channels, 8, stride=8)"
NETWORK = """
import torch
from coseg import CosegNetwork

class Mine(CosegNetwork):
    def __init__(self, input_size=None):
        super().__init__(input_size)
        self.layer = torch.nn.Conv2d(3, 2, 1)

    def encode(self, images):
        return {encoded}

    def cosegment(self, features_a, features_b, size_a, size_b):
        return {logits}
"""
LAYER = "self.layer(self.resize(images))"
BOTH = "self.restore(features_a, size_a), self.restore(features_b, size_b)"
LOSS = """
import torch

class Mine(torch.nn.Module):
    def forward(self, batch):
        return {value}
"""
METRIC = """
import torch
from torchmetrics import Metric

class Mine(Metric):
    def update(self, logits, target):
        {update}

    def compute(self):
        return {value}
"""
TRANSFORM = """
class Mine:
    def __call__(self, image, labels, wanted, seed):
        {}[12]
"""


def encoder(layers: str = CONV, arguments: str = "channels, 8", before: str = "pass", then: str = "pass") -> str:
    return ENCODER.format(layers=layers, arguments=arguments, before=before, then=then)


def network(encoded: str = LAYER, logits: str = BOTH) -> str:
    return NETWORK.format(encoded=encoded, logits=logits)


ENCODERS = ("encoder", "_target_: own.Mine\n", ["encoder@model.encoder=own"])
NETWORKS = ("model", "_target_: own.Mine\nencoder: null\ninput_size: null\n", ["model=own"])
LOSSES = ("loss", "own:\n  _target_: own.Mine\n", ["loss=[own]"])
METRICS = ("metrics", "own:\n  _target_: own.Mine\n", ["metrics=own"])
TRANSFORMS = ("augmentation", "_target_: own.Mine\n", ["augmentation=own"])
MISTAKES = {
    "encoder at construction": (*ENCODERS, encoder(before="{}[12]"), ("KeyError: 12", "own.py, line 7", "own.Mine")),
    "encoder at run time": (
        *ENCODERS, encoder(then="if self.training: {}[12]"), ("KeyError: 12", "own.py, line 11", "forward"),
    ),
    "encoder's channels": (*ENCODERS, encoder(arguments="channels + 1, 8"), ("(1, 8, 4, 4)", "9 channels", "Mine")),
    "encoder's stride": (*ENCODERS, encoder(arguments="channels, 4"), ("Mine", "(1, 8, 2, 2)", "stride of 4")),
    "encoder's layers": (
        *ENCODERS, encoder(layers=f"nn.Sequential({CONV}, nn.Flatten())"), ("Mine", "Flatten", "(B, C, h, w)"),
    ),
    "module that can't be read": (*ENCODERS, "import torch\nx = = 2\n", ("SyntaxError", "own.py, line 2")),
    "module with an error": (*NETWORKS, "\nundefined\n", ("NameError", "undefined", "own.py, line 2")),
    "network at construction": (
        *NETWORKS, network().replace("super()", "raise OSError('no table'); super()"), ("OSError: no table", "line 7"),
    ),
    "network at run time": (*NETWORKS, network(logits="1 / 0"), ("ZeroDivisionError", "own.py, line 14", "cosegment")),
    "network in torch": (*NETWORKS, network(f"self.layer(self.layer({LAYER}))"), ("RuntimeError", "own.py, line 11")),
    "network's logits": (*NETWORKS, network(logits="features_a[:, :1], features_b"), ("cosegment", "(4, 2, 48")),
    "network with one tensor": (*NETWORKS, network(logits="features_a"), ("cosegment", "Mine", "both images")),
    "network without features": (*NETWORKS, network("{'maps': images}"), ("encode", "dict", "tuples of tensors")),
    "network without a map": (*NETWORKS, network(f"{LAYER}.mean((2, 3))"), ("task.semantic", "Mine", "feature_map")),
    "loss that gives None": (*LOSSES, LOSS.format(value="None"), ("loss.own", "Mine", "None", "one number")),
    "loss that gives a vector": (*LOSSES, LOSS.format(value="batch.logits[0][:, 0, 0, 0]"), ("loss.own", "(4,)")),
    "loss that is not there": (
        "loss", "own:\n  _target_: own.Min\n", ["loss=[own]"], LOSS.format(value="0"), ("own.Min", "mean own.Mine"),
    ),
    "network that is not there": (
        "model", "_target_: own.Min\nencoder: null\n", ["model=own"], network(), ("own.Min", "Did you mean own.Mine"),
    ),
    "loss of nothing": (*LOSSES, LOSS.format(value="torch.zeros(())"), ("own", "no parameter")),
    "loss at run time": (*LOSSES, LOSS.format(value="batch.masks"), ("AttributeError", "masks", "own.py, line 6")),
    "loss without a name": (
        "loss", "_target_: own.Mine\nweight: 1\n", ["loss=[standard,own]"], LOSS.format(value="0"), ("loss", "'own:'"),
    ),
    "metric that gives a dictionary": (
        *METRICS, METRIC.format(update="pass", value="{'a': 1}"), ("metrics.own", "dict", "one number"),
    ),
    "metric at run time": (
        *METRICS, METRIC.format(update="{}[12]", value="1"), ("KeyError: 12", "own.py, line 7", "update"),
    ),
    "transform": (*TRANSFORMS, TRANSFORM, ("KeyError: 12", "own.py, line 4")),
    "transform that gives nothing": (*TRANSFORMS, TRANSFORM.replace("{}[12]", "pass"), ("augmentation", "NoneType")),
    "transform in a worker": (
        *TRANSFORMS[:2], ["augmentation=own", "data.workers=1"], TRANSFORM, ("KeyError: 12", "own.py, line 4"),
    ),
}  # fmt: skip


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty directory for own classes in the module ``own``; those of other tests are no longer searched."""
    kept = [place for place in sys.path if not Path(place).is_relative_to(tmp_path.parents[1])]
    monkeypatch.setattr(sys, "path", kept)
    for module in ("own", "beside"):
        sys.modules.pop(module, None)
    (tmp_path / "mine").mkdir()
    yield tmp_path / "mine"
    for module in ("own", "beside"):
        sys.modules.pop(module, None)


@pytest.fixture
def refused(
    command: Command, mine: Path, tiny_overrides: dict[str, tuple[str, ...]], tmp_path: Path
) -> Callable[..., str]:
    """``refused(*overrides)``: the sentence of a training with the directory, which must end with exit code 2."""
    tiny = [word for word in tiny_overrides["train"] if not word.startswith("model.")]

    def run(*overrides: str) -> str:
        words = [
            word for word in tiny if word.partition("=")[0] not in {other.partition("=")[0] for other in overrides}
        ]
        outcome = command("train", *overrides, "--config-dir", str(mine), *words, "panels=0", "trainer.max_epochs=1")
        assert outcome.code == 2, outcome.err
        assert "Traceback" not in outcome.err and "Error getting" not in outcome.err
        return str(outcome.err.strip().splitlines()[-1])

    return run


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_sentence(mistake: str, mine: Path, refused: Callable[..., str]) -> None:
    group, yaml, overrides, text, facts = MISTAKES[mistake]
    (mine / group).mkdir()
    (mine / "own.py").write_text(text)
    (mine / group / "own.yaml").write_text(yaml)
    sentence = refused(*overrides)
    assert mentions(sentence, *facts), sentence


def test_the_whole_traceback(mine: Path, command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    (mine / "encoder").mkdir()
    (mine / "own.py").write_text(encoder(before="{}[12]"))
    (mine / "encoder" / "own.yaml").write_text("_target_: own.Mine\n")
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    outcome = command("train", "encoder@model.encoder=own", "--config-dir", str(mine))
    assert outcome.code == 2
    assert mentions(outcome.err, "Traceback", "own.py", "line 7, in __init__", "KeyError: 12")


def test_a_module_with_the_name_of_an_installed_one(mine: Path, refused: Callable[..., str]) -> None:
    (mine / "encoder").mkdir()
    (mine / "statistics.py").write_text(encoder())
    (mine / "encoder" / "own.yaml").write_text("_target_: statistics.Mine\n")
    assert mentions(refused("encoder@model.encoder=own"), str(mine / "statistics.py"), "another name")


def test_a_reader(mine: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each subcommand of coseg-data that takes one."""
    from coseg.cli import data

    def run(*words: str) -> str:
        sys.modules.pop("wrong_reader", None)
        with pytest.raises(SystemExit) as leaving:
            data.main([*words, "--config-dir", str(mine), "--root", str(tmp_path)])
        assert leaving.value.code == 2
        return capsys.readouterr().err.strip()

    write_extensions(mine)  # under names that no other test has
    text = (mine / "beside.py").read_text()
    (mine / "wrong_reader.py").write_text(text.replace("        folders = {", "        {}[12]\n        folders = {"))
    settings = (
        (mine / "dataset" / "beside.yaml").read_text().replace("beside.BesideReader", "wrong_reader.BesideReader")
    )
    (mine / "dataset" / "wrong.yaml").write_text(settings)
    for name in ("check", "pairs", "show"):
        assert mentions(run(name, "wrong"), "KeyError: 12", "wrong_reader.py, line 21", "find")
    yaml = mine / "dataset" / "wrong.yaml"
    yaml.write_text(yaml.read_text().replace("BesideReader", "BesideRader"))
    assert mentions(run("check", "wrong"), "BesideRader", "Did you mean", "BesideReader")
