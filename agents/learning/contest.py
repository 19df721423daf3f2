"""What was learned against the alternative, in the same held-out episodes. No torch: both sides are skills.

A side is called again and again until the episode ends. Where the environment is deterministic, what counts is the account of a worker
without model-written code in which the actions were repeated.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from gymnasium import spaces

from rlgpt.agents.learning.endings import Stopped
from rlgpt.agents.learning.learner import Alive
from rlgpt.bus.arena import Contest
from rlgpt.bus.messages import ArenaRequested
from rlgpt.bus.parts import Skill
from rlgpt.bus.task import Environment
from rlgpt.envs.options import action_names
from rlgpt.envs.pool import WorkerPool
from rlgpt.envs.starts import read
from rlgpt.envs.transitions import Call, Choice, EpisodeEnd, Primitive

NOTHING = "doing nothing"
WIDTH = 8


@dataclass(frozen=True)
class Side:
    """One episode of one side: its return with shaping, undiscounted, and how it ended."""

    gained: float
    end: EpisodeEnd


def compare(asked: ArenaRequested, learned: Skill, environment: Environment, actions: spaces.Space[Any], alive: Alive) -> Contest:
    """Play and judge. Raises Stopped, and what a WorkerPool raises."""
    other = asked.against or nothing(asked, actions)
    seeds = _seeds(asked, environment)
    sides, agreed, steps = [], True, 0
    for skill in (learned, other):
        whole = skill.model_copy(update={"whole": True, "source": _everywhere(skill)})
        played = _play(asked, environment, seeds, alive, skill=whole)
        if environment.deterministic:
            told, played = played, _play(asked, environment, seeds, alive, actions=[side.end.actions for side in played])
            agreed = agreed and all(map(_agree, told, played))
        sides.append(played)
        steps += sum(side.end.steps for side in played)
    verified = agreed if environment.deterministic else None
    return contest(asked, sides[0], sides[1], asked.against.name if asked.against else NOTHING, verified, steps)


def contest(
    asked: ArenaRequested, learned: Sequence[Side], other: Sequence[Side], against: str, verified: bool | None, steps: int
) -> Contest:
    """The figures of paired episodes."""
    judged = asked.arena.judged
    ours, theirs = ([float(side.end.success) if judged == "success" else side.gained for side in sides] for sides in (learned, other))
    away = [a - b for a, b in zip(ours, theirs, strict=True)]
    n, mean = len(away), statistics.mean(away)
    half = 1.959964 * statistics.stdev(away) / math.sqrt(n) if n > 1 else math.inf
    return Contest(
        against=against,
        judged=judged,
        episodes=n,
        learned=statistics.mean(ours),
        other=statistics.mean(theirs),
        difference=mean,
        low=mean - half,
        high=mean + half,
        better=sum(one > 0 for one in away),
        worse=sum(one < 0 for one in away),
        verified=verified,
        env_steps=steps,
    )


def nothing(asked: ArenaRequested, space: spaces.Space[Any]) -> Skill:
    """The skill that does nothing: the first primitive action of the arena, or the middle of what the action space has."""
    action: Any
    if isinstance(space, spaces.Discrete):
        names = action_names(space, asked.environment.actions)
        first = asked.arena.primitives[0] if asked.arena.primitives else names[0]
        action = int(space.start) + names.index(first)
    elif isinstance(space, spaces.MultiDiscrete):
        action = space.start.tolist()
    else:
        assert isinstance(space, spaces.Box), "the learner has refused all other spaces"
        action = np.clip(np.zeros(space.shape), space.low, space.high).tolist()
    source = f"def nothing(obs, info):\n    while True:\n        obs, info = yield {action!r}\n"
    return Skill(name="nothing", source=source, max_steps=asked.arena.steps)


def _everywhere(skill: Skill) -> str:
    """The skill without its own `can_run`: in a contest it plays in any case."""
    return skill.source + "\n\ndef can_run(obs, info):\n    return True\n" if "def can_run" in skill.source else skill.source


def _seeds(asked: ArenaRequested, environment: Environment) -> list[int]:
    """Each held-out state once, as far as `episodes` goes; without states, seeds of the task's own, beyond those of its evaluation."""
    if environment.starts is None:
        first = asked.evaluation.first_seed + asked.evaluation.episodes + 1_000_000 * (1 + asked.seed)
        return list(range(first, first + asked.arena.episodes))
    return list(range(min(len(read(environment.starts.uri, environment.starts.sha256)), asked.arena.episodes)))


def _play(
    asked: ArenaRequested,
    environment: Environment,
    seeds: Sequence[int],
    alive: Alive,
    *,
    skill: Skill | None = None,
    actions: Sequence[Any] | None = None,
) -> list[Side]:
    """One episode of every seed: by calls of `skill`, or by these actions [steps, ...] of each."""
    width = min(WIDTH, len(seeds))
    others = [one for one in asked.skills if skill and one.name != skill.name]
    with WorkerPool(
        environment,
        success=asked.arena.success or "False",
        environments=width,
        workers=asked.workers,
        skills=(skill,) if skill else (),
        library=others,
        shaping=asked.arena.shaping,
        record=True,
    ) as pool:
        found: list[Side] = []
        for begin in range(0, len(seeds), width):
            wave = seeds[begin : begin + width]
            given = None if actions is None else actions[begin : begin + width]
            found += _wave(pool, [*wave, *[wave[0]] * (width - len(wave))], len(wave), given, alive)
    return found


def _wave(pool: WorkerPool, seeds: list[int], count: int, actions: Sequence[Any] | None, alive: Alive) -> list[Side]:
    """Episodes side by side until the first `count` have ended; what goes on beside them is not looked at."""
    pool.reset(seeds)
    gained, step = np.zeros(count), 0
    ends: list[EpisodeEnd | None] = [None] * count
    while any(end is None for end in ends):
        if not alive():
            raise Stopped
        now = pool.step([_choice(actions, i, step) for i in range(len(seeds))], seeds)
        step += 1
        for i in range(count):
            if ends[i] is None:
                gained[i] += float(now.reward[i])
                ends[i] = now.ended[i]
                if ends[i] is None and actions is not None and step >= len(_given(actions, i)):
                    ends[i] = EpisodeEnd(seeds[i], False, math.nan, step, True)  # its actions did not end it again
    return [Side(float(gain), end) for gain, end in zip(gained, ends, strict=True) if end is not None]


def _choice(actions: Sequence[Any] | None, i: int, step: int) -> Choice:
    if actions is None:
        return Call(0)
    given = _given(actions, i if i < len(actions) else 0)
    action = given[min(step, len(given) - 1)]
    return Primitive(int(action) if np.ndim(action) == 0 else action)


def _given(actions: Sequence[Any], i: int) -> Any:
    # An episode whose actions are not known (its worker was lost) is repeated by nothing, and cannot agree.
    return actions[i] if actions[i] is not None and len(actions[i]) else np.zeros(1, np.int64)


def _agree(told: Side, found: Side) -> bool:
    same = (told.end.success, told.end.steps) == (found.end.success, found.end.steps)
    return same and math.isclose(told.gained, found.gained, rel_tol=1e-4, abs_tol=1e-4)
