"""Many environments in a few locked workers, stepped together: the learner's side.

A worker that hangs, dies or lies is replaced; the episodes it held end as truncated, with the reason in `Transitions.faults`, and
training goes on. A quarantined skill (see `envs/crew.py`) is masked in `runnable`, and a call of it is one fallback action.

There is no snapshot of environments: after a resume a pool is reset, and the episodes under way are lost. A finished episode can be
had again by `trial.replay` from its seed and actions (`record=True`).
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from rlgpt.bus.parts import Skill
from rlgpt.bus.task import Environment
from rlgpt.envs.batch import Batch
from rlgpt.envs.camera import Frame, drawing
from rlgpt.envs.crew import Crew, Lost, Orders
from rlgpt.envs.errors import EnvironmentUnavailable, EnvironmentUnsupported, SandboxUnavailable, SkillInvalid, WorkerDied
from rlgpt.envs.layout import CALL, PRIMITIVE
from rlgpt.envs.learned import packed
from rlgpt.envs.limits import Limits, call_deadline
from rlgpt.envs.space import fold, leaves, restore
from rlgpt.envs.staffing import staff
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

MAX_RECORDED = 1_000_000  # actions of one episode; beyond, its actions are not kept


class WorkerPool:
    """B environments in locked worker processes. Not thread-safe; `close()` it, or use it in a `with` statement.

    environments  B
    workers       processes; None: as many as pay, at most one per core
    skills        that `Call` counts through; each may call the others, and those of `library`
    gamma         discount inside a decision
    shaping       expression added to the reward of every step
    success_reward  added to the reward of the first step of an episode after which `success` holds
    deadline_s    seconds a worker may take for its share of one batch of decisions before it is killed; a call of a skill is
                  stopped, without harm to others, after its share of four fifths of that
    fallbacks     actions one of which is taken where a call takes no step (can_run false, returned at once); empty: any action
    record        keep the primitive actions of every episode, in `EpisodeEnd.actions`
    film          frames kept of every episode, for `frames`; 0 for none
    waiting       called about once a second while workers are waited for: an episode may take long to begin
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
        library: Sequence[Skill] = (),
        gamma: float = 1.0,
        shaping: str = "",
        success_reward: float = 0.0,
        deadline_s: float = 30.0,
        limits: Limits | None = None,
        fallbacks: Sequence[Any] = (),
        record: bool = False,
        film: int = 0,
        waiting: Callable[[], object] = lambda: None,
    ) -> None:
        if environments < 1:
            raise ValueError(f"environments is {environments}; it has to be at least 1")
        self.skills = tuple(skills)
        self._record = record
        zygote = drawing(environment, limits) if film else Zygote(environment, limits=limits)
        self._finalizer = weakref.finalize(self, zygote.close)
        longest = max([1, *(skill.max_steps for skill in self.skills)])
        deadline_s = call_deadline(deadline_s, environment, longest)
        # A worker that waits for its host costs nothing, so that each hosted environment has one, and they wait side by side.
        wanted = environments if environment.host and workers is None else workers
        self.staffing = staff(environments, zygote.step_s * min(longest, 10), len(os.sched_getaffinity(0)), wanted)
        per = self.staffing.each
        self._observation = zygote.description.observation_space
        (self._acted,) = leaves(zygote.description.action_space)
        self._no_action = np.zeros(self._acted.shape, self._acted.dtype).tolist()
        self.observation_space, self.action_space = restore(self._observation), restore(zygote.description.action_space)
        work = work_for(
            [packed(skill) for skill in self.skills],
            success,
            library=[packed(skill) for skill in library],
            shaping=shaping,
            success_reward=success_reward,
            gamma=gamma,
            call_s=max(0.05, 0.8 * deadline_s / per),
            fallbacks=[value.tolist() if isinstance(value, np.ndarray) else value for value in fallbacks],
            film=film,
        )
        try:
            sizes, names = [min(per, environments - first) for first in range(0, environments, per)], [skill.name for skill in self.skills]
            look, logged = 0 if environment.host else self.staffing.look, longest if record else 0
            self._crew = Crew(zygote, sizes, names, work, logged=logged, deadline_s=deadline_s, look=look, waiting=waiting)
        except BaseException:
            self._finalizer()
            raise
        self._seeds, self._steps = [0] * environments, np.zeros(environments, np.int64)
        self._primitive = [PRIMITIVE] * environments, [-1] * environments, [1] * environments  # what is asked where no skill is called
        self._none_ended: tuple[EpisodeEnd | None, ...] = (None,) * environments
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

    @property
    def lead_steps(self) -> int:
        """Environment steps that were played before episodes (`envs/lead.py`), by the workers' own account."""
        return self._crew.lead_steps

    def frames(self, environment: int) -> list[Frame]:
        """What was seen of the episode that ended there last, by its worker's own account. Raises CannotDraw, WorkerDied."""
        return self._crew.frames(environment)

    def reset(self, seeds: Sequence[int]) -> Transitions:
        """Begin an episode of each seed; rewards and durations are 0. Raises WorkerDied if the environment cannot be reset."""
        self._check_seeds(seeds)
        batch, _ = self._crew.ask(Orders.reset(self.environments), seeds)
        self._seeds, self._steps[:] = [int(seed) for seed in seeds], 0
        self._recorded = [[] if self._record else None for _ in seeds]
        return self._transitions(batch, self._none_ended)

    def step(self, choices: Sequence[Choice], next_seeds: Sequence[int]) -> Transitions:
        """Take one decision in every environment; `next_seeds[i]` begins the next episode where environment i's ends now."""
        self._check_seeds(next_seeds)
        if len(choices) != self.environments:
            raise ValueError(f"{len(choices)} choices for {self.environments} environments")
        if self._latest is None:
            raise RuntimeError("reset(seeds) comes before the first step")
        batch, losses = self._crew.ask(self._orders(choices), next_seeds)
        for lost in losses:
            self._cut_off(batch, lost, choices)
        return self._transitions(batch, self._count(batch, next_seeds))

    def close(self) -> None:
        """End every worker."""
        self._crew.close()
        self._finalizer()

    def __enter__(self) -> WorkerPool:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _orders(self, choices: Sequence[Choice]) -> Orders:
        actions = [choice.action for choice in choices if isinstance(choice, Primitive)]
        if len(actions) == len(choices):
            return Orders(*self._primitive, self._actions(actions))
        orders = [self._call(choice.skill) if isinstance(choice, Call) else (PRIMITIVE, -1, 1, choice.action) for choice in choices]
        kinds, skills, longest, all_actions = map(list, zip(*orders, strict=True))
        return Orders(kinds, skills, longest, self._actions(all_actions) if actions else None)

    def _call(self, index: int) -> tuple[int, int, int, Any]:
        if not 0 <= index < len(self.skills):
            raise ValueError(f"skill number {index}, where there are {len(self.skills)}")
        skill = self.skills[index]
        may = skill.name not in self._crew.quarantined
        return CALL, index if may else -1, skill.max_steps if may else 1, self._no_action

    def _actions(self, actions: Sequence[Any]) -> npt.NDArray[Any]:
        array = np.array(actions, self._acted.dtype)
        if array.shape[1:] != self._acted.shape:
            raise ValueError(f"actions of shape {array.shape[1:]}, where the action space's are of shape {self._acted.shape}")
        return array

    def _check_seeds(self, seeds: Sequence[int]) -> None:
        if len(seeds) != self.environments:
            raise ValueError(f"{len(seeds)} seeds for {self.environments} environments")
        if min(seeds) < 0 or max(seeds) >= 2**63:
            raise ValueError(f"seeds are integers from 0 to 2**63 - 1, not {list(seeds)}")

    def _cut_off(self, batch: Batch, lost: Lost, choices: Sequence[Choice]) -> None:
        """Tell what a lost worker's decisions came to: its episodes end, cut off, where they were last seen."""
        assert self._latest is not None
        rows = lost.rows
        if batch.final_obs is batch.obs:
            batch.final_obs = [now.copy() for now in batch.obs]
        for final, latest in zip(batch.final_obs, self._latest, strict=True):
            final[rows] = latest[rows]
        batch.duration[rows], batch.truncated[rows] = 1, True
        for slot in range(rows.start, rows.stop):
            batch.faults[slot] = f"lost with its worker: {lost.why}"
            # What was executed is not known, so that it cannot be replayed.
            self._recorded[slot] = None
        busy = rows.start + lost.slot
        if lost.slot >= 0 and isinstance(choices[busy], Call):
            batch.faults[busy] = f"skill {self.skills[lost.skill].name!r} lost its worker: {lost.why}"

    def _count(self, batch: Batch, next_seeds: Sequence[int]) -> tuple[EpisodeEnd | None, ...]:
        """Book the decisions; the episodes that ended. Steps and seeds are our own count, not the workers'."""
        self._steps += batch.duration
        if self._record:
            self._keep(batch)
        if batch.final_obs is batch.obs:
            return self._none_ended
        ended: list[EpisodeEnd | None] = [None] * self.environments
        for slot in np.flatnonzero(batch.terminated | batch.truncated).tolist():
            recorded = self._recorded[slot]
            actions = np.concatenate(recorded) if recorded else None
            met, gained, cut = bool(batch.success[slot]), float(batch.episode_return[slot]), not bool(batch.terminated[slot])
            ended[slot] = EpisodeEnd(self._seeds[slot], met, gained, int(self._steps[slot]), cut, actions)
            self._seeds[slot], self._steps[slot] = int(next_seeds[slot]), 0
            self._recorded[slot] = [] if self._record else None
        return tuple(ended)

    def _keep(self, batch: Batch) -> None:
        for slot, (recorded, actions) in enumerate(zip(self._recorded, batch.actions, strict=True)):
            if recorded is not None:
                recorded.append(actions)
                if self._steps[slot] > MAX_RECORDED:
                    self._recorded[slot] = None

    def _transitions(self, batch: Batch, ended: tuple[EpisodeEnd | None, ...]) -> Transitions:
        for i, skill in enumerate(self.skills if self._crew.quarantined else ()):
            batch.runnable[:, i] &= skill.name not in self._crew.quarantined
        self._latest = batch.obs
        obs = fold(self._observation, batch.obs)
        return Transitions(
            obs=obs,
            final_obs=obs if batch.final_obs is batch.obs else fold(self._observation, batch.final_obs),
            reward=batch.reward,
            duration=batch.duration,
            terminated=batch.terminated,
            truncated=batch.truncated,
            runnable=batch.runnable,
            ended=ended,
            faults=tuple(batch.faults),
        )
