"""A small map of what the agent knows around it, for whoever watches: from above, and cut from west to east, the agent in the middle."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from rlgpt.envs.luanti.blocks import BLOCK, BLOCKS, LIQUIDS, OTHER_FREE, UNSEEN

Picture = npt.NDArray[np.uint8]
AGENT = (255, 255, 255)
_COLOURS = {
    "air": (60, 60, 66),
    "unseen": (16, 16, 20),
    "water": (40, 90, 200),
    "flowing_water": (60, 110, 210),
    "lava": (250, 100, 10),
    "flowing_lava": (250, 130, 30),
    "torch": (255, 230, 120),
    "sapling": (90, 170, 60),
    "snow_layer": (225, 235, 240),
    "fire": (255, 150, 0),
    "other_free": (70, 110, 60),
    "stone": (125, 125, 125),
    "cobblestone": (105, 105, 110),
    "mossy_cobblestone": (95, 115, 95),
    "dirt": (125, 85, 55),
    "grass_block": (85, 150, 60),
    "sand": (215, 200, 140),
    "gravel": (140, 130, 125),
    "clay": (160, 165, 180),
    "sandstone": (200, 185, 125),
    "snow": (240, 245, 250),
    "ice": (170, 205, 245),
    "log": (100, 70, 35),
    "planks": (175, 135, 80),
    "leaves": (40, 105, 40),
    "coal_ore": (40, 40, 40),
    "iron_ore": (215, 160, 125),
    "copper_ore": (200, 110, 50),
    "tin_ore": (195, 205, 205),
    "gold_ore": (250, 215, 50),
    "mese_ore": (240, 240, 60),
    "diamond_ore": (80, 240, 245),
    "crafting_table": (220, 140, 50),
    "furnace": (190, 60, 50),
    "chest": (190, 120, 40),
    "cactus": (60, 130, 50),
    "obsidian": (40, 25, 60),
    "other": (150, 60, 150),
}
_RGB: Picture = np.array([_COLOURS[name] for name in BLOCKS], np.uint8)
_OPEN = np.array([n <= OTHER_FREE and n != UNSEEN and n not in LIQUIDS and n != BLOCK["torch"] for n in range(len(BLOCKS))])


def glimpse(_obs: Any, info: dict[str, Any]) -> Picture:
    """[17, 35, 3], north is up, and so is the sky in the cut on the right.

    A pixel is what stands at the height of the agent's head or feet, or else the ground under it, darker the deeper.
    """
    cube = np.asarray(info["voxels"])  # x, y, z
    feet = cube.shape[1] // 2
    above, below = _from_above(cube, feet), _RGB[cube[:, ::-1, cube.shape[2] // 2].T]
    above[cube.shape[2] // 2, cube.shape[0] // 2] = AGENT
    below[below.shape[0] - 1 - feet - 1 : below.shape[0] - feet, cube.shape[0] // 2] = AGENT
    right = np.zeros(above.shape, np.uint8)
    top = (len(right) - len(below)) // 2
    right[top : top + len(below)] = below
    return np.concatenate([above, np.zeros((len(above), 1, 3), np.uint8), right], axis=1)


def _from_above(cube: npt.NDArray[Any], feet: int) -> Picture:
    """[z, x, 3]."""
    found, depth = cube[:, feet + 1].copy(), np.zeros(cube[:, feet].shape)
    for down in range(feet + 1):
        open_ = _OPEN[found]
        found[open_], depth[open_] = cube[:, feet - down][open_], down
    shaded: Picture = (_RGB[found] * (1 - 0.12 * depth)[..., None]).astype(np.uint8)
    return shaded.transpose(1, 0, 2).copy()
