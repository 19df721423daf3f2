"""A small map of what the agent remembers around it, for whoever watches: a pixel a cell."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from rlgpt.envs.crafter.seen import CREATURE_NAMES, MATERIAL_NAMES, SeenMap

Picture = npt.NDArray[np.uint8]
WIDTH, HEIGHT = 32, 24
PLAYER = (255, 255, 255)
_MATERIALS = {
    "unseen": (16, 16, 20),
    "water": (50, 100, 220),
    "grass": (70, 140, 55),
    "stone": (120, 120, 120),
    "path": (60, 55, 50),
    "sand": (215, 200, 140),
    "tree": (25, 75, 30),
    "lava": (250, 100, 10),
    "coal": (25, 25, 25),
    "iron": (225, 165, 125),
    "diamond": (80, 240, 245),
    "table": (190, 130, 60),
    "furnace": (200, 70, 60),
}
_CREATURES = {
    "cow": (230, 190, 170),
    "zombie": (150, 230, 60),
    "skeleton": (210, 210, 190),
    "plant": (120, 220, 90),
    "ripe_plant": (255, 90, 160),
}
_ARROW = (255, 60, 60)
_GROUND: Picture = np.array([_MATERIALS[name] for name in MATERIAL_NAMES], np.uint8)
_WHO: Picture = np.array([_CREATURES.get(name, _ARROW) for name in CREATURE_NAMES], np.uint8)


def small_map(memory: SeenMap) -> Picture:
    """[HEIGHT, WIDTH, 3]. The agent is white and in the middle; who moves is shown where it was last seen.

    Beyond the edge of the world it is dark.
    """
    known = _GROUND[memory.map]
    there = memory.creatures > 0
    known[there] = _WHO[memory.creatures[there]]
    x, y = memory.position
    known[x, y] = PLAYER
    whole = np.zeros((known.shape[0] + WIDTH, known.shape[1] + HEIGHT, 3), np.uint8)
    whole[WIDTH // 2 : WIDTH // 2 + known.shape[0], HEIGHT // 2 : HEIGHT // 2 + known.shape[1]] = known
    return np.ascontiguousarray(whole[x : x + WIDTH, y : y + HEIGHT].transpose(1, 0, 2))
