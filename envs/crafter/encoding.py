"""What the learner sees: a vector of numbers between -1 and 1, made of what the agent has seen and nothing else."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from rlgpt.envs.crafter.body import affordable, damage_of, near
from rlgpt.envs.crafter.compiled import part
from rlgpt.envs.crafter.grid import inside
from rlgpt.envs.crafter.rules import (
    ACHIEVEMENTS,
    ACTIONS,
    CREATURE,
    CREATURES,
    DAY,
    DIRECTION_NAMES,
    DIRECTIONS,
    ITEMS,
    MAKES,
    MATERIAL,
    MATERIALS,
    MOST,
    NEARBY,
    PLACES,
    VIEW_HEIGHT,
    VIEW_WIDTH,
    WHERE,
)
from rlgpt.envs.crafter.sight import HALF_HEIGHT, HALF_WIDTH, passable

LAVA, WATER = MATERIAL["lava"], MATERIAL["water"]
ZOMBIE, SKELETON = CREATURE["zombie"], CREATURE["skeleton"]
MATERIALS_IN_ALL = len(MATERIALS) + 1
FIRST_ARROW = CREATURE["arrow_left"]
NEAREST = (("cow", 1), ("zombie", 2), ("skeleton", 2), ("plant", 1), ("ripe_plant", 1))
_SOUGHT = tuple((CREATURE[name], count) for name, count in NEAREST)
_ARROWS = 2
CRAFTS = tuple(number for number, _ in enumerate(ACTIONS) if PLACES[number] or MAKES[number] >= 0)


def names() -> tuple[str, ...]:
    """What each number of the vector is, in order."""
    sides = DIRECTION_NAMES
    found = [f"{item} / {MOST}" for item in ITEMS]
    found += [f"unlocked {name}" for name in ACHIEVEMENTS]
    found += [f"facing {side}" for side in sides]
    found += [
        "asleep",
        "daylight",
        "sine of the day's phase",
        "cosine of the day's phase",
        "health lost in the last step / 9",
        "damage of a blow / 5",
    ]
    found += [f"free {side}" for side in sides] + [f"lava {side}" for side in sides]
    found += [f"ahead {name}" for name in ("edge of the world", *MATERIALS)]
    found += [f"ahead {name}" for name in CREATURES]
    for name in ("unseen land", *MATERIALS):
        found += [f"nearest {name}: {what}" for what in ("1 / (1 + steps)", "first step x", "first step y")]
    for name, count in NEAREST:
        for i in range(count):
            found += [f"{name} {i + 1}: {what}" for what in ("1 / (1 + cells)", "x / 4", "y / 3")]
    for i in range(_ARROWS):
        found += [f"arrow {i + 1}: {what}" for what in ("1 / (1 + cells)", "x / 4", "y / 3", "flies x", "flies y")]
    found += [f"can {ACTIONS[number]}" for number in CRAFTS]
    return tuple(found)


NAMES = names()
SIZE = len(NAMES)
PLANES = ("blocked", "lava or water", "zombie", "skeleton or arrow")
PLANES_SIZE = len(PLANES) * VIEW_WIDTH * VIEW_HEIGHT


@part
def encode(s: Any, out: Any) -> None:
    """Write the vector; if `out` is longer by PLANES_SIZE, also the planes of the view, [plane, x, y]."""
    at = _body(s, out, 0)
    at = _around(s, out, at)
    at = _ways(s, out, at)
    at = _company(s, out, at)
    at = _crafts(s, out, at)
    if len(out) > at:
        _planes(s, out, at)


@part
def _body(s: Any, out: Any, at: int) -> int:
    for i in range(len(ITEMS)):
        out[at + i] = s.inventory[i] / MOST
    at += len(ITEMS)
    for i in range(len(ACHIEVEMENTS)):
        out[at + i] = s.achievements[i] > 0
    at += len(ACHIEVEMENTS)
    for i in range(4):
        out[at + i] = s.dx == DIRECTIONS[i][0] and s.dy == DIRECTIONS[i][1]
    phase = 2 * math.pi * (s.step % DAY) / DAY
    out[at + 4], out[at + 5], out[at + 6], out[at + 7] = s.sleeping, s.daylight, math.sin(phase), math.cos(phase)
    out[at + 8], out[at + 9] = s.damage / MOST, damage_of(s.inventory) / 5
    return at + 10


@part
def _around(s: Any, out: Any, at: int) -> int:
    for i in range(4):
        x, y = s.x + DIRECTIONS[i][0], s.y + DIRECTIONS[i][1]
        out[at + i] = passable(s, x, y)
        out[at + 4 + i] = inside(x, y) and s.map[x, y] == LAVA
    at += 8
    x, y = s.x + s.dx, s.y + s.dy
    material, creature = (s.map[x, y], s.creatures[x, y]) if inside(x, y) else (0, 0)
    for i in range(MATERIALS_IN_ALL):
        out[at + i] = material == i
    at += MATERIALS_IN_ALL
    for i in range(len(CREATURES)):
        out[at + i] = creature == i + 1
    return at + len(CREATURES)


@part
def _ways(s: Any, out: Any, at: int) -> int:
    """For unseen land and every material: how far to walk until one stands before it, and the first step (or turn) of the way."""
    best = np.full(MATERIALS_IN_ALL, -1, np.int64)
    first = np.zeros(MATERIALS_IN_ALL, np.int64)
    for n in range(s.reached_cells):
        x, y = int(s.reached[n, 0]), int(s.reached[n, 1])
        for direction in range(4):
            i, j = x + DIRECTIONS[direction][0], y + DIRECTIONS[direction][1]
            if inside(i, j) and best[s.map[i, j]] < 0:
                best[s.map[i, j]] = s.distance[x, y]
                first[s.map[i, j]] = s.first[x, y] if n > 0 else direction
    for material in range(MATERIALS_IN_ALL):
        known = best[material] >= 0
        dx, dy = DIRECTIONS[first[material]]
        out[at] = 1 / (1 + best[material]) if known else 0
        out[at + 1], out[at + 2] = (dx, dy) if known else (0, 0)
        at += 3
    return at


@part
def _nearest(s: Any, low: int, high: int, more_than: int) -> tuple[int, int, int, int]:
    """The nearest creature in view numbered low..high, of those at a rank above `more_than`: (rank, x, y, number), rank -1 if none."""
    rank, where = -1, (0, 0, 0)
    for i in range(VIEW_WIDTH):
        for j in range(VIEW_HEIGHT):
            creature = s.in_view_creatures[i, j]
            if not low <= creature <= high:
                continue
            x, y = i - HALF_WIDTH, j - HALF_HEIGHT
            its = (abs(x) + abs(y)) * 64 + i * VIEW_HEIGHT + j
            if its > more_than and (rank < 0 or its < rank):
                rank, where = its, (x, y, int(creature))
    return rank, where[0], where[1], where[2]


@part
def _company(s: Any, out: Any, at: int) -> int:
    for creature, count in _SOUGHT:
        rank = -1
        for i in range(2):
            if i >= count:
                break
            found, x, y, _ = _nearest(s, creature, creature, rank) if i == 0 or rank >= 0 else (-1, 0, 0, 0)
            rank = found
            _place(out, at, rank, x, y)
            at += 3
    rank = -1
    for i in range(_ARROWS):
        found, x, y, creature = _nearest(s, FIRST_ARROW, FIRST_ARROW + 3, rank) if i == 0 or rank >= 0 else (-1, 0, 0, 0)
        rank = found
        _place(out, at, rank, x, y)
        dx, dy = DIRECTIONS[creature - FIRST_ARROW] if rank >= 0 else (0, 0)
        out[at + 3], out[at + 4] = dx, dy
        at += 5
    return at


@part
def _place(out: Any, at: int, rank: int, x: int, y: int) -> None:
    out[at] = 1 / (1 + rank // 64) if rank >= 0 else 0
    out[at + 1], out[at + 2] = x / HALF_WIDTH, y / HALF_HEIGHT


@part
def can(s: Any, action: int) -> bool:
    """Whether placing or making this would succeed here and now."""
    if not affordable(s.inventory, action):
        return False
    x, y = s.x + s.dx, s.y + s.dy
    if PLACES[action]:
        return inside(x, y) and s.creatures[x, y] == 0 and WHERE[action, s.map[x, y]]
    for material in range(MATERIALS_IN_ALL):
        if NEARBY[action, material] and not near(s.map, s.x, s.y, material):
            return False
    return bool(MAKES[action] >= 0)


@part
def _crafts(s: Any, out: Any, at: int) -> int:
    for i in range(len(CRAFTS)):
        out[at + i] = can(s, CRAFTS[i])
    return at + len(CRAFTS)


@part
def _planes(s: Any, out: Any, at: int) -> None:
    size = VIEW_WIDTH * VIEW_HEIGHT
    for i in range(VIEW_WIDTH):
        for j in range(VIEW_HEIGHT):
            x, y, cell = s.x + i - HALF_WIDTH, s.y + j - HALF_HEIGHT, at + i * VIEW_HEIGHT + j
            creature, material = s.in_view_creatures[i, j], s.in_view[i, j]
            out[cell] = not passable(s, x, y)
            out[cell + size] = material in (LAVA, WATER)
            out[cell + 2 * size] = creature == ZOMBIE
            out[cell + 3 * size] = creature == SKELETON or creature >= FIRST_ARROW
