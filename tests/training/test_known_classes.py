"""A network, an encoder and a reader of one's own: trained as they are, opened again where the user says so."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from coseg.cli import export
from coseg.errors import CosegError
from coseg.hub.load import load_pretrained
from coseg.inference.segmenter import CoSegmenter
from coseg.models.registry import ENCODERS, NETWORKS, RENAMED, described_network, known_network
from coseg.training.known_classes import known_class, require_known_classes, with_current_names
from coseg.training.task import CosegTask, load_task

PARTS = """
from coseg.data.readers.shapes import ShapesReader
from coseg.models.encoders.vgg import VGG16Encoder
from coseg.models.siamese import SiameseNetwork

class OwnNetwork(SiameseNetwork): ...
class OwnEncoder(VGG16Encoder): ...
class OwnReader(ShapesReader): ...
"""

Command = Callable[..., Any]


@pytest.fixture
def parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The module ``own_parts`` on the path, imported by nobody yet."""
    (tmp_path / "own_parts.py").write_text(PARTS)
    monkeypatch.syspath_prepend(str(tmp_path))
    sys.modules.pop("own_parts", None)


def imported() -> bool:
    return "own_parts" in sys.modules


def test_from_training_to_every_use(
    parts: None, command: Command, tmp_path: Path, tiny_overrides: dict[str, tuple[str, ...]]
) -> None:
    own = ["model=siamese", "model._target_=own_parts.OwnNetwork", "model.encoder._target_=own_parts.OwnEncoder"]
    own += ["dataset.reader._target_=own_parts.OwnReader", "panels=0", "trainer.max_epochs=1"]
    trained = command("train", *tiny_overrides["train"], *own)
    assert trained.code == 0, trained.err
    (run,) = (path.parent for path in tmp_path.glob("runs/**/config.yaml"))
    checkpoint = run / "checkpoints" / "best.ckpt"

    sys.modules.pop("own_parts")
    test = (*tiny_overrides["test"], f"ckpt={checkpoint}", "panels=0", "data.test_pairs=2")
    for refused in (command("train", f"resume={run}"), command("test", *test)):
        assert refused.code == 2
        assert "own_parts" in refused.err
        assert "trust=true" in refused.err
    for load in (load_task, load_pretrained, CosegTask.load_from_checkpoint, CoSegmenter.from_pretrained):
        with pytest.raises(CosegError, match="trust"):
            load(checkpoint)
    assert not imported()

    assert command("train", f"resume={run}", "trust=true").code == 0
    tested = command("test", *test, "trust=true", "dataset.reader._target_=own_parts.OwnReader")
    assert tested.code == 0, tested.err
    for load in (load_task, load_pretrained, CosegTask.load_from_checkpoint, CoSegmenter.from_pretrained):
        load(checkpoint, trust=True)

    shared = tmp_path / "shared"
    export.main([str(run), "--format", "safetensors", "--out", str(shared), "--trust"])
    with pytest.raises(CosegError, match="own_parts"):
        load_pretrained(shared)
    assert type(load_pretrained(shared, trust=True).network).__name__ == "OwnNetwork"
    for results in tmp_path.glob("runs/**/results.json"):
        for words, code in ((("figures", results.parent), 2), (("figures", results.parent, "--trust"), 0)):
            assert report(*words, "--out", tmp_path / "figures") == code


def report(*words: object) -> int:
    from coseg.cli.report import main

    with pytest.raises(SystemExit) as leaving:
        main([str(word) for word in words])
    return int(leaving.value.code or 0)


def test_trust_is_no_reason_to_call_a_function(parts: None, tmp_path: Path) -> None:
    for target in ("os.system", "own_parts.no", "no.such", "subprocess.Popen"):
        with pytest.raises(CosegError):
            CosegTask({"_target_": target}, trust=True)


def test_the_table_has_every_network_and_encoder(compose: Callable[..., Any]) -> None:
    """What a configuration may choose can be opened again; older names lead to classes of today."""
    from coseg.configs import choices

    for group, table in (("model", NETWORKS), ("encoder", ENCODERS)):
        for name in choices(group):
            override = f"{'encoder@model.encoder' if group == 'encoder' else 'model'}={name}"
            model = compose("train", override).model
            assert (model._target_ if group == "model" else model.encoder._target_) in table
    for name in (*NETWORKS, *ENCODERS, *RENAMED.values()):
        module, _, attribute = name.rpartition(".")
        made = getattr(__import__(module, fromlist=[attribute]), attribute)
        assert isinstance(made, type)
        assert known_network({"_target_": name})
    assert not known_network({"_target_": "coseg.models.siamese.SiameseNetwork", "encoder": {"_target_": "own.E"}})


def test_networks_are_made_without_memory_or_chance(compose: Callable[..., Any]) -> None:
    """Each may be made on torch's meta device, as it is before its weights are compared, and draws no numbers there."""
    from omegaconf import OmegaConf

    from coseg.configs import choices

    before = torch.get_rng_state()
    encoders = choices("encoder")
    for k, name in enumerate(choices("model")):
        for encoder in (encoders[k % len(encoders)], "vgg16_bn"):
            config = compose("train", f"model={name}", f"encoder@model.encoder={encoder}", "model.input_size=224")
            with torch.device("meta"):
                network = described_network(OmegaConf.to_container(config.model, resolve=True))  # type: ignore[arg-type]
            assert all(value.is_meta for value in network.state_dict().values())
    assert torch.equal(torch.get_rng_state(), before)


def test_what_shipped_configurations_name_is_known(compose: Callable[..., Any]) -> None:
    from omegaconf import OmegaConf

    from coseg.configs import choices

    checked = []
    for group in ("augmentation", "callbacks", "dataset", "optimizer", "schedule", "trainer", "logger"):
        for name in choices(group):
            if (group, name) == ("trainer", "test"):
                continue
            more = ["dataset.root=/"] if group == "dataset" and name != "shapes" else []
            config = OmegaConf.to_container(compose("train", f"{group}={name}", *more), resolve=True)
            require_known_classes(json.loads(json.dumps(config)), name)
            checked.append((group, name))
    assert len(checked) == len(set(checked)) > 30


@pytest.mark.parametrize(
    "target",
    [
        "torch.optim.SGD",
        "torch.optim.lr_scheduler.CosineAnnealingLR",
        "lightning.pytorch.callbacks.EarlyStopping",
        "lightning.pytorch.strategies.FSDPStrategy",
        "albumentations.Compose",
        "coseg.data.readers.voc.VocReader",
    ],
)
def test_classes_of_the_four_packages(target: str) -> None:
    assert known_class(target, "here").__name__ == target.rpartition(".")[2]


@pytest.mark.parametrize(
    "target",
    [
        "torch.nn.Linear",
        "torch.utils.collect_env.run",
        "torch.optim.Adam.step",
        "torch.optim",
        "torch",
        "lightning.pytorch.utilities.rank_zero.rank_zero_warn",
        "albumentations.from_dict",
        "coseg.files.writing.write_text_atomically",
        "coseg.models.base.CosegNetwork.__init__.__globals__",
        "own_parts.OwnReader",
        "torchvision.models.vgg16",
        3,
        None,
    ],
)
def test_everything_else_is_refused(target: object, parts: None) -> None:
    with pytest.raises(CosegError, match="trust=true"):
        known_class(target, "here")
    assert not imported()


def test_a_class_of_an_earlier_version_has_its_name_of_today() -> None:
    """Runs keep the names of classes in their ``config.yaml``."""
    earlier = {"augmentation": {"_target_": "coseg.data.augment.Augmentation", "transforms": [{"_target_": "x.Y"}]}}
    (target, (transform,)) = with_current_names(earlier)["augmentation"].values()
    assert known_class(target, "config.yaml").__name__ == "Augmentation"
    assert transform == {"_target_": "x.Y"}
