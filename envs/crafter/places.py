"""Places on the remembered map and ways to them: what the toolkit's functions have in common."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from rlgpt.envs.crafter import routes, survival
from rlgpt.envs.crafter.rules import ACTION, AREA, CREATURE, DIRECTION_NAMES, DIRECTIONS, MATERIAL, WALKABLE
from rlgpt.envs.crafter.seen import SeenMap

Cell = tuple[int, int]
MOVES = tuple(ACTION[f"move_{name}"] for name in DIRECTION_NAMES)
DO, PLACE_STONE = ACTION["do"], ACTION["place_stone"]
FAR = 1 << 30
_NEVER = np.full((AREA, AREA), -1, np.int32)
_DX, _DY = (np.array(column) for column in zip(*DIRECTIONS, strict=True))


@dataclass(frozen=True)
class Spot:
    """A cell, what is there, and how many steps it takes to stand next to it (0: there already)."""

    x: int
    y: int
    what: str
    steps: int

    @property
    def cell(self) -> Cell:
        """(x, y)."""
        return self.x, self.y


def inside(cell: Cell) -> bool:
    """Whether the cell is part of the world."""
    return 0 <= cell[0] < AREA and 0 <= cell[1] < AREA


def neighbours(cell: Cell) -> list[Cell]:
    """The cells next to it."""
    around = [(cell[0] + dx, cell[1] + dy) for dx, dy in DIRECTIONS]
    return [n for n in around if inside(n)]


def positions(memory: SeenMap, what: str, fresh: int | None) -> list[Cell]:
    """All remembered cells of a material, or all where a creature was last seen."""
    if what in MATERIAL:
        found = memory.map == MATERIAL[what]
    elif what in CREATURE:
        found = memory.creatures == CREATURE[what]
    else:
        raise ValueError(f"{what!r} is neither a material ({', '.join(MATERIAL)}) nor a creature ({', '.join(CREATURE)})")
    if fresh is not None:
        found &= memory.when >= memory.step - fresh
    return [(int(x), int(y)) for x, y in np.argwhere(found)]


def beside(distance: npt.NDArray[Any], cells: list[Cell]) -> npt.NDArray[np.int64]:
    """Smallest known distance of the four neighbours of each cell, FAR where none is known."""
    xs, ys = np.array(cells).T
    i, j = xs[:, None] + _DX, ys[:, None] + _DY
    outside = (i < 0) | (j < 0) | (i >= AREA) | (j >= AREA)
    steps = distance[np.where(outside, 0, i), np.where(outside, 0, j)].astype(np.int64)
    steps[outside | (steps < 0)] = FAR
    least: npt.NDArray[np.int64] = steps.min(1)
    return least


def closest(distance: npt.NDArray[Any], cells: list[Cell], what: str) -> Spot | None:
    """The one of the cells that it takes the fewest steps to stand next to, None if there is no way to any."""
    if not cells:
        return None
    steps = beside(distance, cells)
    best = int(steps.argmin())
    return Spot(*cells[best], what, int(steps[best])) if steps[best] < FAR else None


def turn(memory: SeenMap, cell: Cell) -> int | None:
    """The action that turns the agent towards a blocked cell next to it, None if it faces it."""
    direction = (cell[0] - memory.position[0], cell[1] - memory.position[1])
    if direction not in DIRECTIONS:
        raise ValueError(f"{cell} is not next to the agent, which is at {memory.position}")
    return None if direction == memory.facing else MOVES[DIRECTIONS.index(direction)]


def enter(memory: SeenMap, cell: Cell) -> int:
    """The next action for entering a cell next to the agent."""
    turning = turn(memory, cell)
    if WALKABLE[memory.map[cell]]:
        return MOVES[DIRECTIONS.index((cell[0] - memory.position[0], cell[1] - memory.position[1]))]
    if turning is not None:
        return turning
    return PLACE_STONE if memory.map[cell] == MATERIAL["water"] else DO


class Ways:
    """Cheapest ways to everywhere, counted in actions: walking, and if wanted digging, felling, bridging. Made anew in every step."""

    def __init__(self, memory: SeenMap, price: npt.NDArray[np.int64], danger: npt.NDArray[np.int16]) -> None:
        self._memory = memory
        self.cost = np.empty((AREA, AREA), np.int32)
        self._back = np.empty((AREA, AREA), np.int16)
        routes.search(memory._record, price, np.ascontiguousarray(danger, np.int16), self.cost, self._back)
        self._beside: npt.NDArray[np.int32] | None = None

    def nearest(self, what: str, fresh: int | None = None, tabu: npt.NDArray[np.int32] | None = None) -> Spot | None:
        """As the toolkit's `nearest`, with `steps` the number of actions; not a cell whose `tabu` [64, 64] int32 is later than now."""
        if self._beside is None:
            self._beside = np.empty((AREA, AREA), np.int32)
            survival.beside(self.cost, self._beside)
        creature = what in CREATURE
        if not creature and what not in MATERIAL:
            raise ValueError(f"{what!r} is neither a material ({', '.join(MATERIAL)}) nor a creature ({', '.join(CREATURE)})")
        since = -1 if fresh is None else self._memory.step - fresh
        out, number = np.zeros(3, np.int64), CREATURE[what] if creature else MATERIAL[what]
        survival.closest(self._memory._record, self._beside, _NEVER if tabu is None else tabu, creature, number, since, out)
        x, y, steps = out.tolist()
        return Spot(x, y, what, steps) if steps < FAR else None

    def frontier(self, grass: int, mountain: int, tabu: npt.NDArray[np.int32] | None) -> Spot | None:
        """As the toolkit's function of this name."""
        out = np.zeros(3, np.int64)
        survival.frontier(self._memory._record, self.cost, _NEVER if tabu is None else tabu, grass, mountain, out)
        x, y, price = out.tolist()
        return Spot(x, y, "frontier", int(self.cost[x, y])) if price < FAR else None

    def pasture(self, stale: int, tabu: npt.NDArray[np.int32] | None) -> Spot | None:
        """As the toolkit's function of this name."""
        out = np.zeros(3, np.int64)
        survival.pasture(self._memory._record, self.cost, _NEVER if tabu is None else tabu, stale, out)
        x, y, worth = out.tolist()
        return Spot(x, y, "pasture", int(self.cost[x, y])) if worth else None

    def shelter(self, bridge: bool) -> tuple[Cell, Cell, Cell] | None:
        """As the toolkit's function of this name."""
        out = np.zeros(4, np.int64)
        survival.shelter(self._memory._record, self.cost, bridge, out)
        x, y, dx, dy = out.tolist()
        return None if x < 0 else ((x, y), (x + dx, y + dy), (x + 2 * dx, y + 2 * dy))

    def steps_to(self, cell: Cell) -> int | None:
        """Actions to stand on a free cell, or next to a blocked one; None if there is no way."""
        steps = int(self.cost[cell]) if self._enterable(cell) else int(beside(self.cost, [cell])[0])
        return None if steps == FAR else steps

    def path(self, cell: Cell) -> list[Cell]:
        """The cells of the way to `cell`, the agent's own left out; ends next to it where it is blocked. Empty: there, or no way."""
        here = self._memory.position
        if not self._enterable(cell):
            around = [(int(self.cost[n]), n) for n in neighbours(cell) if self.cost[n] >= 0]
            if not around:
                return []
            cell = min(around)[1]
        way = []
        while cell != here:
            way.append(cell)
            dx, dy = DIRECTIONS[self._back[cell]]
            cell = cell[0] - dx, cell[1] - dy
        return way[::-1]

    def step_towards(self, cell: Cell) -> int | None:
        """The next action on the way to `cell`; None when it is there (on the free cell, or facing the blocked one), or there is no way."""
        memory, way = self._memory, self.path(cell)
        if way:
            return enter(memory, way[0])
        return turn(memory, cell) if memory.position in neighbours(cell) else None

    def _enterable(self, cell: Cell) -> bool:
        """Whether the end of a way is on the cell: free ground that a way leads to. What is only dug or bridged on the way is faced."""
        return bool(WALKABLE[self._memory.map[cell]] and self.cost[cell] >= 0)
