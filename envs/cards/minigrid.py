"""Toolkit of MiniGrid: what its 7x7 view shows, by names and in steps ahead and to the right, and the way to a cell that is seen."""

from __future__ import annotations

from collections import deque
from typing import Any

Obs = dict[str, Any]
KINDS = ("unseen", "empty", "wall", "floor", "door", "key", "ball", "box", "goal", "lava", "agent")
COLORS = ("red", "green", "blue", "purple", "yellow", "grey")
DOORS = ("open", "closed", "locked")
DIRECTIONS = ("right", "down", "left", "up")
LEFT, RIGHT, FORWARD = 0, 1, 2
_TURNS = ((0, 1), (1, 0), (0, -1), (-1, 0))  # (right, ahead) of a step, by quarter turns to the right


def cell(obs: Obs, ahead: int, right: int = 0) -> tuple[str, str, str]:
    """(kind, colour, "open" or "closed" or "locked" of a door) of the cell so many cells ahead and to the right (negative: left).

    The cell in front is cell(obs, 1). Where there is no colour or door, "" stands; outside the view it is ("unseen", "", "").
    """
    image = obs["image"]
    width, height = image.shape[:2]
    i, j = width // 2 + right, height - 1 - ahead
    if not (0 <= i < width and 0 <= j < height):
        return "unseen", "", ""
    kind, color, state = (int(part) for part in image[i, j])
    name = KINDS[kind]
    named = name not in ("unseen", "empty", "floor", "agent")
    return name, COLORS[color] if named else "", DOORS[state] if name == "door" else ""


def carried(obs: Obs) -> tuple[str, str] | None:
    """What the agent carries, as (kind, colour), or None."""
    kind, color, _ = cell(obs, 0)
    return (kind, color) if kind in ("key", "ball", "box") else None


def find(obs: Obs, kind: str, color: str | None = None, state: str | None = None) -> list[tuple[int, int]]:
    """Where such things are seen, as (ahead, right), the nearest first; [] if none is. What the agent carries is not among them."""
    width, height = obs["image"].shape[:2]
    found = []
    for ahead in range(height):
        for right in range(-(width // 2), width // 2 + 1):
            what = cell(obs, ahead, right)
            if (ahead, right) != (0, 0) and what[0] == kind and color in (None, what[1]) and state in (None, what[2]):
                found.append((ahead, right))
    return sorted(found, key=lambda place: (abs(place[0]) + abs(place[1]), place))


def way(obs: Obs, ahead: int, right: int = 0) -> list[int] | None:
    """Fewest turns and steps, as a list of actions, after which the agent FACES that cell; [] if it does, None if no way is seen.

    The way leads over cells that are seen to be free.
    """
    start, goal = (0, 0, 0), (right, ahead)
    before: dict[tuple[int, int, int], tuple[tuple[int, int, int], int]] = {}
    waiting = deque([start])
    while waiting:
        here = waiting.popleft()
        x, y, heading = here
        dx, dy = _TURNS[heading]
        if (x + dx, y + dy) == goal:
            return _back(before, here)
        following = [((x, y, (heading - 1) % 4), LEFT), ((x, y, (heading + 1) % 4), RIGHT)]
        if _free(obs, y + dy, x + dx):
            following.append(((x + dx, y + dy, heading), FORWARD))
        for place, action in following:
            if place not in before and place != start:
                before[place] = (here, action)
                waiting.append(place)
    return None


def words(obs: Obs, _info: dict[str, Any]) -> str:
    """The observation in words, for traces."""
    seen = []
    width, height = obs["image"].shape[:2]
    for ahead in range(height):
        for right in range(-(width // 2), width // 2 + 1):
            kind, color, state = cell(obs, ahead, right)
            if (ahead, right) != (0, 0) and kind in KINDS[4:10]:
                side = f"{abs(right)} {'right' if right > 0 else 'left'}" if right else ""
                seen.append(f"{' '.join(filter(None, (state, color, kind)))} at {', '.join(filter(None, (f'{ahead} ahead', side)))}")
    kind, color, state = cell(obs, 1)
    load = carried(obs)
    front = " ".join(filter(None, (state, color if kind != "wall" else "", kind)))
    return f"looks {DIRECTIONS[int(obs['direction'])]}, in front: {front}, carries: {' '.join(reversed(load)) if load else 'nothing'}" + (
        f", sees: {'; '.join(seen)}" if seen else ""
    )


def _free(obs: Obs, ahead: int, right: int) -> bool:
    kind, _, state = cell(obs, ahead, right)
    return kind in ("empty", "floor", "goal") or (kind, state) == ("door", "open") or (ahead, right) == (0, 0)


def _back(before: dict[tuple[int, int, int], tuple[tuple[int, int, int], int]], here: tuple[int, int, int]) -> list[int]:
    actions = []
    while here in before:
        here, action = before[here]
        actions.append(action)
    return actions[::-1]
