"""Luanti's speed through Gymnasium, one environment in one process and its server in another.

    python tests/benchmarks/bench_luanti.py [--steps 8000] [--resets 200] [--worlds 0] [--first 1000000]

Steps per second of wall time, and microseconds of CPU time of either process, which other work on the machine changes less; wandering
includes the making of new land where the walk leads to some. Two environments side by side, each with a server of its own; resets to
new areas and to the same one; resident memory of the server after them. `--worlds N` lets a hand-written controller of the card's toolkit
look for a diamond in N held-out worlds, in fair view, within 12,000 ticks, and nothing else is measured; `--first SEED` takes other worlds,
to improve it on. Prints Markdown tables, and how those ended that have none.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "luanti"))

import luanti_by_hand

from rlgpt.envs.registry import make

NAME = "rlgpt/Luanti-v0"
NOOP = [0, 0, 0, 12, 12, 0, 0, 0]
HELD_OUT = 1_000_000


def cpu_s(pid: int) -> float:
    """CPU seconds of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def actions_of(kind: str, count: int) -> list[Any]:
    rng = np.random.default_rng(0)
    if kind == "no-op":
        return [np.array(NOOP)] * count
    if kind == "look around and dig":
        return [np.array([0, 0, 0, 12 + rng.integers(-1, 2), 12 + rng.integers(-1, 2), 3, 0, 0]) for _ in range(count)]
    return [np.array([rng.integers(3), rng.integers(3), rng.integers(4), *(12 + rng.integers(-1, 2, 2)), 3, 0, 0]) for _ in range(count)]


def warm(kind: str, count: int, **kwargs: Any) -> tuple[Any, list[Any]]:
    """An environment whose code is compiled and whose caches are full, and `count` actions for it."""
    env = make(NAME, {"target": "", **kwargs}, None)
    env.reset(seed=HELD_OUT)
    actions = actions_of(kind, count)
    for action in actions[: count // 4]:
        if env.step(action)[2]:
            env.reset(seed=HELD_OUT)
    return env, actions


def play(env: Any, actions: list[Any]) -> float:
    """Seconds of wall time."""
    begin = time.perf_counter()
    for action in actions:
        if env.step(action)[2]:
            env.reset(seed=HELD_OUT)
    return time.perf_counter() - begin


def steps(kind: str, count: int, **kwargs: Any) -> None:
    env, actions = warm(kind, count, **kwargs)
    server = env.unwrapped._server
    ours, theirs = time.process_time(), cpu_s(server.pid)
    wall = play(env, actions)
    ours, theirs = time.process_time() - ours, cpu_s(server.pid) - theirs
    what = kind + (", pictures" if kwargs.get("pictures") else "") + (f", {kwargs['ticks']} ticks a step" if "ticks" in kwargs else "")
    print(
        f"| {what} | {count / wall:,.0f} | {1e6 * ours / count:.0f} | {1e6 * theirs / count:.0f} | {count / (ours + theirs):,.0f} |",
        flush=True,
    )
    env.close()


def one_of(kind: str, count: int, begin: Any, rates: Any) -> None:
    """A process of `side_by_side`."""
    env, actions = warm(kind, count)
    begin.wait()
    rates.put(count / play(env, actions))
    env.close()


def side_by_side(kind: str, count: int, processes: int) -> None:
    """Several environments at once, each in a process with a server of its own."""
    context = multiprocessing.get_context("spawn")
    begin, rates = context.Barrier(processes), context.Queue()
    running = [context.Process(target=one_of, args=(kind, count, begin, rates)) for _ in range(processes)]
    for process in running:
        process.start()
    total = sum(rates.get() for _ in running)
    for process in running:
        process.join()
    print(f"| {kind}, {processes} side by side | {total:,.0f} | | | |", flush=True)


def resets(count: int) -> None:
    env = make(NAME, {"target": ""}, None)
    new, same, pids, most = [], [], set(), 0
    for seed in range(count):
        for times in (new, same):
            begin = time.perf_counter()
            env.reset(seed=seed)
            times.append(1000 * (time.perf_counter() - begin))
            for _ in range(20):
                env.step([1, *NOOP[1:5], 3, 0, 0])
        server = env.unwrapped._server
        pids.add(server.pid)
        most = max(most, server.memory())
    print(f"\n{count} new areas: median {statistics.median(new):.0f} ms, 90 % under {sorted(new)[int(0.9 * count)]:.0f} ms")
    print(f"the same area again: median {statistics.median(same):.2f} ms, 90 % under {sorted(same)[int(0.9 * count)]:.2f} ms")
    print(f"server's memory: {server.memory() / 2**20:.0f} MiB at the end, {most / 2**20:.0f} MiB at most; {len(pids)} servers")
    env.close()


def worlds(count: int, begin: int) -> None:
    """How often the hand-written controller gets each item, and when."""
    env = make(NAME, {"step_s": 600.0}, None)  # of no importance to the result: a busy machine may let the server starve for long
    first: dict[str, list[int]] = {}
    without: list[str] = []
    for seed in range(begin, begin + count):

        def watch(info: dict[str, Any]) -> None:
            for item in info["new"].split():
                first.setdefault(item, []).append(info["step"])

        last = luanti_by_hand.play(env.unwrapped, seed, luanti_by_hand.find_diamond, watch=watch)
        if not last["success"]:
            end = "died" if last["died"] else f"life {last['life']:g}"
            without.append(f"- {seed}: step {last['step']:,}, y = {last['y']:.0f}, {end}; {last['have']}")
    print(f"\n| by hand, {count} worlds from seed {begin} on | got it | median tick |\n|---|---|---|")
    for item, when in first.items():
        print(f"| {item} | {len(when)} | {statistics.median(when):,.0f} |")
    print("\nWithout a diamond:\n" + "\n".join(without))
    env.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=8000)
    parser.add_argument("--resets", type=int, default=200)
    parser.add_argument("--worlds", type=int, default=0)
    parser.add_argument("--first", type=int, default=HELD_OUT)
    args = parser.parse_args()
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}\n")
    if args.worlds:
        worlds(args.worlds, args.first)
        return
    print("| | steps/s | Python, µs | server, µs | steps a CPU second |\n|---|---|---|---|---|")
    for kind in ("no-op", "look around and dig", "wander and dig"):
        steps(kind, args.steps)
    side_by_side("wander and dig", args.steps, 2)
    steps("wander and dig", args.steps // 4, ticks=4)
    steps("wander and dig", args.steps // 8, pictures=True)
    if args.resets:
        resets(args.resets)


if __name__ == "__main__":
    main()
