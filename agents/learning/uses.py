"""How a learner's choices are used: how often each could be made, was made, failed, and what it was paid."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from rlgpt.bus.parts import Use
from rlgpt.envs.options import Bools
from rlgpt.envs.transitions import Transitions

FAULT_CHARACTERS = 300


class Uses:
    """Counts decisions.

    names       of what a decision can be: primitives first, then one for each skill
    primitives  how many of them are primitives
    blocked     [S] skills that cannot be chosen from the beginning, whatever their `can_run` says
    """

    def __init__(self, names: Sequence[str], primitives: int, blocked: Bools | None = None) -> None:
        self._names, self._primitives = list(names), primitives
        self._blocked = np.zeros(len(self._names) - primitives, np.bool_) if blocked is None else blocked.copy()
        n = len(self._names)
        self._offered, self._calls, self._steps = np.zeros(n, np.int64), np.zeros(n, np.int64), np.zeros(n, np.int64)
        self._reward = np.zeros(n, np.float64)
        self._failed, self._fault = [0] * n, [""] * n

    def add(self, runnable: Bools, chosen: npt.NDArray[np.int64], made: Transitions, rows: Bools | None = None) -> None:
        """One decision of every environment, or of those in `rows`.

        runnable  [B, S] skills that could be chosen
        chosen    [B]    index into the names
        """
        if rows is not None and not rows.all():
            runnable, chosen = runnable[rows], chosen[rows]
        duration, reward = (made.duration, made.reward) if rows is None else (made.duration[rows], made.reward[rows])
        self._offered[: self._primitives] += len(chosen)
        self._offered[self._primitives :] += (runnable & ~self._blocked).sum(0)
        n = len(self._names)
        self._calls += np.bincount(chosen, minlength=n)
        self._steps += np.bincount(chosen, duration, n).astype(np.int64)
        self._reward += np.bincount(chosen, reward, n)

    def fail(self, which: int, why: str) -> None:
        """One of the decisions that were added failed."""
        self._failed[which] += 1
        self._fault[which] = why[-FAULT_CHARACTERS:]  # the cause is at the end of a traceback

    def told(self, aside: Sequence[bool] = ()) -> tuple[Use, ...]:
        """All counts; `aside`, by skill, says which could not be chosen any more at the end."""
        blocked = [*[False] * self._primitives, *(aside or [False] * (len(self._names) - self._primitives))]
        return tuple(
            Use(
                name=name,
                skill=i >= self._primitives,
                offered=int(self._offered[i]),
                calls=int(self._calls[i]),
                failed=self._failed[i],
                steps=int(self._steps[i]),
                reward=float(self._reward[i]),
                fault=self._fault[i],
                aside=bool(blocked[i]),
            )
            for i, name in enumerate(self._names)
        )

    def state(self) -> dict[str, Any]:
        """Plain values, for a checkpoint."""
        return {
            "counts": [self._offered.tolist(), self._calls.tolist(), self._steps.tolist(), self._reward.tolist()],
            "failed": list(self._failed),
            "fault": list(self._fault),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from a checkpoint."""
        for array, values in zip((self._offered, self._calls, self._steps, self._reward), state["counts"], strict=True):
            array[:] = values
        self._failed, self._fault = list(state["failed"]), list(state["fault"])
