"""``coseg-test``: score a checkpoint on the pairs of a data set."""

from __future__ import annotations

from omegaconf import DictConfig

from coseg.cli.app import run
from coseg.training.launched import require_launched


def job(config: DictConfig) -> None:
    """Score one checkpoint."""
    from coseg.evaluation.score import score
    from coseg.training.fit import prepare_process

    require_launched(config.trainer)
    prepare_process(config.threads)
    score(config)


def main() -> None:
    """Entry point."""
    run(job, "test")


if __name__ == "__main__":
    main()
