"""What it costs to host an environment: environment steps a second inside the locked worker, hosted here, and behind ZeroMQ with keys.

`.venv/bin/python tests/benchmarks/bench_hosts.py [--seconds 3] [--environments 1]`: the three in turn, several rounds, medians.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import gymnasium
import numpy as np

from rlgpt.bus.security import make_broker, make_client
from rlgpt.bus.task import Environment, Host
from rlgpt.envs.hosting import __file__ as hosting
from rlgpt.envs.pool import Primitive, WorkerPool

ROUNDS = 5


class Slow(gymnasium.Env):
    """64x64x3 pictures; a step takes `step_s` seconds, as a game does that keeps its own time."""

    observation_space = gymnasium.spaces.Box(0, 255, (64, 64, 3), np.uint8)
    action_space = gymnasium.spaces.Discrete(3)

    def __init__(self, step_s: float) -> None:
        self.step_s, self.picture = step_s, np.zeros((64, 64, 3), np.uint8)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return self.picture, {}

    def step(self, action):
        end = time.perf_counter() + self.step_s
        if self.step_s > 0.001:
            time.sleep(self.step_s)
        while time.perf_counter() < end:
            pass
        return self.picture, 0.0, False, False, {}


gymnasium.register("Slow-v0", Slow)
TASKS = [
    ("CartPole-v1", {}),
    ("bench_hosts:Slow-v0", {"step_s": 0.0}),
    ("bench_hosts:Slow-v0", {"step_s": 0.001}),
    ("bench_hosts:Slow-v0", {"step_s": 0.02}),
]


def durations(pool: WorkerPool, seconds: float) -> list[float]:
    """Seconds of each batch step of random actions."""
    rng, begin, found, n = np.random.default_rng(0), time.perf_counter(), [], pool.environments
    choices = [[Primitive(int(action)) for action in rng.integers(0, 2, n)] for _ in range(64)]
    while time.perf_counter() - begin < seconds:
        before = time.perf_counter()
        pool.step(choices[len(found) % 64], list(range(len(found), len(found) + n)))
        found.append(time.perf_counter() - before)
    return found


def compare(name: str, kwargs: dict[str, float], n: int, seconds: float, keys: Path) -> None:
    command = [
        sys.executable,
        str(Path(hosting).parent),
        "serve",
        name,
        "--slots",
        str(n + 1),
        "--keys",
        str(keys),
        "--path",
        str(Path(__file__).parent),
    ]
    command += ["--kwargs", str(kwargs).replace("'", '"')]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as served:
        address = served.stdout.readline().partition(" at ")[2].partition(",")[0]
        places = {
            "inside": None,
            "hosted": Host(),
            "tcp, keys": Host(address=address, keys=str(keys / "player.json")),
        }
        pools, found = {}, {place: [] for place in places}
        for place, host in places.items():
            environment = Environment(id=name, kwargs=kwargs, host=host)
            pools[place] = WorkerPool(environment, success="False", environments=n, workers=n)
            pools[place].reset(list(range(n)))
        for _ in range(ROUNDS):
            for place, pool in pools.items():
                found[place] += durations(pool, seconds / ROUNDS)
        for pool in pools.values():
            pool.close()
        served.terminate()
    # Medians of single steps, not rates: they say what a step costs also where other work takes the cores now and then.
    middle = {place: statistics.median(steps) for place, steps in found.items()}
    words = [f"{place} {n / step:8.1f} ({middle['inside'] / step:.3f})" for place, step in middle.items()]
    sys.stdout.write(f"{name} {kwargs or ''} x{n}: steps/s at the median step (of inside): {'   '.join(words)}\n")
    sys.stdout.flush()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--environments", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        keys = Path(folder) / "keys"
        make_broker(keys)
        make_client(keys, "player")
        for name, kwargs in TASKS:
            compare(name, kwargs, options.environments, options.seconds, keys)


if __name__ == "__main__":
    main()
