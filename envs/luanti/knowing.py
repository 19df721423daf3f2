"""What skills know of where things are and of what they hold: the toolkit's functions that take no step."""

from __future__ import annotations

import math
from collections.abc import Generator
from typing import Any

import numpy as np
import numpy.typing as npt

from rlgpt.envs.luanti import aim
from rlgpt.envs.luanti.blocks import BLOCK, BLOCKS, LAVA, LIQUIDS, OTHER_FREE, UNSEEN
from rlgpt.envs.minedojo_toolkit import CRAFT

Info = dict[str, Any]
Action = npt.NDArray[np.int64]
Place = tuple[int, int, int]
Play = Generator[Action, tuple[Any, Info], tuple[Any, Info]]

REACH = 3.9
SPARED = 0.1  # of a tool's durability
NEAR = 6.0  # blocks within which something sought is worth stopping for
PICKAXES = ("wooden_pickaxe", "stone_pickaxe", "iron_pickaxe", "diamond_pickaxe")
# The least pickaxe that digs it; what is not here needs none.
NEEDS = {
    **dict.fromkeys(("stone", "cobblestone", "mossy_cobblestone", "coal_ore", "furnace", "sandstone"), "wooden_pickaxe"),
    **dict.fromkeys(("iron_ore", "copper_ore", "tin_ore", "gold_ore"), "stone_pickaxe"),
    **dict.fromkeys(("diamond_ore", "mese_ore"), "iron_pickaxe"),
}
# What is in the inventory once it is dug, where that has another name.
DROPS = {"stone": "cobblestone", "coal_ore": "coal", "diamond_ore": "diamond", "grass_block": "dirt"}


def here(info: Info) -> Place:
    """The block the agent's feet are in."""
    return math.floor(info["x"]), math.floor(info["y"] + 1e-3), math.floor(info["z"])


def block_at(info: Info, place: Place) -> str:
    """What is known to be there: "unseen", also beyond 8 blocks to the side or 5 up or down; "other" or "other_free" for rarer blocks."""
    return BLOCKS[code_at(info, place)]


def is_free(info: Info, place: Place) -> bool:
    """Whether a body can be there, as far as is known, and it is no liquid."""
    code = code_at(info, place)
    return code <= OTHER_FREE and code != UNSEEN and code not in LIQUIDS


def nearest(info: Info, name: str) -> Place | None:
    """The nearest known block of that name: log, coal_ore, iron_ore, diamond_ore, water, lava, crafting_table, furnace and the like are
    remembered for ever, any other within the cube around; None if none is.
    """
    found = places(info, name)
    return found[0] if found else None


def places(info: Info, name: str) -> list[Place]:
    """Known blocks of that name, the nearest first; of what is remembered beyond the cube the nearest four."""
    remembered = [(int(x), int(y), int(z)) for x, y, z in info["found"].get(name, ())]
    cube = np.asarray(info["voxels"])
    x, y, z = here(info)
    shape = [n // 2 for n in cube.shape]
    near = [] if name not in BLOCK else np.argwhere(cube == BLOCK[name]).tolist()
    cells = {(i - shape[0] + x, j - shape[1] + y, k - shape[2] + z) for i, j, k in near} | set(remembered)
    return sorted(cells, key=lambda cell: (distance(info, cell), cell))


def near(info: Info, *names: str, within: float = NEAR) -> Place | None:
    """The nearest remembered block of any of these names within so many blocks; None if there is none."""
    known = [(int(x), int(y), int(z)) for name in names for x, y, z in info["found"].get(name, ())]
    found = min(known, key=lambda place: distance(info, place), default=None)
    return found if found is not None and distance(info, found) <= within else None


def distance(info: Info, place: Place) -> float:
    """From the eye to the middle of a block."""
    x, y, z = place
    return math.dist((info["x"], info["y"] + aim.EYE, info["z"]), (x + 0.5, y + 0.5, z + 0.5))


def in_reach(info: Info, place: Place) -> bool:
    """Whether a hand may reach it, if nothing is in between."""
    return distance(info, place) <= REACH


def slot_of(info: Info, item: str) -> int:
    """The slot that holds an item; an error if none does."""
    if item not in info["slots"]:
        raise ValueError(f"no {item} is held, only {', '.join(info['inventory']) or 'nothing'}")
    return int(info["slots"].index(item))


def count(info: Info, item: str) -> int:
    """How many of an item are held."""
    return int(info["inventory"].get(item, 0))


def can_craft(info: Info, item: str) -> bool:
    """Whether it would be crafted or smelted here and now."""
    return item in CRAFT and CRAFT[item] in info["craftable"]


def best_pickaxe(info: Info, name: str) -> str | None:
    """The least pickaxe that is held and digs blocks of that name; None if none does."""
    least = PICKAXES.index(NEEDS.get(name, PICKAXES[0]))
    return next((pickaxe for pickaxe in PICKAXES[least:] if count(info, pickaxe)), None)


def code_at(info: Info, place: Place) -> int:
    cube = info["voxels"]
    at = here(info)
    index = [place[i] - at[i] + cube.shape[i] // 2 for i in range(3)]
    if any(not 0 <= index[i] < cube.shape[i] for i in range(3)):
        return UNSEEN
    return int(cube[index[0], index[1], index[2]])


def unsafe(info: Info, place: Place) -> bool:
    """Whether whoever goes there may end in lava or water, or fall more than three blocks, as far as is known."""
    x, y, z = place
    around = [code_at(info, (x + i, y + up, z + k)) for i in (-1, 0, 1) for up in (-1, 0, 1, 2) for k in (-1, 0, 1)]
    if any(code in LAVA for code in around) or any(code_at(info, (x, y + up, z)) in LIQUIDS for up in (0, 1)):
        return True
    below = [code_at(info, (x, y - n, z)) for n in (1, 2, 3, 4)]
    return is_free(info, place) and all(code <= OTHER_FREE for code in below)
