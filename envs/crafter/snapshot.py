"""A world and its agent's memory as bytes: for start states, in any process with the same version. Nothing in them is executed."""

from __future__ import annotations

import struct
import zlib
from typing import Any

import numpy as np
import numpy.typing as npt

from rlgpt.envs.crafter.rules import AREA, CHUNKS_A_SIDE, CREATURES, GONE, MATERIALS, MOST, PLANT, PLAYER
from rlgpt.envs.crafter.state import CAPACITY, SEEN, WORLD

_HEAD = struct.Struct("<8sII")
MAGIC = b"crafter2"
MOST_BYTES = 1 << 20


def pack(world: npt.NDArray[Any], seen: npt.NDArray[Any]) -> bytes:
    """About 6 kB: a head with the sizes of both records, then both, deflated."""
    return _HEAD.pack(MAGIC, WORLD.itemsize, SEEN.itemsize) + zlib.compress(world.tobytes() + seen.tobytes(), 1)


def unpack(data: bytes, world: npt.NDArray[Any], seen: npt.NDArray[Any]) -> None:
    """Overwrite both records. Raises ValueError, and changes nothing, if these are not the bytes of a possible state."""
    try:
        head = _HEAD.unpack_from(data)
    except struct.error as error:
        raise ValueError(f"no snapshot of Crafter: {error}") from None
    if head != (MAGIC, WORLD.itemsize, SEEN.itemsize):
        raise ValueError(f"no snapshot of Crafter, or one of another version: it begins with {head}, not {MAGIC!r}")
    inflate = zlib.decompressobj()
    try:
        raw = inflate.decompress(data[_HEAD.size :], MOST_BYTES)
    except zlib.error as error:
        raise ValueError(f"the snapshot of Crafter is damaged: {error}") from None
    if len(raw) != WORLD.itemsize + SEEN.itemsize or not inflate.eof:
        raise ValueError("the snapshot of Crafter is damaged: it is too short or too long")
    saved, known = np.frombuffer(raw[: WORLD.itemsize], WORLD), np.frombuffer(raw[WORLD.itemsize :], SEEN)
    wrong = _impossible(saved[0]) or _unbelievable(known[0])
    if wrong:
        raise ValueError(f"the snapshot of Crafter is damaged: {wrong}")
    world[:], seen[:] = saved, known


def _impossible(w: Any) -> str:
    """Why compiled code, which checks no index, must not run on these numbers; empty if it may."""
    n = int(w["objects"])
    if not 1 <= n <= CAPACITY or not 0 <= w["drawn"] <= len(w["key"]) or not 0 <= w["known_chunks"] <= CHUNKS_A_SIDE**2:
        return "a count is out of range"
    kinds, xs, ys = w["kind"][:n], w["x"][:n], w["y"][:n]
    if kinds[0] != PLAYER or (kinds[1:] <= PLAYER).any() or (kinds > PLANT).any() or (w["kind"][n:] != GONE).any():
        return "an object is of no known kind"
    if min(xs.min(), ys.min()) < 0 or max(xs.max(), ys.max()) >= AREA:
        return "an object is outside of the world"
    if np.count_nonzero(w["object"]) != n or (w["object"][xs, ys] != np.arange(1, n + 1)).any():
        return "the map of objects disagrees with their list"
    if (w["material"] < 1).any() or (w["material"] > len(MATERIALS)).any():
        return "a material is unknown"
    if (np.abs(w["dx"][:n]) > 1).any() or (np.abs(w["dy"][:n]) > 1).any():
        return "a direction is none"
    if (w["inventory"] < 0).any() or (w["inventory"] > MOST).any() or w["step"] < 0 or (w["chunks"] >= CHUNKS_A_SIDE**2).any():
        return "a number of the agent's is out of range"
    return "" if np.isfinite([w[name] for name in ("daylight", "hunger", "thirst", "fatigue", "recover")]).all() else "a number is none"


def _unbelievable(s: Any) -> str:
    known = (s["map"] <= len(MATERIALS)).all() and (s["creatures"] <= len(CREATURES)).all()
    return "" if known and np.isfinite(s["daylight"]) else "the agent remembers what does not exist"
