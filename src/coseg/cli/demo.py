"""``make demo``: train and test on drawn shapes, and leave ``runs/demo/summary.json``."""

from __future__ import annotations

import json
import logging
import shutil
import sys
import time
from pathlib import Path


def main() -> None:
    """Train the ``shapes`` experiment, test both of its test splits, and sum them up.

    Arguments of the command line are Hydra overrides of the training, e.g. ``model=siamese``.
    """
    from hydra import compose, initialize_config_dir, initialize_config_module
    from omegaconf import open_dict

    from coseg.cli.app import config_path, register_resolvers
    from coseg.evaluation.results import read_results
    from coseg.files import write_text_atomically
    from coseg.training.fit import fit, prepare_process
    from coseg.training.score import score

    began = time.monotonic()
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    register_resolvers()
    prepare_process(None)
    path = config_path()
    start = (
        initialize_config_module(path.removeprefix("pkg://"), version_base="1.3")
        if path.startswith("pkg://")
        else initialize_config_dir(path, version_base="1.3")
    )
    folder = Path("runs", "demo")
    with start:
        training = compose("train", ["experiment=shapes", "name=demo", *sys.argv[1:]])
        testing = compose("test", ["dataset=shapes", f"ckpt={folder / 'checkpoints' / 'best.ckpt'}"])
    with open_dict(testing):
        testing.dataset = training.dataset  # the same pictures, whatever was overridden
    shutil.rmtree(folder, ignore_errors=True)
    fit(training, folder)
    seen, unseen = (read_results(path / "results.json") for path in score(testing))
    summary = {
        "seen": seen["jaccard"],
        "unseen": unseen["jaccard"],
        "seen_distractor": seen["jaccard_distractor"],
        "unseen_distractor": unseen["jaccard_distractor"],
        "constant": max(seen["references"]["constant"], unseen["references"]["constant"]),
        "all_objects": max(seen["references"]["all_objects"], unseen["references"]["all_objects"]),
        "seconds": round(time.monotonic() - began, 1),
    }
    write_text_atomically(folder / "summary.json", json.dumps(summary, indent=2) + "\n")
    print(json.dumps(summary, indent=2))


if __name__ == "__main__":
    main()
