"""numpy's `RandomState` in compiled code: the Mersenne Twister, and the two ways Crafter draws from it. Matsumoto & Nishimura (1998)."""

from __future__ import annotations

from typing import Any

from rlgpt.envs.crafter.compiled import part

N, M = 624, 397


@part
def seed(w: Any, value: int) -> None:
    """As `RandomState(value)`, 0 <= value < 2**32."""
    for i in range(N):
        w.key[i] = value
        value = (1812433253 * (value ^ (value >> 30)) + i + 1) & 0xFFFFFFFF
    w.drawn = N


@part
def _twist(upper: int, lower: int) -> int:
    mixed = (upper & 0x80000000) | (lower & 0x7FFFFFFF)
    return (mixed >> 1) ^ (0x9908B0DF if lower & 1 else 0)


@part
def _refill(key: Any) -> None:
    for i in range(N):
        key[i] = int(key[(i + M) % N]) ^ _twist(int(key[i]), int(key[(i + 1) % N]))


@part
def bits(w: Any) -> int:
    """32 random bits."""
    if w.drawn == N:
        _refill(w.key)
        w.drawn = 0
    y = int(w.key[w.drawn])
    w.drawn += 1
    y ^= y >> 11
    y ^= (y << 7) & 0x9D2C5680
    y ^= (y << 15) & 0xEFC60000
    return (y ^ (y >> 18)) & 0xFFFFFFFF


@part
def uniform(w: Any) -> float:
    """A number in [0, 1), as `RandomState.uniform()`."""
    a, b = bits(w) >> 5, bits(w) >> 6
    return (a * 67108864.0 + b) / 9007199254740992.0


@part
def below(w: Any, n: int) -> int:
    """An integer in [0, n), as `RandomState.randint(0, n)`: masked bits until they fit; nothing is drawn for n = 1."""
    if n <= 1:
        return 0
    mask = n - 1
    for shift in (1, 2, 4, 8, 16):
        mask |= mask >> shift
    while True:
        value = bits(w) & mask
        if value < n:
            return value
