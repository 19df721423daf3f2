"""Actions as skills yield them, checked against the action space. Errors are words for whoever wrote the skill."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from rlgpt.envs.errors import EnvironmentUnsupported
from rlgpt.envs.space import SpaceData, bound
from rlgpt.envs.words import constant

TAKEN = ("Discrete", "MultiDiscrete", "Box")
Action = int | npt.NDArray[Any]


class ActionInvalid(Exception):
    """Something that is no action of this space; the text says what would be."""


class ActionReader:
    """Reads actions of one space.

    constants  upper-case names of the actions (Discrete with a name for each), to be bound in skills
    """

    def __init__(self, space: SpaceData, names: Sequence[str]) -> None:
        if space["type"] not in TAKEN:
            kind = space.get("name", space["type"])
            raise EnvironmentUnsupported(f"an action space of type {kind} (only {', '.join(TAKEN)}); wrap the environment to flatten it")
        self.space = space
        named = space["type"] == "Discrete" and len(names) == space["n"]
        self.constants: dict[str, int] = {constant(name): space["start"] + i for i, name in enumerate(names)} if named else {}
        self._names: dict[str, int] = {name: space["start"] + i for i, name in enumerate(names)} if named else {}
        self._shape, self._is_discrete = tuple(space.get("shape", ())), space["type"] == "Discrete"
        match space["type"]:
            case "Box":
                self._dtype: np.dtype[Any] = np.dtype(space["dtype"])
                self._low, self._high = bound(space, "low"), bound(space, "high")
            case "MultiDiscrete":
                self._dtype = np.dtype(space["dtype"])
                self._low = np.reshape(space["start"], self._shape)
                self._high = self._low + np.reshape(space["nvec"], self._shape) - 1
            case _:
                self._dtype = np.dtype(np.int64)
                self._low, self._high = space["start"], space["start"] + space["n"] - 1

    def __call__(self, value: object) -> Action:
        """The action `value` means; raises ActionInvalid."""
        if self._is_discrete:
            return value if type(value) is int and self._low <= value <= self._high else self._discrete(value)
        if isinstance(value, str):
            raise ActionInvalid(f"{value!r} is no action: {self.wanted()}")
        try:
            array = np.asarray(value, dtype=np.float64)
        except (TypeError, ValueError):
            raise ActionInvalid(f"{_short(value)} is no array of numbers: {self.wanted()}") from None
        if array.ndim == 0 and self._shape == (1,):
            array = array.reshape(1)
        if array.shape != self._shape:
            raise ActionInvalid(f"{_short(value)} has shape {array.shape}: {self.wanted()}")
        if not np.isfinite(array).all():
            raise ActionInvalid(f"{_short(value)} is not finite: {self.wanted()}")
        if self.space["type"] == "MultiDiscrete" and (array != np.floor(array)).any():
            raise ActionInvalid(f"{_short(value)} has parts that are no integers: {self.wanted()}")
        # Rounding may carry a bound's value a little beyond it; anything farther out is a mistake worth telling.
        slack = 1e-5 * np.maximum(1.0, np.abs(array)) if self.space["type"] == "Box" else 0.0
        if (array < self._low - slack).any() or (array > self._high + slack).any():
            raise ActionInvalid(f"{_short(value)} is out of range: {self.wanted()}")
        exact: npt.NDArray[Any] = np.clip(array, self._low, self._high).astype(self._dtype)
        return exact

    def wanted(self) -> str:
        """What an action is, in words."""
        if self.space["type"] == "Discrete":
            names = f", or one of {', '.join(self.constants)}" if self.constants else ""
            return f"an action is an integer from {self._low} to {self._high}{names}"
        low, high = np.broadcast_to(self._low, self._shape).ravel(), np.broadcast_to(self._high, self._shape).ravel()
        ranges = ", ".join(f"{a:g}..{b:g}" for a, b in list(zip(low, high, strict=True))[:16])
        return f"an action is an array of shape {self._shape}, its parts in {ranges}"

    def _discrete(self, value: object) -> int:
        if isinstance(value, str):
            index = {**self.constants, **self._names}.get(value)
            if index is not None:
                return index
            close = difflib.get_close_matches(value, [*self._names, *self.constants], n=1)
            hint = f" (nearest: {close[0]!r})" if close else ""
            raise ActionInvalid(f"{value!r} is no action's name{hint}: {self.wanted()}")
        if isinstance(value, np.ndarray) and value.ndim == 0:
            value = value[()]
        if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, np.integer)):
            raise ActionInvalid(f"{_short(value)} is no action: {self.wanted()}")
        if not self._low <= value <= self._high:
            raise ActionInvalid(f"{value} is out of range: {self.wanted()}")
        return int(cast(int, value))


def _short(value: object) -> str:
    try:
        text = repr(value)
    except Exception as error:
        text = f"<{type(value).__name__}, whose repr fails: {type(error).__name__}>"
    return text if len(text) <= 80 else text[:79] + "…"
