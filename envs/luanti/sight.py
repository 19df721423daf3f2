"""What of `info` tells skills where things are, in the names and the form of rlgpt's MineDojo."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np

from rlgpt.envs.luanti import wire
from rlgpt.envs.luanti.blocks import Blocks
from rlgpt.envs.luanti.names import KINDS

_HITS = struct.Struct(f"<{1 + wire.HITS}i")
_AROUND = [(i - 1, j - 1, k - 1) for i in range(3) for j in range(3) for k in range(3)]


class Sight:
    """Made for one server; what nothing new was seen for is told again as it was."""

    def __init__(self, blocks: Blocks) -> None:
        # In these two MineDojo has the names that Minecraft displays, by which a log is wood.
        self._named = ["wood" if name == "log" else name for name in blocks.names]
        self._shown = ["wood" if name == "log" else name for name in blocks.distinct]
        self._around: dict[bytes, list[list[Any]]] = {}
        self._places: dict[bytes, dict[str, list[list[int]]]] = {}

    def told(self, sight: bytearray) -> dict[str, Any]:
        """Of the bytes the mod tells.

        blocks  [name, dx, dy, dz] of every known block around that is not air, in MineDojo's order
        seen    the nearest hit of the lidar's rays for every kind of block: distance, degrees down and to the right of the view
        found   the nearest remembered places of each kind, [x, y, z], at most four each
        voxels  [17, 11, 17] uint8: what is known of the cube around, by x, y, z; numbers of `blocks.BLOCKS`
        """
        return {
            "blocks": self._near(bytes(sight[wire.AROUND_AT : wire.CUBE_AT])),
            "seen": self._hits(sight),
            "found": self._found(bytes(sight[: wire.HITS_AT])),
            "voxels": np.frombuffer(sight, np.uint8, wire.CELLS, wire.CUBE_AT).reshape(wire.CUBE),
        }

    def _near(self, told: bytes) -> list[list[Any]]:
        known = self._around.get(told)
        if known is None:
            numbers = wire.AROUND.unpack(told)
            known = [[self._named[n], *_AROUND[i]] for i, n in enumerate(numbers) if n > wire.UNSEEN]
            _keep(self._around, told, known)
        return known

    def _hits(self, sight: bytearray) -> list[dict[str, Any]]:
        count, *numbers = _HITS.unpack_from(sight, wire.HITS_AT)
        shown, places = self._shown, wire.HIT.iter_unpack(sight[wire.HIT_PLACES_AT : wire.HIT_PLACES_AT + count * wire.HIT.size])
        return [
            {"kind": "block", "name": shown[number], "distance": distance, "down": down, "right": right}
            for number, (distance, down, right) in zip(numbers, places, strict=False)
        ]

    def _found(self, told: bytes) -> dict[str, list[list[int]]]:
        known = self._places.get(told)
        if known is None:
            numbers = wire.PLACES.unpack(told)
            kinds, known = len(KINDS), {}
            for kind, (name, count) in enumerate(zip(KINDS, numbers, strict=False)):
                first = kinds + kind * 3 * wire.KEPT
                if count:
                    known[name] = [list(numbers[at : at + 3]) for at in range(first, first + 3 * min(count, wire.KEPT), 3)]
            _keep(self._places, told, known)
        return known


def creatures(arrays: bytearray, count: int) -> list[dict[str, Any]]:
    """Those in view, as `seen` tells of blocks; `arrays` are the bytes of a record of `wire.ARRAYS`."""
    at = wire.ARRAYS.itemsize - 4 * wire.HIT.size
    return [
        {"kind": "entity", "name": "zombie", "distance": distance, "down": down, "right": right}
        for distance, down, right in wire.HIT.iter_unpack(arrays[at : at + count * wire.HIT.size])
    ]


def _keep(cache: dict[bytes, Any], key: bytes, value: Any) -> None:
    if len(cache) > 256:
        cache.clear()
    cache[key] = value
