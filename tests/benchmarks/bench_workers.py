"""Environment steps a second of the locked worker pool, paired with stable-baselines3's vector environments in one run.

    python tests/benchmarks/bench_workers.py [--environments 8] [--workers 2] [--seconds 2] [--rounds 3] [--slow 300]

Prints a Markdown table; ratios are to SubprocVecEnv in the same round, and the median round is shown. SubprocVecEnv has one process
per environment, as it always has; `workers` is ours. Actions are drawn beforehand; nothing learns.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv

sys.path.insert(0, str(Path(__file__).parent))

from rlgpt.bus.messages import Skill
from rlgpt.bus.task import Environment
from rlgpt.envs.pool import Call, Limits, Primitive, Trials, WorkerPool

TEN = Skill(name="ten", max_steps=10, source="def ten(obs, info):\n    for i in range(10):\n        yield i % 2\n")


class Frames(gymnasium.Env):
    """64x64x3 bytes and `micros` microseconds of work a step; 500 steps an episode."""

    observation_space = gymnasium.spaces.Box(0, 255, (64, 64, 3), np.uint8)
    action_space = gymnasium.spaces.Discrete(2)

    def __init__(self, micros: int = 0) -> None:
        self.micros, self.frame = micros, np.zeros((64, 64, 3), np.uint8)

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.t = 0
        return self.frame.copy(), {}

    def step(self, action: Any) -> Any:
        end = time.perf_counter() + self.micros / 1e6
        while time.perf_counter() < end:
            pass
        self.t += 1
        return self.frame.copy(), 1.0, False, self.t >= 500, {}


gymnasium.register("BenchFrames-v0", Frames)


def rate(step: Callable[[], int], seconds: float) -> float:
    """Environment steps a second; `step` returns how many it took."""
    for _ in range(20):
        step()
    taken, begin = 0, time.perf_counter()
    while (now := time.perf_counter()) - begin < seconds:
        taken += step()
    return taken / (now - begin)


def sb3(kind: Any, identifier: str, kwargs: dict[str, Any], n: int, seconds: float) -> float:
    env = kind([lambda: gymnasium.make(identifier, **kwargs) for _ in range(n)])
    try:
        env.reset()
        actions = np.random.default_rng(0).integers(0, 2, (64, n))
        turn: Iterator[int] = iter(range(10**9))

        def step() -> int:
            env.step(actions[next(turn) % 64])
            return n

        return rate(step, seconds)
    finally:
        env.close()


def ours(identifier: str, kwargs: dict[str, Any], n: int, workers: int | None, seconds: float, skill: bool = False) -> float:
    environment = Environment(id=identifier if identifier.startswith("Cart") else f"bench_workers:{identifier}", kwargs=kwargs)
    with WorkerPool(environment, success="False", environments=n, workers=workers, skills=[TEN]) as pool:
        pool.reset(list(range(n)))
        drawn = np.random.default_rng(0).integers(0, 2, (64, n)).tolist()
        choices = [[Call(0)] * n] * 64 if skill else [[Primitive(action) for action in row] for row in drawn]
        turn: Iterator[int] = iter(range(10**9))

        def step() -> int:
            i = next(turn)
            return int(pool.step(choices[i % 64], [i * n + k for k in range(n)]).duration.sum())

        return rate(step, seconds)


def starting(rounds: int) -> tuple[float, float, float]:
    """Milliseconds, medians: environment described from nothing; a locked worker forked and ready; a trial of one step in it."""
    environment = Environment(id="CartPole-v1")
    cold, warm, tried = [], [], []
    for _ in range(rounds):
        begin = time.perf_counter()
        with Trials(environment, Limits()) as trials:
            cold.append(time.perf_counter() - begin)
            zygote = trials._zygote
            from rlgpt.envs.trial import _shape
            from rlgpt.envs.zygote import work_for

            for _ in range(10):
                begin = time.perf_counter()
                worker = zygote.fork(_shape(zygote, 0, 0), work_for([], "False"))
                warm.append(time.perf_counter() - begin)
                worker.kill()
            begin = time.perf_counter()
            trials.run(TEN, (), "True", [1])
            tried.append(time.perf_counter() - begin)
    return tuple(1000 * statistics.median(times) for times in (cold, warm, tried))  # type: ignore[return-value]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name, default in (("environments", 8), ("workers", 2), ("rounds", 3), ("slow", 300)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--seconds", type=float, default=2.0)
    given = parser.parse_args()
    n, workers, seconds = given.environments, given.workers, given.seconds
    worlds = {
        f"CartPole x{n}": ("CartPole-v1", {}),
        f"64x64x3 x{n}": ("BenchFrames-v0", {}),
        f"64x64x3 + {given.slow} µs x{n}": ("BenchFrames-v0", {"micros": given.slow}),
    }
    players: dict[str, Callable[[str, dict[str, Any]], float]] = {
        "SubprocVecEnv": lambda name, kwargs: sb3(SubprocVecEnv, name, kwargs, n, seconds),
        "DummyVecEnv": lambda name, kwargs: sb3(DummyVecEnv, name, kwargs, n, seconds),
        f"locked, {workers} workers": lambda name, kwargs: ours(name, kwargs, n, workers, seconds),
        "locked, workers chosen": lambda name, kwargs: ours(name, kwargs, n, None, seconds),
        f"locked, {workers} workers, skills of 10": lambda name, kwargs: ours(name, kwargs, n, workers, seconds, skill=True),
    }
    found: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for _ in range(given.rounds):
        for world, (name, kwargs) in worlds.items():
            base = 0.0
            for player, play in players.items():
                speed = play(name, kwargs)
                base = base or speed
                found.setdefault((player, world), []).append((speed / base, speed))
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; environment steps/s, in brackets the ratio to SubprocVecEnv\n")
    print("| |" + "".join(f" {world} |" for world in worlds))
    print("|---|" + "---|" * len(worlds))
    for player in players:
        cells = [sorted(found[player, world])[given.rounds // 2] for world in worlds]
        print(f"| {player} |" + "".join(f" {speed / 1000:.1f} k ({ratio:.1f}) |" for ratio, speed in cells))
    cold, warm, tried = starting(given.rounds)
    print(f"\nstart to ready {cold:.0f} ms; fork of a locked worker to ready {warm:.1f} ms; trial of a skill and its replay {tried:.0f} ms")


if __name__ == "__main__":
    main()
