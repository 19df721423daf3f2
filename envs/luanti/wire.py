"""What travels to the mod and back, as it lies in memory; `mod/layout.lua` has the same structures.

Coordinates are Minecraft's: x east, y up, z south, x and z from the block the episode began in; block i reaches from i to i + 1. Angles are
degrees: yaw 0 looks south, 90 west; pitch 90 looks straight down.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

import numpy as np

from rlgpt.envs.luanti.names import KINDS

HELLO, RESET, STEP, PROBE, STOP, CODES = 1, 2, 3, 4, 5, 6
RADIUS, HEIGHT = 8, 5  # of the cube of blocks around the agent
WIDTH, DEPTH = 2 * RADIUS + 1, 2 * HEIGHT + 1
ROWS, COLUMNS = 7, 9  # of the lidar
REACH = 32.0  # of sight, in blocks
KEPT = 4  # nearest places of each kind that are told
HITS = 24
SIZE = 64  # pixels of a picture's side
AIR, UNSEEN = 0, 1

REQUEST = struct.Struct("<2i")
ACTION = struct.Struct("<2i 8i 2i")  # the request, eight parts, ticks, whether to draw
# Every answer begins with these numbers, in the order of `Facts`, and these arrays; `fresh` says whether what is seen follows.
FACTS = struct.Struct("<3i 12i 2f 16f")
ARRAYS = np.dtype(
    [("self", "<f4", 16), ("lidar", "<f4", ROWS * COLUMNS), ("nearest", "<f4", (len(KINDS), 4)), ("creatures", "<f4", (4, 3))]
)
ARRAYS_AT = FACTS.size - 64
REPLY_BYTES = ARRAYS_AT + ARRAYS.itemsize
# Nearest places; hits of the lidar; nodes beside the feet by x, y, south; the cube by x, y, south, numbers of `blocks.BLOCKS`.
PLACES = struct.Struct(f"<{len(KINDS)}i {len(KINDS) * KEPT * 3}i")
HITS_AT, HIT = PLACES.size, struct.Struct("<3f")
HIT_PLACES_AT = HITS_AT + 4 + 4 * HITS
AROUND_AT = HIT_PLACES_AT + HITS * HIT.size
AROUND = struct.Struct("<27H")
CUBE_AT = AROUND_AT + AROUND.size
CUBE = (WIDTH, DEPTH, WIDTH)
CELLS = WIDTH * DEPTH * WIDTH
SIGHT_BYTES = CUBE_AT + CELLS + 3
PICTURE = np.dtype([("id", "<u2", (SIZE, SIZE)), ("depth", "<u2", (SIZE, SIZE)), ("face", "u1", (SIZE, SIZE))])
PICTURE_BYTES = -(-PICTURE.itemsize // 2) * 2


class Facts(NamedTuple):
    """The numbers at the beginning of an answer; the last sixteen are `environment.SELF`."""

    total: int
    tail: int
    fresh: int
    on_ground: int
    in_liquid: int
    died: int
    done: int
    tick: int
    damage: int
    dug: int
    pointed: int
    pointed_x: int
    pointed_y: int
    pointed_z: int
    creatures: int
    progress: float
    breath: float
    life: float
    food: float
    oxygen: float
    armor: float
    saturation: float
    xp: float
    x: float
    y: float
    z: float
    pitch: float
    yaw: float
    light: float
    table: float
    furnace: float
    raining: float
    sky: float
