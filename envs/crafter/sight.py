"""What an agent sees, and where it can walk, as far as it knows: updates of a SEEN record.

An agent sees the 9 x 7 cells that Crafter's picture shows, as they are (the picture is dark and noisy at night, this is not), and remembers
what it saw. It knows where it is because a game starts in the middle of the world, and sees whether it moved.
"""

from __future__ import annotations

from typing import Any

from rlgpt.envs.crafter.compiled import part
from rlgpt.envs.crafter.grid import inside
from rlgpt.envs.crafter.rules import (
    ARROW,
    COW,
    CREATURE,
    DIRECTIONS,
    ITEM,
    PLANT,
    PLAYER,
    SKELETON,
    VIEW_HEIGHT,
    VIEW_WIDTH,
    WALKABLE,
    ZOMBIE,
)

HEALTH = ITEM["health"]
HALF_WIDTH, HALF_HEIGHT = VIEW_WIDTH // 2, VIEW_HEIGHT // 2
IS_COW, IS_ZOMBIE, IS_SKELETON, IS_PLANT, IS_RIPE = (CREATURE[name] for name in ("cow", "zombie", "skeleton", "plant", "ripe_plant"))
ARROW_LEFT, ARROW_RIGHT, ARROW_UP, ARROW_DOWN = (CREATURE[f"arrow_{name}"] for name in ("left", "right", "up", "down"))
RIPE = 300


@part
def forget(s: Any) -> None:
    """Before the first look."""
    s.map[:] = 0
    s.creatures[:] = 0
    s.when[:] = -1
    s.reached[:] = 0
    s.inventory[HEALTH] = 0
    s.enemies = 0


@part
def look(w: Any, s: Any) -> None:
    """Take in the present view, and find all ways."""
    s.damage = max(0, s.inventory[HEALTH] - w.inventory[HEALTH])
    s.step, s.daylight, s.sleeping = w.step, w.daylight, w.sleeping
    s.x, s.y, s.dx, s.dy = w.x[0], w.y[0], w.dx[0], w.dy[0]
    s.inventory[:] = w.inventory
    s.achievements[:] = w.achievements
    enemies = 0
    for i in range(VIEW_WIDTH):
        for j in range(VIEW_HEIGHT):
            x, y = s.x + i - HALF_WIDTH, s.y + j - HALF_HEIGHT
            if not inside(x, y):
                s.in_view[i, j] = s.in_view_creatures[i, j] = 0
                continue
            creature = 0 if w.object[x, y] == 0 else _looks(w, w.object[x, y] - 1)
            enemies += creature in (IS_ZOMBIE, IS_SKELETON)
            s.in_view[i, j] = s.map[x, y] = w.material[x, y]
            s.in_view_creatures[i, j] = s.creatures[x, y] = creature
            s.when[x, y] = w.step
    s.new_enemies = max(0, enemies - s.enemies)
    s.enemies = enemies
    walk(s)


@part
def _looks(w: Any, i: int) -> int:
    kind = w.kind[i]
    if kind == ARROW:
        if w.dx[i]:
            return ARROW_LEFT if w.dx[i] < 0 else ARROW_RIGHT
        return ARROW_UP if w.dy[i] < 0 else ARROW_DOWN
    if kind == PLANT:
        return IS_RIPE if w.timer[i] > RIPE else IS_PLANT
    return 0 if kind == PLAYER else IS_COW if kind == COW else IS_ZOMBIE if kind == ZOMBIE else IS_SKELETON if kind == SKELETON else 0


@part
def passable(s: Any, x: int, y: int) -> bool:
    """Whether one can walk there, as far as is known: free ground, nobody on it. Who left the view may have moved on, plants do not."""
    if not inside(x, y) or not WALKABLE[s.map[x, y]]:
        return False
    who = s.creatures[x, y]
    return who == 0 or (s.when[x, y] != s.step and who not in (IS_PLANT, IS_RIPE))


@part
def walk(s: Any) -> None:
    """Fill `distance` and `first` by a breadth-first search from where the agent is."""
    s.distance[:] = -1
    s.first[:] = -1
    s.reached[0, 0], s.reached[0, 1] = s.x, s.y
    s.distance[s.x, s.y] = 0
    done, known = 0, 1
    while done < known:
        x, y = int(s.reached[done, 0]), int(s.reached[done, 1])
        done += 1
        for direction in range(4):
            i, j = x + DIRECTIONS[direction][0], y + DIRECTIONS[direction][1]
            if not inside(i, j) or s.distance[i, j] >= 0 or not passable(s, i, j):
                continue
            s.distance[i, j] = s.distance[x, y] + 1
            s.first[i, j] = direction if s.first[x, y] < 0 else s.first[x, y]
            s.reached[known, 0], s.reached[known, 1] = i, j
            known += 1
    s.reached_cells = known
