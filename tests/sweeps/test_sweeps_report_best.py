from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from facts import naming
from omegaconf import OmegaConf

from coseg.errors import CosegError
from coseg.sweeps.jobs import Sweep, read_sweep
from coseg.sweeps.report import experiment_path, experiment_text


@pytest.fixture
def sweep(write_job: Callable[..., None], tmp_path: Path) -> Sweep:
    for number, rate in enumerate((0.1, 0.2)):
        write_job(tmp_path / str(number), {"optimizer.lr": rate}, [rate])
        choices = {
            "model": "siamese",
            "encoder@model.encoder": "vgg",
            "experiment": "shapes",
            "hydra/launcher": "basic",
        }
        environment = [{"overrides": [f"optimizer.lr={rate}"], "choices": choices}]
        (tmp_path / str(number) / "environment.json").write_text(json.dumps(environment))
        (tmp_path / str(number) / "config.yaml").write_text(f"name: x\nseed: 3\noptimizer: {{lr: {rate}}}\n")
    return read_sweep(tmp_path)


def _body(sweep: Sweep, composed: Any) -> dict[str, Any]:
    text = experiment_text(sweep, sweep.ranked()[0], composed)
    assert text.startswith("# @package _global_\n")
    body: dict[str, Any] = yaml.safe_load(text)
    return body


def test_the_experiment_has_the_choices_and_values_of_the_best_job(sweep: Sweep) -> None:
    body = _body(sweep, None)
    assert body["defaults"] == [{"override /model": "siamese"}, {"override /encoder@model.encoder": "vgg"}]
    assert body["optimizer"] == {"lr": 0.2} and body["seed"] == 3 and body["name"].endswith("_best")


def test_references_between_values_are_kept_where_the_values_are_those_of_the_job(sweep: Sweep) -> None:
    same = OmegaConf.create({"seed": 3, "optimizer": {"lr": "${rate_of:}"}, "name": "y"})
    OmegaConf.register_new_resolver("rate_of", lambda: 0.2, replace=True)
    assert _body(sweep, same)["optimizer"] == {"lr": "${rate_of:}"}
    other = OmegaConf.create({"seed": 4, "optimizer": {"lr": "${rate_of:}"}})
    assert _body(sweep, other)["optimizer"] == {"lr": 0.2}


@pytest.mark.parametrize("chosen", ["../x y", "a\nb", {"a": 1}])
def test_a_choice_that_is_no_name_of_a_file_is_refused(sweep: Sweep, chosen: object) -> None:
    path = sweep.ranked()[0].folder / "environment.json"
    path.write_text(json.dumps([{"overrides": [], "choices": {"model": chosen}}]))
    with pytest.raises(CosegError, match=naming("damaged")):
        experiment_text(sweep, sweep.ranked()[0], None)


def test_the_file_is_where_hydra_looks_for_it(tmp_path: Path) -> None:
    assert experiment_path(tmp_path) == tmp_path / "experiment" / "best.yaml"
