"""``coseg-test``: score a checkpoint on the pairs of a data set."""

from __future__ import annotations

from omegaconf import DictConfig

from coseg.cli.app import run
from coseg.cli.launched import require_launched


def job(config: DictConfig) -> None:
    """Score one checkpoint."""
    from coseg.training.fit import prepare_process
    from coseg.training.score import score

    require_launched(config.trainer)
    prepare_process(config.threads)
    score(config)


def main() -> None:
    """Entry point."""
    run(job, "test")


if __name__ == "__main__":
    main()
