from __future__ import annotations

import pytest
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from coseg.cli.app import choices, parse_overrides
from coseg.errors import CosegError
from coseg.sweeps.space import Space, space_of


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
    ("words", "said"),
    [
        (["a=1"], "There is nothing to search"),
        (["a=1,2", "hydra.run.dir=x"], "hydra.run.dir=x is for Hydra"),
        (["a=tag(log,interval(0,1))"], "a=tag(log,interval(0,1)) can't be searched"),
        (["a=range(1,1)"], "a=range(1,1) can't be searched"),
        (["a=interval(2,1)"], "can't be searched"),
    ],
)
def test_what_cannot_be_searched_is_a_sentence(words: list[str], said: str) -> None:
    with pytest.raises(CosegError) as raised:
        space(*words).distributions()
    assert said in str(raised.value)
