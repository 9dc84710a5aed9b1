"""``coseg-test``: score a checkpoint on the pairs of a data set."""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig

from coseg.cli.app import run
from coseg.configs import import_from
from coseg.training.launched import require_launched


def job(config: DictConfig) -> None:
    """Score one checkpoint."""
    from coseg.evaluation.score import score
    from coseg.training.fit import prepare_process

    if config.trust:
        import_from(Path.cwd())  # where `coseg-train` found the classes that are the user's own
    require_launched(config.trainer)
    prepare_process(config.threads)
    score(config)


def main() -> None:
    """Entry point."""
    run(job, "test")


if __name__ == "__main__":
    main()
