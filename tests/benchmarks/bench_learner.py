"""PPO end to end, rollouts and updates, in environment steps a second: ours on locked workers beside stable-baselines3 as it ships.

    python tests/benchmarks/bench_learner.py [--steps 30000] [--seeds 3] [--workers 1 2] [--threads 1 2] [--option frame_stack=2]

CartPole, 8 environments, a 64-wide network, the same PPO settings everywhere. The arms take turns, once with each seed, so that the
ratios are paired; the table has the means over the seeds with 95 % intervals (Student's t), and the ratio to stable-baselines3's faster
vector environment. Starting processes does not count; our checkpoints and TensorBoard files do. `--option` sets one of our learner's
options in our arms alone.
"""

from __future__ import annotations

import argparse
import math
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import torch
import yaml
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv

from rlgpt.agents.learning.learner import learn
from rlgpt.agents.learning.training import Training  # noqa: F401  imported before the clock starts, as stable-baselines3 is
from rlgpt.bus.messages import TrainingRequested
from rlgpt.bus.task import Environment, Evaluation, Learner

SETTINGS = Learner(env_steps=1, environments=8, rollout=128, batch_size=256, epochs=8)


T95 = {2: 12.706, 3: 4.303, 4: 3.182, 5: 2.776, 6: 2.571, 7: 2.447, 8: 2.365, 9: 2.306, 10: 2.262}
"""Student's t for a two-sided 95 % interval of a mean of so many values."""


def interval(values: list[float]) -> tuple[float, float]:
    """Mean and half of its 95 % interval, which one value alone does not have."""
    if len(values) < 2:
        return values[0], float("nan")
    spread = statistics.stdev(values) / math.sqrt(len(values))
    return statistics.mean(values), T95.get(len(values), 2.262) * spread


def ours(steps: int, threads: int, workers: int, seed: int, options: dict[str, Any]) -> float:
    """Environment steps a second of a whole learning."""
    from rlgpt.agents.learning import training

    training.THREADS = threads
    request = TrainingRequested(
        plan=1,
        environment=Environment(id="CartPole-v1"),
        success="truncated",
        learner=Learner.model_validate({**SETTINGS.model_dump(), "env_steps": steps, "device": "cpu", **options}),
        evaluation=Evaluation(episodes=1),
        seed=seed,
        workers=workers,
    )
    with tempfile.TemporaryDirectory() as folder:
        finished = learn(request, Path(folder), lambda _: None, lambda: None, lambda: False)
    assert not finished.failure, finished.failure
    return finished.env_steps / finished.learn_s


def theirs(kind: Any, steps: int, threads: int, seed: int) -> float:
    """The same of stable-baselines3."""
    torch.set_num_threads(threads)
    # Our learner switches this check off for its process; here it stays as they have it.
    torch.distributions.Distribution.set_default_validate_args(True)
    env = kind([lambda: gymnasium.make("CartPole-v1")] * SETTINGS.environments)
    try:
        model = PPO(
            "MlpPolicy",
            env,
            n_steps=SETTINGS.rollout,
            batch_size=SETTINGS.batch_size,
            n_epochs=SETTINGS.epochs,
            device="cpu",
            seed=seed,
            policy_kwargs={"net_arch": list(SETTINGS.hidden)},
        )
        began = time.perf_counter()
        model.learn(steps)
        return model.num_timesteps / (time.perf_counter() - began)
    finally:
        env.close()
        torch.distributions.Distribution.set_default_validate_args(False)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=30_000)
    parser.add_argument("--seeds", type=int, default=3, help="2 to 10")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2], help="our worker processes")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2], help="torch's threads")
    parser.add_argument("--option", action="append", default=[], metavar="NAME=VALUE", help="of our learner, as in a scenario's `trainer`")
    options = parser.parse_args()
    own = {name: yaml.safe_load(value) for name, _, value in (option.partition("=") for option in options.option)}
    arms: dict[str, Callable[[int], float]] = {}
    for threads in options.threads:
        for workers in options.workers:
            arms[f"ours, locked workers: {workers} | {threads}"] = lambda seed, threads=threads, workers=workers: ours(
                options.steps, threads, workers, seed, own
            )
        for kind in (DummyVecEnv, SubprocVecEnv):
            name = f"stable-baselines3, {kind.__name__} | {threads}"
            arms[name] = lambda seed, kind=kind, threads=threads: theirs(kind, options.steps, threads, seed)
    rounds = [{name: arm(seed) for name, arm in arms.items()} for seed in range(options.seeds)]
    print("| | torch threads | environment steps/s | ratio to their best |\n|---|---|---|---|")
    for name in arms:
        ratios = [one[name] / max(rate for other, rate in one.items() if other.startswith("stable")) for one in rounds]
        (rate, half), (ratio, either) = interval([one[name] for one in rounds]), interval(ratios)
        print(f"| {name} | {rate:,.0f} ± {half:,.0f} | {ratio:.2f} ± {either:.2f} |")
    print(f"\nn = {options.seeds} seeds, {options.steps:,} steps each, {os.cpu_count()} cores; {own or 'no options'}")


if __name__ == "__main__":
    main()
