"""What of `info` tells skills where things are, in the names and the form of rlgpt's MineDojo."""

from __future__ import annotations

from typing import Any

from rlgpt.envs.luanti import wire
from rlgpt.envs.luanti.blocks import Blocks
from rlgpt.envs.luanti.names import KINDS

_AROUND = [(i - 1, j - 1, k - 1) for i in range(3) for j in range(3) for k in range(3)]


class Sight:
    """Made for one server; what nothing new was seen for is told again as it was."""

    def __init__(self, blocks: Blocks) -> None:
        self._code = blocks.code
        # In these two MineDojo has the names that Minecraft displays, by which a log is wood.
        self._named = ["wood" if name == "log" else name for name in blocks.names]
        self._told: dict[str, Any] = {}

    def told(self, view: Any) -> dict[str, Any]:
        """Of an answer, a record of `wire.REPLY`.

        blocks  [name, dx, dy, dz] of every known block around that is not air, in MineDojo's order
        seen    the nearest hit of the lidar's rays for every kind of block: distance, degrees down and to the right of the view
        found   the nearest remembered places of each kind, [x, y, z], at most four each
        voxels  [17, 11, 17] uint8: what is known of the cube around, by x, y, z; numbers of `blocks.BLOCKS`
        """
        if view["fresh"] or not self._told:
            voxels = self._code[view["cube"]].transpose(2, 0, 1)
            self._told = {"blocks": self._near(view), "seen": self._hits(view), "found": _found(view), "voxels": voxels}
        return self._told

    def _near(self, view: Any) -> list[list[Any]]:
        y, x = wire.HEIGHT, wire.RADIUS
        middle = view["cube"][y - 1 : y + 2, x - 1 : x + 2, x - 1 : x + 2]
        numbers = middle.transpose(2, 0, 1).ravel().tolist()
        return [[self._named[n], *_AROUND[i]] for i, n in enumerate(numbers) if n > wire.UNSEEN]

    def _hits(self, view: Any) -> list[dict[str, Any]]:
        count = int(view["hits"])
        nearest: dict[str, list[float]] = {}
        for number, hit in zip(view["hit_ids"][:count].tolist(), view["hit_at"][:count].tolist(), strict=True):
            name = self._named[number]
            if name not in nearest or hit[0] < nearest[name][0]:
                nearest[name] = hit
        return [
            {"kind": "block", "name": name, "distance": hit[0], "down": hit[1], "right": hit[2]}
            for name, hit in sorted(nearest.items(), key=_by_distance)
        ]


def _found(view: Any) -> dict[str, list[list[int]]]:
    counts, places = view["counts"].tolist(), view["places"]
    return {kind: places[i, : min(counts[i], wire.KEPT)].tolist() for i, kind in enumerate(KINDS) if counts[i]}


def _by_distance(hit: tuple[str, list[float]]) -> list[float]:
    return hit[1]
