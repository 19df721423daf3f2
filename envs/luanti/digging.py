"""The toolkit's work with blocks: digging, ways and shafts, and setting things down."""

from __future__ import annotations

import math
from typing import Any

from rlgpt.envs.luanti import aim
from rlgpt.envs.luanti.acting import action, centre, look_at, look_before, noop, place, step_into, take_tool
from rlgpt.envs.luanti.blocks import LIQUIDS
from rlgpt.envs.luanti.knowing import (
    DROPS,
    NEAR,
    Info,
    Place,
    Play,
    block_at,
    code_at,
    count,
    distance,
    here,
    in_reach,
    is_free,
    near,
    places,
    unsafe,
)


def dig_block(obs: Any, info: Info, place: Place, steps: int = 160) -> Play:
    """Look at a block in reach, with a pickaxe that will do, and dig until it is gone; also digs what is in the hand's way."""
    for _ in range(12):
        if is_free(info, place) or info["died"]:
            break
        obs, info = yield from look_at(obs, info, place)
        if info["aim"] is None:
            break
        obs, info = yield from take_tool(obs, info, info["pointed"])
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
    below = [code_at(info, (x, y - n, z)) for n in range(1, 6)]
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
        obs, info = yield from one_nearer(obs, info, place)
        if here(info) == at and not in_reach(info, place):
            break
        if info["step"] == before:
            obs, info = yield noop()
    return obs, info


def descend(obs: Any, info: Info, level: int, seek: tuple[str, ...] = (), steps: int = 3000) -> Play:
    """Dig straight down, falling while digging, until the feet are at y = level. Ends before that when a block named in `seek` (of the
    remembered kinds) is known within 6 blocks, lava is near, the tool in hand cannot go on, or nothing moves; sinks through water.
    """
    obs, info = yield from centre(obs, info)
    lowest, since = info["y"], info["step"]
    end = info["step"] + steps
    while here(info)[1] > level and info["step"] < min(end, since + 150) and not info["died"]:
        x, y, z = here(info)
        if near(info, *seek) is not None or near(info, "lava", within=4) is not None:
            break
        obs, info = yield from take_tool(obs, info, block_at(info, (x, y - 1, z)))
        obs, info = yield action(info, jump=2 if info["in_liquid"] else 0, down=90 - info["pitch"], do="attack")
        if info["refused"].startswith("the tool"):
            break
        if info["y"] < lowest - 0.5:
            lowest, since = info["y"], info["step"]
    return obs, info


def tunnel(obs: Any, info: Info, heading: tuple[int, int], length: int, seek: tuple[str, ...] = (), slope: int = 0) -> Play:
    """Dig a tunnel two blocks high, or with slope -1 stairs down, walking on while digging; heading is (1, 0) east, (-1, 0) west, (0, 1)
    south or (0, -1) north. Ends before `length` blocks when a block named in `seek` is known within 6 blocks, before lava, water or a drop
    of more than three blocks, or when nothing moves.
    """
    dx, dz = heading
    obs, info = yield from centre(obs, info)
    begun, since, at = here(info), info["step"], here(info)
    while not info["died"] and info["step"] < since + 150:
        x, y, z = here(info)
        goal = (x + dx, y + slope, z + dz)
        obs, info = yield from look_before(obs, info, goal)
        if abs(x - begun[0]) + abs(z - begun[2]) >= length or near(info, *seek) is not None or unsafe(info, goal):
            break
        if (x, y, z) != at:
            at, since = (x, y, z), info["step"]
        ahead = [(x + n * dx, y + (n - 1) * slope + up, z + n * dz) for n in (1, 2) for up in range(1, slope - 1, -1)]
        target = next((cell for cell in ahead if not is_free(info, cell)), ahead[-1])
        if block_at(info, target) == "unseen":
            target = ahead[0]
        obs, info = yield from take_tool(obs, info, block_at(info, target))
        _, down = aim.angles(info, (target[0] + 0.5, target[1] + 0.5, target[2] + 0.5))
        right = aim.turn(math.degrees(math.atan2(-dx, dz)) - info["yaw"])
        # Stairs: whoever walks on before the lowest block is gone stays on this level.
        walks = round(right / info["camera"]) == 0 and (slope == 0 or all(is_free(info, cell) for cell in ahead[: 2 - slope]))
        obs, info = yield action(info, ahead=int(walks), right=right, down=down, do="attack")
        if info["refused"].startswith("the tool"):
            break
    return obs, info


def gather(obs: Any, info: Info, name: str, number: int, within: float = NEAR) -> Play:
    """Dig known blocks of that name, the nearest first, until so many of what they drop are held or none is known within so many blocks."""
    item, tried = DROPS.get(name, name), set[Place]()
    while count(info, item) < number and not info["died"]:
        goal = next((place for place in places(info, name) if place not in tried and distance(info, place) <= within), None)
        if goal is None:
            break
        tried.add(goal)
        obs, info = yield from dig_towards(obs, info, goal, steps=300)
    return obs, info


def set_down(obs: Any, info: Info, item: str) -> Play:
    """Place a held block such as "crafting_table" or "furnace" beside the agent; digs a niche where everything around is solid."""
    obs, info = yield from centre(obs, info)
    x, y, z = here(info)
    around = ((0, 1), (1, 0), (0, -1), (-1, 0))
    for dx, dz in sorted(around, key=lambda side: not is_free(info, (x + side[0], y + 1, z + side[1]))):
        before = count(info, item)
        # At the height of the eyes where it is solid below, else on the ground.
        niche = (x + dx, y + (not is_free(info, (x + dx, y, z + dz))), z + dz)
        if not is_free(info, niche):
            obs, info = yield from dig_block(obs, info, niche)
        for away in ((0, -1, 0), (dx, 0, dz), (dz, 0, dx), (-dz, 0, -dx)):
            support = (niche[0] + away[0], niche[1] + away[1], niche[2] + away[2])
            if count(info, item) == before > 0 and is_free(info, niche) and not is_free(info, support):
                obs, info = yield from place_against(obs, info, item, niche, support)
        if count(info, item) < before:
            break
    return obs, info


def one_nearer(obs: Any, info: Info, place: Place) -> Play:
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
    obs, info = yield from look_before(obs, info, to)
    if not unsafe(info, to):
        obs, info = yield from step_into(obs, info, to)
    return obs, info


def place_against(obs: Any, info: Info, item: str, niche: Place, support: Place) -> Play:
    """Look at the side of `support` that borders on `niche`, past plants, and place the item there."""
    border = [0.5 + niche[i] + 0.45 * (support[i] - niche[i]) for i in range(3)]
    for _ in range(40):
        right, down = aim.angles(info, (border[0], border[1], border[2]))
        # Grass and flowers stop a hand.
        in_the_way = info["aim"] is not None and is_free(info, tuple(info["aim"]))
        if not in_the_way and abs(right) <= info["camera"] / 2 and abs(down) <= info["camera"] / 2:
            break
        obs, info = yield action(info, right=right, down=down, do="attack" if in_the_way else "none")
    if info["aim"] is not None and tuple(info["aim"]) == support:
        obs, info = yield place(info, item)
    return obs, info
