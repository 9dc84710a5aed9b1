"""``config.json``: what does not fit is refused, keys of earlier versions are read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tiny_networks import network_config

from coseg.errors import CosegError
from coseg.hub.calibration import Calibration
from coseg.hub.load import load_pretrained
from coseg.hub.settings import read_settings, write_settings


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (None, "is missing"),
        ("{", "is damaged"),
        ("[1]", "is damaged"),
        ({"format": 2, "coseg": "9.0"}, "of format 2, made by coseg 9.0"),
        ({"format": None}, "'format' is None"),
        ({"network": {}}, "names no class"),
        ({"network": {"_target_": "os.system"}}, r"'os\.system', which is no network"),
        ({"network": {"_target_": "subprocess.Popen", "args": "true"}}, "which is no network"),
        ({"network": {"_target_": "torch.nn.Linear", "in_features": 1, "out_features": 1}}, "which is no network"),
        ({"network": {"_target_": "coseg.models.gone.Network"}}, "there is no class"),
        ({"network": network_config(kernel_size=[3])}, "no setting 'kernel_size'"),
        ({"network": network_config("siamese.SiameseNetwork")}, "does not fit SiameseNetwork"),
        ({"size": -1}, "size is '-1'"),
        ({"threshold": 2}, "threshold is 2"),
        ({"cooccurrence": {"names": ["a"]}}, "calibration in 'cooccurrence' is damaged"),
    ],
    ids=str,
)
def test_a_config_that_does_not_fit_is_refused(folder: Path, change: Any, words: str) -> None:
    path = folder / "config.json"
    settings = json.loads(path.read_text())
    if change is None:
        path.unlink()
    else:
        path.write_text(change if isinstance(change, str) else json.dumps(settings | change))
    with pytest.raises(CosegError, match=words):
        load_pretrained(folder)


def test_the_calibration_of_earlier_versions_is_read_under_its_former_key_and_names(folder: Path) -> None:
    path = folder / "config.json"
    calibration = Calibration(("foreground_low", "sum_0"), (0.0, 0.0), (1.0, 1.0), (1.0, 2.0), 0.5)
    settings = json.loads(path.read_text())
    del settings["cooccurrence"]
    earlier = {**settings, "commonness": {**calibration.to_dict(), "names": ["marked_low", "sum_0"]}}
    path.write_text(json.dumps(earlier))
    settings = read_settings(path)
    assert "commonness" not in settings and Calibration.from_dict(settings["cooccurrence"]) == calibration
    write_settings(path, earlier)
    assert read_settings(path) == settings == json.loads(path.read_text())
    path.write_text(json.dumps({**earlier, "cooccurrence": None}))
    assert read_settings(path)["cooccurrence"] is None
