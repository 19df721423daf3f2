"""How episodes begin: MineDojo's fast reset, what its fork MCEnv adds to it, and the commands that RL-GPT and Plan4MC give the game.

MineDojo's own fast reset kills the player and spreads it within some blocks. MCEnv (github.com/PKU-RL/MCEnv) takes a nearest distance
too, and can leave the player where it is (`reset(move_flag=False)`). Which of them is installed is seen by what they take.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

RANGE, LOW, HIGH = (f"fast_reset_random_teleport_range{end}" for end in ("", "_low", "_high"))
NEAREST_FORK = "only the fork MCEnv does (pip install git+https://github.com/PKU-RL/MCEnv in MineDojo's venv)"


@dataclass(frozen=True)
class Commands:
    """Chat commands, which cost a tick each: before a fast reset, and after any reset."""

    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()


NOON = ("/time set 6000", "/weather clear")
COMMANDS: dict[str, Commands] = {
    "none": Commands(),
    "plan4mc": Commands(after=NOON),
    # Sent before the reset there; a fast reset sets the time anew, so that noon comes after it here.
    "rl-gpt": Commands(before=("/kill @e[type=!player]", "/clear", "/kill @e[type=item]"), after=NOON),
}


def commands(given: Any) -> Commands:
    """The argument `commands`: a name of COMMANDS, or {"before": [...], "after": [...]}. Raises ValueError."""
    if isinstance(given, str) and given in COMMANDS:
        return COMMANDS[given]
    if isinstance(given, dict) and set(given) <= {"before", "after"}:
        lists = [given.get(when, []) for when in ("before", "after")]
        if all(
            isinstance(lines, (list, tuple)) and all(isinstance(line, str) and line.startswith("/") for line in lines) for lines in lists
        ):
            return Commands(*(tuple(lines) for lines in lists))
    raise ValueError(
        f"commands {given!r}: expected one of {', '.join(COMMANDS)}, or before and after with lists of commands such as /clear"
    )


def teleport(given: Any, known: Collection[str]) -> dict[str, Any]:
    """The argument `teleport`, None or [nearest, farthest] blocks, as arguments of a meta task that takes `known`. Raises ValueError."""
    if given is None:
        return {}
    low, high = (int(blocks) for blocks in given)
    if not 0 <= low < high:
        raise ValueError(f"teleport {list(given)!r}: expected [nearest, farthest] in blocks, the first below the second")
    if {LOW, HIGH} <= set(known):
        return {LOW: low, HIGH: high}
    if RANGE not in known:
        raise ValueError(f"teleport: this MineDojo takes no range for this task, and moves the player 200 blocks at most; {NEAREST_FORK}")
    if low:
        raise ValueError(f"teleport {list(given)!r}: this MineDojo knows no nearest distance, {NEAREST_FORK}; give [0, {high}]")
    return {RANGE: high}


def takes(function: Callable[..., Any], name: str) -> bool:
    """Whether a function has a parameter of that name."""
    return name in inspect.signature(function).parameters


class Moves:
    """Which resets of an environment move the player: every so many-th, if it can be told (`move_flag`)."""

    def __init__(self, every: int) -> None:
        if every < 1:
            raise ValueError(f"teleport_every is {every}, expected 1 or more")
        self._every, self._resets = every, 0

    def arguments(self, reset: Callable[..., Any]) -> dict[str, bool]:
        """What to give this reset. Raises ValueError where it would have to leave the player where it is and cannot."""
        self._resets += 1
        if self._every == 1:
            return {}
        if not takes(reset, "move_flag"):
            raise ValueError(
                f"teleport_every is {self._every}: this MineDojo moves the player at every fast reset; {NEAREST_FORK} otherwise"
            )
        return {"move_flag": (self._resets - 1) % self._every == 0}
