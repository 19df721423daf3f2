"""The state of a world, and what its agent has seen of it: one record of numbers each, so that copying, saving and comparing are simple.

WORLD is hidden from agents. SEEN holds what somebody who watched Crafter's pictures could know: the parts of the map that have been in
view, who was there when last looked at, and the agent's own body.
"""

from __future__ import annotations

import numba
import numpy as np

from rlgpt.envs.crafter.rules import ACHIEVEMENTS, AREA, CHUNKS_A_SIDE, ITEMS, VIEW_HEIGHT, VIEW_WIDTH

CAPACITY = 1536
"""Objects a world can hold: cows and enemies are a few hundred at most, and 10,000 steps do not suffice for 1,000 saplings."""

WORLD = np.dtype(
    [
        ("key", np.uint32, (624,)),  # Mersenne Twister, as in numpy.random.RandomState
        ("drawn", np.int32),
        ("step", np.int32),
        ("daylight", np.float64),
        ("material", np.uint8, (AREA, AREA)),  # [x, y]
        ("object", np.int16, (AREA, AREA)),  # 1 + number of the object in this cell, 0: none
        ("chunks", np.int16, (CHUNKS_A_SIDE**2,)),  # in the order in which something was first in them
        ("known_chunks", np.int32),
        # Objects in the order in which they came, the player first.
        ("objects", np.int32),
        ("kind", np.uint8, (CAPACITY,)),
        ("x", np.int16, (CAPACITY,)),
        ("y", np.int16, (CAPACITY,)),
        ("health", np.int16, (CAPACITY,)),  # the player's is the item
        ("timer", np.int32, (CAPACITY,)),  # zombie: cooldown, skeleton: reload, plant: grown
        ("dx", np.int8, (CAPACITY,)),  # arrow: where it flies; player: where it looks
        ("dy", np.int8, (CAPACITY,)),
        ("inventory", np.int32, (len(ITEMS),)),
        ("achievements", np.int32, (len(ACHIEVEMENTS),)),
        ("sleeping", np.int32),
        ("hunger", np.float64),
        ("thirst", np.float64),
        ("fatigue", np.float64),
        ("recover", np.float64),
        ("health_before", np.int32),  # after the player's last update, to wake up when hurt
        ("health_rewarded", np.int32),  # at the end of the last step
    ],
    align=True,
)

SEEN = np.dtype(
    [
        ("step", np.int32),
        ("x", np.int32),
        ("y", np.int32),
        ("dx", np.int32),
        ("dy", np.int32),
        ("sleeping", np.int32),
        ("daylight", np.float64),
        ("damage", np.int32),  # health lost in the last step
        ("enemies", np.int32),  # zombies and skeletons in view
        ("new_enemies", np.int32),  # how many more than a step ago
        ("inventory", np.int32, (len(ITEMS),)),
        ("achievements", np.int32, (len(ACHIEVEMENTS),)),
        ("map", np.uint8, (AREA, AREA)),  # [x, y] material as last seen, 0: never seen
        ("creatures", np.uint8, (AREA, AREA)),  # who was there when last seen
        ("when", np.int32, (AREA, AREA)),  # step in which the cell was last in view, -1: never
        ("in_view", np.uint8, (VIEW_WIDTH, VIEW_HEIGHT)),  # materials in view, the agent in the middle
        ("in_view_creatures", np.uint8, (VIEW_WIDTH, VIEW_HEIGHT)),
        ("distance", np.int16, (AREA, AREA)),  # steps to walk there over cells known to be free, -1: no way known
        ("first", np.int8, (AREA, AREA)),  # number of the direction of the first of these steps, -1
        ("reached", np.uint8, (AREA * AREA, 2)),  # the cells [x, y] that distance is known of, the nearest first
        ("reached_cells", np.int32),
    ],
    align=True,
)

World = numba.from_dtype(WORLD)[::1]
Seen = numba.from_dtype(SEEN)[::1]
