"""Crafter's rules as tables of numbers, read from `crafter.constants`; names by number, numbers by name. Hafner (2021), arXiv 2109.06780.

Materials are numbered as in Crafter's own maps, from 1; 0 is a cell never seen, or beyond the edge of the world.
"""

from __future__ import annotations

import importlib.metadata
from typing import Any

import numpy as np
import numpy.typing as npt
from crafter import constants

VERSION = "1.8.3"
if importlib.metadata.version("crafter") != VERSION:
    raise ImportError(
        f"rlgpt.envs.crafter repeats the rules of crafter {VERSION} and is checked against it; here is "
        f"crafter {importlib.metadata.version('crafter')}: pip install crafter=={VERSION}"
    )

AREA = 64
CENTER = AREA // 2
VIEW_WIDTH, VIEW_HEIGHT = 9, 7
REACH = 18  # creatures at this distance (in steps, not as the crow flies) or further stand still
CHUNK = 12
CHUNKS_A_SIDE = -(-AREA // CHUNK)
DAY = 300
LENGTH = 10_000

ACTIONS: tuple[str, ...] = tuple(constants.actions)
MATERIALS: tuple[str, ...] = tuple(constants.materials)
ITEMS: tuple[str, ...] = tuple(constants.items)
ACHIEVEMENTS: tuple[str, ...] = tuple(constants.achievements)
DIRECTIONS: tuple[tuple[int, int], ...] = ((-1, 0), (1, 0), (0, -1), (0, 1))
DIRECTION_NAMES = ("left", "right", "up", "down")

MATERIAL = {name: number for number, name in enumerate(MATERIALS, 1)}
ITEM = {name: number for number, name in enumerate(ITEMS)}
ACTION = {name: number for number, name in enumerate(ACTIONS)}
ACHIEVEMENT = {name: number for number, name in enumerate(ACHIEVEMENTS)}

# Kinds of objects, as the engine numbers them ...
GONE, PLAYER, COW, ZOMBIE, SKELETON, ARROW, PLANT = range(7)
# ... and as they look: an arrow shows where it flies, a plant whether it is ripe. 0: nobody.
CREATURES = ("cow", "zombie", "skeleton", "plant", "ripe_plant", "arrow_left", "arrow_right", "arrow_up", "arrow_down")
CREATURE = {name: number for number, name in enumerate(CREATURES, 1)}

MOST = 9
assert all(info["max"] == MOST for info in constants.items.values())

WALKABLE: npt.NDArray[np.bool_] = np.isin(np.arange(len(MATERIALS) + 1), [MATERIAL[name] for name in constants.walkable])
FLYABLE = WALKABLE | np.isin(np.arange(len(MATERIALS) + 1), [MATERIAL["water"], MATERIAL["lava"]])

# Collecting, by material: needed item (-1 none), received item (-1: cannot be collected), chance, material left.
_materials = len(MATERIALS) + 1
COLLECT_NEEDS = np.full(_materials, -1, np.int64)
COLLECT_GIVES = np.full(_materials, -1, np.int64)
COLLECT_UNLOCKS = np.full(_materials, -1, np.int64)
COLLECT_LEAVES = np.zeros(_materials, np.int64)
COLLECT_CHANCE = np.ones(_materials)
for _name, _info in constants.collect.items():
    _at = MATERIAL[_name]
    ((_gives, _one),) = _info["receive"].items()
    assert _one == 1
    assert all(count == 1 for count in _info["require"].values())
    COLLECT_NEEDS[_at] = ITEM[next(iter(_info["require"]))] if _info["require"] else -1
    COLLECT_GIVES[_at], COLLECT_UNLOCKS[_at] = ITEM[_gives], ACHIEVEMENT[f"collect_{_gives}"]
    COLLECT_LEAVES[_at], COLLECT_CHANCE[_at] = MATERIAL[_info["leaves"]], _info.get("probability", 1)

# Placing and making, by action: items used up, materials where it may go or that have to be near, what comes of it.
USES = np.zeros((len(ACTIONS), len(ITEMS)), np.int64)
WHERE = np.zeros((len(ACTIONS), _materials), np.bool_)
PLACES = np.zeros(len(ACTIONS), np.int64)  # a material, PLANT_IT for a sapling
MAKES = np.full(len(ACTIONS), -1, np.int64)  # an item
NEARBY = np.zeros((len(ACTIONS), _materials), np.bool_)
UNLOCKS = np.full(len(ACTIONS), -1, np.int64)
PLANT_IT = -1
for _name, _info in constants.place.items():
    _at = ACTION[f"place_{_name}"]
    PLACES[_at] = MATERIAL[_name] if _info["type"] == "material" else PLANT_IT
    WHERE[_at, [MATERIAL[where] for where in _info["where"]]] = True
    UNLOCKS[_at] = ACHIEVEMENT[f"place_{_name}"]
    for _item, _count in _info["uses"].items():
        USES[_at, ITEM[_item]] = _count
for _name, _info in constants.make.items():
    _at = ACTION[f"make_{_name}"]
    assert _info["gives"] == 1
    MAKES[_at], UNLOCKS[_at] = ITEM[_name], ACHIEVEMENT[f"make_{_name}"]
    NEARBY[_at, [MATERIAL[near] for near in _info["nearby"]]] = True
    for _item, _count in _info["uses"].items():
        USES[_at, ITEM[_item]] = _count


def daylight(step: int) -> float:
    """Light after `step` steps, 0 dark to 1 bright; a day has 300 steps and starts in the morning. Crafter's own formula."""
    progress = (step / DAY) % 1 + 0.3
    light: Any = 1 - np.abs(np.cos(np.pi * progress)) ** 3
    return float(light)


DAYLIGHT = tuple(daylight(step) for step in range(LENGTH + 1))
