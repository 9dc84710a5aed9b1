from collections import Counter
from itertools import pairwise

import pytest
from facts import naming

from coseg.data.pair_index import Permutation, _scramble, mix


@pytest.mark.parametrize("seed", [0, 1, 2**70 + 3, -5])
def test_every_length_is_a_bijection(seed):
    for n in range(1, 201):
        assert sorted(Permutation(n, seed)) == list(range(n))


def test_large_lengths_hit_no_place_twice():
    n = 7_199_940_001
    places = {Permutation(n, 4)[k] for k in range(3000)}
    assert len(places) == 3000
    assert all(0 <= place < n for place in places)


def test_access_from_the_end_and_out_of_range():
    permutation = Permutation(10, 0)
    assert len(permutation) == 10
    assert permutation[-1] == permutation[9]
    for k in (10, -11):
        with pytest.raises(IndexError):
            permutation[k]
    with pytest.raises(ValueError, match=naming(1)):
        Permutation(0, 0)


def test_seeds_differ_and_repeat():
    orders = [tuple(Permutation(50, seed)) for seed in range(100)]
    assert len(set(orders)) == 100
    assert orders[7] == tuple(Permutation(50, 7))


def test_all_orders_of_four_are_equally_likely():
    counts = Counter(tuple(Permutation(4, seed)) for seed in range(4800))
    assert len(counts) == 24
    chi_square = sum((count - 200) ** 2 / 200 for count in counts.values())
    assert chi_square < 49.7  # 0.999 quantile with 23 degrees of freedom


def test_places_are_uniform_over_seeds():
    counts = Counter(Permutation(1000, seed)[123] // 50 for seed in range(4000))
    chi_square = sum((counts[cell] - 200) ** 2 / 200 for cell in range(20))
    assert chi_square < 43.8  # 0.999 quantile with 19 degrees of freedom


def test_neighbours_are_unrelated():
    n = 100_000
    order = [Permutation(n, 9)[k] for k in range(4001)]
    ascents = sum(a < b for a, b in pairwise(order))
    assert abs(ascents - 2000) < 4 * (4000 / 12) ** 0.5  # standard deviation of ascents is sqrt(n / 12)


def test_mix_depends_on_order_and_number_of_values():
    assert len({mix(), mix(0), mix(0, 0), mix(1), mix(2), mix(1, 2), mix(2, 1)}) == 7
    assert 0 <= mix(-3, 2**80) < 2**64


def test_scramble_is_that_of_splitmix64():
    golden = 0x9E3779B97F4A7C15  # published outputs for seed 0
    assert _scramble(golden) == 0xE220A8397B1DCDAF
    assert _scramble(2 * golden % 2**64) == 0x6E789E6AA1B965F4
