"""What a search may choose: Hydra's overrides that stand for several values, as Optuna's distributions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from hydra.core.override_parser.types import FloatRange, IntervalSweep, Override, RangeSweep

from coseg.errors import CosegError

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution


class Space(NamedTuple):
    """The overrides of a study.

    Attributes:
        fixed: those that every trial has, as they were written.
        searched: for each key the override that names its values.
    """

    fixed: list[str]
    searched: dict[str, Override]

    @property
    def words(self) -> list[str]:
        """All of them, as they were written."""
        return [*self.fixed, *(str(override.input_line) for override in self.searched.values())]

    def distributions(self) -> dict[str, BaseDistribution]:
        """What Optuna draws from, for each key.

        Raises:
            CosegError: an override has no value, or can't be searched on a logarithmic scale.
        """
        return {key: distribution(override) for key, override in self.searched.items()}


def space_of(overrides: Sequence[Override]) -> Space:
    """Tell the overrides that name several values from the others; of several with one key the last counts.

    Raises:
        CosegError: none names several values, or one is of Hydra itself.
    """
    found: dict[str, Override] = {}
    for override in overrides:
        key = override.get_key_element()
        if override.is_hydra_override():
            raise CosegError(
                f"{override.input_line} is for Hydra, which does not run a study: leave it out. The study's own "
                "settings begin with study, such as study.trials=20."
            )
        found.pop(key, None)
        found[key] = override
    searched = {key: override for key, override in found.items() if override.is_sweep_override()}
    if not searched:
        raise CosegError(
            "There is nothing to search: give at least one value of coseg-train as a choice or a range, such as "
            "model.kernel_sizes=[3],[3,5] or 'optimizer.lr=tag(log,interval(1e-4,1e-2))'."
        )
    return Space([str(each.input_line) for key, each in found.items() if key not in searched], searched)


def distribution(override: Override) -> BaseDistribution:
    """The distribution of an override that names several values.

    A list (``1,2``, ``choice(…)``, ``glob(…)``) is a choice without an order; ``range`` and ``interval`` are numbers,
    whole ones where both ends are (``int(interval(1,9))``), on a logarithmic scale when tagged ``log``.

    Raises:
        CosegError: see `Space.distributions`.
    """
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    value = override.value()
    log = "log" in getattr(value, "tags", ())
    try:
        if isinstance(value, IntervalSweep):
            assert value.start is not None and value.end is not None
            if isinstance(value.start, int) and isinstance(value.end, int):
                return IntDistribution(value.start, value.end, log=log)
            return FloatDistribution(float(value.start), float(value.end), log=log)
        if isinstance(value, RangeSweep):
            numbers = value.range()
            if isinstance(numbers, FloatRange):
                each = [float(number) for number in numbers]
                return FloatDistribution(each[0], each[-1], step=float(value.step))
            return IntDistribution(numbers[0], numbers[-1], log=log, step=1 if log else numbers.step)
        # As text in Hydra's own notation: a list, say, is no value that a journal can hold.
        return CategoricalDistribution(list(dict.fromkeys(override.sweep_string_iterator())))
    except (ValueError, IndexError) as error:
        raise CosegError(f"{override.input_line} can't be searched: {error or 'it has no value'}.") from None
