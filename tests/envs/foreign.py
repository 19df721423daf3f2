"""Environments of old and odd APIs, for hosts: standard library and numpy only, and Python 3.9."""

from __future__ import annotations

import os
import time

import numpy as np


class Box:
    """A space of another library: known by its name alone."""

    def __init__(self, low, high, shape, dtype):
        self.shape, self.dtype = shape, np.dtype(dtype)
        self.low, self.high = np.full(shape, low, dtype), np.full(shape, high, dtype)


class Discrete:
    def __init__(self, n):
        self.n = n


class Corridor:
    """gym's API before 0.22: `seed()`, four values, a time limit told in `info`."""

    observation_space = Box(-100, 100, (2,), np.float32)
    action_space = Discrete(3)

    def __init__(self, limit=50, slow=0.0):
        self.limit, self.slow = limit, slow
        self.first = 0

    def seed(self, seed=None):
        self.first = seed % 10

    def reset(self):
        self.at, self.t = 0, self.first
        return self._obs()

    def step(self, action):
        time.sleep(self.slow)
        self.at += (-1, 1, 0)[action]
        self.t += 1
        late = self.t - self.first >= self.limit
        done = self.at >= 5 or late
        return (
            self._obs(),
            -1,
            done,
            {"TimeLimit.truncated": True} if late else {"where": np.int64(self.at), "names": np.array(["a", "bc"])},
        )

    def close(self):
        pass

    def _obs(self):
        return np.array([self.at, self.t], np.float32)


class Trap(Corridor):
    """Action 2 does what `what` says, from the episode of seed 1000 on: the warm-up is not to set it off."""

    def __init__(self, what):
        super().__init__()
        self.what, self.armed = what, False

    def seed(self, seed=None):
        self.armed = seed >= 1000
        super().seed(seed)

    def step(self, action):
        if action == 2 and self.armed:
            if self.what == "die":
                os._exit(7)
            if self.what == "hang":
                time.sleep(1000)
            if self.what == "hang in C":
                max(iter(int, 1))
            raise RuntimeError("the axle broke")
        return super().step(action)


class Restorable(Corridor):
    """With snapshots."""

    def snapshot(self):
        return bytes([self.at, self.t])

    def restore(self, snapshot):
        self.at, self.t = snapshot
        return self._obs(), {}
