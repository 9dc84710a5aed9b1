from collections import Counter
from itertools import combinations

import numpy as np
import pytest
from facts import naming

from coseg.data.pair_orders import (
    PAIR_ORDERS,
    AllPairs,
    ClassBalancedPairs,
    ImageBalancedPairs,
    MixedPairs,
    ShuffledPairs,
    WithNegatives,
    pair_order,
)
from coseg.errors import CosegError


def listed(presence, common=True):
    """The pairs by a plain loop over sets."""
    sets = [set(np.flatnonzero(row)) for row in presence]
    every = [
        (i, j)
        for i, j in combinations(range(len(sets)), 2)
        if (sets[i] and sets[j]) or (not common and sets[i] | sets[j])
    ]
    return [(i, j) for i, j in every if bool(sets[i] & sets[j]) == common]


SMALL = np.random.default_rng(11).random((40, 5)) < 0.25  # has images without a class
ALL_SMALL = listed(SMALL)


def epoch(order, number=0):
    return [order.pair(number, position) for position in range(len(order))]


@pytest.mark.parametrize("name", PAIR_ORDERS)
@pytest.mark.parametrize("negatives", [0.0, 0.3])
def test_orders_are_random_access_and_seeded(name, negatives):
    order = pair_order(name, SMALL, seed=5, negatives=negatives)
    assert len(order) == len(ALL_SMALL)
    first = epoch(order)
    assert all(i < j and type(i) is int and type(j) is int for i, j in first)
    again = pair_order(name, SMALL, seed=5, negatives=negatives)
    assert [again.pair(0, position) for position in reversed(range(len(again)))] == first[::-1]
    assert epoch(order, 1) != first
    assert epoch(pair_order(name, SMALL, seed=6, negatives=negatives)) != first
    for number, position in ((0, len(order)), (0, -1), (-1, 0)):
        with pytest.raises(IndexError):
            order.pair(number, position)
    if not negatives:
        assert set(first) <= set(ALL_SMALL)


def test_uniform_epoch_visits_each_pair_once():
    for number in range(3):
        assert sorted(epoch(ShuffledPairs(SMALL, seed=0), number)) == ALL_SMALL


def test_all_pairs_come_in_their_order_in_each_epoch():
    order = AllPairs(SMALL, "x")
    assert epoch(order) == epoch(order, 3) == ALL_SMALL
    for number, position in ((0, len(order)), (0, -1), (-1, 0)):
        with pytest.raises(IndexError):
            order.pair(number, position)
    with pytest.raises(CosegError, match=naming("voc, split val", "class")):
        AllPairs(np.eye(4, dtype=bool), "voc, split val")


def test_short_epochs_see_every_pair_before_one_returns():
    order = ShuffledPairs(SMALL, seed=0, length=7)
    turns = len(ALL_SMALL)  # so many epochs of 7 are 7 rounds of all pairs
    seen = [pair for number in range(turns) for pair in epoch(order, number)]
    for start in range(0, len(seen), len(ALL_SMALL)):
        assert sorted(seen[start : start + len(ALL_SMALL)]) == ALL_SMALL


def test_epoch_may_be_longer_than_the_data():
    seen = Counter(epoch(ShuffledPairs(SMALL, seed=0, length=2 * len(ALL_SMALL))))
    assert set(seen.values()) == {2}


def test_class_balanced_takes_turns_and_exhausts_each_class():
    # disjoint classes, so that a pair tells its class; class 3 has one image and no pair
    presence = np.zeros((18, 4), bool)
    presence[:10, 0] = presence[10:13, 1] = presence[13:17, 2] = presence[17, 3] = True
    order = ClassBalancedPairs(presence, seed=0, length=3 * 45)
    pairs = epoch(order)
    classes = [int(np.flatnonzero(presence[i] & presence[j])[0]) for i, j in pairs]
    turns = [tuple(classes[k : k + 3]) for k in range(0, len(classes), 3)]
    assert all(sorted(turn) == [0, 1, 2] for turn in turns)
    assert len(set(turns)) == 6
    for k, total in enumerate((45, 3, 6)):
        own = [pair for pair, drawn in zip(pairs, classes, strict=True) if drawn == k]
        for start in range(0, len(own) // total * total, total):
            assert len(set(own[start : start + total])) == total


def test_rare_classes_by_order():
    # 4 images of a rare class among 40 of a common one
    presence = np.zeros((44, 2), bool)
    presence[:40, 0] = presence[40:, 1] = True
    rare = {
        name: np.mean([j >= 40 for _, j in epoch(pair_order(name, presence, seed=0, length=4400))])
        for name in PAIR_ORDERS
    }
    assert rare["uniform"] == pytest.approx(6 / 786, abs=0.002)
    assert rare["image_balanced"] == pytest.approx(4 / 44)  # exact: first images come without replacement
    assert rare["class_balanced"] == pytest.approx(0.5)


def test_image_balanced_draws_class_then_partner_uniformly():
    # image 0 holds both classes: half of its pairs go to its only partner of class 1, the rest to the five of class 0
    presence = np.zeros((9, 2), bool)
    presence[:6, 0] = presence[0, 1] = presence[6, 1] = True
    pairs = Counter(epoch(ImageBalancedPairs(presence, seed=0, length=7 * 1500)))
    assert sum(pairs.values()) == 10_500
    assert not {7, 8} & {image for pair in pairs for image in pair}
    # drawn from 0 (1500 times, half of them to class 1) or from 6 (1500 times, no other partner)
    assert pairs[0, 6] == pytest.approx(1500 / 2 + 1500, abs=80)
    # drawn from 0 (a tenth) or from 1 (a fifth)
    assert pairs[0, 1] == pytest.approx(150 + 300, abs=80)
    assert pairs[2, 3] == pytest.approx(300 + 300, abs=80)


@pytest.mark.parametrize("share", [0.0, 0.01, 0.25, 1 / 3, 0.9, 1.0])
def test_mixed_share_is_exact_and_both_kinds_go_on(share):
    positives, strangers = ShuffledPairs(SMALL, seed=1), set(listed(SMALL, common=False))
    order = MixedPairs(positives, SMALL, share, seed=2)
    count = round(share * len(order))
    epochs = [epoch(order, number) for number in range(4)]
    for pairs in epochs:
        assert sum(pair in strangers for pair in pairs) == count
    seen = [pair for pairs in epochs for pair in pairs]
    negatives = Counter(pair for pair in seen if pair in strangers)
    assert not negatives or max(negatives.values()) == -(-4 * count // len(strangers))
    kept = Counter(pair for pair in seen if pair not in strangers)
    assert not kept or max(kept.values()) == -(-4 * (len(order) - count) // len(ALL_SMALL))


def test_negatives_are_spread_over_the_epoch():
    strangers = set(listed(SMALL, common=False))
    pairs = epoch(pair_order("uniform", SMALL, seed=0, length=6400, negatives=0.25))
    negative = np.array([pair in strangers for pair in pairs])
    assert (negative.reshape(-1, 64).sum(axis=1) == 16).all()
    for world in (2, 4, 8):  # processes that each take every world-th position see the same share
        assert negative.reshape(-1, world).mean(axis=0) == pytest.approx(0.25, abs=0.05)


def test_negatives_follow_the_positives():
    positives = AllPairs(SMALL, "small")
    strangers = set(epoch(ShuffledPairs(SMALL, seed=0, common=False, empty=True)))
    few, more = (WithNegatives(positives, SMALL, count, seed=3, what="n") for count in (4, 7))
    assert few.negatives == 4 and len(few) == len(positives) + 4
    assert epoch(few)[: len(positives)] == epoch(positives)
    drawn = epoch(more)[len(positives) :]
    assert len(set(drawn)) == 7 and set(drawn) <= strangers
    assert drawn[:4] == epoch(few)[len(positives) :]  # a longer sample holds the shorter one
    every = WithNegatives(positives, SMALL, 10**6, seed=3, what="n")
    assert every.negatives == len(strangers) and set(epoch(every)[len(positives) :]) == strangers
    assert epoch(WithNegatives(positives, SMALL, 0, seed=3, what="n")) == epoch(positives)


# what is refused


@pytest.mark.parametrize("count", [-1, 0.5, "many", True, None])
def test_number_of_negatives_out_of_range(count):
    with pytest.raises(CosegError, match=naming("data.val_negatives", f"'{count}'", "number")):
        WithNegatives(AllPairs(SMALL, "small"), SMALL, count, seed=0, what="data.val_negatives")


def test_no_negative_pair_to_evaluate():
    presence = np.ones((5, 2), bool)
    with pytest.raises(CosegError, match=naming("data.test_negatives", 3, 0)):
        WithNegatives(AllPairs(presence, "same"), presence, 3, seed=0, what="data.test_negatives")


def test_unknown_order():
    with pytest.raises(CosegError, match=naming("'class_balance'", "uniform, class_balanced", "'class_balanced'")):
        pair_order("class_balance", SMALL, seed=0)


@pytest.mark.parametrize("name", PAIR_ORDERS)
@pytest.mark.parametrize("presence", [np.eye(5, dtype=bool), np.zeros((4, 2), bool), np.ones((1, 3), bool)])
def test_catalog_without_a_pair(name, presence):
    with pytest.raises(CosegError, match=naming("no pair", len(presence), "class")):
        pair_order(name, presence, seed=0)


@pytest.mark.parametrize("name", PAIR_ORDERS)
@pytest.mark.parametrize("length", [0, -3])
def test_epoch_without_pairs(name, length):
    with pytest.raises(CosegError, match=naming("epoch", length, "pairs", "positive")):
        pair_order(name, SMALL, seed=0, length=length)


@pytest.mark.parametrize("share", [-0.1, 1.01, float("nan")])
def test_share_out_of_range(share):
    with pytest.raises(CosegError, match=naming("negative", share, "between 0 and 1")):
        pair_order("uniform", SMALL, seed=0, negatives=share)
    with pytest.raises(CosegError, match=naming("negative", share, "between 0 and 1")):
        MixedPairs(ShuffledPairs(SMALL, 0), SMALL, share, seed=0)


def test_no_negative_pair():
    with pytest.raises(CosegError, match=naming("no negative pair", 0)):
        pair_order("uniform", np.ones((5, 2), bool), seed=0, negatives=0.5)
