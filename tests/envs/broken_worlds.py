"""Environments as users' first ones may be: each has one fault. Registered as `broken_worlds:<Class>-v0`."""

from __future__ import annotations

import random
import subprocess
import sys
import time

import gymnasium
import numpy as np
from gymnasium import spaces


class Sound(gymnasium.Env):
    """Nothing is wrong with it, but that it prints."""

    observation_space = spaces.Box(-100.0, 100.0, (2,), np.float32)
    action_space = spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        print("a new episode")
        self.x, self.t = float(self.np_random.uniform(-1, 1)), 0
        return self.obs(), {}

    def step(self, action):
        print("step", action)
        self.x += 0.1 * (2 * int(action) - 1)
        self.t += 1
        return self.obs(), -1.0, self.t >= 30, False, {}

    def obs(self):
        return np.array([self.x, self.t / 10], np.float32)


class OldReset(Sound):
    def reset(self):
        super().reset()
        return self.obs(), {}


class ResetWithoutInfo(Sound):
    def reset(self, *, seed=None, options=None):
        return super().reset(seed=seed)[0]


class FailingReset(Sound):
    def reset(self, *, seed=None, options=None):
        raise KeyError("track")


class OldStep(Sound):
    def step(self, action):
        obs, reward, terminated, _, info = super().step(action)
        return obs, reward, terminated, info


class FailingStep(Sound):
    def step(self, action):
        if self.t >= 3:
            raise IndexError("no such cell")
        return super().step(action)


class NoObservationSpace(Sound):
    observation_space = None


class NoActionSpace(Sound):
    action_space = None


class OutsideItsSpace(Sound):
    observation_space = spaces.Box(-1.0, 1.0, (2,), np.float32)


class WrongShape(Sound):
    def obs(self):
        return np.array([self.x, self.t, 0], np.float32)


class WrongKind(Sound):
    def obs(self):
        return [self.x, self.t]


class RewardInWords(Sound):
    def step(self, action):
        obs, _, *rest = super().step(action)
        return obs, "well done", *rest


class RewardNotFinite(Sound):
    def step(self, action):
        obs, _, *rest = super().step(action)
        return obs, float("nan"), *rest


class ObservationNotFinite(Sound):
    def obs(self):
        return np.array([self.x, np.nan if self.t == 4 else 0.0], np.float32)


class SeedIgnored(Sound):
    def reset(self, *, seed=None, options=None):
        super().reset()
        self.x = random.uniform(-1, 1)
        return self.obs(), {}


class ByTheClock(Sound):
    def step(self, action):
        obs, _, *rest = super().step(action)
        return obs, time.monotonic(), *rest


class OpensAFile(Sound):
    def step(self, action):
        with open(__file__) as file:
            file.read(10)
        return super().step(action)


class OpensAFileAtReset(Sound):
    def reset(self, *, seed=None, options=None):
        with open(__file__) as file:
            file.read(10)
        return super().reset(seed=seed)


class StartsAProcess(Sound):
    def step(self, action):
        subprocess.run([sys.executable, "-c", "0"], check=True)
        return super().step(action)


class ImportsLate(Sound):
    def step(self, action):
        if self.np_random_seed not in (0, *range(1, 500)):
            import wave  # noqa: F401  at the hundredth seed, say
        return super().step(action)


class NeedsAnArgument(Sound):
    def __init__(self, size):
        self.size = size


class Hangs(Sound):
    def step(self, action):
        time.sleep(1000)


for entry in [value for value in vars().copy().values() if isinstance(value, type) and issubclass(value, Sound)]:
    gymnasium.register(f"{entry.__name__}-v0", entry, max_episode_steps=50)
