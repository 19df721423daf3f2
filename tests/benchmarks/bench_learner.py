"""PPO end to end, rollouts and updates, in environment steps a second: ours on locked workers beside stable-baselines3 as it ships.

    python tests/benchmarks/bench_learner.py [--steps 30000] [--rounds 3] [--workers 1 2] [--threads 1 2]

CartPole, 8 environments, a 64-wide network, the same PPO settings everywhere. The arms take turns within a round; the table has the
median of the rounds, and the median of each round's ratio to stable-baselines3's faster vector environment. Starting processes does not
count; our checkpoints and TensorBoard files do.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv

from rlgpt.agents.learning.learner import learn
from rlgpt.agents.learning.training import Training  # noqa: F401  imported before the clock starts, as stable-baselines3 is
from rlgpt.bus.messages import TrainingRequested
from rlgpt.bus.task import Environment, Evaluation, Learner

SETTINGS = Learner(env_steps=1, environments=8, rollout=128, batch_size=256, epochs=8)


def ours(steps: int, threads: int, workers: int) -> float:
    """Environment steps a second of a whole learning."""
    from rlgpt.agents import training

    training.THREADS = threads
    request = TrainingRequested(
        plan=1,
        environment=Environment(id="CartPole-v1"),
        success="truncated",
        learner=SETTINGS.model_copy(update={"env_steps": steps, "device": "cpu"}),
        evaluation=Evaluation(episodes=1),
        seed=0,
        workers=workers,
    )
    with tempfile.TemporaryDirectory() as folder:
        finished = learn(request, Path(folder), lambda _: None, lambda: None, lambda: False)
    assert not finished.failure, finished.failure
    return finished.env_steps / finished.learn_s


def theirs(kind: Any, steps: int, threads: int) -> float:
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
            seed=0,
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
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2], help="our worker processes")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2], help="torch's threads")
    options = parser.parse_args()
    arms: dict[str, Callable[[], float]] = {}
    for threads in options.threads:
        for workers in options.workers:
            arms[f"ours, locked workers: {workers} | {threads}"] = lambda threads=threads, workers=workers: ours(
                options.steps, threads, workers
            )
        for kind in (DummyVecEnv, SubprocVecEnv):
            name = f"stable-baselines3, {kind.__name__} | {threads}"
            arms[name] = lambda kind=kind, threads=threads: theirs(kind, options.steps, threads)
    rounds = [{name: arm() for name, arm in arms.items()} for _ in range(options.rounds)]
    print("| | torch threads | environment steps/s | ratio to their best |\n|---|---|---|---|")
    for name in arms:
        ratios = [one[name] / max(rate for other, rate in one.items() if other.startswith("stable")) for one in rounds]
        print(f"| {name} | {statistics.median(one[name] for one in rounds):,.0f} | {statistics.median(ratios):.2f} |")


if __name__ == "__main__":
    main()
