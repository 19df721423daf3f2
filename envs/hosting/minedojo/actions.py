"""Actions: MineDojo's eight parts, or the reduced two of RL-GPT's and Plan4MC's learners.

full     [forward/back, left/right, jump/sneak/sprint, pitch, yaw, function, craft index, slot], sizes FULL
reduced  [12, 3]: noop, forward, back, left, right, jump, sneak, sprint, look up, down, turn left, right; and nothing, use, attack
"""

from __future__ import annotations

from typing import Any

import numpy as np

FULL = (3, 3, 4, 25, 25, 8, 244, 36)
REDUCED = (12, 3)
NOOP = (0, 0, 0, 12, 12, 0, 0, 0)
USE, DROP, ATTACK, CRAFT, EQUIP, PLACE, DESTROY = range(1, 8)
SLOTTED = {EQUIP: "equip", PLACE: "place", DESTROY: "destroy"}
# Part and value of each of the reduced choices; pitch and yaw in steps of 15 degrees from 12, so that these turn by 30.
_MOVES = ((0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 1), (2, 2), (2, 3), (3, 10), (3, 14), (4, 10), (4, 14))
_FUNCTIONS = (0, USE, ATTACK)


def full(action: Any) -> Any:
    """The eight parts of an action of either kind, int64 [8]."""
    given = np.asarray(action, np.int64)
    if given.shape == (len(FULL),):
        return given.copy()
    parts = np.array(NOOP, np.int64)
    part, value = _MOVES[int(given[0])]
    if given[0]:
        parts[part] = value
    parts[5] = _FUNCTIONS[int(given[1])]
    return parts


def possible(parts: Any, masks: Any) -> str:
    """ "" if MineDojo would take the function, else why not: it raises an error for empty slots."""
    function, slot = int(parts[5]), int(parts[7])
    if function in SLOTTED and not masks[SLOTTED[function]][slot]:
        return f"{SLOTTED[function]} slot {slot}: that slot is empty, or its item cannot be used so"
    return ""
