"""Seeded shuffles with random access: nothing is stored, whatever the length."""

from __future__ import annotations

from math import isqrt

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
