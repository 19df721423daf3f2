"""The grid of a world: who is where, adding, moving and removing objects, with Crafter's chunks in the order they came to be known."""

from __future__ import annotations

from typing import Any

from rlgpt.envs.crafter.compiled import part
from rlgpt.envs.crafter.rules import AREA, CHUNK, CHUNKS_A_SIDE, GONE, WALKABLE
from rlgpt.envs.crafter.state import CAPACITY


@part
def inside(x: int, y: int) -> bool:
    """Whether the cell is part of the world."""
    return 0 <= x < AREA and 0 <= y < AREA


@part
def free(w: Any, x: int, y: int) -> bool:
    """Whether a creature can go there."""
    return inside(x, y) and w.object[x, y] == 0 and WALKABLE[w.material[x, y]]


@part
def chunk_of(x: int, y: int) -> int:
    """Number of the 12 x 12 cells that (x, y) is one of."""
    return (x // CHUNK) * CHUNKS_A_SIDE + y // CHUNK


@part
def _know(w: Any, chunk: int) -> None:
    for i in range(w.known_chunks):
        if w.chunks[i] == chunk:
            return
    w.chunks[w.known_chunks] = chunk
    w.known_chunks += 1


@part
def add(w: Any, kind: int, x: int, y: int, health: int, dx: int, dy: int) -> None:
    """One more object; the cell has to be empty."""
    i = w.objects
    if i == CAPACITY:
        raise RuntimeError("a Crafter world has more objects than its arrays can hold")
    w.kind[i], w.x[i], w.y[i], w.health[i], w.timer[i] = kind, x, y, health, 0
    w.dx[i], w.dy[i] = dx, dy
    w.object[x, y] = i + 1
    w.objects = i + 1
    _know(w, chunk_of(x, y))


@part
def remove(w: Any, i: int) -> None:
    """Take an object from the grid; its number is free after `compact`."""
    if w.kind[i] != GONE:
        w.object[w.x[i], w.y[i]] = 0
        w.kind[i] = GONE


@part
def move(w: Any, i: int, dx: int, dy: int) -> bool:
    """Move by a step if the cell is free; whether it was. What was removed in this very update stays where it was, as in Crafter."""
    x, y = w.x[i] + dx, w.y[i] + dy
    if not free(w, x, y):
        return False
    put(w, i, x, y)
    return True


@part
def put(w: Any, i: int, x: int, y: int) -> None:
    """Move an object to an empty cell."""
    if w.kind[i] == GONE:
        return
    w.object[w.x[i], w.y[i]] = 0
    w.object[x, y] = i + 1
    if chunk_of(x, y) != chunk_of(w.x[i], w.y[i]):
        _know(w, chunk_of(x, y))
    w.x[i], w.y[i] = x, y


@part
def blank(w: Any, i: int) -> None:
    """Leave no trace of an object, so that equal worlds are equal bytes."""
    w.kind[i] = GONE
    w.x[i] = w.y[i] = w.health[i] = w.timer[i] = w.dx[i] = w.dy[i] = 0


@part
def compact(w: Any) -> None:
    """Close the gaps that removed objects left; the order stays."""
    to = 0
    for i in range(w.objects):
        if w.kind[i] == GONE:
            continue
        if to != i:
            w.kind[to], w.x[to], w.y[to], w.health[to], w.timer[to] = w.kind[i], w.x[i], w.y[i], w.health[i], w.timer[i]
            w.dx[to], w.dy[to] = w.dx[i], w.dy[i]
            w.object[w.x[to], w.y[to]] = to + 1
        to += 1
    for i in range(to, w.objects):
        blank(w, i)
    w.objects = to
