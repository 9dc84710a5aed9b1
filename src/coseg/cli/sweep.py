"""``coseg-sweep``: search for values of `coseg-train` with Optuna."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

HELP = """Search for values of coseg-train with Optuna. What begins with study is of the search (study=shapes chooses a
configuration, study.trials=30 sets a value); everything else is an override of coseg-train, and those that name several
values are searched: model.kernel_sizes=[3],[1,3] or 'optimizer.lr=tag(log,interval(1e-4,1e-2))'. Stopped, the same
command resumes; started twice, also on machines that share the folder, both work on the same study."""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="coseg-sweep", description=HELP)
    parser.add_argument("overrides", nargs="*", metavar="OVERRIDE", help="study=…, study.…=…, or one of coseg-train")
    parser.add_argument("--cfg", action="store_true", help="print the study's configuration, and search nothing")
    return parser


def _is_of_study(word: str) -> bool:
    key = word.lstrip("+~").partition("=")[0]
    return key == "study" or key.startswith("study.")


def _sweep(options: argparse.Namespace) -> None:
    from omegaconf import OmegaConf

    from coseg.configs import compose_config, parse_overrides
    from coseg.settings.check import check_settings
    from coseg.sweeps.space import space_of
    from coseg.sweeps.study import require_optuna

    study = check_settings(
        compose_config("sweep", [word for word in options.overrides if _is_of_study(word)]), "sweep"
    ).study
    words = [*study.overrides, *(word for word in options.overrides if not _is_of_study(word))]
    if options.cfg:
        study.overrides = words
        print(OmegaConf.to_yaml(study), end="")
        return
    require_optuna()
    from coseg.files.writing import require_writable
    from coseg.sweeps.search import search

    space = space_of(parse_overrides(words))
    for trial in _extremes(space.distributions()):  # a mistake is reported now, not by a trial
        check_settings(compose_config("train", [*space.fixed, *trial]), "train")
    settings = OmegaConf.to_container(study, resolve=True)
    assert isinstance(settings, dict)
    folder = Path(study.runs, study.name).resolve()
    require_writable(folder, "choose another place with study.runs=… and study.name=…, or make room")
    report = partial(print, flush=True)  # line by line, in a file too
    search(folder, space, {str(key): value for key, value in settings.items()}, report)


def _extremes(distributions: Mapping[str, Any]) -> Iterator[list[str]]:
    """Overrides of trials that have each choice and both ends of each range, in as few trials as there can be."""
    extremes = {
        key: list(values.choices) if hasattr(values, "choices") else [values.low, values.high]
        for key, values in distributions.items()
    }
    for place in range(max(map(len, extremes.values()))):
        yield [f"{key}={some[min(place, len(some) - 1)]}" for key, some in extremes.items()]


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point."""
    from coseg.cli.sentences import guard

    options = _parser().parse_args(arguments)
    guard(lambda: _sweep(options))


if __name__ == "__main__":
    main()
