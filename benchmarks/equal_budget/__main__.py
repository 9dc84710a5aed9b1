"""``make compare``: every network, and every ablation of the paper's, trained for the same time and tested.

It takes hours, can be stopped at any time, and resumes where it stopped.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from coseg.cli.options import MOST_SEED, MOST_THREADS, positive, whole

if TYPE_CHECKING:
    from .runner import Job


def all_jobs(kinds: Sequence[str], seeds: Sequence[int], names: Sequence[str] = ()) -> Iterator[Job]:
    """Every network, then every ablation, the first seed of all before the second.

    Args:
        kinds: ``models`` and ``ablations``, or one of them.
        seeds: of the trainings.
        names: only these; none: all.
    """
    from coseg.configs import choices

    from .runner import Job

    groups = {"models": choices("model"), "ablations": [name for name in choices("ablation") if name != "none"]}
    for seed in seeds:
        for kind in kinds:
            yield from (Job(kind, name, seed) for name in groups[kind] if not names or name in names)


def changing(jobs: Iterable[Job], training: Sequence[str]) -> list[Job]:
    """The jobs without ablations that change nothing, or set what this network or encoder does not have."""
    kept: list[Job] = []
    same: dict[str, None] = {}
    refused: dict[str, None] = {}
    for job in jobs:
        if job.kind == "models":
            kept.append(job)
            continue
        unchanged, changed = _composed("none", training), _composed(job.name, training)
        fixed = changed.get(".model.encoder.train_from") is not None or changed.get(".model.encoder.frozen")
        if changed.keys() - unchanged.keys() or (
            job.name == RANDOM and fixed
        ):  # an encoder's file lists all of its settings
            refused[job.name] = None
        elif changed != unchanged:
            kept.append(job)
        else:
            same[job.name] = None
    for names, reason in ((same, "no change to what is trained here"), (refused, "not a setting of what is trained")):
        if names:
            print(f"{reason}, so not run: {', '.join(names)}")
    return kept


def _composed(ablation: str, training: Sequence[str]) -> dict[str, Any]:
    """The values by their dotted keys."""
    from omegaconf import OmegaConf

    from coseg.configs import compose_config

    from .tables import BASELINE

    def flat(values: Any, key: str) -> Iterator[tuple[str, Any]]:
        if isinstance(values, dict):
            for name, value in values.items():
                yield from flat(value, f"{key}.{name}")
        else:
            yield key, values

    config = compose_config("train", [*training, f"model={BASELINE}", f"ablation={ablation}"])
    return dict(flat(OmegaConf.to_container(config), ""))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.equal_budget", description=__doc__)
    parser.add_argument("--kinds", nargs="+", choices=("models", "ablations"), default=["models", "ablations"])
    parser.add_argument("--names", nargs="+", default=[], metavar="NAME", help="only these networks or ablations")
    parser.add_argument(
        "--features", choices=tuple(SETTINGS), default="pretrained", help="of ImageNet, or learned too (pretrained)"
    )
    parser.add_argument("--minutes", type=positive(1e6), help="of training, for each (5; from_scratch 12)")
    parser.add_argument(
        "--seeds", nargs="+", type=whole(0, MOST_SEED), default=[0, 1], metavar="N", help="of the trainings (0 1)"
    )
    parser.add_argument("--out", type=Path, default=Path("runs/compare"), metavar="FOLDER", help="where (runs/compare)")
    parser.add_argument(
        "--threads",
        type=whole(1, MOST_THREADS),
        metavar="N",
        help="of each training and test, to run several at once (all)",
    )
    parser.add_argument("--time", action="store_true", help="count how many steps fit, and train nothing yet")
    parser.add_argument("--tables", type=Path, metavar="FOLDER", help="only write the tables of those records")
    parser.add_argument("--train", nargs="+", metavar="OVERRIDE", help="of coseg-train")
    parser.add_argument("--test", nargs="+", metavar="OVERRIDE", help="of coseg-test")
    return parser


SETTINGS = {
    "pretrained": (
        [
            "experiment=pretrained_small",
            "model.encoder.output_stride=16",
            "model.encoder.frozen=false",
            "model.encoder.train_from=3",
            "threads=1",
            "panels=0",
        ],
        5.0,
    ),
    "from_scratch": (
        [
            "experiment=voc_mini",
            "callbacks=ema",
            "callbacks.ema.decay=0.99",
            "model.input_size=96",
            "augmentation.size=96",
            "trainer.precision=32-true",
            "panels=0",
        ],
        12.0,
    ),
}
"""Overrides of each training and its minutes, with ImageNet weights and without. One size of images, so that a step
takes as long at the end as at the start; an average of the weights that follows within a hundred steps, since there are
not many more than a thousand; and from scratch no bfloat16, which most CPUs emulate. Of the encoder with ImageNet
weights the last level is trained, and dilated to stride 16, that of the paper's encoder."""

RANDOM = "no_pretraining"
"""The ablation that is not run where part of the encoder stays as it is: that part would be random."""

TEST = ["dataset=voc", "dataset.split_val=false", "data.test_pairs=4000"]
"""A sample of the pairs: their images are nearly all images, over which the intervals are."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point."""
    from coseg.cli.sentences import guard

    guard(lambda: _compare(_parser().parse_args(arguments)))


def _compare(options: argparse.Namespace) -> None:
    from .runner import Comparison
    from .tables import write_tables

    if options.tables is not None:
        write_tables(options.tables, options.out)
        return
    settings, minutes = SETTINGS[options.features]
    training, testing, minutes = options.train or settings, options.test or TEST, options.minutes or minutes
    jobs = changing(all_jobs(options.kinds, options.seeds, options.names), training)
    Comparison(options.out.resolve(), minutes, training, testing, options.threads).run(jobs, options.time)


if __name__ == "__main__":
    main()
