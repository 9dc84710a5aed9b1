"""``coseg-train``: train a network on pairs."""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from coseg.cli.app import run
from coseg.errors import CosegError
from coseg.run_dir import CHECKPOINTS, LAST
from coseg.training.launched import require_launched, this_job
from coseg.training.slurm import is_restarted

LIMITS = ("trainer.max_epochs", "trainer.max_steps")
"""What may be given beside ``resume=``: where the run ends."""


def job(config: DictConfig) -> float | None:
    """Train, check or resume; the best validation Jaccard is what a sweep optimises."""
    from hydra.core.hydra_config import HydraConfig

    from coseg.settings.check import check_settings
    from coseg.training.check import check
    from coseg.training.fit import fit, prepare_process
    from coseg.training.known_classes import require_classes
    from coseg.training.run import resumed_config

    if config.resume is not None:
        keys = [word.lstrip("+").partition("=")[0] for word in HydraConfig.get().overrides.task]
        refused = [
            word
            for key, word in zip(keys, HydraConfig.get().overrides.task, strict=True)
            if key not in ("resume", "trust", *LIMITS)
        ]
        if refused:
            raise CosegError(
                f"A resumed run keeps its configuration, so {' '.join(refused)} can't be given beside resume=…: "
                f"leave it out, or start a new run. Only {' and '.join(LIMITS)} can be: they extend the run."
            )
        limits = {key.removeprefix("trainer."): OmegaConf.select(config, key) for key in LIMITS if key in keys}
        folder = Path(config.resume).resolve()
        resumed = check_settings(resumed_config(folder, bool(config.trust)))
        if config.trust:
            require_classes(OmegaConf.to_container(resumed))
        require_launched(resumed.trainer)
        prepare_process(resumed.get("threads"))  # another number of threads sums in another order
        return fit(resumed, folder, resume=True, limits=limits)
    require_launched(config.trainer)
    prepare_process(config.threads)
    if config.check:
        process = this_job()
        if process is None or process.rank == 0:  # it times one process alone
            check(config, Path(HydraConfig.get().runtime.output_dir))
        return None
    folder = Path(HydraConfig.get().runtime.output_dir)
    # The same command as before, in a job of SLURM that was queued again: its configuration is that of the run.
    return fit(config, folder, resume=is_restarted() and (folder / CHECKPOINTS / LAST).exists())


def main() -> None:
    """Entry point."""
    run(job, "train")


if __name__ == "__main__":
    main()
