"""What a learner and the worker pool say to each other: decisions in, transitions out. Data only; numpy, nothing else.

A *decision* is one primitive action or one whole call of a skill. B is the number of environments, S the number of skills.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Observations = npt.NDArray[Any] | dict[str, Any] | tuple[Any, ...]
"""Stacked observations: an array [B, ...], or a dict or tuple of such for Dict and Tuple spaces."""


@dataclass(frozen=True)
class Primitive:
    """One action of the environment itself: an integer (Discrete) or an array of the action space's shape."""

    action: int | npt.NDArray[Any]


@dataclass(frozen=True)
class Call:
    """One whole call of skill number `skill` of the pool's skills."""

    skill: int


Choice = Primitive | Call


@dataclass(frozen=True)
class EpisodeEnd:
    """An episode that is over.

    seed            it was reset with
    success         the task's success expression held after some step
    episode_return  undiscounted sum of the environment's own rewards, without shaping
    steps           environment steps
    truncated       ended by the time limit or a fault rather than by the environment
    actions         the primitive actions executed, [steps, ...], if the pool records them, else None
    """

    seed: int
    success: bool
    episode_return: float
    steps: int
    truncated: bool
    actions: npt.NDArray[Any] | None = None


@dataclass(slots=True)  # not frozen: one is made in every batch, and a frozen one takes four times as long
class Transitions:
    """What one decision in each of B environments led to, in order. All arrays are the caller's own copies.

    obs         after the decision; of the new episode where the old one ended
    final_obs   same structure; rows are valid where the episode ended (its last observation), else equal to `obs`
    reward      [B] float32  sum of gamma**i * (r_i + shaping_i) over the decision's own steps
    duration    [B] int32    environment steps of the decision, >= 1 (0 only from `reset`)
    terminated  [B] bool     the environment ended the episode
    truncated   [B] bool     the time limit, or a fault, ended it
    runnable    [B, S] bool  the skill's `can_run` holds in `obs` (True without one)
    ended       per environment the episode that ended in this decision, or None
    faults      per environment "" or why the skill or its worker failed; the episode then ended as truncated
    """

    obs: Observations
    final_obs: Observations
    reward: npt.NDArray[np.float32]
    duration: npt.NDArray[np.int32]
    terminated: npt.NDArray[np.bool_]
    truncated: npt.NDArray[np.bool_]
    runnable: npt.NDArray[np.bool_]
    ended: tuple[EpisodeEnd | None, ...]
    faults: tuple[str, ...]
