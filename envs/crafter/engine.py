"""Crafter's `reset` and `step` on a WORLD record, and with each the agent's look around and the numbers a learner sees.

The rules are Crafter's, unmodified, one thing aside: where it picks one creature of a chunk to vanish, it picks from a set ordered by
memory addresses, so that two processes with one seed part ways; here, creatures are in the order in which they came.
"""

from __future__ import annotations

from typing import Any

from numba import boolean, float32, float64, int64, void

from rlgpt.envs.crafter import body, creatures, grid, randomness, terrain
from rlgpt.envs.crafter.compiled import entry, part
from rlgpt.envs.crafter.encoding import encode
from rlgpt.envs.crafter.randomness import below, uniform
from rlgpt.envs.crafter.rules import AREA, CENTER, CHUNK, CHUNKS_A_SIDE, COW, MATERIAL, MOST, PLAYER, REACH, SKELETON, ZOMBIE
from rlgpt.envs.crafter.sight import forget, look
from rlgpt.envs.crafter.state import Seen, World

GRASS, PATH = MATERIAL["grass"], MATERIAL["path"]
HEALTH = body.HEALTH


@part
def _clear(w: Any) -> None:
    for i in range(w.objects):
        grid.blank(w, i)
    w.step = w.objects = w.known_chunks = 0
    w.material[:] = 0
    w.object[:] = 0
    w.chunks[:] = 0
    w.achievements[:] = 0
    w.inventory[:] = 0
    w.inventory[: body.ENERGY + 1] = MOST  # health, food, drink, energy
    w.sleeping = 0
    w.hunger = w.thirst = w.fatigue = w.recover = 0.0
    w.health_before = w.health_rewarded = MOST


@part
def _step(w: Any, action: int, light: float) -> float:
    locked = _locked(w)
    w.step += 1
    w.daylight = light
    present = w.objects  # what comes in this step, an arrow or a sapling, moves from the next one on
    body.act(w, action)
    for i in range(1, present):
        if creatures.distance(w, w.x[i], w.y[i]) < REACH:
            creatures.update(w, i)
    if w.step % 10 == 0:
        for i in range(w.known_chunks):
            _balance(w, w.chunks[i])
    grid.compact(w)
    reward = (w.inventory[HEALTH] - w.health_rewarded) / 10
    w.health_rewarded = w.inventory[HEALTH]
    return float(reward + 1.0 if _locked(w) < locked else reward)


@part
def _locked(w: Any) -> int:
    """Achievements not unlocked yet."""
    return int((w.achievements == 0).sum())


@part
def _balance(w: Any, chunk: int) -> None:
    dark = 3.5 - 3 * w.daylight
    _balance_kind(w, chunk, ZOMBIE, GRASS, 6, 0, 0.3, 0.4, 50, dark, dark)
    _balance_kind(w, chunk, SKELETON, PATH, 7, 7, 0.1, 0.1, 6, 1.0, 2.0)
    _balance_kind(w, chunk, COW, GRASS, 5, 5, 0.01, 0.1, 30, 1.0, 1.5 + w.daylight)


@part
def _balance_kind(
    w: Any,
    chunk: int,
    kind: int,
    material: int,
    span: int,
    despan: int,
    spawn: float,
    despawn: float,
    space: int,
    least: float,
    most: float,
) -> None:
    """Let creatures of a kind come or go: `_balance_object`."""
    left, top = chunk // CHUNKS_A_SIDE * CHUNK, chunk % CHUNKS_A_SIDE * CHUNK
    right, bottom = min(left + CHUNK, AREA), min(top + CHUNK, AREA)
    count, room = _count(w, chunk, kind), 0
    for x in range(left, right):
        for y in range(top, bottom):
            room += w.material[x, y] == material
    if count < int(0 if room < space else least) and uniform(w) < spawn:
        _spawn(w, kind, material, span, below(w, room), (left, right, top, bottom))
    elif count > int(most) and uniform(w) < despawn:
        i = _nth(w, chunk, kind, below(w, count))
        if creatures.distance(w, w.x[i], w.y[i]) >= despan:
            grid.remove(w, i)


@part
def _count(w: Any, chunk: int, kind: int) -> int:
    count = 0
    for i in range(w.objects):
        count += w.kind[i] == kind and grid.chunk_of(w.x[i], w.y[i]) == chunk
    return count


@part
def _nth(w: Any, chunk: int, kind: int, n: int) -> int:
    for i in range(w.objects):
        if w.kind[i] == kind and grid.chunk_of(w.x[i], w.y[i]) == chunk:
            if n == 0:
                return i
            n -= 1
    return 0


@part
def _spawn(w: Any, kind: int, material: int, span: int, n: int, chunk: tuple[int, int, int, int]) -> None:
    """A new creature on the chunk's n-th cell of the material, if that is empty and far enough from the player."""
    left, right, top, bottom = chunk
    for x in range(left, right):
        for y in range(top, bottom):
            if w.material[x, y] != material:
                continue
            if n == 0:
                if w.object[x, y] == 0 and creatures.distance(w, x, y) >= span:
                    grid.add(w, kind, x, y, 5 if kind == ZOMBIE else 3, 0, 0)
                return
            n -= 1


# Compiled where they are defined, so that they come last.


@entry(void(World, int64, float64))
def begin(world: Any, seed: int, light: float) -> None:
    """A new world, from the 32-bit seed of its random numbers."""
    w = world[0]
    randomness.seed(w, seed)
    _clear(w)
    w.daylight = light
    grid.add(w, PLAYER, CENTER, CENTER, 0, 0, 1)
    terrain.generate(w)


@entry(float64(World, int64, float64))
def advance(world: Any, action: int, light: float) -> float:
    """One step. `light` is the daylight after it. Returns Crafter's reward: health gained / 10, + 1 for new achievements."""
    return _step(world[0], action, light)


@entry(void(World, Seen, float32[::1], boolean))
def observe(world: Any, seen: Any, vector: Any, anew: bool) -> None:
    """Look around and write what a learner sees; `anew`: nothing has been seen before."""
    s = seen[0]
    if anew:
        forget(s)
    look(world[0], s)
    encode(s, vector)
