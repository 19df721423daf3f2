"""The workers of a pool: ask all of them, hear all of them, replace those that hang, die or lie.

A skill that had QUARANTINE workers killed is not called any more: `Crew.quarantined` names it, and fresh workers never load it.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import structlog

from rlgpt.envs.batch import Batch, Lied, read
from rlgpt.envs.errors import WorkerDied
from rlgpt.envs.handle import Worker, wait_readable
from rlgpt.envs.layout import RESET, Shape
from rlgpt.envs.space import leaves
from rlgpt.envs.zygote import Zygote

log = structlog.get_logger()

QUARANTINE = 3
ATTEMPTS = 3  # fresh workers in a row that cannot even be reset, without a skill to blame, before the crew gives up


@dataclass(frozen=True)
class Order:
    """One decision asked of one environment. `kind` as in `layout`, `longest` the most environment steps it may take."""

    kind: int
    longest: int
    skill: int = -1
    action: Any = None


@dataclass(frozen=True)
class Lost:
    """A worker was lost with its decisions under way.

    fresh  what its replacement's environments look like after their reset
    why    what became of it, in words
    slot   the environment it was busy with, -1 if that is not known
    skill  the skill it was busy with, -1 likewise
    """

    fresh: Batch
    why: str
    slot: int
    skill: int


class Crew:
    """Workers forked from one zygote; worker i holds `sizes[i]` environments.

    skills      names of the skills, in order
    work        what every worker is sent, see `zygote.work_for`
    logged      primitive actions logged per decision, 0 for none
    deadline_s  seconds a worker may take for its share of a batch
    Raises SkillInvalid or WorkerDied.
    """

    def __init__(
        self, zygote: Zygote, sizes: Sequence[int], skills: Sequence[str], work: Mapping[str, Any], *, logged: int, deadline_s: float
    ) -> None:
        self._zygote, self._sizes, self._skills, self._work, self._deadline_s = zygote, sizes, skills, work, deadline_s
        self._observation, self._action = zygote.description.observation_space, zygote.description.action_space
        self._observed, (self._acted,) = leaves(self._observation), leaves(self._action)
        self._logged = logged
        self._losses: Counter[int] = Counter()
        self.quarantined: dict[str, str] = {}
        self.workers: list[Worker] = []
        for index in range(len(sizes)):
            self.workers.append(self.fork(index))

    def ask(self, orders: Sequence[Sequence[Order]], seeds: Sequence[Sequence[int]]) -> list[Batch | Lost]:
        """Have every worker carry out its orders; `seeds` begin the next episodes, also in the place of lost workers.

        Raises WorkerDied if an environment cannot even be reset any more.
        """
        for worker, mine, next_seeds in zip(self.workers, orders, seeds, strict=True):
            _write(worker, mine, next_seeds)
        outcomes: list[Batch | Lost] = []
        for index, heard in enumerate(self._hear_all(orders)):
            if isinstance(heard, Batch):
                outcomes.append(heard)
                continue
            slot, skill = self._blame(index, heard, orders[index])
            outcomes.append(Lost(self._replace(index, seeds[index], skill >= 0), heard, slot, skill))
        return outcomes

    def fork(self, index: int) -> Worker:
        """A fresh worker that could hold what worker `index` holds."""
        shape = Shape(self._observation, self._action, self._sizes[index], len(self._skills), self._logged)
        disabled = [i for i, name in enumerate(self._skills) if name in self.quarantined]
        return self._zygote.fork(shape, {**self._work, "disabled": disabled})

    def close(self) -> None:
        """End every worker."""
        for worker in self.workers:
            worker.kill()
        self.workers = []

    def _hear_all(self, orders: Sequence[Sequence[Order]]) -> list[Batch | str]:
        """Every worker's checked answer, or why there is none; workers without one have been ended."""
        deadline = time.monotonic() + self._deadline_s
        heard: dict[int, Batch | str] = {}
        while len(heard) < len(self.workers):
            silent = {i: worker for i, worker in enumerate(self.workers) if i not in heard}
            readable = wait_readable([fd for worker in silent.values() for fd in (worker.done, worker.pidfd)], deadline)
            for index, worker in silent.items():
                if worker.done in readable and worker.answered():
                    heard[index] = self._check(worker, orders[index])
                elif worker.pidfd in readable:
                    heard[index] = worker.lost()
                elif time.monotonic() >= deadline:
                    heard[index] = worker.lost(f"no answer within {self._deadline_s:g} s")
        return [heard[index] for index in range(len(self.workers))]

    def _check(self, worker: Worker, orders: Sequence[Order]) -> Batch | str:
        try:
            return read(worker.views, [order.kind for order in orders], [order.longest for order in orders], self._observed, self._acted)
        except Lied as lie:
            return worker.lost(f"it gave an answer that cannot be: {lie}")

    def _blame(self, index: int, reason: str, orders: Sequence[Order]) -> tuple[int, int]:
        """Slot and skill the lost worker was busy with (-1: not known); the skill's losses are counted."""
        slot, skill, _ = self.workers[index].busy()
        if not (0 <= slot < len(orders) and 0 <= skill < len(self._skills)):
            # What it was busy with stands in memory that it can write; but where only one skill had been called, it was that one.
            called = [(i, order.skill) for i, order in enumerate(orders) if order.skill >= 0]
            slot, skill = called[0] if len(called) == 1 else (-1, -1)
        name = self._skills[skill] if skill >= 0 else None
        log.warning("worker_lost", why=reason, skill=name, pid=self.workers[index].pid)
        if name is not None:
            self._losses[skill] += 1
            if self._losses[skill] >= QUARANTINE and name not in self.quarantined:
                self.quarantined[name] = reason
                log.warning("skill_quarantined", skill=name, workers_lost=self._losses[skill], why=reason)
        return slot, skill

    def _replace(self, index: int, seeds: Sequence[int], explained: bool) -> Batch:
        """A fresh worker in place of a lost one, its environments reset."""
        orders, strikes, reason = [Order(RESET, 0)] * self._sizes[index], 0 if explained else 1, ""
        while strikes < ATTEMPTS:
            worker = self.workers[index] = self.fork(index)
            _write(worker, orders, seeds)
            heard = self._hear_one(worker, orders)
            if isinstance(heard, Batch):
                return heard
            reason = heard
            # A `can_run` that hangs strikes here too; before long it is quarantined, and the reset succeeds.
            if self._blame(index, reason, orders)[1] < 0:
                strikes += 1
        raise WorkerDied(f"{ATTEMPTS} workers in a row could not reset {self._zygote.environment.id!r}: {reason}")

    def _hear_one(self, worker: Worker, orders: Sequence[Order]) -> Batch | str:
        deadline = time.monotonic() + self._deadline_s
        while True:
            readable = wait_readable([worker.done, worker.pidfd], deadline)
            if worker.done in readable and worker.answered():
                return self._check(worker, orders)
            if worker.pidfd in readable or not readable:
                return worker.lost("" if readable else f"no answer within {self._deadline_s:g} s")


def _write(worker: Worker, orders: Sequence[Order], seeds: Sequence[int]) -> None:
    view = worker.views
    view.kind[:] = [order.kind for order in orders]
    view.skill[:] = [order.skill for order in orders]
    view.seed[:] = seeds
    for slot, order in enumerate(orders):
        if order.action is not None:
            view.action[slot] = order.action
    worker.ring()
