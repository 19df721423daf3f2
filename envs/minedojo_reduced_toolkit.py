"""Functions for skills in MineDojo with the reduced actions, [12, 3]: one move, and nothing, use or attack. The card's toolkit.

There is no crafting, equipping or placing in them. The view turns by 30 degrees a step.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import numpy as np
import numpy.typing as npt

from rlgpt.envs import minedojo_toolkit as full

Info = dict[str, Any]
Action = npt.NDArray[np.int64]
Play = Generator[Action, tuple[Any, Info], tuple[Any, Info]]

MOVES = ("none", "forward", "back", "left", "right", "jump", "sneak", "sprint", "look_up", "look_down", "turn_left", "turn_right")
FUNCTIONS = ("none", "use", "attack")
DEGREES = 30


def action(move: str = "none", do: str = "none") -> Action:
    """Move (none, forward, back, left, right, jump, sneak, sprint, look_up, look_down, turn_left, turn_right), and none, use or attack."""
    if move not in MOVES or do not in FUNCTIONS:
        raise ValueError(f"move {move!r}, do {do!r}: expected one of {', '.join(MOVES)}, and one of {', '.join(FUNCTIONS)}")
    return np.array([MOVES.index(move), FUNCTIONS.index(do)])


def nearest(info: Info, name: str) -> dict[str, Any] | None:
    """The nearest hit of that name ("cow", "wood" is a log, "stone"): its distance in blocks, degrees down and to the right; or None."""
    return full.nearest(info, name)


def count(info: Info, item: str) -> int:
    """How many of an item are held."""
    return full.count(info, item)


def turn_to(hit: dict[str, Any]) -> Action:
    """One step of the view towards a hit, the larger of its two angles first; no move where both are below 15 degrees."""
    right, down = hit["right"], hit["down"]
    if max(abs(right), abs(down)) < DEGREES / 2:
        return action()
    if abs(right) >= abs(down):
        return action("turn_right" if right > 0 else "turn_left")
    return action("look_down" if down > 0 else "look_up")


def look_for(obs: Any, info: Info, name: str, turns: int = 12) -> Play:
    """Turn on the spot until something of that name is seen, and towards it."""
    for _ in range(turns):
        hit = nearest(info, name)
        if hit is not None and max(abs(hit["right"]), abs(hit["down"])) < DEGREES / 2:
            break
        obs, info = yield turn_to(hit) if hit is not None else action("turn_right")
    return obs, info


def walk_to(obs: Any, info: Info, name: str, within: float = 3.0, steps: int = 100) -> Play:
    """Walk towards the nearest of that name until it is within so many blocks; jumps where it does not get on, turns where it sees none."""
    for _ in range(steps):
        hit = nearest(info, name)
        if hit is not None and hit["distance"] <= within:
            break
        before = info["x"], info["z"]
        if hit is None or abs(hit["right"]) >= DEGREES / 2:
            obs, info = yield turn_to(hit) if hit is not None else action("turn_right")
            continue
        obs, info = yield action("forward")
        if np.hypot(info["x"] - before[0], info["z"] - before[1]) < 0.05:
            obs, info = yield action("jump")
    return obs, info


def attack_for(obs: Any, info: Info, steps: int) -> Play:
    """Hold the attack on what is in view: a block takes many steps (a log about 60 by hand), an animal several strikes."""
    for _ in range(steps):
        obs, info = yield action(do="attack")
    return obs, info


def words(obs: Any, info: Info) -> str:
    """The observation in words, for critics."""
    return full.words(obs, info)
