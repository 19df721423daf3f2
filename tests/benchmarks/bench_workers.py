"""Environment steps a second of the locked worker pool, paired with stable-baselines3's vector environments in one run.

    python tests/benchmarks/bench_workers.py [--environments 8] [--workers 2] [--seconds 0.5] [--rounds 15] [--slow 300]

Prints a Markdown table; `--only CartPole` a column of it. SubprocVecEnv and AsyncVectorEnv have one process per environment, as they
always have; `workers` is ours, and PufferLib's, which takes part where it is installed. Actions are drawn beforehand; nothing learns.
`--undisturbed` (as root) gives all players, theirs and ours, the scheduler's real-time class, so that what else runs on a busy machine
takes no part; keep it short then.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
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

from rlgpt.bus.parts import Skill
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


Play = Callable[[], int]


@contextlib.contextmanager
def sb3(kind: Any, identifier: str, kwargs: dict[str, Any], n: int) -> Iterator[Play]:
    env = kind([lambda: gymnasium.make(identifier, **kwargs) for _ in range(n)])
    env.reset()
    with contextlib.closing(env):
        yield taking(env.step, np.random.default_rng(0).integers(0, 2, (64, n)), n)


@contextlib.contextmanager
def gymnasium_async(identifier: str, kwargs: dict[str, Any], n: int) -> Iterator[Play]:
    """Gymnasium's AsyncVectorEnv: one process per environment, observations in shared memory."""
    env = gymnasium.vector.AsyncVectorEnv([lambda: gymnasium.make(identifier, **kwargs) for _ in range(n)])
    env.reset(seed=0)
    with contextlib.closing(env):
        yield taking(env.step, np.random.default_rng(0).integers(0, 2, (64, n)), n)


@contextlib.contextmanager
def pufferlib_vector(identifier: str, kwargs: dict[str, Any], n: int, workers: int) -> Iterator[Play]:
    """PufferLib's Multiprocessing: `workers` processes that look, and do not sleep, while they wait."""
    import pufferlib.emulation
    import pufferlib.vector

    def make(**more: Any) -> Any:
        return pufferlib.emulation.GymnasiumPufferEnv(env=gymnasium.make(identifier, **kwargs), **more)

    env = pufferlib.vector.make(make, backend=pufferlib.vector.Multiprocessing, num_envs=n, num_workers=workers)
    env.reset(seed=0)
    with contextlib.closing(env):
        yield taking(env.step, np.random.default_rng(0).integers(0, 2, (64, n)), n)


@contextlib.contextmanager
def ours(identifier: str, kwargs: dict[str, Any], n: int, workers: int | None, skill: bool = False) -> Iterator[Play]:
    environment = Environment(id=identifier if identifier.startswith("Cart") else f"bench_workers:{identifier}", kwargs=kwargs)
    with WorkerPool(environment, success="False", environments=n, workers=workers, skills=[TEN]) as pool:
        pool.reset(list(range(n)))
        drawn = np.random.default_rng(0).integers(0, 2, (64, n)).tolist()
        choices = [[Call(0)] * n] * 64 if skill else [[Primitive(action) for action in row] for row in drawn]
        turn: Iterator[int] = iter(range(10**9))

        def step() -> int:
            i = next(turn)
            return int(pool.step(choices[i % 64], range(i * n, i * n + n)).duration.sum())

        yield step


def taking(step: Callable[[Any], Any], actions: Any, n: int) -> Play:
    turn: Iterator[int] = iter(range(10**9))

    def play() -> int:
        step(actions[next(turn) % 64])
        return n

    return play


def rate(step: Play, seconds: float) -> float:
    """Environment steps a second; `step` returns how many it took."""
    for _ in range(5):
        step()
    taken, begin = 0, time.perf_counter()
    while (now := time.perf_counter()) - begin < seconds:
        taken += step()
    return taken / (now - begin)


def descendants(pid: int) -> Iterator[int]:
    """This process's children, and theirs."""
    for entry in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            if int(entry.read_text().rpartition(")")[2].split()[1]) == pid:
                yield int(entry.parent.name)
                yield from descendants(int(entry.parent.name))


@contextlib.contextmanager
def real_time(wanted: bool) -> Iterator[None]:
    """This process and its descendants in SCHED_FIFO; afterwards, this one as before (the others end with their players)."""
    for pid in (os.getpid(), *descendants(os.getpid())) if wanted else ():
        with contextlib.suppress(ProcessLookupError):
            os.sched_setscheduler(pid, os.SCHED_FIFO, os.sched_param(5))
    try:
        yield
    finally:
        if wanted:
            os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))


def rounds_of(players: dict[str, Callable[[], Any]], rounds: int, seconds: float, undisturbed: bool) -> dict[str, list[float]]:
    """Steps a second of every player in every round. All stay alive, and play by turns: what slows the machine slows them alike."""
    with contextlib.ExitStack() as stack:
        plays = {name: stack.enter_context(begin()) for name, begin in players.items()}
        for play in plays.values():
            rate(play, 0.1)
        found: dict[str, list[float]] = {name: [] for name in plays}
        with real_time(undisturbed):
            for _ in range(rounds):
                for name, play in plays.items():
                    found[name].append(rate(play, seconds))
                if undisturbed:
                    time.sleep(seconds)  # the others' turn
    return found


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
    for name, default in (("environments", 8), ("workers", 2), ("rounds", 15), ("slow", 300)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--seconds", type=float, default=0.5)
    parser.add_argument("--undisturbed", action="store_true")
    parser.add_argument("--only", default="", help="worlds whose name begins so: CartPole, 64x64x3")
    given = parser.parse_args()
    n, workers = given.environments, given.workers
    worlds = {
        f"CartPole x{n}": ("CartPole-v1", {}),
        f"64x64x3 x{n}": ("BenchFrames-v0", {}),
        f"64x64x3 + {given.slow} µs x{n}": ("BenchFrames-v0", {"micros": given.slow}),
    }
    worlds = {world: what for world, what in worlds.items() if world.startswith(given.only)}
    found = {}
    for world, (name, kwargs) in worlds.items():
        players: dict[str, Callable[[], Any]] = {
            "SubprocVecEnv": lambda name=name, kwargs=kwargs: sb3(SubprocVecEnv, name, kwargs, n),
            "DummyVecEnv": lambda name=name, kwargs=kwargs: sb3(DummyVecEnv, name, kwargs, n),
            "Gymnasium AsyncVectorEnv": lambda name=name, kwargs=kwargs: gymnasium_async(name, kwargs, n),
            f"locked, {workers} workers": lambda name=name, kwargs=kwargs: ours(name, kwargs, n, workers),
            "locked, workers chosen": lambda name=name, kwargs=kwargs: ours(name, kwargs, n, None),
            f"locked, {workers} workers, skills of 10": lambda name=name, kwargs=kwargs: ours(name, kwargs, n, workers, skill=True),
        }
        if importlib.util.find_spec("pufferlib"):
            players |= {
                f"PufferLib, {count} workers": lambda name=name, kwargs=kwargs, count=count: pufferlib_vector(name, kwargs, n, count)
                for count in sorted({1, workers})
            }
        found[world] = rounds_of(players, given.rounds, given.seconds, given.undisturbed)
    if not importlib.util.find_spec("pufferlib"):
        print("PufferLib took no part: it is not installed here\n")
    print(
        f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}{', undisturbed' if given.undisturbed else ''}; medians of {given.rounds} "
        "rounds in turn: environment steps/s, in brackets"
    )
    print("the median of the ratio to SubprocVecEnv in the same round\n")
    print("| |" + "".join(f" {world} |" for world in worlds))
    print("|---|" + "---|" * len(worlds))
    for player in players:
        cells = []
        for world in worlds:
            ratios = [mine / base for mine, base in zip(found[world][player], found[world]["SubprocVecEnv"], strict=True)]
            cells.append(f" {statistics.median(found[world][player]) / 1000:.1f} k ({statistics.median(ratios):.1f}) |")
        print(f"| {player} |" + "".join(cells))
    cold, warm, tried = starting(min(3, given.rounds))
    print(f"\nstart to ready {cold:.0f} ms; fork of a locked worker to ready {warm:.1f} ms; trial of a skill and its replay {tried:.0f} ms")


if __name__ == "__main__":
    main()
