"""Functions for skills in Luanti: the card's toolkit (`envs/cards/luanti.yaml`), for the eight-part action.

Those that return an action are used as `obs, info = yield craft("planks")`; those that take `obs, info` first are generators, used as
`obs, info = yield from dig_block(obs, info, block)`, and give back the last `obs, info`. They know only what the agent has seen. A place is
a block's corner (x, y, z) of whole numbers: x east, y up, z south; the agent stands in `here(info)`.
"""

from __future__ import annotations

import math
from collections.abc import Generator
from typing import Any

import numpy as np
import numpy.typing as npt

from rlgpt.envs.luanti import aim
from rlgpt.envs.luanti.blocks import BLOCK, BLOCKS, LIQUIDS, OTHER_FREE, UNSEEN
from rlgpt.envs.minedojo_toolkit import CRAFT, FUNCTIONS

Info = dict[str, Any]
Action = npt.NDArray[np.int64]
Place = tuple[int, int, int]
Play = Generator[Action, tuple[Any, Info], tuple[Any, Info]]

REACH = 3.9
SPARED = 0.1  # of a tool's durability
PICKAXES = ("wooden_pickaxe", "stone_pickaxe", "iron_pickaxe", "diamond_pickaxe")
# The least pickaxe that digs it; what is not here needs none.
NEEDS = {
    **dict.fromkeys(("stone", "cobblestone", "mossy_cobblestone", "coal_ore", "furnace", "sandstone"), "wooden_pickaxe"),
    **dict.fromkeys(("iron_ore", "copper_ore", "tin_ore", "gold_ore"), "stone_pickaxe"),
    **dict.fromkeys(("diamond_ore", "mese_ore"), "iron_pickaxe"),
}


def action(
    info: Info,
    ahead: int = 0,
    left: int = 0,
    jump: int = 0,
    down: float = 0,
    right: float = 0,
    do: str = "none",
    craft: int = 0,
    slot: int = 0,
) -> Action:
    """Any action: ahead 1 or -1, left 1 or -1, jump 1 (2 sneak, 3 sprint), degrees to look down and to turn right, and one function."""
    turned = [12 + max(-12, min(12, round(degrees / info["camera"]))) for degrees in (down, right)]
    return np.array([ahead % 3, left % 3, jump, *turned, FUNCTIONS.index(do), craft, slot])


def noop() -> Action:
    """Do nothing for a step."""
    return np.array([0, 0, 0, 12, 12, 0, 0, 0])


def craft(item: str) -> Action:
    """Craft or smelt an item, such as "planks" or "iron_ingot"; a table or furnace has to be near where one is needed."""
    if item not in CRAFT:
        raise ValueError(f"{item!r} can be neither crafted nor smelted")
    return np.array([0, 0, 0, 12, 12, FUNCTIONS.index("craft"), CRAFT[item], 0])


def can_craft(info: Info, item: str) -> bool:
    """Whether it would be crafted or smelted here and now."""
    return item in CRAFT and CRAFT[item] in info["craftable"]


def equip(info: Info, item: str) -> Action:
    """Take an item that is held into the hand."""
    return np.array([0, 0, 0, 12, 12, FUNCTIONS.index("equip"), 0, slot_of(info, item)])


def place(info: Info, item: str) -> Action:
    """Place a block that is held against the block in the middle of the view."""
    return np.array([0, 0, 0, 12, 12, FUNCTIONS.index("place"), 0, slot_of(info, item)])


def slot_of(info: Info, item: str) -> int:
    """The slot that holds an item; an error if none does."""
    if item not in info["slots"]:
        raise ValueError(f"no {item} is held, only {', '.join(info['inventory']) or 'nothing'}")
    return int(info["slots"].index(item))


def count(info: Info, item: str) -> int:
    """How many of an item are held."""
    return int(info["inventory"].get(item, 0))


# Where things are


def here(info: Info) -> Place:
    """The block the agent's feet are in."""
    return math.floor(info["x"]), math.floor(info["y"] + 1e-3), math.floor(info["z"])


def block_at(info: Info, place: Place) -> str:
    """What is known to be there: "unseen", also beyond 8 blocks to the side or 5 up or down; "other" or "other_free" for rarer blocks."""
    return BLOCKS[_code(info, place)]


def is_free(info: Info, place: Place) -> bool:
    """Whether a body can be there, as far as is known, and it is no liquid."""
    code = _code(info, place)
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


def distance(info: Info, place: Place) -> float:
    """From the eye to the middle of a block."""
    x, y, z = place
    return math.dist((info["x"], info["y"] + aim.EYE, info["z"]), (x + 0.5, y + 0.5, z + 0.5))


def in_reach(info: Info, place: Place) -> bool:
    """Whether a hand may reach it, if nothing is in between."""
    return distance(info, place) <= REACH


# Looking and going


def turn_to(info: Info, place: Place) -> Action:
    """Turn the view towards the middle of a block, in whole steps of the camera."""
    right, down = aim.angles(info, (place[0] + 0.5, place[1] + 0.5, place[2] + 0.5))
    return action(info, right=right, down=down)


def look_at(obs: Any, info: Info, place: Place) -> Play:
    """Turn until the block is in the middle of the view, as far as the camera's steps allow."""
    for target in aim.points(place):
        right, down = aim.angles(info, target)
        if round(right / info["camera"]) or round(down / info["camera"]):
            obs, info = yield action(info, right=right, down=down)
        if info["aim"] is not None and tuple(info["aim"]) == place:
            break
    return obs, info


def look_around(obs: Any, info: Info, pitch: float = 0) -> Play:
    """Turn once around, so that what can be seen from here is known."""
    for _ in range(8):
        obs, info = yield action(info, right=45, down=pitch - info["pitch"])
    return obs, info


def walk_to(obs: Any, info: Info, place: Place, within: float = 2.5, steps: int = 200) -> Play:
    """Walk towards a block until it is within so many blocks to the side, or no step gets on; jumps onto what is one block high."""
    stuck = 0
    for _ in range(steps):
        dx, dz = place[0] + 0.5 - info["x"], place[2] + 0.5 - info["z"]
        if math.hypot(dx, dz) <= within or stuck > 12:
            break
        right = aim.turn(math.degrees(math.atan2(-dx, dz)) - info["yaw"])
        before = info["x"], info["y"], info["z"]
        obs, info = yield action(info, ahead=1, jump=int(stuck > 0 or info["in_liquid"]), right=right, down=-info["pitch"])
        moved = math.dist(before, (info["x"], info["y"], info["z"]))
        stuck = stuck + 1 if moved < 0.05 or (stuck and abs(info["y"] - before[1]) > 1e-3) else 0
    return obs, info


def centre(obs: Any, info: Info, steps: int = 30) -> Play:
    """Go to the middle of the block one stands in, so that all of a hole below is open to fall through."""
    x, y, z = here(info)
    sneak = 0 if is_free(info, (x, y - 1, z)) else 2  # who sneaks does not go over an edge
    for _ in range(steps):
        dx, dz = x + 0.5 - info["x"], z + 0.5 - info["z"]
        if max(abs(dx), abs(dz)) < 0.15:
            break
        yaw = math.radians(info["yaw"])
        ahead, left = -math.sin(yaw) * dx + math.cos(yaw) * dz, math.cos(yaw) * dx + math.sin(yaw) * dz
        obs, info = yield action(info, ahead=aim.sign(ahead), left=aim.sign(left), jump=sneak)
    return obs, info


def step_into(obs: Any, info: Info, place: Place, steps: int = 40) -> Play:
    """Walk into the free block beside the one one stands in, one up by a jump, or down."""
    for _ in range(steps):
        if here(info) == place or (here(info)[0], here(info)[2]) == (place[0], place[2]):
            break
        dx, dz = place[0] + 0.5 - info["x"], place[2] + 0.5 - info["z"]
        right = aim.turn(math.degrees(math.atan2(-dx, dz)) - info["yaw"])
        obs, info = yield action(info, ahead=1, jump=int(place[1] > here(info)[1]), right=right)
    for _ in range(steps):
        if info["on_ground"] or info["in_liquid"]:
            break
        obs, info = yield noop()
    return obs, info


# Work


def best_pickaxe(info: Info, name: str) -> str | None:
    """The least pickaxe that is held and digs blocks of that name; None if none does."""
    least = PICKAXES.index(NEEDS.get(name, PICKAXES[0]))
    return next((pickaxe for pickaxe in PICKAXES[least:] if count(info, pickaxe)), None)


def dig_block(obs: Any, info: Info, place: Place, steps: int = 160) -> Play:
    """Look at a block in reach, with a pickaxe that will do, and dig until it is gone; also digs what is in the hand's way."""
    for _ in range(12):
        if is_free(info, place) or info["died"]:
            break
        obs, info = yield from look_at(obs, info, place)
        if info["aim"] is None:
            break
        obs, info = yield from _tool(obs, info, info["pointed"])
        target = info["aim"]
        while info["aim"] == target and steps > 0 and not info["died"]:
            obs, info = yield action(info, do="attack")
            steps -= 1
            if info["refused"]:
                return obs, info
    return obs, info


def dig_down(obs: Any, info: Info) -> Play:
    """Dig the block one stands on and fall into its place. Nothing is done above a liquid, or above a drop of more than three blocks."""
    x, y, z = here(info)
    below = [_code(info, (x, y - n, z)) for n in range(1, 6)]
    if any(code in LIQUIDS for code in below) or all(is_free(info, (x, y - n, z)) for n in range(2, 6)):
        return obs, info
    obs, info = yield from centre(obs, info)
    obs, info = yield from dig_block(obs, info, (x, y - 1, z))
    for _ in range(20):
        if here(info)[1] < y and info["on_ground"]:
            break
        obs, info = yield noop()
    return obs, info


def dig_towards(obs: Any, info: Info, place: Place, steps: int = 1500) -> Play:
    """Dig and walk a way to a block, two high and at most one up or down a step, until it is in reach, then dig it."""
    start = info["step"]
    while info["step"] - start < steps and not info["died"]:
        if is_free(info, place):
            break
        before = info["step"]
        if in_reach(info, place):
            obs, info = yield from dig_block(obs, info, place)
            if is_free(info, place) or info["refused"]:
                break
        at = here(info)
        obs, info = yield from _one_nearer(obs, info, place)
        if here(info) == at and not in_reach(info, place):
            break
        if info["step"] == before:
            obs, info = yield noop()
    return obs, info


def set_down(obs: Any, info: Info, item: str) -> Play:
    """Place a held block such as "crafting_table" or "furnace" beside the agent; digs a niche where everything around is solid."""
    obs, info = yield from centre(obs, info)
    x, y, z = here(info)
    around = ((0, 1), (1, 0), (0, -1), (-1, 0))
    for dx, dz in sorted(around, key=lambda side: not is_free(info, (x + side[0], y + 1, z + side[1]))):
        before = count(info, item)
        side = (x + dx, y + 1, z + dz)
        if not is_free(info, side):
            obs, info = yield from dig_block(obs, info, side)
        under = (x + dx, y, z + dz)
        target = under if not is_free(info, under) else (x + dx, y - 1, z + dz)
        obs, info = yield from look_at(obs, info, target)
        if count(info, item) and is_free(info, side):
            obs, info = yield place(info, item)
        if count(info, item) < before:
            break
    return obs, info


def words(_obs: Any, info: Info) -> str:
    """The observation in words, for critics."""
    said = (
        f"life {info['life']:g}, at ({info['x']:.1f}, {info['y']:.1f}, {info['z']:.1f}), yaw {info['yaw']:.0f}, pitch {info['pitch']:.0f}; "
    )
    said += f"holds {info['have']}; in hand {info['holding']}; looks at {info['pointed'] or 'nothing in reach'}"
    near = [name for name in ("table", "furnace") if info[name]]
    said += f"; near a {' and a '.join(near)}" if near else ""
    known = [f"{name} {distance(info, tuple(found[0])):.0f} away" for name, found in info["found"].items() if found]
    said += f"; knows of {', '.join(known)}" if known else ""
    said += f"; new: {info['new']}" if info["new"] else ""
    return said + (f"; refused: {info['refused']}" if info["refused"] else "") + ("; died" if info["died"] else "")


def _code(info: Info, place: Place) -> int:
    cube = info["voxels"]
    at = here(info)
    index = [place[i] - at[i] + cube.shape[i] // 2 for i in range(3)]
    if any(not 0 <= index[i] < cube.shape[i] for i in range(3)):
        return UNSEEN
    return int(cube[index[0], index[1], index[2]])


def _tool(obs: Any, info: Info, name: str) -> Play:
    """The right tool into the hand. One that will do stays there until it is nearly worn out: its last uses are for what needs it."""
    if name not in NEEDS:
        return obs, info
    holding = info["holding"]
    if holding in PICKAXES and PICKAXES.index(holding) >= PICKAXES.index(NEEDS[name]) and info["durability"] > SPARED:
        return obs, info
    tool = best_pickaxe(info, name)
    if tool and holding != tool:
        obs, info = yield equip(info, tool)
    return obs, info


def _one_nearer(obs: Any, info: Info, place: Place) -> Play:
    """One block of a way towards a place: along the longer of the two sides, up or down with it where that is needed."""
    x, y, z = here(info)
    dx, dy, dz = place[0] - x, place[1] - y, place[2] - z
    if dx == 0 and dz == 0:
        if dy < 0:
            obs, info = yield from dig_down(obs, info)
            return obs, info
        dx = 1  # not straight up, where what is loose falls down
    side = (int(math.copysign(1, dx)), 0) if abs(dx) >= abs(dz) else (0, int(math.copysign(1, dz)))
    rise = 1 if dy > 2 else -1 if dy < 0 else 0
    to = (x + side[0], y + rise, z + side[1])
    clear = [(to[0], y + 1, to[2]), (to[0], y, to[2]), to, (to[0], to[1] + 1, to[2])]
    if rise > 0:
        clear = [(x, y + 2, z), (to[0], y + 2, to[2]), (to[0], y + 1, to[2])]
    obs, info = yield from centre(obs, info)
    for cell in clear:
        if not is_free(info, cell):
            obs, info = yield from dig_block(obs, info, cell)
    obs, info = yield from step_into(obs, info, to)
    return obs, info
