"""Danger, closed places and places to go to on the remembered map, compiled: what the toolkit's functions of the same names are made of."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import boolean, int16, int32, int64, void

from rlgpt.envs.crafter.compiled import entry, part
from rlgpt.envs.crafter.grid import inside
from rlgpt.envs.crafter.rules import AREA, CREATURE, DIRECTIONS, FLYABLE, MATERIAL, WALKABLE
from rlgpt.envs.crafter.sight import HALF_HEIGHT, HALF_WIDTH, IS_SKELETON, IS_ZOMBIE
from rlgpt.envs.crafter.state import Seen

GRASS, STONE, PATH, TREE, LAVA, COAL, IRON, DIAMOND = (
    MATERIAL[name] for name in ("grass", "stone", "path", "tree", "lava", "coal", "iron", "diamond")
)
WATER, SAND = MATERIAL["water"], MATERIAL["sand"]
FIRST_ARROW = CREATURE["arrow_left"]
FAR = 1 << 30
SHOT = 5
"""Cells a skeleton shoots at."""
RECENT = 6
"""Steps for which enemies that left the view are kept off."""
ROOM = 12
"""Most free cells of a place that counts as closed."""
MOUNTAIN = np.isin(np.arange(len(MATERIAL) + 1), [STONE, PATH, COAL, IRON, DIAMOND, LAVA])


@part
def _line(s: Any, x: int, y: int, direction: int, shot: int, out: Any) -> None:
    for k in range(1, SHOT + 1):
        i, j = x + k * DIRECTIONS[direction][0], y + k * DIRECTIONS[direction][1]
        if not inside(i, j) or not FLYABLE[s.map[i, j]]:
            return
        out[i, j] += shot


@part
def _solid(s: Any, x: int, y: int) -> bool:
    what = s.map[x, y]
    return bool(what not in (0, LAVA) and not WALKABLE[what])


@part
def _add(total: Any, x: int, y: int, value: int) -> None:
    """Fill an integral image, column by column."""
    total[x + 1, y + 1] = value + total[x, y + 1] + total[x + 1, y] - total[x, y]


@part
def _inside(total: Any, x: int, y: int, times: int) -> int:
    """The sum over the view from a cell, or one `times` as far."""
    left, right = max(0, x - times * HALF_WIDTH), min(AREA, x + times * HALF_WIDTH + 1)
    top, bottom = max(0, y - times * HALF_HEIGHT), min(AREA, y + times * HALF_HEIGHT + 1)
    return int(total[right, bottom] - total[left, bottom] - total[right, top] + total[left, top])


# Compiled where they are defined, so that they come after their parts.


@entry(void(Seen, int64, int64, int16[:, ::1]))
def fear(seen: Any, zombie: int, shot: int, out: Any) -> None:
    """Add `zombie` to the cells within two of a zombie, `shot` to those a skeleton or an arrow could hit. [64, 64]

    Zombies and skeletons count for RECENT steps after they left the view, or ways would change whenever one leaves it.
    """
    s = seen[0]
    for x in range(AREA):
        for y in range(AREA):
            who = s.creatures[x, y]
            if who == 0 or s.step - s.when[x, y] > (0 if who >= FIRST_ARROW else RECENT):
                continue
            if who == IS_ZOMBIE:
                for dx in range(-2, 3):
                    for dy in range(-2, 3):
                        if abs(dx) + abs(dy) <= 2 and inside(x + dx, y + dy):
                            out[x + dx, y + dy] += zombie
            elif who == IS_SKELETON:
                for direction in range(4):
                    _line(s, x, y, direction, shot, out)
            elif who >= FIRST_ARROW:
                _line(s, x, y, who - FIRST_ARROW, shot, out)


@entry(boolean(Seen))
def closed(seen: Any) -> bool:
    """Whether nobody can come to the agent: at most ROOM cells to walk to, whoever stands in between, no grass and nobody among them."""
    s = seen[0]
    xs, ys = np.empty(ROOM + 4, np.int64), np.empty(ROOM + 4, np.int64)
    xs[0], ys[0] = s.x, s.y
    at, known = 0, 1
    while at < known:
        x, y = xs[at], ys[at]
        at += 1
        for direction in range(4):
            i, j = x + DIRECTIONS[direction][0], y + DIRECTIONS[direction][1]
            if not inside(i, j):
                continue
            material = s.map[i, j]
            if material in (0, GRASS):
                return False
            if not WALKABLE[material]:
                continue
            new = True
            for k in range(known):
                if xs[k] == i and ys[k] == j:
                    new = False
            if not new:
                continue
            # Skeletons come into being seven steps away.
            if known >= ROOM or abs(i - s.x) + abs(j - s.y) > 6 or s.creatures[i, j]:
                return False
            xs[known], ys[known] = i, j
            known += 1
    return True


@entry(void(Seen, int32[:, ::1], boolean, int64[::1]))
def shelter(seen: Any, cost: Any, bridge: bool, out: Any) -> None:
    """Write (x, y, dx, dy): free ground, and the direction of two cells in line beyond it that can be dug (or bridged), or are path or
    sand, and have no open side; -1 if none. The nearest by `cost`, thirty actions further for water to drink at it.
    """
    s = seen[0]
    best = FAR
    out[0] = -1
    for x in range(AREA):
        for y in range(AREA):
            if cost[x, y] < 0 or cost[x, y] > 150 or not WALKABLE[s.map[x, y]] or cost[x, y] - 30 >= best:
                continue
            for direction in range(4):
                dx, dy = DIRECTIONS[direction]
                i, j = x + 3 * dx, y + 3 * dy
                if not (1 <= i < AREA - 1 and 1 <= j < AREA - 1 and 1 <= x < AREA - 1 and 1 <= y < AREA - 1):
                    continue
                price = cost[x, y]
                fits, wet = _solid(s, i, j), s.map[i, j] == WATER
                for k in (1, 2):
                    i, j = x + k * dx, y + k * dy
                    what = s.map[i, j]
                    free = what in (PATH, SAND) and s.creatures[i, j] == 0
                    fits = fits and (free or what in (STONE, COAL) or (bridge and what == WATER))
                    price += 4 * (what == WATER) + 2 * (what in (STONE, COAL))
                    for side in (-1, 1):
                        fits = fits and _solid(s, i + side * dy, j + side * dx)
                        wet = wet or s.map[i + side * dy, j + side * dx] == WATER
                price -= 30 * wet
                if fits and price < best:
                    best = price
                    out[0], out[1], out[2], out[3] = x, y, dx, dy


@entry(void(int32[:, ::1], int32[:, ::1]))
def beside(cost: Any, out: Any) -> None:
    """The smallest cost of the four neighbours of every cell, FAR where none is known. [64, 64] each"""
    for x in range(AREA):
        for y in range(AREA):
            least = FAR
            for direction in range(4):
                i, j = x + DIRECTIONS[direction][0], y + DIRECTIONS[direction][1]
                if inside(i, j) and 0 <= cost[i, j] < least:
                    least = cost[i, j]
            out[x, y] = least


@entry(void(Seen, int32[:, ::1], int32[:, ::1], boolean, int64, int64, int64[::1]))
def closest(seen: Any, near: Any, tabu: Any, creature: bool, what: int, since: int, out: Any) -> None:
    """Write (x, y, cost) of the cell with this material or creature, seen since a step and not `tabu`, that is cheapest to stand before."""
    s = seen[0]
    out[2] = FAR
    for x in range(AREA):
        for y in range(AREA):
            is_it = s.creatures[x, y] == what if creature else s.map[x, y] == what
            if is_it and near[x, y] < out[2] and s.when[x, y] >= since and tabu[x, y] <= s.step:
                out[0], out[1], out[2] = x, y, near[x, y]


@entry(void(Seen, int32[:, ::1], int32[:, ::1], int64, int64, int64[::1]))
def frontier(seen: Any, cost: Any, tabu: Any, grass: int, mountain: int, out: Any) -> None:
    """Write (x, y, price) of the cheapest cell beside land never seen, FAR if there is none. `grass` and `mountain` are added to the cost
    of cells on open ground and in the mountain.
    """
    s = seen[0]
    out[2] = FAR
    for x in range(AREA):
        for y in range(AREA):
            if cost[x, y] < 0 or tabu[x, y] > s.step:
                continue
            edge = False
            for direction in range(4):
                i, j = x + DIRECTIONS[direction][0], y + DIRECTIONS[direction][1]
                edge = edge or (inside(i, j) and s.map[i, j] == 0)
            if not edge:
                continue
            price = cost[x, y] + (mountain if MOUNTAIN[s.map[x, y]] else grass)
            if price < out[2]:
                out[0], out[1], out[2] = x, y, price


@entry(void(Seen, int32[:, ::1], int32[:, ::1], int64, int64[::1]))
def pasture(seen: Any, cost: Any, tabu: Any, stale: int, out: Any) -> None:
    """Write (x, y, worth) of the cell of grass or sand from which most land never seen, counted by the share of grass in what is known
    around (2 a cell at most), and most grass not seen for `stale` steps (0.3 a cell), comes into view per action; worth 0: nothing.
    """
    # A cow is on 1 of 96 cells of grass; where none was left, one comes in 300 steps to 1 of 550.
    s = seen[0]
    unseen = np.zeros((AREA + 1, AREA + 1), np.int64)
    grass, old = np.zeros_like(unseen), np.zeros_like(unseen)
    for x in range(AREA):
        for y in range(AREA):
            is_grass = s.map[x, y] == GRASS
            _add(unseen, x, y, s.map[x, y] == 0)
            _add(grass, x, y, is_grass)
            _add(old, x, y, is_grass and s.step - s.when[x, y] > stale)
    best = 0.0
    out[2] = 0
    for x in range(AREA):
        for y in range(AREA):
            if cost[x, y] < 0 or tabu[x, y] > s.step or (s.map[x, y] != GRASS and s.map[x, y] != SAND):
                continue
            new, around = _inside(unseen, x, y, 1), _inside(unseen, x, y, 2)
            share = _inside(grass, x, y, 2) / ((4 * HALF_WIDTH + 1) * (4 * HALF_HEIGHT + 1) - around + 1)
            worth = 2 * new * share * share + 0.3 * _inside(old, x, y, 1)
            if worth >= 6 and worth / (cost[x, y] + 8) > best:
                best = worth / (cost[x, y] + 8)
                out[0], out[1], out[2] = x, y, int(worth)
