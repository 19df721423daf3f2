"""Blocks by numbers that stay the same whatever the server's version and mods: what `info["voxels"]` and toolkits go by."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from rlgpt.envs.luanti.names import plain

# Free to walk through: up to `other_free`; solid: from `stone` on.
BLOCKS = (
    *("air", "unseen", "water", "flowing_water", "lava", "flowing_lava", "torch", "sapling", "snow_layer", "fire", "other_free"),
    *("stone", "cobblestone", "mossy_cobblestone", "dirt", "grass_block", "sand", "gravel", "clay", "sandstone", "snow", "ice"),
    *("log", "planks", "leaves", "coal_ore", "iron_ore", "copper_ore", "tin_ore", "gold_ore", "mese_ore", "diamond_ore"),
    *("crafting_table", "furnace", "chest", "cactus", "obsidian", "other"),
)
BLOCK = {name: number for number, name in enumerate(BLOCKS)}
UNSEEN, OTHER_FREE, OTHER = BLOCK["unseen"], BLOCK["other_free"], BLOCK["other"]
LAVA = frozenset(BLOCK[name] for name in ("lava", "flowing_lava"))
LIQUIDS = LAVA | {BLOCK["water"], BLOCK["flowing_water"]}


SOLID: npt.NDArray[np.int8] = np.array([-1 if n == UNSEEN else int(n > OTHER_FREE) for n in range(len(BLOCKS))], np.int8)
"""By number: 1 stops a body, 0 does not, -1 was not seen."""


class Blocks:
    """Tables by the server's own numbers of nodes.

    names     of each node
    code      [nodes] uint8   its number in BLOCKS
    distinct  the different names
    shown     [nodes] uint16  where its name is among those
    """

    def __init__(self, nodes: list[list[Any]]) -> None:
        """`nodes`: the mod's [name, walkable, liquid, tiles]."""
        self.names = [plain(str(name)) for name, *_ in nodes]
        self.distinct = list(dict.fromkeys(self.names))
        place = {name: number for number, name in enumerate(self.distinct)}
        self.shown: npt.NDArray[np.uint16] = np.array([place[name] for name in self.names], np.uint16)
        self.code: npt.NDArray[np.uint8] = np.zeros(len(nodes), np.uint8)
        for number, ((_, walkable, *_), name) in enumerate(zip(nodes, self.names, strict=True)):
            self.code[number] = BLOCK.get(name, OTHER if walkable else OTHER_FREE)
