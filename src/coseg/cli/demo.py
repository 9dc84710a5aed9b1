"""``make demo``: train and test on drawn shapes, and leave ``runs/demo/summary.json``."""

from __future__ import annotations

import logging
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def _replacing(folder: Path) -> Iterator[None]:
    """Put `folder` aside while a new one is made, and back where none was."""
    previous = folder.with_name(f".{folder.name}-previous")
    shutil.rmtree(previous, ignore_errors=True)
    if folder.exists():
        folder.rename(previous)
    try:
        yield
    finally:
        if previous.exists() and not any(path.is_file() for path in folder.rglob("*")):
            shutil.rmtree(folder, ignore_errors=True)
            previous.rename(folder)
        shutil.rmtree(previous, ignore_errors=True)


def demo(overrides: list[str]) -> None:
    """Train the ``shapes_quick`` experiment with these overrides, test both of its test splits, and sum them up."""
    from omegaconf import open_dict

    from coseg.configs import compose_config
    from coseg.evaluation.score import score
    from coseg.files.writing import json_text, write_text_atomically
    from coseg.reports.results import BASELINES, read_results
    from coseg.run_dir import BEST, CHECKPOINTS, RESULTS
    from coseg.settings.check import check_settings
    from coseg.training.fit import fit, prepare_process

    began = time.monotonic()
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    folder = Path("runs", "demo").resolve()
    training = check_settings(compose_config("train", ["experiment=shapes_quick", "name=demo", *overrides]), "train")
    testing = compose_config("test", ["dataset=shapes", f"ckpt='{folder / CHECKPOINTS / BEST}'"])
    with open_dict(testing):
        testing.dataset = training.dataset  # the same pictures, whatever was overridden
    prepare_process(training.threads)
    with _replacing(folder):
        fit(training, folder)
    seen, unseen = (read_results(path / RESULTS) for path in score(testing))
    summary = {
        "seen": seen["jaccard"],
        "unseen": unseen["jaccard"],
        "seen_distractor": seen["jaccard_distractor"],
        "unseen_distractor": unseen["jaccard_distractor"],
        "constant": max(seen[BASELINES]["constant"], unseen[BASELINES]["constant"]),
        "all_objects": max(seen[BASELINES]["all_objects"], unseen[BASELINES]["all_objects"]),
        "seconds": round(time.monotonic() - began, 1),
    }
    write_text_atomically(folder / "summary.json", json_text(summary))
    print(json_text(summary), end="")


def main() -> None:
    """Entry point: arguments are Hydra overrides of the training, e.g. ``model=siamese``."""
    from coseg.cli.sentences import guard

    guard(lambda: demo(sys.argv[1:]))


if __name__ == "__main__":
    main()
