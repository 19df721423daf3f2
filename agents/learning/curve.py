"""The learning curve: what happened between two points of it, as `Point` messages and TensorBoard files. Time is environment steps."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from rlgpt.bus.parts import Point
from rlgpt.envs.transitions import Transitions

POINTS = 200
"""About the most points a curve has: each is a message on the bus, and no screen shows more."""


class Curve:
    """Collects decisions, and closes a point every `budget / POINTS` environment steps, at an update's end.

    A point without a finished episode has `episodes` 0 and rates of 0, which then mean nothing.
    """

    def __init__(self, names: Sequence[str], budget: int, on_point: Callable[[Point], None], writer: Any) -> None:
        self.points: list[Point] = []
        self._names, self._every, self._on_point, self._writer = names, budget / POINTS, on_point, writer
        self._begun = time.monotonic()
        self._clear()

    def _clear(self) -> None:
        self._episodes, self._successes, self._returns = 0, 0, 0.0
        self._chosen: Counter[int] = Counter()

    def add(self, transitions: Transitions, chosen: npt.NDArray[np.int64]) -> None:
        """One decision in every environment."""
        self._chosen.update(chosen.tolist())
        for end in transitions.ended:
            if end is not None:
                self._episodes += 1
                self._successes += end.success
                self._returns += end.episode_return

    def close_point(self, env_steps: int, losses: dict[str, Any], *, last: bool = False) -> None:
        """At an update's end: one more point, if it is time for one. `losses` are PPO's own figures of the update."""
        before = self.points[-1].env_steps if self.points else 0
        if env_steps == before or not (last or env_steps - before >= self._every):
            return
        seconds, decisions, episodes = time.monotonic() - self._begun, self._chosen.total(), max(self._episodes, 1)
        point = Point(
            env_steps=env_steps,
            episodes=self._episodes,
            success_rate=self._successes / episodes,
            mean_return=self._returns / episodes,
            steps_per_s=round((env_steps - before) / max(seconds, 1e-9), 1),
            usage={self._names[which]: count / decisions for which, count in sorted(self._chosen.items())},
        )
        self.points.append(point)
        self._begun = time.monotonic()
        self._clear()
        self._write(point, losses)
        self._on_point(point)

    def _write(self, point: Point, losses: dict[str, Any]) -> None:
        figures = {"steps_per_s": point.steps_per_s, **{f"usage/{name}": share for name, share in point.usage.items()}}
        if point.episodes:
            figures |= {"success_rate": point.success_rate, "return": point.mean_return}
        for name, figure in (figures | losses).items():
            self._writer.add_scalar(name, figure, point.env_steps)

    def state(self) -> dict[str, Any]:
        """Plain values, for a checkpoint."""
        return {
            "points": [point.model_dump() for point in self.points],
            "open": [self._episodes, self._successes, self._returns],
            "chosen": dict(self._chosen),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from a checkpoint. Its points were told before."""
        self.points = [Point(**point) for point in state["points"]]
        self._episodes, self._successes, self._returns = state["open"]
        self._chosen = Counter(state["chosen"])


def tensorboard(folder: Path, env_steps: int) -> Any:
    """A writer of TensorBoard files; what an interrupted learning wrote after `env_steps` is hidden."""
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(str(folder), purge_step=env_steps + 1 if env_steps else None)
