"""A hand-written way to a diamond, of the card's toolkit alone: what a capable reader of the card might write.

`answers.py` beside it makes the hand-written answers of the bundled scenarios out of these functions; tests and benchmarks play them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rlgpt.envs.luanti.toolkit import (
    can_craft,
    centre,
    count,
    craft,
    descend,
    dig_block,
    dig_towards,
    distance,
    equip,
    gather,
    here,
    look_around,
    near,
    noop,
    places,
    set_down,
    tunnel,
    walk_to,
)

Play = Any


def get_logs(obs, info, number=3) -> Play:
    """Walk from trunk to trunk and dig what can be reached, until so many logs are held."""
    obs, info = yield from look_around(obs, info)
    for _ in range(40):
        if count(info, "log") >= number or info["died"]:
            break
        trunks = [place for place in places(info, "log") if place[1] - here(info)[1] <= 4]
        if not trunks:
            obs, info = yield from walk_to(obs, info, (here(info)[0] + 12, here(info)[1], here(info)[2]), steps=60)
            obs, info = yield from look_around(obs, info)
            continue
        before = count(info, "log")
        for trunk in trunks[:4]:
            obs, info = yield from walk_to(obs, info, trunk, within=1.6)
            if distance(info, trunk) <= 3.9:
                obs, info = yield from dig_block(obs, info, trunk)
            if count(info, "log") > before:
                break
        else:
            obs, info = yield from dig_towards(obs, info, trunks[0], steps=200)
    return obs, info


def make(obs, info, item, number=1) -> Play:
    """Craft until so many are held, or it cannot be."""
    while count(info, item) < number and can_craft(info, item):
        obs, info = yield craft(item)
    return obs, info


def take_up(obs, info, item) -> Play:
    """Take a table or furnace along again."""
    where = near(info, item)
    if where is not None:
        obs, info = yield from dig_towards(obs, info, where, steps=200)
    return obs, info


def at_table(obs, info, item, number=1) -> Play:
    """Make tools at a table, which is put down here unless one is near, and is taken along."""
    if count(info, "stick") < 2:
        obs, info = yield from make(obs, info, "planks")
        obs, info = yield from make(obs, info, "stick", 2)
    if not info["table"]:
        if not count(info, "crafting_table"):
            obs, info = yield from make(obs, info, "planks", 4)
            obs, info = yield from make(obs, info, "crafting_table")
        obs, info = yield from set_down(obs, info, "crafting_table")
    if item == "wooden_pickaxe":
        obs, info = yield from make(obs, info, "planks", 3)
    obs, info = yield from make(obs, info, item, number)
    obs, info = yield from take_up(obs, info, "crafting_table")
    return obs, info


def stone_pickaxe(obs, info) -> Play:
    """From bare hands to a stone pickaxe. Five logs do for all that is made on the way to a diamond."""
    if not count(info, "wooden_pickaxe"):
        obs, info = yield from get_logs(obs, info, 5)
        obs, info = yield from make(obs, info, "planks", 8)
        obs, info = yield from at_table(obs, info, "wooden_pickaxe")
    for turn in range(20):
        if count(info, "stone_pickaxe") or info["died"]:
            break
        begun = info["step"]
        if count(info, "cobblestone") < 3:
            obs, info = yield from descend(obs, info, here(info)[1] - 3)
        else:
            obs, info = yield from at_table(obs, info, "stone_pickaxe")
        if not count(info, "stone_pickaxe") and (info["step"] - begun > 140 or info["step"] == begun):
            heading = ((1, 0), (0, 1), (-1, 0), (0, -1))[turn % 4]
            obs, info = yield from tunnel(obs, info, heading, 4)
            if info["step"] == begun:
                obs, info = yield noop()
    return obs, info


def keep_a_pickaxe(obs, info) -> Play:
    """Make another stone pickaxe while the last one still can dig the niche for the table; also where it is gone already."""
    left = count(info, "stone_pickaxe") + count(info, "iron_pickaxe")
    last = left < 2
    worn = left == 0 or (info["holding"].endswith("_pickaxe") and info["durability"] < 0.4)
    if last and worn and count(info, "cobblestone") >= 3 and (count(info, "stick") >= 2 or can_craft(info, "stick") or count(info, "log")):
        obs, info = yield from at_table(obs, info, "stone_pickaxe", count(info, "stone_pickaxe") + 1)
    return obs, info


def smelt_iron(obs, info, number=3) -> Play:
    """Iron ingots at a furnace, which is put down here and taken along again."""
    if not info["furnace"]:
        if not count(info, "furnace"):
            if not info["table"]:
                obs, info = yield from set_down(obs, info, "crafting_table")
            obs, info = yield from make(obs, info, "furnace")
            obs, info = yield from take_up(obs, info, "crafting_table")
        obs, info = yield from set_down(obs, info, "furnace")
    obs, info = yield from make(obs, info, "iron_ingot", number)
    obs, info = yield from take_up(obs, info, "furnace")
    return obs, info


def iron_pickaxe(obs, info, number=1) -> Play:
    """One more iron pickaxe, if 3 iron ore or ingots are there."""
    obs, info = yield from centre(obs, info)
    if count(info, "iron_ingot") < 3:
        obs, info = yield from smelt_iron(obs, info)
    if count(info, "iron_ingot") >= 3:
        obs, info = yield from at_table(obs, info, "iron_pickaxe", number)
    if count(info, "iron_pickaxe"):
        obs, info = yield equip(info, "iron_pickaxe")  # digs stone in 8 ticks where a stone one takes 20
    return obs, info


def mine(obs, info, ore, item, number, iron=9) -> Play:
    """Straight down to y = -190, which uncovers five blocks for each that is dug, then tunnels; takes iron and coal along on the way."""
    turn = 0
    while count(info, item) < number and not info["died"]:
        begun = info["step"]
        obs, info = yield from keep_a_pickaxe(obs, info)
        if near(info, ore, within=24) is not None:
            obs, info = yield from gather(obs, info, ore, number, 24)
        for other, gives, most in (("iron_ore", "iron_ore", iron), ("coal_ore", "coal", 4)):
            if other != ore and count(info, gives) < most:
                obs, info = yield from gather(obs, info, other, most, 4.5)
        if item == "diamond" and count(info, "iron_ore") >= 3 and count(info, "iron_pickaxe") < 2:
            obs, info = yield from iron_pickaxe(obs, info, count(info, "iron_pickaxe") + 1)
        if count(info, item) >= number:
            break
        seek = () if near(info, ore) is not None else (ore,)  # what is near and was not reached is left alone
        # Who was hurt by a fall into a cave sinks no more shafts: stairs show the ground ahead, and level tunnels find ore as well.
        enough = -40 if ore == "diamond_ore" else -10
        hurt = info["life"] <= (16 if here(info)[1] <= enough else 10)
        level = enough if hurt else -190
        if here(info)[1] > level and not hurt:
            obs, info = yield from descend(obs, info, max(level, here(info)[1] - 12), seek)
        if here(info)[1] <= level or info["step"] - begun < 5 or hurt:
            at, slope = here(info), -1 if here(info)[1] > level and turn % 3 < 2 else 0
            obs, info = yield from tunnel(obs, info, ((1, 0), (0, 1), (-1, 0), (0, -1))[turn % 4], 12, seek, slope)
            turn += here(info) == at or here(info)[1] > level
        if info["step"] == begun:
            obs, info = yield noop()
            turn += 1
    return obs, info


def make_stone_pickaxe(obs, info) -> Play:
    """A stone pickaxe from bare hands, and stone for a furnace."""
    obs, info = yield from stone_pickaxe(obs, info)
    return obs, info


def make_iron_ingots(obs, info, number=3) -> Play:
    """Iron ingots from whatever is there already."""
    if not count(info, "stone_pickaxe"):
        obs, info = yield from stone_pickaxe(obs, info)
    obs, info = yield from mine(obs, info, "iron_ore", "iron_ore", number)
    obs, info = yield from mine(obs, info, "stone", "cobblestone", 8)
    obs, info = yield from smelt_iron(obs, info, number)
    return obs, info


def make_iron_pickaxe(obs, info) -> Play:
    """An iron pickaxe from whatever is there already."""
    if count(info, "iron_ingot") < 3:
        obs, info = yield from make_iron_ingots(obs, info)
    obs, info = yield from iron_pickaxe(obs, info)
    return obs, info


def find_diamond(obs, info) -> Play:
    """A diamond from whatever is there already."""
    if not count(info, "iron_pickaxe"):
        obs, info = yield from make_iron_pickaxe(obs, info)
    obs, info = yield from mine(obs, info, "diamond_ore", "diamond", 1)
    return obs, info


def play(env: Any, seed: int, skill: Callable[..., Play], steps: int = 12_000, watch: Callable[..., None] | None = None) -> dict[str, Any]:
    """The last info of an episode, which ends with the skill, its own end, or after so many steps."""
    obs, info = env.reset(seed=seed)
    course = skill(obs, info)
    try:
        chosen = next(course)
        for _ in range(steps):
            obs, _, terminated, _, info = env.step(chosen)
            if watch is not None:
                watch(info)
            if terminated:
                break
            chosen = course.send((obs, info))
    except StopIteration:
        pass
    return info
