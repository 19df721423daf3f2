"""The workers of a pool: ask all of them, hear all of them, replace those that hang, die or lie.

A skill that had QUARANTINE workers killed is not called any more: `Crew.quarantined` names it, and fresh workers never load it.
"""

from __future__ import annotations

import itertools
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import structlog

from rlgpt.envs.batch import Batch, BatchReader, Lied, join
from rlgpt.envs.camera import FILM_S, PART, CannotDraw, Frame, checked
from rlgpt.envs.errors import WorkerDied
from rlgpt.envs.handle import LOOK_S, Worker, plain
from rlgpt.envs.layout import RESET, Shape
from rlgpt.envs.space import leaves
from rlgpt.envs.zygote import Zygote

log = structlog.get_logger()

QUARANTINE = 3
WAITING_S = 1.0
MAX_FRAMES = 10_000  # of one film
ATTEMPTS = 3  # fresh workers in a row that cannot even be reset, without a skill to blame, before the crew gives up


@dataclass(slots=True)
class Orders:
    """One decision asked of each environment.

    kinds    as in `layout`
    skills   which skill is called, -1 for none
    longest  the most environment steps it may take
    actions  [n, ...] primitive actions; whatever stands where there is none is not looked at. None: no primitive action at all
    """

    kinds: list[int]
    skills: list[int]
    longest: list[int]
    actions: Any = None

    def part(self, rows: slice) -> Orders:
        """Those of some environments."""
        return Orders(self.kinds[rows], self.skills[rows], self.longest[rows], None if self.actions is None else self.actions[rows])

    @classmethod
    def reset(cls, count: int) -> Orders:
        """Reset `count` environments."""
        return cls([RESET] * count, [-1] * count, [0] * count)


@dataclass(frozen=True)
class Lost:
    """A worker was lost with its decisions under way; its replacement's environments have been reset.

    rows   its environments
    why    what became of it, in words
    slot   which of these it was busy with, -1 if that is not known
    skill  the skill it was busy with, -1 likewise
    """

    rows: slice
    why: str
    slot: int
    skill: int


class Crew:
    """Workers forked from one zygote; worker i holds `sizes[i]` environments.

    skills      names of the skills, in order
    work        what every worker is sent, see `zygote.work_for`
    logged      primitive actions logged per decision, 0 for none
    deadline_s  seconds a worker may take for its share of a batch
    look        so many workers, the first, look while they wait, and are looked for (`envs/patience.py`)
    waiting     called about once a second while workers are waited for; what it raises is raised
    Raises SkillInvalid or WorkerDied.
    """

    def __init__(
        self,
        zygote: Zygote,
        sizes: Sequence[int],
        skills: Sequence[str],
        work: Mapping[str, Any],
        *,
        logged: int,
        deadline_s: float,
        look: int = 0,
        waiting: Callable[[], object] = lambda: None,
    ) -> None:
        self._waiting, self._led = waiting, 0
        self._zygote, self._sizes, self._skills, self._work, self._deadline_s = zygote, sizes, skills, work, deadline_s
        self._observation, self._action = zygote.description.observation_space, zygote.description.action_space
        self._observed, (self._acted,) = leaves(self._observation), leaves(self._action)
        self._logged, self._look = logged, look
        self._reader = self._reads(sizes)
        ends = np.cumsum([0, *sizes]).tolist()
        self.rows = [slice(first, end) for first, end in itertools.pairwise(ends)]
        self._losses: Counter[int] = Counter()
        self.quarantined: dict[str, str] = {}
        self.workers: list[Worker] = []
        for index in range(len(sizes)):
            self.workers.append(self.fork(index))

    def ask(self, orders: Orders, seeds: Sequence[int]) -> tuple[Batch, list[Lost]]:
        """Have every worker carry out its orders; `seeds` begin the next episodes, also in the place of lost workers.

        In the batch a lost worker's environments are as its replacement's after their reset. Raises WorkerDied if an environment cannot
        even be reset any more.
        """
        self._write(orders, seeds)
        deadline = time.monotonic() + self._deadline_s
        # The one that was woken last ends last, as a rule: while we sleep for it, the others end too, and we are woken once, not each time.
        troubles = {i: why for i, worker in reversed([*enumerate(self.workers)]) if (why := self._hear(worker, deadline))}
        if not troubles:
            try:
                return self._reader.read([worker.views for worker in self.workers], orders.kinds, orders.longest), []
            except Lied:
                pass  # `_sort_out` finds out who
        return self._sort_out(orders, seeds, troubles)

    def fork(self, index: int) -> Worker:
        """A fresh worker that could hold what worker `index` holds."""
        shape = Shape(self._observation, self._action, self._sizes[index], len(self._skills), self._logged)
        disabled = [i for i, name in enumerate(self._skills) if name in self.quarantined]
        return self._zygote.fork(shape, {**self._work, "disabled": disabled, "look": index < self._look})

    def frames(self, environment: int) -> list[Frame]:
        """Of the episode that ended there last, if episodes are filmed. Raises CannotDraw, WorkerDied."""
        index = next(i for i, rows in enumerate(self.rows) if rows.start <= environment < rows.stop)
        worker, found = self.workers[index], list[Frame]()
        question = {"reel": environment - self.rows[index].start, "count": PART}
        while True:
            answer = worker.ask({**question, "first": len(found)}, FILM_S)
            if answer.get("error"):
                raise CannotDraw(plain(answer["error"], 1000))
            frames, of = answer.get("frames"), answer.get("of")
            steps = [frame.get("step") if isinstance(frame, dict) else None for frame in frames] if isinstance(frames, list) else []
            if not all(type(step) is int and step >= 0 for step in steps):
                raise CannotDraw("the worker did not say of which steps its frames are")
            found += checked(frames, cast(list[int], steps))
            if not steps or not isinstance(of, int) or len(found) >= min(of, MAX_FRAMES):
                return found

    @property
    def lead_steps(self) -> int:
        """Environment steps that were played before episodes (`envs/lead.py`), by the workers' own account."""
        return self._led + sum(worker.lead_steps for worker in self.workers)

    def close(self) -> None:
        """End every worker."""
        self._led = self.lead_steps
        for worker in self.workers:
            worker.kill()
        self.workers = []

    def _reads(self, sizes: Sequence[int]) -> BatchReader:
        return BatchReader(sizes, len(self._skills), self._observed, self._acted)

    def _write(self, orders: Orders, seeds: Sequence[int]) -> None:
        """Tell every worker its part, then wake them all."""
        for rows, worker in zip(self.rows, self.workers, strict=True):
            worker.views.asked.write(orders.kinds[rows], orders.skills[rows], seeds[rows])
            if orders.actions is not None:
                worker.views.action[:] = orders.actions[rows]
            worker.ring()

    def _hear(self, worker: Worker, deadline: float) -> str:
        """Wait for a worker's answer; why there is none, "" if there is one. A worker without one has been ended."""
        if worker.seems_answered() and worker.answered():
            return ""
        while True:
            now = time.monotonic()
            ended = worker.wait(min(max(deadline, now + LOOK_S), now + WAITING_S))
            if worker.answered():
                return ""
            if ended:
                return worker.lost()
            self._waiting()
            if worker.overdue(deadline):
                return worker.lost(f"no answer within {self._deadline_s:g} s")

    def _sort_out(self, orders: Orders, seeds: Sequence[int], troubles: Mapping[int, str]) -> tuple[Batch, list[Lost]]:
        """Read each worker's answer by itself, and replace those that have none."""
        batches, lost = [], []
        for index, rows in enumerate(self.rows):
            mine, next_seeds = orders.part(rows), seeds[rows]
            answer = troubles.get(index) or self._read(self.workers[index], mine, index)
            if isinstance(answer, str):
                slot, skill = self._blame(index, answer, mine)
                lost.append(Lost(rows, answer, slot, skill))
                explained = skill >= 0 or bool(self.workers[index].host_fault)
                answer = self._replace(index, next_seeds, explained)
            batches.append(answer)
        return join(batches), lost

    def _read(self, worker: Worker, orders: Orders, index: int) -> Batch | str:
        try:
            return self._reads([self._sizes[index]]).read([worker.views], orders.kinds, orders.longest)
        except Lied as lie:
            return worker.lost(f"it gave an answer that cannot be: {lie}")

    def _blame(self, index: int, reason: str, orders: Orders) -> tuple[int, int]:
        """Slot and skill the lost worker was busy with (-1: not known); the skill's losses are counted."""
        if self.workers[index].host_fault:
            log.warning("host_lost", why=reason, pid=self.workers[index].pid)
            return -1, -1
        slot, skill, _ = self.workers[index].busy()
        if not (0 <= slot < len(orders.kinds) and 0 <= skill < len(self._skills)):
            # What it was busy with stands in memory that it can write; but where only one skill had been called, it was that one.
            called = [(i, skill) for i, skill in enumerate(orders.skills) if skill >= 0]
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
        orders, strikes, reason = Orders.reset(self._sizes[index]), 0 if explained else 1, ""
        while strikes < ATTEMPTS:
            self._led += self.workers[index].lead_steps
            worker = self.workers[index] = self.fork(index)
            worker.views.asked.write(orders.kinds, orders.skills, seeds)
            worker.ring()
            answer = self._hear(worker, time.monotonic() + self._deadline_s) or self._read(worker, orders, index)
            if isinstance(answer, Batch):
                return answer
            reason = answer
            # A `can_run` that hangs strikes here too; before long it is quarantined, and the reset succeeds.
            if self._blame(index, reason, orders)[1] < 0:
                strikes += 1
        raise WorkerDied(f"{ATTEMPTS} workers in a row could not reset {self._zygote.environment.id!r}: {reason}")
