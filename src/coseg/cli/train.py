"""``coseg-train``: train a network on pairs."""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig

from coseg.cli.app import run
from coseg.errors import CosegError
from coseg.training.launched import require_launched, this_job


def job(config: DictConfig) -> float | None:
    """Train, check or resume; the best validation Jaccard is what a sweep optimises."""
    from hydra.core.hydra_config import HydraConfig

    from coseg.settings.check import check_settings
    from coseg.training.check import check
    from coseg.training.fit import fit, prepare_process
    from coseg.training.run import resumed_config

    if config.resume is not None:
        overrides = [word for word in HydraConfig.get().overrides.task if not word.startswith(("resume=", "trust="))]
        if overrides:
            raise CosegError(
                f"A resumed run keeps its configuration, so {' '.join(overrides)} can't be given beside resume=…: "
                "leave it out, or start a new run."
            )
        folder = Path(config.resume).resolve()
        resumed = check_settings(resumed_config(folder, bool(config.trust)))
        require_launched(resumed.trainer)
        prepare_process(resumed.get("threads"))  # another number of threads sums in another order
        return fit(resumed, folder, resume=True)
    require_launched(config.trainer)
    prepare_process(config.threads)
    if config.check:
        process = this_job()
        if process is None or process.rank == 0:  # it times one process alone
            check(config, Path(HydraConfig.get().runtime.output_dir))
        return None
    return fit(config, Path(HydraConfig.get().runtime.output_dir))


def main() -> None:
    """Entry point."""
    run(job, "train")


if __name__ == "__main__":
    main()
