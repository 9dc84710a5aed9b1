"""W&B, offline: what a run leaves in its folder, read from the file that W&B would upload."""

from __future__ import annotations

import base64
import hashlib
import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import wandb
from lightning.pytorch.loggers import WandbLogger
from metrics_file import read_rows
from omegaconf import DictConfig, OmegaConf
from PIL import Image
from test_resume import stop_in_step
from wandb_file import read_offline

from coseg.errors import CosegError
from coseg.run_dir import STUDY
from coseg.signals import Stopped
from coseg.training.fit import fit
from coseg.training.run import resumed_config
from coseg.training.tracking import make_loggers

Command = Callable[..., tuple[int, str, str]]
Tiny = Callable[..., DictConfig]
OFFLINE = ("logger=wandb", "logger.wandb.offline=true")


@pytest.fixture(autouse=True)
def nobody_is_logged_in(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Whoever runs the tests: no key, and W&B's own folders are temporary."""
    for variable in ("WANDB_API_KEY", "WANDB_MODE", "WANDB_DIR", "WANDB_PROJECT", "WANDB_RUN_GROUP"):
        monkeypatch.delenv(variable, raising=False)
    for variable in ("WANDB_CACHE_DIR", "WANDB_CONFIG_DIR", "WANDB_DATA_DIR", "NETRC"):
        monkeypatch.setenv(variable, str(tmp_path / "home" / variable.lower()))
    wandb.teardown()  # it reads them once
    yield
    wandb.teardown()


def test_a_run_that_is_stopped_and_resumed(tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "shapes" / "first"
    with monkeypatch.context() as patched:
        stop_in_step(patched, 3, signal.SIGTERM)
        with pytest.raises(Stopped):
            fit(tiny(*OFFLINE, "panels=2"), folder)
    (place,) = folder.glob("wandb/offline-run-*")
    stopped = read_offline(place)
    assert stopped.exit_codes == [255], "what W&B calls killed"
    assert wandb.run is None
    kept = json.loads((folder / "wandb.json").read_text())
    assert kept == {"id": stopped.id, "name": "shapes/first", "group": None}
    assert (stopped.name, stopped.group, stopped.artifacts) == ("shapes/first", "", [])

    fit(resumed_config(folder), folder, resume=True)
    (other,) = set(folder.glob("wandb/offline-run-*")) - {place}
    resumed = read_offline(other)
    assert (resumed.id, resumed.exit_codes) == (stopped.id, [0])
    assert json.loads((folder / "wandb.json").read_text()) == kept

    # The configuration: the whole, as it stands in the run directory, and nothing beside it.
    config = OmegaConf.to_container(OmegaConf.load(folder / "config.yaml"))
    for part in (stopped, resumed):
        assert {key: value for key, value in part.config.items() if key != "_wandb"} == config

    # The curves: every number of metrics.csv, at its step, in both parts together.
    logged: dict[tuple[str, int], float] = {}
    for row in stopped.rows + resumed.rows:
        logged |= {(key, row["trainer/global_step"]): value for key, value in row.items() if isinstance(value, float)}
        logged |= {(key, row["trainer/global_step"]): value for key, value in row.items() if isinstance(value, int)}
    metrics = {
        (key, int(row["step"])): float(value)
        for row in read_rows(folder)
        for key, value in row.items()
        if value and key not in ("step", "epoch")
    }
    assert {key for key, _ in metrics} >= {"train/loss", "val/loss", "val/jaccard"}
    assert {key: logged[key] for key in metrics} == pytest.approx(metrics)

    # The panels: the picture, and each image with its masks of truth and prediction.
    panels = [row for row in resumed.rows if "val/pairs/filenames" in row]
    assert len(panels) == 2, "one for each validation"
    for row in panels:
        assert len(row["val/panel/filenames"]) == 1
        assert len(row["val/pairs/filenames"]) == 4
        for name, masks in zip(row["val/pairs/filenames"], row["val/pairs/all_masks"], strict=True):
            with Image.open(resumed.folder / name) as image:
                assert (image.size, image.mode) == ((256, 256), "RGB")
            maps = {key: np.asarray(Image.open(resumed.folder / mask["path"])) for key, mask in masks.items()}
            assert set(maps) == {"truth", "prediction"}
            assert 1 in maps["truth"]
            assert set(np.unique(maps["truth"])) <= {0, 1, 2, 255}
            assert set(np.unique(maps["prediction"])) <= {0, 1}
    labels = resumed.config["_wandb"]["mask/class_labels"]["val/pairs_wandb_delimeter_truth"]["value"]
    assert labels == {"0": "background", "1": "common", "2": "other object", "255": "void"}

    # The best checkpoint: where it lies and its checksum, no copy.
    (artifact,) = resumed.artifacts
    assert (artifact.name, artifact.type) == (f"model-{resumed.id}", "model")
    assert "best" in artifact.aliases
    (entry,) = artifact.manifest.contents
    best = folder / "checkpoints" / "best.ckpt"
    assert (entry.ref, entry.size) == (best.as_uri(), best.stat().st_size)
    assert entry.digest == base64.b64encode(hashlib.md5(best.read_bytes()).digest()).decode()
    assert not list(tmp_path.rglob("home/**/*.ckpt")) + list(resumed.folder.parent.rglob("*.ckpt"))


def test_each_job_of_a_sweep_is_a_run_of_one_group(
    command: Command, tmp_path: Path, tiny_overrides: dict[str, tuple[str, ...]]
) -> None:
    short = ("trainer.max_epochs=1", "data.pairs_per_epoch=4", "panels=0")
    code, out, err = command(
        "train", "-m", *tiny_overrides["train"], *short, *OFFLINE, "schedule.pct_start=1,0.12"
    )  # torch asks for 1.0
    assert code == 2
    assert "job 0: " in err
    assert "wandb:" not in out + err, "W&B's own words"
    (sweep,) = tmp_path.glob("runs/shapes/sweeps/*")
    failed, finished = (
        read_offline(next(place)) for place in (sweep.glob(f"{job}/wandb/offline-run-*") for job in (0, 1))
    )
    assert failed.id != finished.id
    assert (failed.group, finished.group) == (sweep.name, sweep.name)
    assert (failed.name, finished.name) == (f"{sweep.name}/0", f"{sweep.name}/1")
    assert (failed.exit_codes, finished.exit_codes) == ([1], [0])
    assert (failed.config["schedule"]["pct_start"], finished.config["schedule"]["pct_start"]) == (1, 0.12)
    assert (len(failed.artifacts), len(finished.artifacts)) == (0, 1)
    for job in ("0", "1"):
        assert json.loads((sweep / job / "wandb.json").read_text())["group"] == sweep.name
    assert not (tmp_path / "wandb").exists()


def test_the_trials_of_a_study_are_one_group(tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(STUDY, "rates")
    found = [each for each in make_loggers(tiny(*OFFLINE), tmp_path / "rates" / "3") if isinstance(each, WandbLogger)]
    assert [(each._wandb_init["group"], each._wandb_init["name"]) for each in found] == [("rates", "rates/3")]


def test_online_without_a_login_is_told_and_leaves_nothing(tiny: Tiny, tmp_path: Path) -> None:
    with pytest.raises(CosegError, match=r"wandb login.*logger\.wandb\.offline=true"):
        fit(tiny("logger=wandb"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_setting_that_wandb_lacks_is_told(tiny: Tiny, tmp_path: Path) -> None:
    with pytest.raises(CosegError, match=r"W&B.*colour"):
        fit(tiny(*OFFLINE, "+logger.wandb.settings.colour=red"), tmp_path / "run")


def test_a_damaged_file_of_the_run_is_told(tiny: Tiny, tmp_path: Path) -> None:
    (tmp_path / "wandb.json").write_text("{")
    with pytest.raises(CosegError, match=r"wandb\.json.*damaged"):
        fit(tiny(*OFFLINE), tmp_path)


@pytest.mark.slow
def test_wandb_is_imported_only_with_its_logger(tmp_path: Path, tiny_overrides: dict[str, tuple[str, ...]]) -> None:
    code = "import sys; from coseg.cli.train import main; main(); print('wandb' in sys.modules)"
    words = [*tiny_overrides["train"], "logger=csv", "panels=1", "trainer.max_epochs=1", "data.pairs_per_epoch=4"]
    ran = subprocess.run(
        [sys.executable, "-c", code, *words], cwd=tmp_path, capture_output=True, text=True, timeout=300
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.splitlines()[-1] == "False"
    assert list(tmp_path.glob("runs/**/last.ckpt"))
