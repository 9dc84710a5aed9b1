"""Run directories: what a run leaves, and finding what an earlier one left."""

from __future__ import annotations

import json
import platform
import shlex
import subprocess
import sys
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from coseg.errors import CosegError
from coseg.files import write_text_atomically
from coseg.json_text import json_text
from coseg.plain_data import read_json, read_yaml
from coseg.training.classes import require_known_classes

STUDY = "COSEG_STUDY"
"""Environment variable that tells a run the study of which it is a trial."""

FINISHED = "finished.json"
"""In a run directory, once its training came to its end."""

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
    if not (folder / "config.yaml").exists():
        write_text_atomically(folder / "config.yaml", OmegaConf.to_yaml(config, resolve=True))
    path = folder / "environment.json"
    earlier = []
    if path.exists():
        earlier = read_json(path, "remove it: it only tells on which machines the run was", verbatim=True)
        if not isinstance(earlier, list):
            raise CosegError(f"{path} is damaged (it holds no list): remove it.")
    write_text_atomically(path, json.dumps([*earlier, environment()], indent=2) + "\n")


def finish_run(folder: Path, jaccard: float, step: int, seconds: float) -> None:
    """Leave `FINISHED`: the best validation Jaccard, the steps, and the seconds since it was started or resumed.

    A Jaccard that is not finite, where nothing was validated, is null.
    """
    values = {"jaccard": jaccard, "step": step, "seconds": round(seconds, 1)}
    write_text_atomically(folder / FINISHED, json_text(values))


def environment() -> Mapping[str, Any]:
    """The command, the versions of what matters to its numbers, and the machine."""
    import torch

    versions: dict[str, str | None] = {}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = None
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
    """Of a configuration that a command composed: its overrides, and the chosen file of each group."""
    from hydra.core.hydra_config import HydraConfig

    if not HydraConfig.initialized():
        return {}
    hydra = HydraConfig.get()
    return {
        "overrides": list(hydra.overrides.task),
        "choices": {str(key): value for key, value in hydra.runtime.choices.items()},
    }


def _commit() -> str | None:
    """The commit of the checkout that runs, with ``+`` behind it when it has changes; None outside a checkout."""

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
        trust: it may name classes outside of coseg, torch, lightning and albumentations. What it says of trust itself
            does not count.

    Raises:
        CosegError: `folder` is no run directory, the run left no ``last.ckpt``, or ``config.yaml`` is damaged or names
            other classes.
    """
    if not (folder / "config.yaml").is_file():
        raise CosegError(f"{folder} is not a run directory: it has no config.yaml. Give the directory that a run made.")
    if not (folder / "checkpoints" / "last.ckpt").is_file():
        raise CosegError(f"{folder} has no checkpoints/last.ckpt: the run stopped before it left one. Start it anew.")
    path, advice = folder / "config.yaml", "take it from a copy of the run, or start a new one"
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
        FileNotFoundError: there is none.
    """
    found = read_yaml(path, advice)
    found = {} if found is None else found
    if not isinstance(found, dict) or not all(isinstance(key, str) for key in found):
        raise CosegError(f"{path} is damaged (it holds no settings): {advice}.")
    require_known_classes(found, str(path), trust)
    config = OmegaConf.create(found)
    if missing := sorted(OmegaConf.missing_keys(config)):  # written as ???
        raise CosegError(f"{path} is damaged (it leaves {', '.join(missing)[:200]} open): {advice}.")
    return config


def newest_best_checkpoint(runs: Path) -> Path:
    """The newest ``checkpoints/best.ckpt`` under `runs`, the demo's aside.

    Raises:
        CosegError: there is none.
    """
    found = [path for path in runs.glob("**/checkpoints/best.ckpt") if path.relative_to(runs).parts[0] != "demo"]
    if not found:
        raise CosegError(
            f"There is no best.ckpt under {runs.resolve()}: train first (coseg-train), or give a checkpoint as "
            "ckpt=PATH."
        )
    return max(found, key=lambda path: path.stat().st_mtime)
