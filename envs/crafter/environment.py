"""Crafter (Hafner 2021, arXiv 2109.06780) as Gymnasium environments: symbols or pictures of the same worlds, under the same rules.

reward      Crafter's own: health gained / 10, and 1 in a step in which something is achieved for the first time
terminated  the agent died
truncated   after 10,000 steps, by the time limit of the registration
seed        the same seed is the same world, and with the same actions the same episode, in any process; as `crafter.Env(seed=seed)`
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import gymnasium
import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from rlgpt.envs.crafter import encoding, engine, snapshot
from rlgpt.envs.crafter.pictures import Painter
from rlgpt.envs.crafter.rules import ACHIEVEMENTS, ACTIONS, DAYLIGHT, ITEM, ITEMS, daylight
from rlgpt.envs.crafter.seen import SeenMap
from rlgpt.envs.crafter.state import SEEN, WORLD

HEALTH = ITEM["health"]
_BODY = ITEM["energy"] + 1
SEEDS = 2**31 - 1

Obs = npt.NDArray[Any]


class Crafter(gymnasium.Env[Obs, np.int64]):
    """What both kinds share. `render_size` is the side of `render()`'s pictures in pixels."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 10}  # noqa: RUF012  gymnasium's own form

    def __init__(self, render_mode: str | None = None, render_size: int = 450) -> None:
        if render_mode not in (None, "rgb_array"):
            raise ValueError(f"render_mode is {render_mode!r}; Crafter here knows only 'rgb_array'")
        self.render_mode = render_mode
        self.action_space = spaces.Discrete(len(ACTIONS))
        self._world, self._record = np.zeros(1, WORLD), np.zeros(1, SEEN)
        self._vector = np.zeros(self._numbers(), np.float32)
        self.seen = SeenMap(self._record)
        self._painter = Painter(self._world, render_size) if render_mode else None
        self._inventory: list[int] = []
        self._achievements: list[int] = []
        self._shown: tuple[Mapping[str, int], Mapping[str, int], str] = ({}, {}, "")

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Obs, dict[str, Any]]:  # noqa: ARG002
        """The world of this seed; without one, the next of this environment's own random numbers."""
        super().reset(seed=seed)
        number = int(self.np_random.integers(SEEDS)) if seed is None else int(seed)
        engine.begin(self._world, hash((number, 1)) % SEEDS, DAYLIGHT[0])
        engine.observe(self._world, self._record, self._vector, True)
        self._achievements = []
        return self._observation(), self._info()

    def step(self, action: Any) -> tuple[Obs, float, bool, bool, dict[str, Any]]:
        """One of ACTIONS, by number."""
        step = int(self._world["step"][0]) + 1
        light = DAYLIGHT[step] if step < len(DAYLIGHT) else daylight(step)
        reward = engine.advance(self._world, int(action), light)
        engine.observe(self._world, self._record, self._vector, False)
        info = self._info()
        return self._observation(), reward, info["health"] <= 0, False, info

    def render(self) -> npt.NDArray[np.uint8] | None:
        """Crafter's own picture of the present state."""
        return self._painter.paint() if self._painter else None

    def snapshot(self) -> bytes:
        """The whole state of the world and the agent's memory; `restore` goes on from it, here or in another process."""
        return snapshot.pack(self._world, self._record)

    def restore(self, data: bytes) -> tuple[Obs, dict[str, Any]]:
        """Go on from a snapshot. Raises ValueError if it is none, or one of another version."""
        snapshot.unpack(data, self._world, self._record)
        engine.observe(self._world, self._record, self._vector, False)
        # A look after the fact: nothing has happened between the snapshot and now.
        self._achievements = self._record["achievements"][0].tolist()
        return self._observation(), self._info()

    def _numbers(self) -> int:
        return encoding.SIZE

    def _observation(self) -> Obs:
        raise NotImplementedError

    def _info(self) -> dict[str, Any]:
        """Scalars of the moment, the most telling first, because only the first ten are told to language models; then the rest."""
        record, seen = self._record, self.seen
        items, achieved = seen.items.tolist(), seen.achieved.tolist()
        new = ""
        if achieved != self._achievements or items != self._inventory:
            before = self._achievements or [0] * len(achieved)
            new = " ".join(name for name, now, then in zip(ACHIEVEMENTS, achieved, before, strict=True) if now and not then)
            self._inventory, self._achievements = items, achieved
            have = ", ".join(f"{name} {count}" for name, count in zip(ITEMS[_BODY:], items[_BODY:], strict=True) if count)
            inventory, achievements = dict(zip(ITEMS, items, strict=True)), dict(zip(ACHIEVEMENTS, achieved, strict=True))
            self._shown = MappingProxyType(inventory), MappingProxyType(achievements), have
        x, y, step, light, damage, enemies, more, sleeping = record[_TOLD][0].tolist()
        return {
            "health": items[0],
            "food": items[1],
            "drink": items[2],
            "energy": items[3],
            "x": x,
            "y": y,
            "ahead": seen.ahead,
            "have": self._shown[2],
            "new": new,
            "enemies": enemies,
            "new_enemies": more,
            "damage": damage,
            "sleeping": bool(sleeping),
            "step": step,
            "daylight": light,
            "inventory": self._shown[0],
            "achievements": self._shown[1],
            "seen": seen,
        }


_TOLD = ["x", "y", "step", "daylight", "damage", "enemies", "new_enemies", "sleeping"]


class CrafterSymbolic(Crafter):
    """Symbols: a vector of numbers in [-1, 1], named by `encoding.NAMES`, made of what the agent has seen.

    planes  add what is where in the 9 x 7 view: four planes of 0 and 1 (`encoding.PLANES`), flattened
    """

    def __init__(self, planes: bool = False, render_mode: str | None = None, render_size: int = 450) -> None:
        self.planes = planes
        super().__init__(render_mode, render_size)
        self.observation_space = spaces.Box(-1.0, 1.0, (self._numbers(),), np.float32)

    def _numbers(self) -> int:
        return encoding.SIZE + (encoding.PLANES_SIZE if self.planes else 0)

    def _observation(self) -> Obs:
        return self._vector.copy()


class CrafterPixels(Crafter):
    """Pictures: `size` x `size` x 3 bytes, the local view above the inventory, as Crafter paints them.

    The noise of the night is drawn from a copy of the world's random numbers, so that looking changes nothing: an episode is the same with
    pictures and without. (In Crafter itself it is not.)
    """

    def __init__(self, size: int = 64, render_mode: str | None = None, render_size: int = 450) -> None:
        super().__init__(render_mode, render_size)
        self.observation_space = spaces.Box(0, 255, (size, size, 3), np.uint8)
        self._picture = Painter(self._world, size)

    def _observation(self) -> Obs:
        return self._picture.paint()
