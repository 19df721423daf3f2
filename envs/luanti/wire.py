"""What travels to the mod and back, as it lies in memory; `mod/layout.lua` has the same structures.

Coordinates are Minecraft's: x east, y up, z south, x and z from the block the episode began in; block i reaches from i to i + 1. Angles are
degrees: yaw 0 looks south, 90 west; pitch 90 looks straight down.
"""

from __future__ import annotations

import numpy as np

from rlgpt.envs.luanti.names import KINDS

HELLO, RESET, STEP, PROBE, STOP = 1, 2, 3, 4, 5
RADIUS, HEIGHT = 8, 5  # of the cube of blocks around the agent
ROWS, COLUMNS = 7, 9  # of the lidar
REACH = 32.0  # of sight, in blocks
KEPT = 4  # nearest places of each kind that are told
HITS = 24
SIZE = 64  # pixels of a picture's side
AIR, UNSEEN = 0, 1

REQUEST = np.dtype([("command", "<i4"), ("size", "<i4")])
ACTION = np.dtype([("command", "<i4"), ("size", "<i4"), ("parts", "<i4", 8), ("ticks", "<i4"), ("picture", "<i4")])
REPLY = np.dtype(
    [
        *((name, "<i4") for name in ("total", "tail", "fresh")),
        ("self", "<f4", 16),
        *((name, "<f4") for name in ("progress", "breath")),
        *((name, "<i4") for name in ("on_ground", "in_liquid", "died", "done", "tick", "damage", "dug")),
        ("pointed", "<i4", 4),
        ("counts", "<i4", len(KINDS)),
        ("places", "<i4", (len(KINDS), KEPT, 3)),
        ("nearest", "<f4", (len(KINDS), 4)),
        ("hits", "<i4"),
        ("hit_ids", "<i4", HITS),
        ("hit_at", "<f4", (HITS, 3)),
        ("lidar", "<f4", ROWS * COLUMNS),
        ("cube", "<u2", (2 * HEIGHT + 1, 2 * RADIUS + 1, 2 * RADIUS + 1)),  # y, z, x
    ]
)
REPLY_BYTES = -(-REPLY.itemsize // 4) * 4
PICTURE = np.dtype([("id", "<u2", (SIZE, SIZE)), ("depth", "<u2", (SIZE, SIZE)), ("face", "u1", (SIZE, SIZE))])
PICTURE_BYTES = -(-PICTURE.itemsize // 2) * 2
