"""What an agent has seen, as skills get it in `info["seen"]`: arrays that may be read, never the world itself."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from rlgpt.envs.crafter.rules import ACHIEVEMENTS, CREATURES, ITEMS, MATERIALS, VIEW_HEIGHT, VIEW_WIDTH

MATERIAL_NAMES = ("unseen", *MATERIALS)
CREATURE_NAMES = ("", *CREATURES)
EDGE = "edge of the world"


class SeenMap:
    """The agent's memory of one episode, always of now: whoever wants to keep an array copies it. All are [x, y], x to the right, y down.

    map             [64, 64] uint8   number of the material as last seen, 0: never seen; names in MATERIAL_NAMES
    creatures       [64, 64] uint8   who was there when the cell was last seen, 0: nobody; names in CREATURE_NAMES
    when            [64, 64] int32   the step in which the cell was last in view, -1: never
    view            [9, 7] uint8     materials in view, the agent in the middle, at [4, 3]; 0 beyond the edge of the world
    view_creatures  [9, 7] uint8     who is in view
    distance        [64, 64] int16   steps to walk there over ground known to be free, -1: no way known
    first           [64, 64] int8    number of the direction (left, right, up, down) of the first of these steps, -1
    """

    def __init__(self, record: npt.NDArray[Any]) -> None:
        self._record = record
        self.map, self.creatures, self.when = self._readable("map"), self._readable("creatures"), self._readable("when")
        self.view, self.view_creatures = self._readable("in_view"), self._readable("in_view_creatures")
        self.distance, self.first = self._readable("distance"), self._readable("first")
        self.items, self.achieved = self._readable("inventory"), self._readable("achievements")
        assert self.view.shape == (VIEW_WIDTH, VIEW_HEIGHT)

    @property
    def position(self) -> tuple[int, int]:
        """Where the agent is; an episode starts at (32, 32)."""
        return int(self._record["x"][0]), int(self._record["y"][0])

    @property
    def facing(self) -> tuple[int, int]:
        """The direction the agent looks in, as (dx, dy)."""
        return int(self._record["dx"][0]), int(self._record["dy"][0])

    @property
    def step(self) -> int:
        """Steps since the world began; a day has 300."""
        return int(self._record["step"][0])

    @property
    def daylight(self) -> float:
        """0 dark to 1 bright."""
        return float(self._record["daylight"][0])

    @property
    def sleeping(self) -> bool:
        """Whether the agent is asleep: until it is rested or hurt, its actions do nothing."""
        return bool(self._record["sleeping"][0])

    @property
    def damage(self) -> int:
        """Health lost in the last step."""
        return int(self._record["damage"][0])

    @property
    def enemies(self) -> int:
        """Zombies and skeletons in view."""
        return int(self._record["enemies"][0])

    @property
    def new_enemies(self) -> int:
        """How many more there are in view than a step before."""
        return int(self._record["new_enemies"][0])

    @property
    def ahead(self) -> str:
        """Who, else what, is in the cell the agent faces."""
        (x, y), (dx, dy) = self.position, self.facing
        if not (0 <= x + dx < self.map.shape[0] and 0 <= y + dy < self.map.shape[1]):
            return EDGE
        return CREATURE_NAMES[self.creatures[x + dx, y + dy]] or MATERIAL_NAMES[self.map[x + dx, y + dy]]

    def inventory(self) -> dict[str, int]:
        """How many of each item, 0 to 9; health, food, drink and energy are items."""
        return dict(zip(ITEMS, self.items.tolist(), strict=True))

    def achievements(self) -> dict[str, int]:
        """How often each of the 22 has been achieved."""
        return dict(zip(ACHIEVEMENTS, self.achieved.tolist(), strict=True))

    def _readable(self, name: str) -> npt.NDArray[Any]:
        array: npt.NDArray[Any] = self._record[name][0]
        array.flags.writeable = False
        return array


def blank() -> npt.NDArray[Any]:
    """A SEEN record in which nothing has been seen."""
    from rlgpt.envs.crafter.state import SEEN

    return np.zeros(1, SEEN)
