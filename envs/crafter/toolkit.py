"""Functions for skills in Crafter: the card's toolkit (`envs/cards/crafter.yaml`), so that skills call them by name.

They take `info` and answer from what the agent has seen (`info["seen"]`), never from the world itself. Cells are (x, y), x to the right,
y down; directions are (dx, dy); actions are numbers, as skills yield them. Measured costs are in the card.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from rlgpt.envs.crafter import places, survival
from rlgpt.envs.crafter.glimpse import small_map
from rlgpt.envs.crafter.places import MOVES, Cell, Spot, Ways, inside, neighbours
from rlgpt.envs.crafter.rules import (
    ACTION,
    AREA,
    COLLECT_GIVES,
    COLLECT_NEEDS,
    CREATURE,
    DAY,
    DIRECTION_NAMES,
    DIRECTIONS,
    ITEM,
    ITEMS,
    MAKES,
    MATERIAL,
    MATERIALS,
    NEARBY,
    PLACES,
    USES,
    WALKABLE,
    WHERE,
)
from rlgpt.envs.crafter.seen import EDGE, SeenMap

Info = dict[str, Any]
ENEMIES = ("zombie", "skeleton")


@dataclass(frozen=True)
class Threat:
    """An enemy or arrow in view, `dx` and `dy` cells from the agent.

    cells  |dx| + |dy|
    aimed  an arrow that flies at the agent, or a skeleton in line with it within 5 cells and nothing known in between
    """

    kind: str
    x: int
    y: int
    dx: int
    dy: int
    cells: int
    aimed: bool


def seen(info: Info) -> SeenMap:
    """The agent's memory, arrays [x, y] of now: .map and .view (materials by number), .creatures and .view_creatures, .when (step last
    seen), .distance (steps to walk there, -1 none); .position, .facing, .ahead (a name), .step, .items. (0.1 µs)
    """
    memory: SeenMap = info["seen"]
    return memory


def words(obs: Any, info: Info) -> str:  # noqa: ARG001  every toolkit's words take both
    """The moment in words, for language models: body, belongings, what is ahead, who is near, what was achieved."""
    body = ", ".join(f"{name} {info[name]}" for name in ("health", "food", "drink", "energy"))
    told = [body, f"at ({info['x']}, {info['y']}) before {info['ahead']}", f"has {info['have'] or 'nothing'}"]
    near = [f"{threat.kind} {threat.dx:+d},{threat.dy:+d}" for threat in threats(info)[:3]]
    told += [f"danger: {'; '.join(near)}"] if near else []
    told += [f"new: {info['new']}"] if info["new"] else []
    told += ["asleep"] if info["sleeping"] else ["night"] if info["daylight"] < 0.5 else []
    return ", ".join(told)


# Where things are


def glimpse(obs: Any, info: Info) -> npt.NDArray[np.uint8]:  # noqa: ARG001  every toolkit's takes both
    """A small map of what is remembered around the agent, for whoever watches a run."""
    return small_map(seen(info))


def positions(info: Info, what: str, fresh: int | None = None) -> list[Cell]:
    """All remembered cells of a material, or all where a creature was last seen; `fresh`: seen in the last so many steps."""
    return places.positions(seen(info), what, fresh)


def nearest(info: Info, what: str, fresh: int | None = None) -> Spot | None:
    """The one of `positions` that takes the fewest steps to stand next to, on foot; None if none can be walked to. A Spot has .cell
    (x, y), .what and .steps. (60 µs)
    """
    memory = seen(info)
    return places.closest(memory.distance, places.positions(memory, what, fresh), what)


def unexplored(info: Info) -> Spot | None:
    """The nearest cell that can be walked to and has a neighbour never seen, as a Spot. (20 µs)"""
    memory = seen(info)
    known = memory.map > 0
    beside = np.zeros((AREA, AREA), np.bool_)
    beside[1:] |= ~known[:-1]
    beside[:-1] |= ~known[1:]
    beside[:, 1:] |= ~known[:, :-1]
    beside[:, :-1] |= ~known[:, 1:]
    steps = np.where(beside & (memory.distance >= 0), memory.distance, np.int16(30000))
    best = int(steps.argmin())
    x, y = divmod(best, AREA)
    return Spot(x, y, "unexplored", int(steps[x, y])) if steps[x, y] < 30000 else None


def steps_to(info: Info, cell: Cell) -> int | None:
    """Steps of walking to stand on a free cell, or next to a blocked one; None if no way is known."""
    memory = seen(info)
    if not inside(cell):
        return None
    steps = int(memory.distance[cell])
    if steps < 0:
        steps = int(places.beside(memory.distance, [cell])[0])
    return None if steps == places.FAR else steps


def step_towards(info: Info, cell: Cell) -> int | None:
    """The action that brings the agent nearer to a cell, on foot, or turns it towards a blocked one next to it; None when it is there (it
    stands on the free cell, or faces the blocked one), or no way is known. (3 µs)
    """
    memory = seen(info)
    if not inside(cell) or cell == memory.position:
        return None
    if memory.distance[cell] >= 0:
        return int(MOVES[memory.first[cell]])
    around = [(int(memory.distance[n]), n) for n in neighbours(cell) if memory.distance[n] >= 0]
    if not around:
        return None
    steps, beside = min(around)
    return MOVES[memory.first[beside]] if steps else turn(info, cell)


def turn(info: Info, cell: Cell) -> int | None:
    """The action that turns the agent towards a blocked cell next to it; None if it faces it. A free cell would be entered, lava too."""
    return places.turn(seen(info), cell)


def facing(info: Info, what: str) -> bool:
    """Whether that is what the agent looks at."""
    return seen(info).ahead == what


def free(info: Info, cell: Cell) -> bool:
    """Whether one can step there now, as far as is known: grass, sand or path with nobody on it."""
    memory = seen(info)
    if not inside(cell) or not WALKABLE[memory.map[cell]]:
        return False
    return not memory.creatures[cell] or (memory.when[cell] != memory.step and memory.creatures[cell] != CREATURE["plant"])


def near(info: Info, what: str) -> bool:
    """Whether a material is one of the 3 x 3 cells around the agent, as a table has to be to make things."""
    memory = seen(info)
    x, y = memory.position
    return bool(x and y and (memory.map[x - 1 : x + 2, y - 1 : y + 2] == _material(what)).any())


# What can be made


def missing(info: Info, action: str) -> dict[str, int]:
    """Items that `make_...` or `place_...` uses up and the agent lacks, with how many; a `table` or `furnace` that is not near counts 1."""
    number = _action(action)
    lacks = {item: int(USES[number, i] - have) for i, (item, have) in enumerate(_items(info)) if have < USES[number, i]}
    return lacks | {name: 1 for name in MATERIALS if NEARBY[number, MATERIAL[name]] and not near(info, name)}


def can(info: Info, action: str) -> bool:
    """Whether `make_...` or `place_...` would succeed here and now; for placing, also the cell ahead has to suit."""
    number, memory = _action(action), seen(info)
    if missing(info, action):
        return False
    if MAKES[number] >= 0:
        return True
    (x, y), (dx, dy) = memory.position, memory.facing
    ahead = x + dx, y + dy
    return inside(ahead) and not memory.creatures[ahead] and bool(WHERE[number, memory.map[ahead]])


def collectable(info: Info, what: str) -> bool:
    """Whether the agent has the tool to collect this material."""
    number = _material(what)
    tool = int(COLLECT_NEEDS[number])
    return bool(COLLECT_GIVES[number] >= 0 and (tool < 0 or seen(info).items[tool] > 0))


# Danger and needs


def threats(info: Info) -> list[Threat]:
    """Zombies, skeletons and arrows in view, the nearest first. A Threat has .kind, .x, .y, .dx, .dy (cells from the agent), .cells (their
    sum) and .aimed (an arrow that flies at the agent, a skeleton that could shoot now). (10 µs)
    """
    memory = seen(info)
    (x, y), found = memory.position, []
    for i, j in np.argwhere(memory.view_creatures > 0).tolist():
        number = int(memory.view_creatures[i, j])
        name = _CREATURES[number]
        dx, dy = i - memory.view.shape[0] // 2, j - memory.view.shape[1] // 2
        if name in ENEMIES:
            aimed = name == "skeleton" and min(abs(dx), abs(dy)) == 0 and abs(dx) + abs(dy) <= 5 and _clear(memory, (x, y), (dx, dy))
        elif name.startswith("arrow"):
            fx, fy = DIRECTIONS[DIRECTION_NAMES.index(name.removeprefix("arrow_"))]
            aimed = (dx * fy == dy * fx) and dx * fx + dy * fy < 0
        else:
            continue
        found.append(Threat(name.split("_")[0], x + dx, y + dy, dx, dy, abs(dx) + abs(dy), bool(aimed)))
    return sorted(found, key=lambda threat: threat.cells)


def dangers(info: Info, zombie: int = 6, shot: int = 4) -> npt.NDArray[np.int16]:
    """[64, 64] int16 for `ways(danger=...)`: `zombie` on the cells within two of a zombie, `shot` on those that a skeleton or an arrow
    could hit; summed; of zombies and skeletons seen in the last 6 steps. (8 µs)
    """
    out = np.zeros((AREA, AREA), np.int16)
    survival.fear(seen(info)._record, zombie, shot, out)
    return out


def closed(info: Info) -> bool:
    """Whether nobody can come to the agent: a few free cells around it, no grass and nobody among them, and solid on all sides. (1 µs)"""
    return bool(survival.closed(seen(info)._record))


def needs(info: Info) -> list[tuple[int, str]]:
    """Food, drink and energy with their levels, the lowest first; at 0 health is lost."""
    items = seen(info).items
    return sorted((int(items[ITEM[name]]), name) for name in ("food", "drink", "energy"))


def phase(info: Info) -> int:
    """Steps since the day began, 0 to 299. Zombies come to grass from about 116 on, and are most between 177 and 243."""
    return seen(info).step % DAY


# Ways with digging


def ways(info: Info, *, dig: bool = True, fell: bool = True, bridge: bool = True, danger: npt.NDArray[np.int16] | None = None) -> Ways:
    """Cheapest ways with what the agent has: a pickaxe to dig stone and coal (iron with a stone one), stone to bridge water (placed, and
    dug again). `.nearest(what)`, `.steps_to(cell)`, `.path(cell)`, `.step_towards(cell)` as the functions of these names;
    `.nearest(what, fresh, tabu)` leaves out cells whose `tabu` [64, 64] int32 (a step) is later than now. (20 to 90 µs)

    danger  [64, 64] int16, actions a cell is to be avoided by; negative: never enter it
    """
    memory = seen(info)
    price = np.zeros(len(MATERIALS) + 1, np.int64)
    price[WALKABLE] = 1
    if dig:
        for what in ("stone", "coal", "iron"):
            price[MATERIAL[what]] = 2 if collectable(info, what) else 0
    price[MATERIAL["tree"]] = 2 if fell else 0
    # The stone just placed is ahead, and comes back when it is dug.
    if bridge and dig and collectable(info, "stone") and (memory.items[ITEM["stone"]] or memory.ahead == "stone"):
        price[MATERIAL["water"]] = 4  # turn, place, dig, enter
    return Ways(seen(info), price, _CALM if danger is None else danger)


def frontier(going: Ways, *, grass: int = 0, mountain: int = 0, tabu: npt.NDArray[np.int32] | None = None) -> Spot | None:
    """Of `ways`: the cell beside land never seen that is cheapest to stand on, as a Spot; `grass` and `mountain` are added to the price of
    cells on open ground and in the mountain, and cells whose `tabu` [64, 64] int32 (a step) is later than now do not count. (9 µs)
    """
    return going.frontier(grass, mountain, tabu)


def pasture(going: Ways, *, stale: int = 300, tabu: npt.NDArray[np.int32] | None = None) -> Spot | None:
    """Of `ways`: where to look for cows, as a Spot: from there most land never seen among grass, and grass not seen for `stale` steps,
    comes into view for the actions it takes to go there. (30 µs)
    """
    return going.pasture(stale, tabu)


def shelter(going: Ways, *, bridge: bool = True) -> tuple[Cell, Cell, Cell] | None:
    """Of `ways`: the nearest place for a night, best with water at it: (outside, door, inner room), cells in line. The last two can be dug,
    or bridged with stone, or are free, and have no open side. `enter` both, step back to the door (to face out), place a stone. (20 µs)
    """
    return going.shelter(bridge)


def enter(info: Info, cell: Cell) -> int:
    """The next action for entering a cell next to the agent: step, turn, dig, fell, or place a stone on water. Not for lava."""
    return places.enter(seen(info), cell)


_CALM = np.zeros((AREA, AREA), np.int16)
_CREATURES = {number: name for name, number in CREATURE.items()}


def _clear(memory: SeenMap, here: Cell, offset: Cell) -> bool:
    """Whether an arrow could fly between the agent and a cell in line with it."""
    count = max(abs(offset[0]), abs(offset[1]))
    dx, dy = offset[0] // count, offset[1] // count
    between = [memory.map[here[0] + dx * k, here[1] + dy * k] for k in range(1, count)]
    return all(WALKABLE[m] or m in (MATERIAL["water"], MATERIAL["lava"]) for m in between)


def _items(info: Info) -> list[tuple[str, int]]:
    return list(zip(ITEMS, seen(info).items.tolist(), strict=True))


def _material(what: str) -> int:
    if what not in MATERIAL:
        raise ValueError(f"{what!r} is no material; there are {', '.join(MATERIAL)}, and {EDGE!r}")
    return MATERIAL[what]


def _action(name: str) -> int:
    if name not in ACTION or not (PLACES[ACTION[name]] or MAKES[ACTION[name]] >= 0):
        known = ", ".join(other for other, number in ACTION.items() if PLACES[number] or MAKES[number] >= 0)
        raise ValueError(f"{name!r} neither makes nor places anything; these do: {known}")
    return ACTION[name]
