"""Learning end to end on the CPU and on the GPU: environment steps a second, locked workers, updates included.

    python tests/benchmarks/bench_device.py [--rounds 3]

CartPole with a 64-wide network, and pictures of 64x64x3 bytes with stable-baselines3's CnnPolicy. Prints a Markdown table of medians of
interleaved rounds; without a GPU the second column is missing. `busy` is the GPU's utilisation as nvidia-smi samples it every 0.2 s.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parent))

from rlgpt.agents.learning.learner import learn
from rlgpt.bus.messages import TrainingRequested
from rlgpt.bus.task import Environment, Evaluation, Learner

TASKS = {
    "CartPole, MLP 64x64, 8 environments": ("CartPole-v1", Learner(env_steps=60_000, environments=8, rollout=256, batch_size=256)),
    "pictures 64x64x3, CNN, 16 environments": (
        "bench_workers:BenchFrames-v0",
        Learner(env_steps=24_000, environments=16, rollout=128, batch_size=512, epochs=4),
    ),
}


class Busy:
    """Samples the GPU's utilisation while it is open; `mean` in percent."""

    def __init__(self) -> None:
        self._stop, self._samples = threading.Event(), [0.0]
        self._thread = threading.Thread(target=self._sample, daemon=True)

    def __enter__(self) -> Busy:
        self._thread.start()
        return self

    def _sample(self) -> None:
        query = ["nvidia-smi", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits"]
        while not self._stop.wait(0.2):
            done = subprocess.run(query, capture_output=True, text=True, check=False)
            if done.returncode == 0:
                self._samples.append(float(done.stdout.split()[0]))

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    @property
    def mean(self) -> float:
        return statistics.mean(self._samples)


def steps_per_s(identifier: str, learner: Learner, device: str) -> tuple[float, float]:
    request = TrainingRequested(
        plan=1,
        environment=Environment(id=identifier, deterministic=False),
        success="steps >= 400",
        learner=learner.model_copy(update={"device": device}),
        evaluation=Evaluation(episodes=1),
        seed=0,
    )
    with tempfile.TemporaryDirectory() as folder, Busy() as busy:
        done = learn(request, Path(folder), lambda _point: None, lambda: None, lambda: False)
    if done.failure:
        raise SystemExit(f"{identifier} on {device}: {done.failure}")
    return done.env_steps / done.learn_s, busy.mean


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    devices = ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]
    print(f"{os.cpu_count()} cores, torch {torch.__version__}, {torch.cuda.get_device_name() if len(devices) > 1 else 'no GPU'}\n")
    print("| learning | " + " | ".join(f"{device}, env steps/s" for device in devices) + " | ratio | GPU busy |")
    print("|---|" + "---|" * (len(devices) + 2))
    for name, (identifier, learner) in TASKS.items():
        found: dict[str, list[tuple[float, float]]] = {device: [] for device in devices}
        for _ in range(rounds):
            for device in devices:
                found[device].append(steps_per_s(identifier, learner, device))
        medians = {device: statistics.median(rate for rate, _ in rates) for device, rates in found.items()}
        busy = statistics.median(percent for _, percent in found[devices[-1]]) if len(devices) > 1 else 0.0
        cells = " | ".join(f"{medians[device]:,.0f}" for device in devices)
        print(f"| {name} | {cells} | {medians[devices[-1]] / medians['cpu']:.2f} | {busy:.0f} % |", flush=True)


if __name__ == "__main__":
    main()
