"""The toolkit's single actions, and what turns the view and moves the body."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from rlgpt.envs.luanti import aim
from rlgpt.envs.luanti.knowing import (
    NEEDS,
    PICKAXES,
    SPARED,
    Action,
    Info,
    Place,
    Play,
    best_pickaxe,
    block_at,
    count,
    here,
    is_free,
    slot_of,
)
from rlgpt.envs.minedojo_toolkit import CRAFT, FUNCTIONS


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


def equip(info: Info, item: str) -> Action:
    """Take an item that is held into the hand."""
    return np.array([0, 0, 0, 12, 12, FUNCTIONS.index("equip"), 0, slot_of(info, item)])


def place(info: Info, item: str) -> Action:
    """Place a block that is held against the block in the middle of the view."""
    return np.array([0, 0, 0, 12, 12, FUNCTIONS.index("place"), 0, slot_of(info, item)])


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


def look_before(obs: Any, info: Info, place: Place) -> Play:
    """Look at the ground of a place beside the agent, if nothing is known of it."""
    under = (place[0], place[1] - 1, place[2])
    if is_free(info, place) and block_at(info, under) == "unseen":
        for target in (under, (place[0], place[1], place[2])):
            obs, info = yield turn_to(info, target)
            if block_at(info, under) != "unseen":
                break
    return obs, info


def take_tool(obs: Any, info: Info, name: str) -> Play:
    """The right tool into the hand. One that will do stays there until it is nearly worn out: its last uses are for what needs it."""
    if name not in NEEDS:
        return obs, info
    holding = info["holding"]
    will_do = holding in PICKAXES and PICKAXES.index(holding) >= PICKAXES.index(NEEDS[name])
    if will_do and (info["durability"] > SPARED or count(info, holding) > 1):
        return obs, info
    tool = best_pickaxe(info, name)
    if tool and holding != tool:
        obs, info = yield equip(info, tool)
    return obs, info
