from itertools import product

import numpy as np
import pytest

from coseg.data.pair_orders import AllPairs, PairOrder, ShuffledPairs
from coseg.data.samplers import PairSampler, item_seed

PRESENCE = np.random.default_rng(0).random((17, 4)) < 0.4


class Numbered(PairOrder):
    """Position k of epoch e is the pair (k, 1000 * (e + 1) + k)."""

    def pair(self, epoch, position):
        return position, 1000 * (epoch + 1) + position


@pytest.mark.parametrize("world", [1, 2, 3, 7])
@pytest.mark.parametrize("order", [AllPairs(PRESENCE, "x"), ShuffledPairs(PRESENCE, seed=3, length=50)])
def test_processes_together_visit_each_pair_once(world, order):
    parts = [list(PairSampler(order, 0, rank, world)) for rank in range(world)]
    assert [len(part) for part in parts] == [len(PairSampler(order, 0, rank, world)) for rank in range(world)]
    visited = [(draw.i, draw.j) for part in parts for draw in part]
    assert sorted(visited) == sorted(order.pair(0, k) for k in range(len(order)))
    assert len(set(visited)) == len(order)


@pytest.mark.parametrize("world", [1, 2, 3, 7, 60])
def test_even_processes_make_equally_many_steps(world):
    order = Numbered(50)
    parts = [list(PairSampler(order, 0, rank, world, even=True)) for rank in range(world)]
    assert {len(part) for part in parts} == {50 // world}
    assert all(len(PairSampler(order, 0, rank, world, even=True)) == 50 // world for rank in range(world))
    # dropped is the tail alone
    assert sorted(draw.i for part in parts for draw in part) == list(range(50 // world * world))


def test_what_is_drawn_does_not_depend_on_the_number_of_processes():
    order = Numbered(30)
    alone = {draw.i: draw for draw in PairSampler(order, 5)}
    for rank in range(4):
        assert all(alone[draw.i] == draw for draw in PairSampler(order, 5, rank, 4))


def test_epoch_sets_pairs_and_seeds():
    sampler = PairSampler(Numbered(10), 0)
    first = list(sampler)
    assert list(sampler) == first
    sampler.set_epoch(1)
    second = list(sampler)
    assert [draw.j - draw.i for draw in first + second] == [1000] * 10 + [2000] * 10
    assert not {draw.seed for draw in first} & {draw.seed for draw in second}
    sampler.set_epoch(0)
    assert list(sampler) == first
    assert list(PairSampler(Numbered(10), 0, epoch=1)) == second


@pytest.mark.parametrize("world", [1, 2])
def test_start_leaves_out_what_was_done_in_the_first_epoch_only(world):
    order = Numbered(20)
    for rank in range(world):
        whole = PairSampler(order, 0, rank, world, even=True)
        resumed = PairSampler(order, 0, rank, world, even=True, start=4, epoch=2)
        whole.set_epoch(2)
        assert list(resumed) == list(whole)[4:]
        assert len(resumed) == len(whole)  # Lightning counts batches from the epoch's beginning
        for epoch in (3, 4):
            whole.set_epoch(epoch)
            resumed.set_epoch(epoch)
            assert list(resumed) == list(whole)


def test_seeds_are_distinct_and_fit_in_62_bits():
    keys = list(product([0, 1, 2, 2**31], range(10), range(100)))
    seeds = [item_seed(*key) for key in keys]
    assert len(set(seeds)) == len(keys)
    assert [item_seed(*key) for key in keys] == seeds
    assert min(seeds) >= 0
    assert 2**61 < max(seeds) < 2**62  # so that `2 * seed + 1`, one for each side, stays an int64
    bits = np.array([[seed >> bit & 1 for bit in range(62)] for seed in seeds])
    assert bits.mean(axis=0) == pytest.approx(0.5, abs=0.05)


def test_a_fixed_sampler_visits_the_same_pairs_in_each_epoch():
    sampler = PairSampler(ShuffledPairs(PRESENCE, seed=3, length=5), 0, fixed=True)
    first = list(sampler)
    sampler.set_epoch(1)  # as Lightning does before each validation
    assert list(sampler) == first
