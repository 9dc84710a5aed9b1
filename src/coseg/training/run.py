"""Run directories: the configuration, environment and end of a run, written and read again."""

from __future__ import annotations

import json
import platform
import shlex
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from coseg.errors import CosegError
from coseg.files.plain_data import read_json, read_yaml
from coseg.files.writing import json_text, write_text_atomically
from coseg.run_dir import BEST, CHECKPOINTS, CONFIG, ENVIRONMENT, FINISHED, LAST, installed_version
from coseg.training.known_classes import require_known_classes, with_current_names

PACKAGES = (
    "coseg",
    "torch",
    "torchvision",
    "lightning",
    "hydra-core",
    "torchmetrics",
    "albumentations",
    "numpy",
    "opencv-python-headless",
    "pillow",
)


def describe_run(folder: Path, config: DictConfig) -> None:
    """Write ``config.yaml`` (resolved) and ``environment.json`` (command, versions, machine, commit) into `folder`.

    A resumed run keeps its configuration, and its environments are listed one after the other.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / CONFIG).exists():
        write_text_atomically(folder / CONFIG, OmegaConf.to_yaml(config, resolve=True))
    path = folder / ENVIRONMENT
    earlier = []
    if path.exists():
        earlier = read_json(path, "remove it: it only lists the machines of the run", verbatim=True)
        if not isinstance(earlier, list):
            raise CosegError(f"{path} is damaged (it holds no list): remove it.")
    write_text_atomically(path, json.dumps([*earlier, environment()], indent=2) + "\n")


def extend_run(folder: Path, limits: Mapping[str, int | None]) -> None:
    """Give the run in `folder` other ``max_epochs`` and ``max_steps``: it is not finished until it has reached them."""
    path = folder / CONFIG
    values = read_yaml(path, "take it from a copy of the run, or start a new one")
    values["trainer"] = {**values["trainer"], **limits}
    write_text_atomically(path, OmegaConf.to_yaml(OmegaConf.create(values)))
    (folder / FINISHED).unlink(missing_ok=True)


def finish_run(folder: Path, jaccard: float, step: int, seconds: float) -> None:
    """Write `FINISHED`: the best validation Jaccard, the steps, and the seconds since it was started or resumed.

    A Jaccard that is not finite, since nothing was validated, is null.
    """
    values = {"jaccard": jaccard, "step": step, "seconds": round(seconds, 1)}
    write_text_atomically(folder / FINISHED, json_text(values))


def environment() -> Mapping[str, Any]:
    """The command, the versions of the packages that matter to its numbers, and the machine."""
    import torch

    versions = {package: installed_version(package) for package in PACKAGES}
    return {
        "command": shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "python": platform.python_version(),
        "packages": versions,
        "platform": platform.platform(),
        "threads": torch.get_num_threads(),
        "accelerator": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "commit": _commit(),
        **_composed(),
    }


def _composed() -> dict[str, Any]:
    """The overrides and the chosen file of each group, where a command composed the configuration."""
    from hydra.core.hydra_config import HydraConfig

    if not HydraConfig.initialized():
        return {}
    hydra = HydraConfig.get()
    return {
        "overrides": list(hydra.overrides.task),
        "choices": {str(key): value for key, value in hydra.runtime.choices.items()},
    }


def _commit() -> str | None:
    """The commit of the running checkout, followed by ``+`` when it has changes; None outside a checkout."""

    def git(*words: str) -> str:
        command = ["git", "-C", str(Path(__file__).parent), *words]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=5).stdout.strip()

    try:
        tracked = git("ls-files", "--error-unmatch", Path(__file__).name)
        return git("rev-parse", "HEAD") + ("+" if git("status", "--porcelain", "-uno") else "") if tracked else None
    except (OSError, subprocess.SubprocessError):
        return None


def resumed_config(folder: Path, trust: bool = False) -> DictConfig:
    """The configuration of the run in `folder`, as plain data: nothing in it is resolved.

    Args:
        folder: of the run.
        trust: it may name classes outside of coseg, torch, lightning and albumentations. Its own key ``trust`` does not
            count.

    Raises:
        CosegError: `folder` is no run directory, the run has no ``last.ckpt``, or ``config.yaml`` is damaged or names
            other classes.
    """
    if not (folder / CONFIG).is_file():
        raise CosegError(f"{folder} is not a run directory: it has no {CONFIG}. Give the directory that a run made.")
    if not (folder / CHECKPOINTS / LAST).is_file():
        raise CosegError(
            f"{folder} has no {CHECKPOINTS}/{LAST}: the run stopped before it wrote one. Start it again from the "
            "beginning."
        )
    path, advice = folder / CONFIG, "take it from a copy of the run, or start a new one"
    config = run_config(path, advice, trust)
    missing = [
        key for key in ("model", "data", "trainer", "optimizer", "protocol", "task", "logger") if not config.get(key)
    ]
    missing += [key for key in ("seed", "threads", "panels") if key not in config]
    if missing:
        raise CosegError(f"{path} is damaged (it lacks {', '.join(missing)}): {advice}.")
    return config


def run_config(path: Path, advice: str, trust: bool = False) -> DictConfig:
    """The ``config.yaml`` of a run or a test, as plain data.

    Args:
        path: of the file.
        advice: what to do where it is damaged.
        trust: see `resumed_config`.

    Raises:
        CosegError: it is damaged, or names classes that are not known.
        FileNotFoundError: it does not exist.
    """
    values = read_yaml(path, advice)
    values = {} if values is None else values
    if not isinstance(values, dict) or not all(isinstance(key, str) for key in values):
        raise CosegError(f"{path} is damaged (it holds no settings): {advice}.")
    values = with_current_names(values)
    require_known_classes(values, str(path), trust)
    config = OmegaConf.create(values)
    if missing := sorted(OmegaConf.missing_keys(config)):  # written as ???
        raise CosegError(f"{path} is damaged (it leaves {', '.join(missing)[:200]} open): {advice}.")
    return config


def newest_best_checkpoint(runs: Path) -> Path:
    """The newest ``checkpoints/best.ckpt`` under `runs`, except the demo's.

    Raises:
        CosegError: none exists.
    """
    paths = [path for path in runs.glob(f"**/{CHECKPOINTS}/{BEST}") if path.relative_to(runs).parts[0] != "demo"]
    if not paths:
        unfinished = max(runs.glob(f"**/{CHECKPOINTS}/{LAST}"), key=lambda path: path.stat().st_mtime, default=None)
        advice = f"{unfinished}, say" if unfinished is not None else "PATH"
        raise CosegError(
            f"There is no {BEST} under {runs.resolve()}: train first (coseg-train), to the first validation at least, "
            f"or give a checkpoint as ckpt={advice}."
        )
    return max(paths, key=lambda path: path.stat().st_mtime)
