"""Crafter's speed on one core: steps and resets, symbols and pictures, beside the original package in the same run.

    python tests/benchmarks/bench_crafter.py [--steps 5000] [--resets 40] [--rounds 3]

Random actions; the resets between episodes are not counted in the steps. CPU time, the best of the rounds. Prints a Markdown table.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "envs"))

from crafter_original import Original

from rlgpt.envs.crafter import toolkit
from rlgpt.envs.registry import make


def per_call(run: Callable[[int], Any], count: int, rounds: int) -> float:
    """CPU seconds of a call, in the best round."""
    best = float("inf")
    for turn in range(rounds):
        begin = time.process_time()
        for i in range(count):
            run(turn * count + i)
        best = min(best, (time.process_time() - begin) / count)
    return best


def steps(step: Callable[[int], bool], reset: Callable[[int], Any], count: int, rounds: int) -> float:
    """CPU seconds of a step, without those of the resets; `step` tells whether the episode is over."""
    actions = np.random.default_rng(0).integers(17, size=count).tolist()
    best = float("inf")
    for turn in range(rounds):
        reset(turn)
        used, done, i = 0.0, 0, 0
        while i < count:
            begin = time.process_time()
            over = False
            while i < count and not over:
                over = step(actions[i])
                i += 1
            used += time.process_time() - begin
            done += 1
            if over:
                reset(turn * 1000 + done)
        best = min(best, used / count)
    return best


def row(name: str, step_s: float, reset_s: float) -> None:
    print(f"| {name} | {1 / step_s:,.0f} | {1000 * reset_s:.2f} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=5000)
    parser.add_argument("--resets", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    print("| | steps/s | reset, ms |\n|---|---|---|")
    for name, kind, kwargs in (
        ("symbols", "Symbolic", {}),
        ("symbols with planes", "Symbolic", {"planes": True}),
        ("pictures 64 x 64", "Pixels", {}),
    ):
        env = make(f"rlgpt/Crafter{kind}-v0", kwargs, None)

        def step(action: int, env: Any = env) -> bool:
            return bool(env.step(action)[2])

        def reset(seed: int, env: Any = env) -> None:
            env.reset(seed=seed)

        row(name, steps(step, reset, args.steps, args.rounds), per_call(reset, args.resets, args.rounds))
    for name, quiet in (("crafter itself, pictures 64 x 64", False), ("crafter itself, no picture", True)):
        original = Original()
        original.quiet = quiet

        def step_original(action: int, original: Original = original) -> bool:
            return bool(original.step(action)[2])

        few = max(300, args.steps // 10)
        resets = per_call(original.begin, max(2, args.resets // 10), 1)
        row(name, steps(step_original, original.begin, few, args.rounds), resets)
    _toolkit()


def _toolkit() -> None:
    """Microseconds of the toolkit's functions after 400 random steps."""
    env = make("rlgpt/CrafterSymbolic-v0", {}, None)
    _, info = env.reset(seed=4)
    rng = np.random.default_rng(0)
    for _ in range(400):
        info = env.step(int(rng.integers(1, 5)))[4]
        env.unwrapped._world["inventory"][0, :4] = 9
    tree = toolkit.nearest(info, "tree")
    assert tree is not None
    calls: dict[str, Callable[[int], Any]] = {
        "nearest": lambda _: toolkit.nearest(info, "tree"),
        "unexplored": lambda _: toolkit.unexplored(info),
        "step_towards": lambda _: toolkit.step_towards(info, tree.cell),
        "ways": lambda _: toolkit.ways(info),
        "threats": lambda _: toolkit.threats(info),
        "missing": lambda _: toolkit.missing(info, "make_iron_pickaxe"),
    }
    print("\n" + ", ".join(f"{name} {1e6 * per_call(call, 300, 5):.0f} µs" for name, call in calls.items()))


if __name__ == "__main__":
    main()
