"""Actions: MineDojo's eight parts, or the two of the reduced form.

full     [forward/back, left/right, jump/sneak/sprint, pitch, yaw, function, craft, slot], sizes FULL
reduced  [12, 3]: noop, forward, back, left, right, jump, sneak, sprint, look up, down, turn left, right; and nothing, use, attack
"""

from __future__ import annotations

from typing import Any

import numpy as np

FULL = (3, 3, 4, 25, 25, 8, 244, 36)
REDUCED = (12, 3)
NOOP = (0, 0, 0, 12, 12, 0, 0, 0)
USE, DROP, ATTACK, CRAFT, EQUIP, PLACE, DESTROY = range(1, 8)
# Part and value of each of the reduced choices; pitch and yaw in steps from 12, so that these turn by two.
_MOVES = ((0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 1), (2, 2), (2, 3), (3, 10), (3, 14), (4, 10), (4, 14))
_FUNCTIONS = (0, USE, ATTACK)


def full(action: Any) -> list[int]:
    """The eight parts of an action of either kind. Raises ValueError for one of another form."""
    given = np.asarray(action, np.int64)
    if given.shape == (8,):
        whole: list[int] = given.tolist()
        return whole
    if given.shape != (2,):
        raise ValueError(f"an action has 8 parts, or 2 in the reduced form; this one has shape {given.shape}")
    parts = list(NOOP)
    part, value = _MOVES[int(given[0])]
    if given[0]:
        parts[part] = value
    parts[5] = _FUNCTIONS[int(given[1])]
    return parts
