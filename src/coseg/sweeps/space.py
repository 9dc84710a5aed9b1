"""The search space of a study: Hydra's overrides with several values, as Optuna's distributions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from coseg.errors import CosegError
from coseg.hydra_internals import FloatRange, IntervalSweep, Override, RangeSweep

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution


class Space(NamedTuple):
    """The overrides of a study.

    Attributes:
        fixed: those of every trial, as they were written.
        searched: key to the override that lists its values.
    """

    fixed: list[str]
    searched: dict[str, Override]

    @property
    def words(self) -> list[str]:
        """All of them, as they were written."""
        return [*self.fixed, *(str(override.input_line) for override in self.searched.values())]

    def distributions(self) -> dict[str, BaseDistribution]:
        """Key to the distribution that Optuna samples from.

        Raises:
            CosegError: an override has no value, or a range that can't be on a logarithmic scale.
        """
        return {key: distribution(override) for key, override in self.searched.items()}


def space_of(overrides: Sequence[Override]) -> Space:
    """Separate the overrides that list several values from those with one; of several with one key the last counts.

    Raises:
        CosegError: none lists several values, or one configures Hydra itself.
    """
    by_key: dict[str, Override] = {}
    for override in overrides:
        key = override.get_key_element()
        if override.is_hydra_override():
            raise CosegError(
                f"{override.input_line} is for Hydra, which does not run a study: leave it out. The study's own "
                "settings begin with study, such as study.trials=20."
            )
        by_key.pop(key, None)
        by_key[key] = override
    searched = {key: override for key, override in by_key.items() if override.is_sweep_override()}
    if not searched:
        raise CosegError(
            "There is nothing to search: give at least one value of coseg-train as a choice or a range, such as "
            "model.kernel_sizes=[3],[3,5] or 'optimizer.lr=tag(log,interval(1e-4,1e-2))'."
        )
    return Space([str(override.input_line) for key, override in by_key.items() if key not in searched], searched)


def distribution(override: Override) -> BaseDistribution:
    """The distribution of an override that lists several values.

    A list (``1,2``, ``choice(…)``, ``glob(…)``) is a choice without an order. ``range`` and ``interval`` are numbers:
    integers where both ends are (``int(interval(1,9))``), and on a logarithmic scale when tagged ``log``.

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
                steps = [float(number) for number in numbers]
                return FloatDistribution(steps[0], steps[-1], step=float(value.step))
            return IntDistribution(numbers[0], numbers[-1], log=log, step=1 if log else numbers.step)
        # As text in Hydra's notation: Optuna stores no lists.
        return CategoricalDistribution(list(dict.fromkeys(override.sweep_string_iterator())))
    except (ValueError, IndexError) as error:
        raise CosegError(f"{override.input_line} can't be searched: {error or 'it has no value'}.") from None


def contains(distribution: BaseDistribution, value: Any) -> bool:
    """Whether a search over `distribution` can give `value`; it may come from a damaged file, and have any type."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if isinstance(distribution, CategoricalDistribution):
        return any(type(value) is type(choice) and value == choice for choice in distribution.choices)
    if not isinstance(distribution, FloatDistribution | IntDistribution) or isinstance(value, bool):
        return False
    if not isinstance(value, int if isinstance(distribution, IntDistribution) else int | float):
        return False
    if not distribution.low <= value <= distribution.high:  # nan is not, either
        return False
    if distribution.step is None:
        return True
    steps = (value - distribution.low) / distribution.step
    return abs(steps - round(steps)) < 1e-8
