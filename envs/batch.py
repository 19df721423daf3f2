"""What a worker answered to a batch of decisions: copied out of the shared memory first, then checked. A lie raises `Lied`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from rlgpt.envs.handle import plain
from rlgpt.envs.layout import CALL, FAULT_BYTES, RESET, Views
from rlgpt.envs.space import Leaf

FAR = 1e30  # farther than any reward: float32 ends a little beyond


class Lied(Exception):
    """A worker answered what no honest one answers: not finite, out of range, contradictory. The text says what."""


@dataclass
class Batch:
    """One worker's answer, copied and checked; n environments, fields as in `transitions.Transitions`.

    actions  per environment the primitive actions of the decision, if they are logged
    """

    obs: list[npt.NDArray[Any]]
    final_obs: list[npt.NDArray[Any]]
    reward: npt.NDArray[np.float32]
    duration: npt.NDArray[np.int32]
    terminated: npt.NDArray[np.bool_]
    truncated: npt.NDArray[np.bool_]
    success: npt.NDArray[np.bool_]
    episode_return: npt.NDArray[np.float64]
    runnable: npt.NDArray[np.bool_]
    faults: list[str]
    actions: list[npt.NDArray[Any]]


def read(view: Views, kinds: Sequence[int], longest: Sequence[int], observed: Sequence[Leaf], acted: Leaf) -> Batch:
    """Copy and check one worker's answer.

    kinds    what was asked of each environment: PRIMITIVE, CALL or RESET
    longest  the most environment steps each decision may have taken (0 for RESET)
    """
    flags, runnable = _flags("flags", view.flags), _flags("runnable", view.runnable)
    terminated, truncated, success = flags[:, 0], flags[:, 1], flags[:, 2]
    numbers, duration = view.numbers.copy(), view.duration.copy()
    if not (np.abs(numbers) < FAR).all():  # also false for NaN
        raise Lied("a reward or return is not finite")
    _durations(duration, kinds, longest)
    obs = [_leaf("obs", array, leaf) for array, leaf in zip(view.obs, observed, strict=True)]
    done = terminated | truncated
    if done.any():
        final = [now.copy() for now in obs]
        for rows, array, leaf in zip(final, view.final_obs, observed, strict=True):
            rows[done] = _leaf("final_obs", array[done], leaf)
    else:
        final = obs
    faults = _faults(view)
    for slot, kind in enumerate(kinds):
        if kind == RESET and done[slot]:
            raise Lied(f"environment {slot} was over right after its reset")
        if faults[slot] and not done[slot]:
            raise Lied(f"environment {slot} failed, yet its episode goes on")
    actions = [_leaf("action", view.log[slot, :steps], acted) for slot, steps in enumerate(duration)] if view.log.shape[1] else []
    reward, gained = numbers[:, 0].astype(np.float32), numbers[:, 1]
    return Batch(obs, final, reward, duration, terminated, truncated, success, gained, runnable, faults, actions)


def _flags(name: str, array: npt.NDArray[np.uint8]) -> npt.NDArray[np.bool_]:
    copy = array.copy()
    if copy.size and copy.max() > 1:
        raise Lied(f"{name} holds {int(copy.max())}, which is neither 0 nor 1")
    return copy.view(np.bool_)


def _finite(name: str, array: npt.NDArray[Any]) -> None:
    if not np.isfinite(array).all():
        raise Lied(f"{name} is not finite")


def _durations(duration: npt.NDArray[np.int32], kinds: Sequence[int], longest: Sequence[int]) -> None:
    for slot, (steps, kind, most) in enumerate(zip(duration.tolist(), kinds, longest, strict=True)):
        least = 0 if kind == RESET else 1
        if not least <= steps <= most:
            what = "call" if kind == CALL else "reset" if kind == RESET else "action"
            raise Lied(f"environment {slot} says its {what} took {steps} steps, where {least} to {most} are possible")


def _leaf(name: str, array: npt.NDArray[Any], leaf: Leaf) -> npt.NDArray[Any]:
    copy = array.copy()
    if leaf.dtype.kind == "f":
        _finite(name, copy)
    elif leaf.low is not None and ((copy < leaf.low).any() or (copy > leaf.high).any()):
        raise Lied(f"{name}{list(leaf.path) or ''} holds a value outside {leaf.low} to {leaf.high}")
    return copy


def _faults(view: Views) -> list[str]:
    sizes = view.fault_size.copy()
    if not sizes.any():
        return [""] * len(sizes)
    if (sizes < 0).any() or (sizes > FAULT_BYTES).any():
        raise Lied("a fault's text is longer than its place")
    return [plain(view.fault[slot, :size].tobytes().decode("utf-8", "replace"), FAULT_BYTES) for slot, size in enumerate(sizes.tolist())]
