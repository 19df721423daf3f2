"""Where to look to see a block: points of it, and the angles from the agent's eye to them. Degrees; yaw 0 is south, 90 west."""

from __future__ import annotations

import math
from typing import Any

Info = dict[str, Any]
Place = tuple[int, int, int]
EYE = 1.47  # blocks above the feet


def points(place: Place) -> list[tuple[float, float, float]]:
    """The middle of a block, then points nearer to its faces."""
    x, y, z = place[0] + 0.5, place[1] + 0.5, place[2] + 0.5
    away = 0.35
    offsets = ((0, 0, 0), (0, away, 0), (0, -away, 0), (away, 0, 0), (-away, 0, 0), (0, 0, away), (0, 0, -away))
    return [(x + dx, y + dy, z + dz) for dx, dy, dz in offsets]


def angles(info: Info, point: tuple[float, float, float]) -> tuple[float, float]:
    """Degrees to the right and down from the middle of the view to a point."""
    dx, dy, dz = point[0] - info["x"], point[1] - info["y"] - EYE, point[2] - info["z"]
    flat = math.hypot(dx, dz)
    right = 0.0 if flat < 0.05 else turn(math.degrees(math.atan2(-dx, dz)) - info["yaw"])
    return right, -math.degrees(math.atan2(dy, flat)) - info["pitch"]


def turn(degrees: float) -> float:
    """The same direction, from -180 up to 180."""
    return (degrees + 180) % 360 - 180


def sign(value: float) -> int:
    """-1, 0 or 1; values near 0 count as 0."""
    return 0 if abs(value) < 0.05 else (1 if value > 0 else -1)
