"""What the player does in a step, and what becomes of its body: `crafter.objects.Player`, draw for draw."""

from __future__ import annotations

from typing import Any

from rlgpt.envs.crafter import grid
from rlgpt.envs.crafter.compiled import part
from rlgpt.envs.crafter.creatures import RIPE, hurt
from rlgpt.envs.crafter.randomness import uniform
from rlgpt.envs.crafter.rules import (
    ACHIEVEMENT,
    ACTION,
    AREA,
    COLLECT_CHANCE,
    COLLECT_GIVES,
    COLLECT_LEAVES,
    COLLECT_NEEDS,
    COLLECT_UNLOCKS,
    COW,
    DIRECTIONS,
    ITEM,
    ITEMS,
    MAKES,
    MATERIAL,
    MOST,
    NEARBY,
    PLACES,
    PLANT,
    SKELETON,
    UNLOCKS,
    USES,
    WHERE,
    ZOMBIE,
)

HEALTH, FOOD, DRINK, ENERGY = (ITEM[name] for name in ("health", "food", "drink", "energy"))
WOOD_SWORD, STONE_SWORD, IRON_SWORD = (ITEM[name] for name in ("wood_sword", "stone_sword", "iron_sword"))
WAKE_UP, EAT_COW, EAT_PLANT = (ACHIEVEMENT[name] for name in ("wake_up", "eat_cow", "eat_plant"))
DEFEAT_ZOMBIE, DEFEAT_SKELETON = ACHIEVEMENT["defeat_zombie"], ACHIEVEMENT["defeat_skeleton"]
NOOP, LEFT, DOWN, DO, SLEEP = (ACTION[name] for name in ("noop", "move_left", "move_down", "do", "sleep"))
LAVA, WATER = MATERIAL["lava"], MATERIAL["water"]
MATERIALS_IN_ALL = len(MATERIAL) + 1


@part
def act(w: Any, action: int) -> None:
    """The player's update with this action."""
    if w.sleeping:
        if w.inventory[ENERGY] < MOST:
            action = SLEEP
        else:
            w.sleeping = 0
            w.achievements[WAKE_UP] += 1
    if LEFT <= action <= DOWN:
        _walk(w, action - LEFT)
    elif action == DO:
        _do(w)
    elif action == SLEEP:
        if w.inventory[ENERGY] < MOST:
            w.sleeping = 1
    elif PLACES[action]:
        _place(w, action)
    elif MAKES[action] >= 0:
        _make(w, action)
    _live(w)
    _heal(w)
    for i in range(len(ITEMS)):
        w.inventory[i] = max(0, min(w.inventory[i], MOST))
    if w.inventory[HEALTH] < w.health_before:
        w.sleeping = 0
    w.health_before = w.inventory[HEALTH]


@part
def damage_of(inventory: Any) -> int:
    """Health a blow takes from a creature."""
    if inventory[IRON_SWORD]:
        return 5
    if inventory[STONE_SWORD]:
        return 3
    return 2 if inventory[WOOD_SWORD] else 1


@part
def near(material: Any, x: int, y: int, wanted: int) -> bool:
    """Whether the material is one of the 3 x 3 cells around. At the upper and left edge Crafter's slices are empty: nothing is near."""
    if x < 1 or y < 1:
        return False
    for i in range(x - 1, min(x + 2, AREA)):
        for j in range(y - 1, min(y + 2, AREA)):
            if material[i, j] == wanted:
                return True
    return False


@part
def affordable(inventory: Any, action: int) -> bool:
    """Whether the items that an action uses up are there."""
    for i in range(len(ITEMS)):  # noqa: SIM110  numba compiles no generator expressions
        if inventory[i] < USES[action, i]:
            return False
    return True


@part
def _pay(w: Any, action: int) -> None:
    for i in range(len(ITEMS)):
        w.inventory[i] -= USES[action, i]
    w.achievements[UNLOCKS[action]] += 1


@part
def _walk(w: Any, direction: int) -> None:
    dx, dy = DIRECTIONS[direction]
    w.dx[0], w.dy[0] = dx, dy
    x, y = w.x[0] + dx, w.y[0] + dy
    if grid.free(w, x, y) or (grid.inside(x, y) and w.object[x, y] == 0 and w.material[x, y] == LAVA):
        grid.put(w, 0, x, y)
    if w.material[w.x[0], w.y[0]] == LAVA:
        w.inventory[HEALTH] = 0


@part
def _do(w: Any) -> None:
    x, y = w.x[0] + w.dx[0], w.y[0] + w.dy[0]
    if not grid.inside(x, y):
        return
    if w.object[x, y]:
        _strike(w, w.object[x, y] - 1)
        return
    material = w.material[x, y]
    if material == WATER:
        w.thirst = 0
    gives, needs = COLLECT_GIVES[material], COLLECT_NEEDS[material]
    if gives < 0 or (needs >= 0 and w.inventory[needs] < 1):
        return
    w.material[x, y] = COLLECT_LEAVES[material]
    if uniform(w) <= COLLECT_CHANCE[material]:
        w.inventory[gives] += 1
        w.achievements[COLLECT_UNLOCKS[material]] += 1


@part
def _strike(w: Any, i: int) -> None:
    kind = w.kind[i]
    if kind == PLANT:
        if w.timer[i] > RIPE:
            w.timer[i] = 0
            w.inventory[FOOD] += 4
            w.achievements[EAT_PLANT] += 1
    elif kind in (ZOMBIE, SKELETON, COW):
        hurt(w, i, damage_of(w.inventory))
        if w.health[i] > 0:
            return
        if kind == COW:
            w.inventory[FOOD] += 6
            w.hunger = 0
        w.achievements[DEFEAT_ZOMBIE if kind == ZOMBIE else DEFEAT_SKELETON if kind == SKELETON else EAT_COW] += 1


@part
def _place(w: Any, action: int) -> None:
    x, y = w.x[0] + w.dx[0], w.y[0] + w.dy[0]
    if not grid.inside(x, y) or w.object[x, y] or not WHERE[action, w.material[x, y]] or not affordable(w.inventory, action):
        return
    _pay(w, action)
    if PLACES[action] > 0:
        w.material[x, y] = PLACES[action]
    else:
        grid.add(w, PLANT, x, y, 1, 0, 0)


@part
def _make(w: Any, action: int) -> None:
    for material in range(MATERIALS_IN_ALL):
        if NEARBY[action, material] and not near(w.material, w.x[0], w.y[0], material):
            return
    if affordable(w.inventory, action):
        _pay(w, action)
        w.inventory[MAKES[action]] += 1


@part
def _live(w: Any) -> None:
    """Hunger, thirst and tiredness; the first two half as fast asleep."""
    pace = 0.5 if w.sleeping else 1.0
    w.hunger += pace
    if w.hunger > 25:
        w.hunger = 0
        w.inventory[FOOD] -= 1
    w.thirst += pace
    if w.thirst > 20:
        w.thirst = 0
        w.inventory[DRINK] -= 1
    w.fatigue = min(w.fatigue - 1, 0) if w.sleeping else w.fatigue + 1
    if w.fatigue < -10:
        w.fatigue = 0
        w.inventory[ENERGY] += 1
    if w.fatigue > 30:
        w.fatigue = 0
        w.inventory[ENERGY] -= 1


@part
def _heal(w: Any) -> None:
    """Health comes back while nothing is lacking, else it goes."""
    if w.inventory[FOOD] > 0 and w.inventory[DRINK] > 0 and (w.inventory[ENERGY] > 0 or w.sleeping):
        w.recover += 2 if w.sleeping else 1
    else:
        w.recover -= 0.5 if w.sleeping else 1
    if w.recover > 25:
        w.recover = 0
        w.inventory[HEALTH] += 1
    if w.recover < -15:
        w.recover = 0
        w.inventory[HEALTH] = max(0, w.inventory[HEALTH] - 1)
