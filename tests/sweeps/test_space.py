from __future__ import annotations

import pytest
from facts import mentions
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from coseg.configs import choices, parse_overrides
from coseg.errors import CosegError
from coseg.sweeps.space import Space, contains, space_of


def space(*words: str) -> Space:
    return space_of(parse_overrides(list(words)))


@pytest.mark.parametrize(
    ("word", "key", "expected"),
    [
        ("a.b=tag(log,interval(1e-4,1e-2))", "a.b", FloatDistribution(1e-4, 1e-2, log=True)),
        ("a.b=interval(0,1)", "a.b", FloatDistribution(0, 1)),
        ("a.b=int(interval(1,9))", "a.b", IntDistribution(1, 9)),
        ("a.b=range(1,6,2)", "a.b", IntDistribution(1, 5, step=2)),
        ("a.b=range(0,1,0.25)", "a.b", FloatDistribution(0, 0.75, step=0.25)),
        ("a=1,2", "a", CategoricalDistribution(["1", "2"])),
        ("a=choice([3],[3,5])", "a", CategoricalDistribution(["[3]", "[3,5]"])),
        ("a=x,null", "a", CategoricalDistribution(["x", "null"])),
        ("+a='x y',z", "+a", CategoricalDistribution(["'x y'", "z"])),
        ("model=glob(*siam*)", "model", CategoricalDistribution([name for name in choices("model") if "siam" in name])),
    ],
)
def test_each_kind_of_override_is_a_distribution(word: str, key: str, expected: BaseDistribution) -> None:
    assert space(word).distributions() == {key: expected}


def test_fixed_and_searched_are_told_apart_and_the_last_of_a_key_counts() -> None:
    found = space("a=1", "b=1,2", "c=x", "b=3,4", "a=5,6", "~d")
    assert found.fixed == ["c=x", "~d"]
    assert list(found.distributions()) == ["b", "a"]
    assert found.words == ["c=x", "~d", "b=3,4", "a=5,6"]
    assert space("a=1,2", "b=1,2", "a=7").fixed == ["a=7"]


@pytest.mark.parametrize(
    ("words", "facts"),
    [
        (["a=1"], ("nothing", "search")),
        (["a=1,2", "hydra.run.dir=x"], ("hydra.run.dir=x", "Hydra")),
        (["a=tag(log,interval(0,1))"], ("a=tag(log,interval(0,1))", "search")),
        (["a=range(1,1)"], ("a=range(1,1)", "search")),
        (["a=interval(2,1)"], ("a=interval(2,1)", "search")),
    ],
)
def test_what_cannot_be_searched_is_a_sentence(words: list[str], facts: tuple[str, ...]) -> None:
    with pytest.raises(CosegError) as raised:
        space(*words).distributions()
    assert mentions(raised.value, *facts)


@pytest.mark.parametrize(
    ("distribution", "inside", "outside"),
    [
        (CategoricalDistribution(["[3]", "1"]), ["[3]", "1"], ["[5]", 1, None, ["[3]"], float("nan")]),
        (IntDistribution(1, 9, step=2), [1, 9], [2, 11, -1, 3.0, "3", True, None]),
        (FloatDistribution(1e-4, 1e-2, log=True), [1e-4, 1e-2], [0, 1, "1e-3", float("nan"), float("inf"), False, []]),
        (FloatDistribution(0, 0.75, step=0.25), [0, 0.25, 0.75], [0.3, 1.0]),
    ],
)
def test_values_inside_and_outside_of_a_distribution(
    distribution: BaseDistribution, inside: list[object], outside: list[object]
) -> None:
    assert all(contains(distribution, value) for value in inside)
    assert not any(contains(distribution, value) for value in outside)
