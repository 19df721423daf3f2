"""Cheapest ways over the remembered map where walking is not all one can do: digging, felling, bridging water. Dijkstra with buckets."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import int16, int32, int64, void

from rlgpt.envs.crafter.compiled import entry
from rlgpt.envs.crafter.grid import inside
from rlgpt.envs.crafter.rules import AREA, DIRECTIONS
from rlgpt.envs.crafter.sight import IS_PLANT, IS_RIPE
from rlgpt.envs.crafter.state import Seen

LONGEST = 64
"""Most steps one cell may cost, danger included; more counts as this."""


@entry(void(Seen, int64[::1], int16[:, ::1], int32[:, ::1], int16[:, ::1]))
def search(seen: Any, price: Any, danger: Any, cost: Any, back: Any) -> None:
    """Write the cost of going to every cell from where the agent is, and the direction in which one arrives there.

    price   [materials]  steps it takes to enter a cell of this material, 0: impossible
    danger  [64, 64]     added to that, cell by cell; negative: never go there
    cost    [64, 64]     written, -1: no way
    back    [64, 64]     written, number of the direction of the last step, -1
    """
    s = seen[0]
    cost[:] = -1
    back[:] = -1
    ring = LONGEST + 1
    heads = np.full(ring, -1, np.int64)
    # A cell enters a bucket once for each neighbour that offers a cheaper way: four times at most.
    following = np.empty(4 * AREA * AREA + 1, np.int64)
    cells = np.empty(4 * AREA * AREA + 1, np.int64)
    settled = np.zeros((AREA, AREA), np.bool_)
    cost[s.x, s.y] = 0
    cells[0], following[0], heads[0] = s.x * AREA + s.y, -1, 0
    used, waiting, now = 1, 1, 0
    while waiting > 0:
        entry_ = heads[now % ring]
        if entry_ < 0:
            now += 1
            continue
        heads[now % ring] = following[entry_]
        waiting -= 1
        x, y = cells[entry_] // AREA, cells[entry_] % AREA
        if settled[x, y]:
            continue
        settled[x, y] = True
        for direction in range(4):
            i, j = x + DIRECTIONS[direction][0], y + DIRECTIONS[direction][1]
            if not inside(i, j) or settled[i, j] or price[s.map[i, j]] <= 0 or danger[i, j] < 0:
                continue
            who = s.creatures[i, j]
            if who and (s.when[i, j] == s.step or who in (IS_PLANT, IS_RIPE)):
                continue
            total = now + min(LONGEST, price[s.map[i, j]] + danger[i, j])
            if 0 <= cost[i, j] <= total:
                continue
            cost[i, j], back[i, j] = total, direction
            cells[used], following[used] = i * AREA + j, heads[total % ring]
            heads[total % ring] = used
            used += 1
            waiting += 1
