"""The names of all files and folders that a training run or a test leaves, and the version that made them.

Without torch or Lightning.

A run directory::

    <run>/config.yaml  environment.json  skipped.txt  metrics.csv  curves.png  finished.json
          checkpoints/best.ckpt  checkpoints/last.ckpt
          panels/epoch-000.png
          test/<dataset>-<split>-<protocol>/config.yaml  results.json  pairs.csv  best.png  middle.png  worst.png
                                                  masks/  probabilities/
                                                 maps/<group>/<image>.png
"""

from __future__ import annotations

CONFIG = "config.yaml"
"""Of a run, and of a test: the resolved configuration."""

# A training run.
ENVIRONMENT = "environment.json"
"""The command, versions and machine, once for each time that the run was started or resumed."""

FINISHED = "finished.json"
"""Written when the training has come to its end."""

FAILED = "failed.json"
"""Why a job of a sweep failed."""

OUTPUT = "output.log"
"""What the training of a trial of a study printed."""

SKIPPED = "skipped.txt"
"""Images that can't be decoded and are left out of training (``data.on_damaged=skip``)."""

METRICS = "metrics.csv"
CURVES = "curves.png"

CHECKPOINTS = "checkpoints"
BEST, LAST = "best.ckpt", "last.ckpt"
"""In the folder `CHECKPOINTS`."""

PANELS = "panels"

# A test, in `<run>/test/<name>`.
TESTS = "test"

RESULTS = "results.json"
"""The scores. Written last: where it is, the test is complete."""

PAIRS, MASKS, DECISIONS = "pairs.csv", "masks.csv", "decisions.csv"
"""A line for each pair; for each image of each group; for each pair with what an image-level classifier says of it."""

COMPRESSED = ".gz"
"""At the end of the name of a table that is compressed."""

SAVED = ("masks", "probabilities")
"""Folders with all masks of a test, or all probability maps, if it saves them."""

STUDY = "COSEG_STUDY"
"""Environment variable with the name of the study of which a run is a trial."""

PARTS = "parts"
"""Partial results of a test that runs or was interrupted; removed when it is complete."""

MAPS = "maps"
"""Grey maps of a test, a folder for each group (``protocol=cosod``)."""

TEST_PANELS = ("best", "middle", "worst")
"""The pictures of a test, without ``.png``."""


def panel_file(epoch: int) -> str:
    """The picture of the validation after an epoch, in the folder `PANELS`.

    >>> panel_file(7)
    'epoch-007.png'
    """
    return f"epoch-{epoch:03d}.png"


def results_of_run() -> str:
    """A glob pattern, below a run directory, of the results of its tests.

    >>> results_of_run()
    'test/*/results.json'
    """
    return f"{TESTS}/*/{RESULTS}"


def installed_version(package: str) -> str | None:
    """The version of an installed package; None where it is not installed."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(package)
    except PackageNotFoundError:
        return None


def coseg_version() -> str:
    """The version of coseg, ``coseg.__version__``."""
    return installed_version("coseg") or "0.0.0+checkout"
