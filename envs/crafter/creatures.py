"""What cows, zombies, skeletons, arrows and plants do in a step: `crafter.objects`, draw for draw."""

from __future__ import annotations

from typing import Any

from rlgpt.envs.crafter import grid
from rlgpt.envs.crafter.compiled import part
from rlgpt.envs.crafter.randomness import below, uniform
from rlgpt.envs.crafter.rules import ARROW, COW, FLYABLE, ITEM, MATERIAL, PLANT, PLAYER, SKELETON, ZOMBIE

HEALTH = ITEM["health"]
FURNACE, PATH, TABLE = MATERIAL["furnace"], MATERIAL["path"], MATERIAL["table"]
RIPE = 300


@part
def distance(w: Any, x: int, y: int) -> int:
    """Steps between a cell and the player."""
    return int(abs(w.x[0] - x) + abs(w.y[0] - y))


@part
def hurt(w: Any, i: int, damage: int) -> None:
    """Take health from an object, or from the player."""
    if w.kind[i] == PLAYER:
        w.inventory[HEALTH] = max(0, w.inventory[HEALTH] - damage)
    else:
        w.health[i] = max(0, w.health[i] - damage)


@part
def _sign(value: int) -> int:
    return (value > 0) - (value < 0)


@part
def _toward(w: Any, i: int, long_axis: bool) -> tuple[int, int]:
    """A step towards the player, along the longer or the shorter axis."""
    x, y = w.x[0] - w.x[i], w.y[0] - w.y[i]
    if (abs(x) > abs(y)) if long_axis else (abs(x) <= abs(y)):
        return _sign(x), 0
    return 0, _sign(y)


@part
def _stray(w: Any, i: int) -> None:
    direction = below(w, 4)
    dx = -1 if direction == 0 else 1 if direction == 1 else 0
    dy = -1 if direction == 2 else 1 if direction == 3 else 0
    grid.move(w, i, dx, dy)


@part
def update(w: Any, i: int) -> None:
    """One step of object `i`, which is not the player."""
    kind = w.kind[i]
    # Removed first and then going on, as in Crafter: who dies draws, and strikes, once more.
    if kind not in (ARROW, PLANT) and w.health[i] <= 0:
        grid.remove(w, i)
    if kind == COW:
        if uniform(w) < 0.5:
            _stray(w, i)
    elif kind == ZOMBIE:
        _zombie(w, i)
    elif kind == SKELETON:
        _skeleton(w, i)
    elif kind == ARROW:
        _arrow(w, i)
    elif kind == PLANT:
        _plant(w, i)


@part
def _zombie(w: Any, i: int) -> None:
    if distance(w, w.x[i], w.y[i]) <= 8 and uniform(w) < 0.9:
        dx, dy = _toward(w, i, uniform(w) < 0.8)
        grid.move(w, i, dx, dy)
    else:
        _stray(w, i)
    if distance(w, w.x[i], w.y[i]) > 1:
        return
    if w.timer[i]:
        w.timer[i] -= 1
    else:
        hurt(w, 0, 7 if w.sleeping else 2)
        w.timer[i] = 5


@part
def _skeleton(w: Any, i: int) -> None:
    w.timer[i] = max(0, w.timer[i] - 1)
    away = distance(w, w.x[i], w.y[i])
    if away <= 3:
        dx, dy = _toward(w, i, uniform(w) < 0.6)
        if grid.move(w, i, -dx, -dy):
            return
    if away <= 5 and uniform(w) < 0.5:
        dx, dy = _toward(w, i, True)
        _shoot(w, i, dx, dy)
    elif away <= 8 and uniform(w) < 0.3:
        dx, dy = _toward(w, i, uniform(w) < 0.6)
        grid.move(w, i, dx, dy)
    elif uniform(w) < 0.2:
        _stray(w, i)


@part
def _shoot(w: Any, i: int, dx: int, dy: int) -> None:
    if w.timer[i] > 0 or (dx == 0 and dy == 0):
        return
    x, y = w.x[i] + dx, w.y[i] + dy
    if _open(w, x, y):
        grid.add(w, ARROW, x, y, 0, dx, dy)
        w.timer[i] = 4


@part
def _open(w: Any, x: int, y: int) -> bool:
    """Whether an arrow can fly there."""
    return grid.inside(x, y) and w.object[x, y] == 0 and FLYABLE[w.material[x, y]]


@part
def _arrow(w: Any, i: int) -> None:
    x, y = w.x[i] + w.dx[i], w.y[i] + w.dy[i]
    if _open(w, x, y):
        # Crafter asks for a cell an arrow may fly over and then moves it there; it flies over water and lava, too.
        grid.put(w, i, x, y)
        return
    grid.remove(w, i)
    if not grid.inside(x, y):
        return
    if w.object[x, y]:
        hurt(w, w.object[x, y] - 1, 2)
    elif w.material[x, y] == TABLE or w.material[x, y] == FURNACE:
        w.material[x, y] = PATH


@part
def _plant(w: Any, i: int) -> None:
    w.timer[i] += 1
    for dx, dy in ((-1, 0), (1, 0), (0, -1), (0, 1)):
        x, y = w.x[i] + dx, w.y[i] + dy
        if grid.inside(x, y) and w.object[x, y]:
            kind = w.kind[w.object[x, y] - 1]
            if kind in (ZOMBIE, SKELETON, COW):
                w.health[i] = max(0, w.health[i] - 1)
                break
    if w.health[i] <= 0:
        grid.remove(w, i)
