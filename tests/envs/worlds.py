"""Small environments for tests, registered when this module is imported: `worlds:Corridor-v0` and others."""

from __future__ import annotations

import os
import time
from typing import Any, ClassVar

import gymnasium
import numpy as np
from gymnasium import spaces


class Corridor(gymnasium.Env):
    """Walk from `start` to cell 5: action 1 goes right, 0 left, 2 stays; every step costs 1, arriving ends the episode with +10."""

    observation_space = spaces.Box(-100.0, 100.0, (2,), np.float32)
    action_space = spaces.Discrete(3)

    def __init__(self, goal: int = 5) -> None:
        self.goal = goal

    def reset(self, *, seed: int | None = None, options: Any = None):
        super().reset(seed=seed)
        self.at, self.t = 0, 0
        return self._obs(), {"at": 0}

    def step(self, action: Any):
        self.at += {0: -1, 1: 1, 2: 0}[int(action)]
        self.t += 1
        arrived = self.at >= self.goal
        return self._obs(), 10.0 if arrived else -1.0, arrived, False, {"at": self.at}

    def _obs(self):
        return np.array([self.at, self.t], np.float32)


class Saved(Corridor):
    """The same; its state can be saved and restored."""

    def snapshot(self) -> bytes:
        return bytes([self.at + 100, self.t])

    def restore(self, snapshot: bytes):
        self.at, self.t = snapshot[0] - 100, snapshot[1]
        return self._obs(), {"at": self.at}


class Structured(Corridor):
    """The same, its observation a Dict with a picture, a Tuple, and a text that no learner can take."""

    observation_space = spaces.Dict(
        {
            "picture": spaces.Box(0, 255, (4, 4, 3), np.uint8),
            "pair": spaces.Tuple((spaces.Discrete(1000), spaces.MultiDiscrete([3, 4]))),
            "words": spaces.Text(20),
        }
    )

    def _obs(self):
        picture = np.full((4, 4, 3), self.t % 256, np.uint8)
        return {"picture": picture, "pair": (max(0, self.at), np.array([1, 2])), "words": f"at {self.at}"}


class Pictures(Corridor):
    """64x64x3 bytes."""

    observation_space = spaces.Box(0, 255, (64, 64, 3), np.uint8)

    def _obs(self):
        return np.full((64, 64, 3), self.t % 256, np.uint8)


class Drawn(Corridor):
    """Draws a line of light where it is, 900 pixels wide."""

    metadata: ClassVar = {"render_modes": ["rgb_array"]}

    def __init__(self, render_mode: str | None = None, broken: bool = False) -> None:
        super().__init__()
        self.render_mode, self.broken = render_mode, broken

    def render(self):
        if self.broken:
            raise RuntimeError("no screen")
        frame = np.zeros((300, 900, 3), np.uint8)
        frame[:, 100 * max(0, self.at) : 100 * max(0, self.at) + 100] = 255
        return frame


class Lucky(Corridor):
    """Not deterministic: its rewards are another in every process."""

    def step(self, action: Any):
        obs, reward, terminated, truncated, info = super().step(action)
        return obs, reward + os.getpid(), terminated, truncated, info


class Climb(gymnasium.Env):
    """Nothing in it can be repeated: action 1 climbs one rung, 0 goes down, 2 stays, but a clock decides when a foot slips.

    Rung `top` ends the episode with reward 1. Every episode falls at the first step, for good, but each `every`-th of this process.
    """

    observation_space = spaces.Box(-1.0, 1000.0, (2,), np.float32)
    action_space = spaces.Discrete(3)

    def __init__(self, top: int = 9, every: int = 1, slow_s: float = 0.0) -> None:
        self.top, self.every, self.slow_s, self.resets = top, every, slow_s, 0

    def reset(self, *, seed: int | None = None, options: Any = None):
        super().reset(seed=seed)
        self.at, self.t, self.resets = 0, 0, self.resets + 1
        return self._obs(), {"rung": 0}

    def step(self, action: Any):
        self.t += 1
        if self.slow_s and int(action) == 1:
            time.sleep(self.slow_s)
        fell = self.resets % self.every != 0
        slips = time.perf_counter_ns() // 100 % 10 == 0
        self.at = max(0, self.at + (0 if slips else {0: -1, 1: 1, 2: 0}[int(action)]))
        return self._obs(), float(self.at >= self.top), fell or self.at >= self.top, False, {"rung": self.at}

    def _obs(self):
        return np.array([self.at, self.t], np.float32)


class Odd(Corridor):
    """Fails in a way `what` says: its action 2 is the trigger."""

    def __init__(self, what: str) -> None:
        super().__init__()
        self.what, self.armed = what, False

    def step(self, action: Any):
        # Its own warm-up must not set it off.
        self.armed |= self.np_random_seed not in (0, *range(1, 500))
        if int(action) == 2 and self.armed:
            if self.what == "raise":
                raise RuntimeError("the axle broke")
            if self.what == "nan":
                return np.array([np.nan, 0], np.float32), 0.0, False, False, {}
            if self.what == "hang":
                time.sleep(1000)
        return super().step(int(action) % 2 if int(action) == 2 else action)


class Vector(Corridor):
    """MultiDiscrete actions: [how, repeat]."""

    action_space = spaces.MultiDiscrete([3, 2])

    def step(self, action: Any):
        return super().step(int(action[0]))


class Speech(Corridor):
    """Actions nobody here can take."""

    action_space = spaces.Text(5)


class Hungry(Corridor):
    """Needs 8 MB for a moment in every step."""

    def step(self, action: Any):
        np.ones(1 << 20)
        return super().step(action)


class Crooked(Corridor):
    """Its observations have another dtype and shape than it says."""

    def _obs(self):
        return np.array([self.at, self.t], np.float64)


for entry in (Saved, Hungry, Crooked, Corridor, Structured, Pictures, Drawn, Lucky, Climb, Odd, Vector, Speech):
    gymnasium.register(f"{entry.__name__}-v0", entry, max_episode_steps=50)
