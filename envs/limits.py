"""What a worker may take, and how long."""

from __future__ import annotations

from dataclasses import dataclass

from rlgpt.bus.task import Environment

HOSTED_STEP_S = 0.03  # what a step of a slow host takes (MineDojo: some tens a second)
UNLIMITED = 1000  # steps that a call counts for where nobody says how long an episode may be


def call_deadline(deadline_s: float, environment: Environment, steps: int) -> float:
    """Seconds a call of at most so many steps may take: `deadline_s`, or what they take in a hosted environment, whose steps are slow."""
    if environment.host is None:
        return deadline_s
    return max(deadline_s, HOSTED_STEP_S * min(steps, environment.max_episode_steps or UNLIMITED))


@dataclass(frozen=True)
class Limits:
    """Limits of workers.

    memory_mb  megabytes a worker may allocate beyond what its environment needs
    start_s    seconds until an environment must have been imported, made and reset
    unsafe     run model-written code unlocked where it cannot be locked in; never without being asked for
    """

    memory_mb: int = 512
    start_s: float = 300.0
    unsafe: bool = False
