"""A new world, exactly as `crafter.worldgen` makes it, some hundred times as fast; the noise is opensimplex's own."""

from __future__ import annotations

import math
import types
from typing import Any

import numpy as np
from opensimplex import internals

from rlgpt.envs.crafter import grid
from rlgpt.envs.crafter.compiled import part
from rlgpt.envs.crafter.randomness import below, uniform
from rlgpt.envs.crafter.rules import AREA, CENTER, COW, MATERIAL, SKELETON, WALKABLE, ZOMBIE

COAL, DIAMOND, GRASS, IRON, LAVA, PATH = (MATERIAL[name] for name in ("coal", "diamond", "grass", "iron", "lava", "path"))
SAND, STONE, TREE, WATER = (MATERIAL[name] for name in ("sand", "stone", "tree", "water"))

# What the noise is for: its scale in x and in y, as (multiplied by, divided by, and by), and its layer. Not multiplied out: it is exact.
_SCALES = np.array(
    [
        [1.0, 3.0, 1.0, 1.0, 3.0, 1.0, 8.0],  # start
        [1.0, 15.0, 1.0, 1.0, 15.0, 1.0, 3.0],  # lake
        [1.0, 5.0, 1.0, 1.0, 5.0, 1.0, 3.0],  # ripple
        [1.0, 15.0, 1.0, 1.0, 15.0, 1.0, 0.0],  # mountain
        [1.0, 5.0, 1.0, 1.0, 5.0, 1.0, 0.0],  # crag
        [1.0, 9.0, 1.0, 1.0, 9.0, 1.0, 4.0],  # beach
        [1.0, 7.0, 1.0, 1.0, 7.0, 1.0, 5.0],  # forest
        [1.0, 7.0, 1.0, 1.0, 7.0, 1.0, 6.0],  # cave
        [2.0, 3.0, 1.0, 1.0, 5.0, 3.0, 7.0],  # flat tunnel
        [1.0, 5.0, 3.0, 2.0, 3.0, 1.0, 7.0],  # steep tunnel
        [1.0, 8.0, 1.0, 1.0, 8.0, 1.0, 1.0],  # coalfield
        [1.0, 6.0, 1.0, 1.0, 6.0, 1.0, 2.0],  # lode
        [1.0, 5.0, 1.0, 1.0, 5.0, 1.0, 6.0],  # lava pool
    ]
)
(START, LAKE, RIPPLE, MOUNTAIN, CRAG, BEACH, FOREST) = range(7)
(CAVE, FLAT_TUNNEL, STEEP_TUNNEL, COALFIELD, LODE, LAVA_POOL) = range(7, 13)

GRADIENTS = internals.GRADIENTS3.astype(np.float64)


@part
def _extrapolate(perm: Any, gradients: Any, x: int, y: int, z: int, dx: float, dy: float, dz: float) -> float:
    """opensimplex's `_extrapolate3` without its slices, which are most of its time."""
    i = gradients[(perm[(perm[x & 0xFF] + y) & 0xFF] + z) & 0xFF]
    return float(GRADIENTS[i] * dx + GRADIENTS[i + 1] * dy + GRADIENTS[i + 2] * dz)


# Its code, unchanged, with this one callee replaced.
_noise3 = part(types.FunctionType(internals._noise3.py_func.__code__, {**vars(internals), "_extrapolate3": _extrapolate}))


@part
def _noise(what: int, x: int, y: int, perm: Any, gradients: Any) -> float:
    scale = _SCALES[what]
    # One call for all of them: compiled into every place that needs noise, this would take half a minute.
    return float(_noise3(scale[0] * x / scale[1] / scale[2], scale[3] * y / scale[4] / scale[5], scale[6], perm, gradients))


@part
def generate(w: Any) -> None:
    """Materials, cows, zombies and skeletons; the player is in the middle already."""
    perm, gradients = _permutation(below(w, 2**31 - 1))
    tunnels = np.zeros((AREA, AREA), np.bool_)
    for x in range(AREA):
        for y in range(AREA):
            w.material[x, y] = _material(w, perm, gradients, tunnels, x, y)
    for x in range(AREA):
        for y in range(AREA):
            _inhabitant(w, x, y, tunnels[x, y])


@part
def _permutation(seed: int) -> tuple[Any, Any]:
    """`opensimplex.internals._init` in 64-bit arithmetic that wraps."""
    perm, gradients, source = np.zeros(256, np.int64), np.zeros(256, np.int64), np.arange(256)
    for _ in range(3):
        seed = seed * 6364136223846793005 + 1442695040888963407
    for i in range(255, -1, -1):
        seed = seed * 6364136223846793005 + 1442695040888963407
        r = (seed + 31) % (i + 1)
        perm[i] = source[r]
        gradients[i] = (perm[i] % 24) * 3
        source[r] = source[i]
    return perm, gradients


@part
def _material(w: Any, perm: Any, grad: Any, tunnels: Any, x: int, y: int) -> int:
    start = 4 - math.sqrt((x - CENTER) ** 2 + (y - CENTER) ** 2)
    start += 2 * _noise(START, x, y, perm, grad)
    start = 1 / (1 + math.exp(-start))
    water = _noise(LAKE, x, y, perm, grad) + 0.15 * _noise(RIPPLE, x, y, perm, grad) + 0.1
    water -= 2 * start
    mountain = (_noise(MOUNTAIN, x, y, perm, grad) + 0.3 * _noise(CRAG, x, y, perm, grad)) / 1.3
    mountain -= 4 * start + 0.3 * water
    if start > 0.5:
        return GRASS
    if mountain > 0.15:
        return _mountain(w, perm, grad, tunnels, x, y, mountain)
    if 0.25 < water <= 0.35 and _noise(BEACH, x, y, perm, grad) > -0.2:
        return SAND
    if water > 0.3:
        return WATER
    return TREE if _noise(FOREST, x, y, perm, grad) > 0 and uniform(w) > 0.8 else GRASS


@part
def _mountain(w: Any, perm: Any, grad: Any, tunnels: Any, x: int, y: int, mountain: float) -> int:
    if _noise(CAVE, x, y, perm, grad) > 0.15 and mountain > 0.3:
        return PATH
    if _noise(FLAT_TUNNEL, x, y, perm, grad) > 0.4 or _noise(STEEP_TUNNEL, x, y, perm, grad) > 0.4:
        tunnels[x, y] = True
        return PATH
    if _noise(COALFIELD, x, y, perm, grad) > 0 and uniform(w) > 0.85:
        return COAL
    if _noise(LODE, x, y, perm, grad) > 0.4 and uniform(w) > 0.75:
        return IRON
    if mountain > 0.18 and uniform(w) > 0.994:
        return DIAMOND
    return LAVA if mountain > 0.3 and _noise(LAVA_POOL, x, y, perm, grad) > 0.35 else STONE


@part
def _inhabitant(w: Any, x: int, y: int, tunnel: bool) -> None:
    material = w.material[x, y]
    if not WALKABLE[material]:
        return
    distance = math.sqrt((x - CENTER) ** 2 + (y - CENTER) ** 2)
    if distance > 3 and material == GRASS and uniform(w) > 0.985:
        grid.add(w, COW, x, y, 3, 0, 0)
    elif distance > 10 and uniform(w) > 0.993:
        grid.add(w, ZOMBIE, x, y, 5, 0, 0)
    elif material == PATH and tunnel and uniform(w) > 0.95:
        grid.add(w, SKELETON, x, y, 3, 0, 0)
