"""Pairs by their number, and seeded shuffles of numbers: random access to both, and nothing is stored."""

from __future__ import annotations

import operator
from math import isqrt

import numpy as np
from numpy.typing import NDArray


class PairIndex:
    """All unordered pairs of images that share a class, ``index[k] -> (i, j)`` with ``i < j``, in ascending order.

    Each class keeps the set of its images as N bits; the partners of an image are the union of its classes' sets.
    Stored are those bits (N·K / 8 bytes), the table itself (not copied) and one number for each image: memory is
    proportional to the images, while the pairs may be billions. An access is a binary search and one union.

    Args:
        presence: bool (N, K), which image holds which class; must not change afterwards.
        common: True for the pairs that share at least one class; False for the pairs of images that both hold a
            class but share none.
        empty: with ``common=False``, images without a class too are paired with those that hold one; otherwise they
            are in no pair.
    """

    def __init__(self, presence: NDArray[np.bool_], common: bool = True, empty: bool = False) -> None:
        images, classes = presence.shape
        self.common = common
        self._presence = presence = np.asarray(presence, bool)
        packed = np.zeros((classes, -(-images // 64) * 8), np.uint8)
        for k in range(classes):
            row = np.packbits(presence[:, k], bitorder="little")
            packed[k, : len(row)] = row
        self._bits = packed.view("<u8")  # bit i % 64 of word i // 64 is image i
        self._any: NDArray[np.uint64] = np.bitwise_or.reduce(self._bits, axis=0)
        every = np.zeros(packed.shape[1], np.uint8)
        bits = np.packbits(np.ones(images, bool), bitorder="little")
        every[: len(bits)] = bits
        self._strangers: NDArray[np.uint64] = every.view("<u8") if empty else self._any  # of images with a class
        self._empty = empty
        self._ends = np.zeros(images, np.int64)  # pairs whose first image is 0, 1, …, i
        for i in range(images):
            self._ends[i] = np.bitwise_count(self._later(i)).sum(dtype=np.int64)
        np.cumsum(self._ends, out=self._ends)

    def _later(self, i: int) -> NDArray[np.uint64]:
        """The partners of `i` that come after it, as bits, from word ``i // 64`` on."""
        word = i // 64
        row = self._presence[i]
        union: NDArray[np.uint64] = np.bitwise_or.reduce(self._bits[row, word:], axis=0)
        if not self.common:
            if row.any():
                union = self._strangers[word:] & ~union
            elif self._empty:
                union = self._any[word:].copy()
        union[0] &= np.uint64(~((2 << (i % 64)) - 1) & 0xFFFFFFFFFFFFFFFF)  # neither i nor what is before it
        return union

    def __len__(self) -> int:
        return int(self._ends[-1]) if len(self._ends) else 0

    def __getitem__(self, k: int) -> tuple[int, int]:
        """Pair `k`; negative numbers count from the end.

        Raises:
            IndexError: there is no such pair.
        """
        position = operator.index(k)
        if not -len(self) <= position < len(self):
            raise IndexError(f"pair {k} of {len(self)}")
        position %= len(self)
        i = int(np.searchsorted(self._ends, position, side="right"))
        left = position - self._before(i)
        later = self._later(i)
        ends = np.cumsum(np.bitwise_count(later), dtype=np.int64)
        word = int(np.searchsorted(ends, left, side="right"))
        left -= int(ends[word - 1]) if word else 0
        members = np.flatnonzero(np.unpackbits(later[word : word + 1].view(np.uint8), bitorder="little"))
        return i, (i // 64 + word) * 64 + int(members[left])

    def rank(self, i: int, j: int) -> int:
        """The inverse of indexing: ``index[index.rank(i, j)] == (i, j)``.

        Raises:
            ValueError: ``(i, j)`` is not in the index.
        """
        if 0 <= i < j < len(self._ends):
            later = self._later(i)
            word, bit = divmod(j - i // 64 * 64, 64)
            if int(later[word]) >> bit & 1:
                inside = (int(later[word]) & ((1 << bit) - 1)).bit_count()
                return self._before(i) + int(np.bitwise_count(later[:word]).sum(dtype=np.int64)) + inside
        raise ValueError(f"({i}, {j}) is not one of the pairs")

    def _before(self, i: int) -> int:
        return int(self._ends[i - 1]) if i else 0


_MASK = (1 << 64) - 1
_GOLDEN = 0x9E3779B97F4A7C15
_ROUNDS = 12


def _scramble(x: int) -> int:
    """The output function of SplitMix64 (Steele, Lea, Flood 2014), a bijection of 64-bit numbers."""
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & _MASK
    return x ^ (x >> 31)


def mix(*values: int) -> int:
    """A 64-bit hash of integers: the same on every machine, unrelated for neighbouring values and other orders."""
    state = 0
    for value in values:
        state = _scramble((state + _GOLDEN + (value & _MASK)) & _MASK)
        state = _scramble((state + _GOLDEN) & _MASK)
    return state


class Permutation:
    """A seeded bijection of ``range(n)``: ``Permutation(n, seed)[k]`` in constant time and memory.

    A number below ``n`` is split into two digits ``(x, y)`` of a grid ``a * b >= n``; each round adds to one digit a
    hash of the other, which can be undone, so the rounds together are a bijection of the grid (a generalised Feistel
    network). A result outside ``range(n)`` is put in again until it falls inside (cycle walking); the grid
    has at most ``n + sqrt(n)`` cells, so that is rare.

    J. Black and P. Rogaway, "Ciphers with arbitrary finite domains", CT-RSA 2002.

    >>> sorted(Permutation(5, seed=1)) == [0, 1, 2, 3, 4]
    True
    """

    def __init__(self, n: int, seed: int) -> None:
        if n < 1:
            raise ValueError(f"n is {n}, must be at least 1")
        self.n = n
        self.seed = seed
        self._a = isqrt(n - 1) + 1
        self._b = -(-n // self._a)
        self._key = mix(seed, n)

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, k: int) -> int:
        """Where `k` goes.

        Raises:
            IndexError: `k` is not in ``range(-n, n)``.
        """
        if not -self.n <= k < self.n:
            raise IndexError(f"index {k} of a permutation of {self.n}")
        k %= self.n
        while True:
            k = self._rounds(k)
            if k < self.n:
                return k

    def _rounds(self, k: int) -> int:
        a, b, key = self._a, self._b, self._key
        x, y = divmod(k, b)
        for _ in range(_ROUNDS // 2):
            key = (key + _GOLDEN) & _MASK
            x = (x + _scramble(_scramble(key ^ y) ^ key)) % a
            key = (key + _GOLDEN) & _MASK
            y = (y + _scramble(_scramble(key ^ x) ^ key)) % b
        return x * b + y


def balanced_pairs(
    presence: NDArray[np.bool_], per_class: int, most_uses: int | None = None, seed: int = 0
) -> NDArray[np.int64]:
    """A sample of pairs in which classes are balanced; memory is proportional to the images and the sample.

    For each class, those with few images first, pairs of its images are taken until `per_class` pairs share it; a pair
    counts for all classes that it shares. The images of a class are walked in a shuffled order, first those next
    to each other, then those at distance 2, and so on, so that an image is seldom used again before others.

    Args:
        presence: bool (N, K), which image holds which class.
        per_class: so many pairs of a class, if it has so many.
        most_uses: so many pairs of an image at most; None: any number.
        seed: of the orders.

    Returns:
        int64 (P, 2), ``i < j``, ascending.
    """
    uses = np.zeros(len(presence), np.int64)
    counts = np.zeros(presence.shape[1], np.int64)
    pairs: set[tuple[int, int]] = set()
    for k in np.argsort(presence.sum(0), kind="stable").tolist():
        order = _shuffled_members(presence, k, seed)
        distance = 1
        while counts[k] < per_class:
            if most_uses is not None:
                order = order[uses[order] < most_uses]
            if distance > len(order) // 2:
                break
            for first, second in zip(order.tolist(), np.roll(order, -distance).tolist(), strict=True):
                pair = min(first, second), max(first, second)
                if pair in pairs or (most_uses is not None and max(uses[first], uses[second]) >= most_uses):
                    continue
                pairs.add(pair)
                uses[[first, second]] += 1
                counts += presence[first] & presence[second]
                if counts[k] >= per_class:
                    break
            distance += 1
    return np.array(sorted(pairs), np.int64).reshape(-1, 2)


def balanced_groups(
    presence: NDArray[np.bool_], per_class: int, most_uses: int | None = None, seed: int = 0
) -> NDArray[np.bool_]:
    """A sample of the images of each class: `presence` with at most `per_class` images of a class.

    An image is in `most_uses` groups at most, those of classes with few images first. A class of which less than two
    images are left has none.
    """
    groups = np.zeros_like(presence)
    for k in np.argsort(presence.sum(0), kind="stable").tolist():
        order = _shuffled_members(presence, k, seed)
        if most_uses is not None:
            order = order[groups[order].sum(1) < most_uses]
        if min(len(order), per_class) > 1:
            groups[order[:per_class], k] = True
    return groups


def _shuffled_members(presence: NDArray[np.bool_], k: int, seed: int) -> NDArray[np.int64]:
    members = np.flatnonzero(presence[:, k])
    if not len(members):
        return members
    shuffle = Permutation(len(members), mix(seed, k))
    return members[[shuffle[n] for n in range(len(members))]]
