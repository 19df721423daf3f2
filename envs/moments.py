"""Running mean and deviation: what observations and returns are normalised by."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


class RunningMoments:
    """Mean and variance of rows, per component, in one pass (Chan, Golub & LeVeque 1979, Stanford STAN-CS-79-773)."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.count, self.mean, self.m2 = 0, np.zeros(shape), np.zeros(shape)

    def add(self, rows: Array) -> None:
        """rows [n, ...]."""
        n = len(rows)
        if n == 0:
            return
        values = rows.astype(np.float64, copy=False)
        mean = values.mean(axis=0)
        delta, total = mean - self.mean, self.count + n
        self.m2 = self.m2 + ((values - mean) ** 2).sum(axis=0) + delta**2 * (self.count * n / total)
        self.mean, self.count = self.mean + delta * (n / total), total

    @property
    def deviation(self) -> Array:
        """Standard deviation; 1 where nothing has varied yet, so that dividing by it changes nothing."""
        deviation: Array = np.sqrt(self.m2 / max(self.count, 1))
        return np.where(deviation > 1e-8, deviation, 1.0)

    def state(self) -> dict[str, Any]:
        """Plain values, exact."""
        return {"count": self.count, "mean": self.mean.ravel().tolist(), "m2": self.m2.ravel().tolist()}

    def restore(self, state: dict[str, Any]) -> None:
        """What `state` told."""
        self.count = int(state["count"])
        self.mean, self.m2 = (np.array(state[name], np.float64).reshape(self.mean.shape) for name in ("mean", "m2"))
