"""``coseg-train``: train a network on pairs."""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig

from coseg.cli.app import run


def job(config: DictConfig) -> float | None:
    """Train, check or resume; the best validation Jaccard is what a sweep optimises."""
    from hydra.core.hydra_config import HydraConfig

    from coseg.training.check import check
    from coseg.training.fit import fit, prepare_process
    from coseg.training.run import resumed_config

    prepare_process(config.threads)
    if config.resume is not None:
        folder = Path(config.resume).resolve()
        return fit(resumed_config(folder), folder, resume=True)
    if config.check:
        check(config)
        return None
    return fit(config, Path(HydraConfig.get().runtime.output_dir))


def main() -> None:
    """Entry point."""
    run(job, "train")


if __name__ == "__main__":
    main()
