"""Many environments in a few locked workers, stepped together: the learner's side.

A worker that hangs, dies or lies is replaced; the episodes it held end as truncated, with the reason in `Transitions.faults`, and
training goes on. A quarantined skill (see `envs/crew.py`) is masked in `runnable`, and a call of it is one fallback action.

There is no snapshot of environments: after a resume a pool is reset, and the episodes under way are lost. A finished episode can be
had again by `trial.replay` from its seed and actions (`record=True`).
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Sequence
from typing import Any

import numpy as np

from rlgpt.bus.messages import Skill
from rlgpt.bus.task import Environment
from rlgpt.envs.batch import Batch
from rlgpt.envs.crew import Crew, Lost, Order
from rlgpt.envs.errors import EnvironmentUnavailable, EnvironmentUnsupported, SandboxUnavailable, SkillInvalid, WorkerDied
from rlgpt.envs.layout import CALL, PRIMITIVE, RESET
from rlgpt.envs.limits import Limits
from rlgpt.envs.space import fold, restore
from rlgpt.envs.transitions import Call, Choice, EpisodeEnd, Primitive, Transitions
from rlgpt.envs.trial import Replayer, Trials, describe, replay, try_skill
from rlgpt.envs.zygote import Zygote, work_for

__all__ = [
    "Call",
    "Choice",
    "EnvironmentUnavailable",
    "EnvironmentUnsupported",
    "EpisodeEnd",
    "Limits",
    "Primitive",
    "Replayer",
    "SandboxUnavailable",
    "SkillInvalid",
    "Transitions",
    "Trials",
    "WorkerDied",
    "WorkerPool",
    "describe",
    "replay",
    "try_skill",
]

WORTH_S = 0.0004  # work that makes one more worker pay, seconds; some times what waking a process costs
MAX_RECORDED = 1_000_000  # actions of one episode; beyond, its actions are not kept


class WorkerPool:
    """B environments in locked worker processes. Not thread-safe; `close()` it, or use it in a `with` statement.

    environments  B
    workers       processes; None: as many as pay, at most one per core
    skills        that `Call` counts through; each may call the others
    gamma         discount inside a decision
    shaping       expression added to the reward of every step
    deadline_s    seconds a worker may take for its share of one batch of decisions before it is killed; a call of a skill is
                  stopped, without harm to others, after its share of four fifths of that
    fallbacks     actions one of which is taken where a call takes no step (can_run false, returned at once); empty: any action
    record        keep the primitive actions of every episode, in `EpisodeEnd.actions`
    Raises SkillInvalid, EnvironmentUnavailable, EnvironmentUnsupported, SandboxUnavailable, WorkerDied.
    """

    def __init__(
        self,
        environment: Environment,
        *,
        success: str,
        environments: int,
        workers: int | None = None,
        skills: Sequence[Skill] = (),
        gamma: float = 1.0,
        shaping: str = "",
        deadline_s: float = 30.0,
        limits: Limits | None = None,
        fallbacks: Sequence[Any] = (),
        record: bool = False,
    ) -> None:
        if environments < 1:
            raise ValueError(f"environments is {environments}; it has to be at least 1")
        self.skills = tuple(skills)
        self._record = record
        zygote = Zygote(environment, limits=limits)
        self._finalizer = weakref.finalize(self, zygote.close)
        longest = max([1, *(skill.max_steps for skill in self.skills)])
        per = -(-environments // min(workers or _worthwhile(environments * zygote.step_s * min(longest, 10)), environments))
        self._slots = [range(first, min(first + per, environments)) for first in range(0, environments, per)]
        self._observation = zygote.description.observation_space
        self.observation_space, self.action_space = restore(self._observation), restore(zygote.description.action_space)
        work = work_for(
            [skill.model_dump() for skill in self.skills],
            success,
            shaping=shaping,
            gamma=gamma,
            call_s=max(0.05, 0.8 * deadline_s / per),
            fallbacks=[value.tolist() if isinstance(value, np.ndarray) else value for value in fallbacks],
        )
        try:
            sizes, names = [len(slots) for slots in self._slots], [skill.name for skill in self.skills]
            self._crew = Crew(zygote, sizes, names, work, logged=longest if record else 0, deadline_s=deadline_s)
        except BaseException:
            self._finalizer()
            raise
        self._seeds, self._steps = [0] * environments, [0] * environments
        self._recorded: list[list[Any] | None] = [None] * environments
        self._latest: list[Any] | None = None

    @property
    def environments(self) -> int:
        """B."""
        return len(self._seeds)

    @property
    def pids(self) -> tuple[int, ...]:
        """Process ids of the present workers."""
        return tuple(worker.pid for worker in self._crew.workers)

    @property
    def locks(self) -> tuple[str, ...]:
        """What locks the workers in, in words; empty where they run unlocked."""
        return self._crew.workers[0].locks

    @property
    def quarantined(self) -> dict[str, str]:
        """Skills that are not called any more, and why."""
        return dict(self._crew.quarantined)

    def reset(self, seeds: Sequence[int]) -> Transitions:
        """Begin an episode of each seed; rewards and durations are 0. Raises WorkerDied if the environment cannot be reset."""
        self._check_seeds(seeds)
        orders = [[Order(RESET, 0)] * len(slots) for slots in self._slots]
        outcomes = self._crew.ask(orders, self._shared(seeds))
        self._seeds, self._steps = [int(seed) for seed in seeds], [0] * self.environments
        self._recorded = [[] if self._record else None for _ in seeds]
        return self._join([outcome.fresh if isinstance(outcome, Lost) else outcome for outcome in outcomes], [None] * self.environments)

    def step(self, choices: Sequence[Choice], next_seeds: Sequence[int]) -> Transitions:
        """Take one decision in every environment; `next_seeds[i]` begins the next episode where environment i's ends now."""
        self._check_seeds(next_seeds)
        if len(choices) != self.environments:
            raise ValueError(f"{len(choices)} choices for {self.environments} environments")
        if self._latest is None:
            raise RuntimeError("reset(seeds) comes before the first step")
        orders = self._shared([self._order(choice) for choice in choices])
        batches = []
        for slots, outcome in zip(self._slots, self._crew.ask(orders, self._shared(next_seeds)), strict=True):
            batches.append(self._lost(slots, outcome, choices) if isinstance(outcome, Lost) else outcome)
        ended = [end for slots, batch in zip(self._slots, batches, strict=True) for end in self._count(slots, batch, next_seeds)]
        return self._join(batches, ended)

    def close(self) -> None:
        """End every worker."""
        self._crew.close()
        self._finalizer()

    def __enter__(self) -> WorkerPool:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _order(self, choice: Choice) -> Order:
        if isinstance(choice, Primitive):
            return Order(PRIMITIVE, 1, action=choice.action)
        if not 0 <= choice.skill < len(self.skills):
            raise ValueError(f"skill number {choice.skill}, where there are {len(self.skills)}")
        skill = self.skills[choice.skill]
        return Order(CALL, 1) if skill.name in self._crew.quarantined else Order(CALL, skill.max_steps, choice.skill)

    def _shared(self, rows: Sequence[Any]) -> list[Sequence[Any]]:
        """One entry per environment, cut into one part per worker."""
        return [rows[slots.start : slots.stop] for slots in self._slots]

    def _check_seeds(self, seeds: Sequence[int]) -> None:
        if len(seeds) != self.environments:
            raise ValueError(f"{len(seeds)} seeds for {self.environments} environments")
        if min(seeds) < 0 or max(seeds) >= 2**63:
            raise ValueError(f"seeds are integers from 0 to 2**63 - 1, not {list(seeds)}")

    def _lost(self, slots: range, lost: Lost, choices: Sequence[Choice]) -> Batch:
        """What a lost worker's decisions came to: its episodes end, cut off, where they were last seen."""
        assert self._latest is not None
        batch = lost.fresh
        batch.final_obs = [leaf[slots.start : slots.stop] for leaf in self._latest]
        batch.duration[:] = 1
        batch.truncated[:] = True
        # What was executed is not known, so that it cannot be replayed.
        batch.actions = []
        for slot in slots:
            self._recorded[slot] = None
        batch.faults = [f"lost with its worker: {lost.why}"] * len(slots)
        if lost.slot >= 0 and isinstance(choices[slots.start + lost.slot], Call):
            batch.faults[lost.slot] = f"skill {self.skills[lost.skill].name!r} lost its worker: {lost.why}"
        return batch

    def _count(self, slots: range, batch: Batch, next_seeds: Sequence[int]) -> list[EpisodeEnd | None]:
        """Book the decisions of one worker; the episodes that ended. Steps and seeds are our own count, not the worker's."""
        ended: list[EpisodeEnd | None] = [None] * len(slots)
        for i, (slot, steps) in enumerate(zip(slots, batch.duration.tolist(), strict=True)):
            self._steps[slot] += steps
            recorded = self._recorded[slot]
            if recorded is not None and batch.actions:
                recorded.append(batch.actions[i])
                if self._steps[slot] > MAX_RECORDED:
                    self._recorded[slot] = recorded = None
            if not (batch.terminated[i] or batch.truncated[i]):
                continue
            actions = np.concatenate(recorded) if recorded else None
            met, gained, cut = bool(batch.success[i]), float(batch.episode_return[i]), not bool(batch.terminated[i])
            ended[i] = EpisodeEnd(self._seeds[slot], met, gained, self._steps[slot], cut, actions)
            self._seeds[slot], self._steps[slot] = int(next_seeds[slot]), 0
            self._recorded[slot] = [] if self._record else None
        return ended

    def _join(self, batches: Sequence[Batch], ended: Sequence[EpisodeEnd | None]) -> Transitions:
        count = range(len(batches[0].obs))
        obs = [_stack([batch.obs[i] for batch in batches]) for i in count]
        same = all(batch.final_obs is batch.obs for batch in batches)
        final = obs if same else [_stack([batch.final_obs[i] for batch in batches]) for i in count]
        runnable = _stack([batch.runnable for batch in batches])
        for i, skill in enumerate(self.skills if self._crew.quarantined else ()):
            runnable[:, i] &= skill.name not in self._crew.quarantined
        self._latest = obs
        return Transitions(
            obs=fold(self._observation, obs),
            final_obs=fold(self._observation, final),
            reward=_stack([batch.reward for batch in batches]),
            duration=_stack([batch.duration for batch in batches]),
            terminated=_stack([batch.terminated for batch in batches]),
            truncated=_stack([batch.truncated for batch in batches]),
            runnable=runnable,
            ended=tuple(ended),
            faults=tuple(fault for batch in batches for fault in batch.faults),
        )


def _worthwhile(batch_s: float) -> int:
    """Workers for batches of so many seconds of work: waking one pays only if it has more to do than that costs."""
    return max(1, min(len(os.sched_getaffinity(0)), int(batch_s / WORTH_S)))


def _stack(parts: Sequence[Any]) -> Any:
    return parts[0] if len(parts) == 1 else np.concatenate(parts)
