"""The two loops of RL-GPT as a fold over the log: events in, requests out, no I/O.

Every process that needs to know where a run stands (the agents, the live view, the report) feeds the same events, in the log's order,
to a `RunState`. `apply` returns what should be done next and by whom; an agent acts on its own role's requests and nothing else, so
restart, resume and a late joiner are the same code: fold the log, then act on what is still unanswered.

    outer   TaskSubmitted -> AskPlan -> PlanProposed -> (inner, per `code` sub-action) -> AskSetUp -> TrainingRequested, one a seed
            -> TrainingFinished -> AskPlanReview -> PlanReviewed -> AskPlan of the next plan, or Finish         (see `outer_loop`)
    inner   AskArena -> ArenaRequested -> ArenaFinished -> Settle, of those learned by themselves      (see `arenas`)
            AskSkill -> SkillDrafted -> SkillTried -> AskTrialReview -> SkillReviewed -> Settle, or AskSkill of the next attempt
                                                                                                                (see `inner_loop`)
    stages  where the task is divided: TaskSubmitted -> AskDivision -> TaskDivided -> (outer, per stage) -> Finish  (see `stages`)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from rlgpt.agents import arenas, budget, inner_loop, outer_loop, stages
from rlgpt.agents.progress import PlanState, Spent, Stage
from rlgpt.agents.requests import AskDivision, AskPlan, AskPlanReview, AskTrialReview, Finish, Outcome, Request, Settle
from rlgpt.bus.messages import (
    ArenaFinished,
    ArenaProgressed,
    ArenaRequested,
    BudgetSpent,
    DeadLettered,
    Message,
    ModelAsked,
    PlanFailed,
    PlanProposed,
    PlanReviewed,
    ReviewMissed,
    RunFinished,
    SkillDrafted,
    SkillFailed,
    SkillReviewed,
    SkillSettled,
    SkillTried,
    TaskDivided,
    TaskSubmitted,
    TrainingFinished,
    TrainingProgressed,
    TrainingRequested,
)
from rlgpt.bus.parts import Artifact, Score
from rlgpt.bus.task import SubTask, Task

THINKERS = ("slow", "fast", "critic", "solo")
"""Roles without which no run goes on: an event that one of them cannot handle ends it."""


@dataclass
class RunState:
    """Where a run stands after the events seen so far.

    seq        number of the last event applied
    sub_tasks  what the task was divided into; empty where it was not
    stages     those begun, in order; of a task that is not divided, the one it is
    plans      by plan number, in order, of all stages
    awaiting   numbers of events that still wait for an answer, with what they wait for
    ending     the run is being ended; requests other than Finish are no longer made
    """

    seq: int = 0
    submitted: TaskSubmitted | None = None
    sub_tasks: tuple[SubTask, ...] = ()
    stages: list[Stage] = field(default_factory=list)
    plans: dict[int, PlanState] = field(default_factory=dict)
    spent: Spent = field(default_factory=Spent)
    awaiting: dict[int, str] = field(default_factory=dict)
    ending: bool = False
    finished: RunFinished | None = None

    @property
    def task(self) -> Task:
        if self.submitted is None:
            raise ValueError(f"no task yet: event {self.seq} came before TaskSubmitted")
        return self.submitted.task

    @property
    def divided(self) -> bool:
        """The task is cut into stages, or is to be."""
        return bool(self.task.stages) or self.task.loops.planner

    @property
    def stage(self) -> Stage:
        """The stage under way."""
        if not self.stages:
            raise ValueError(f"no stage yet: event {self.seq} came before the task was divided")
        return self.stages[-1]

    def stage_of(self, plan: PlanState) -> Stage:
        return next(stage for stage in self.stages if stage.number == plan.stage)

    def siblings(self, plan: int) -> list[PlanState]:
        """The plans of the same stage before this one (a number; it need not exist yet), in order."""
        stage = self.stage_of(self.plans[plan]) if plan in self.plans else self.stage
        return [self.plans[number] for number in stage.plans if number < plan]

    @property
    def plan_limit(self) -> int:
        """Plans each stage may have; without language models a second plan would be the first one again."""
        return 1 if self.task.mode == "rl-only" else self.task.loops.plans

    @property
    def seeds(self) -> tuple[int, ...]:
        """Of the learnings of every plan. Where nothing is learned, another seed would change nothing."""
        number = 1 if self.task.mode == "code-only" else self.task.seeds
        return tuple(range(self.task.seed, self.task.seed + number))

    @property
    def critic_asked(self) -> bool:
        return self.task.critic.enabled and self.task.mode != "rl-only"

    @property
    def best(self) -> int | None:
        """Number of the plan with the best score, of the last stage that has one; None before the first."""
        return next((stage.best for stage in reversed(self.stages) if stage.best is not None), None)

    @property
    def score(self) -> Score | None:
        """The run's score so far: the best plan's, or that of the whole chain of stages."""
        if self.sub_tasks:
            return stages.chain_score(self)
        result = self.plans[self.best].result if self.best is not None else None
        return result.score if result else None

    @property
    def policy(self) -> Artifact | None:
        """The best policy so far, of a divided task that of the last stage that has one."""
        result = self.plans[self.best].result if self.best is not None else None
        return result.policy if result else None

    def apply(self, seq: int, source: str, time: str, message: Message) -> tuple[Request, ...]:
        """Take in event number `seq`; returns what should happen next. Events seen before, and those after the end, ask for nothing."""
        if seq <= self.seq:
            return ()
        self.seq = seq
        if self.submitted is None and not isinstance(message, TaskSubmitted):
            return ()
        self.spent.tick(message, time)
        take = _TAKERS.get(type(message))
        requests = tuple(take(self, seq, source, message)) if take else ()
        if self.finished is not None or self.ending:
            return ()
        requests = tuple(self._within_budget(request) for request in requests)
        if any(isinstance(request, Finish) for request in requests):
            self.ending = True
            requests = tuple(request for request in requests if isinstance(request, Finish))[:1]
        return requests

    def answered(self, what: str) -> None:
        """Nothing waits for `what` any more."""
        for seq in [seq for seq, waits_for in self.awaiting.items() if waits_for == what]:
            del self.awaiting[seq]

    def _within_budget(self, request: Request) -> Request:
        """The request, or the end of the run if what it needs is used up. Settling costs nothing; a review costs no environment steps."""
        if isinstance(request, Finish | Settle):
            return request
        spent = self.spent.over(self.task.budgets, steps=not isinstance(request, AskTrialReview | AskPlanReview))
        return self._stop("budget_spent", spent) if spent else request

    def _stop(self, outcome: Outcome, reason: str) -> Finish:
        """End early; a target reached before that stays reached."""
        if self.score is not None and self.score.rate >= self.task.evaluation.target:
            return Finish("target_reached", f"plan {self.best} reached it ({reason})")
        where = f"stage {self.stage.number} ({self.stage.task.name}): " if self.sub_tasks else ""
        return Finish(outcome, f"{where}{reason}")

    # ------------------------------------------------------------ besides the ring

    def _task(self, seq: int, _source: str, message: TaskSubmitted) -> Iterator[Request]:
        if self.submitted is not None:
            return
        self.submitted = message
        if self.divided:
            self.awaiting[seq] = "division"
            yield AskDivision()
        else:
            self.stages.append(stages.whole(message.task))
            self.awaiting[seq] = "plan"
            yield AskPlan(1)

    def _asked(self, _seq: int, _source: str, message: ModelAsked) -> Iterator[Request]:
        self.spent.count(message)
        yield from ()

    def _missed(self, _seq: int, _source: str, message: ReviewMissed) -> Iterator[Request]:
        """Nobody whose review counts has spoken in time."""
        words = (
            f"no counted review ({', '.join(self.task.critic.reviewers)}) within {message.waited_s:.0f} s; the success test decides alone"
        )
        for plan in self.plans.values():
            if self.awaiting.get(message.seq) == "plan review" and plan.result and plan.review is None:
                self.answered("plan review")
                plan.review = PlanReviewed(plan=plan.number, why=words)
                yield from outer_loop.after_plan(self, plan)
                return
            for inner in plan.inner.values():
                for attempt in inner.attempts:
                    if self.awaiting.get(message.seq) == "trial review" and attempt.trial and attempt.review is None:
                        self.answered("trial review")
                        attempt.review = inner_loop.by_test_alone(attempt.trial, words)
                        yield from inner_loop.judge(self, attempt.review, attempt)
                        return

    def _budget(self, _seq: int, _source: str, message: BudgetSpent) -> Iterator[Request]:
        yield self._stop("budget_spent", budget.words(message))

    def _dead_letter(self, _seq: int, _source: str, message: DeadLettered) -> Iterator[Request]:
        """Work that no process could do: the attempt or the plan fails with the reason, never the run in silence."""
        for plan in self.plans.values():
            for training in plan.trainings.values():
                if training.seq == message.seq and training.result is None:
                    reason = f"training was given up after {message.attempts} attempts: {message.reason}"
                    yield from outer_loop.training_lost(self, plan, training, reason)
                    return
            for inner in plan.inner.values():
                if inner.learnt and inner.learnt.seq == message.seq and inner.learnt.result is None:
                    reason = f"its arena was given up after {message.attempts} attempts: {message.reason}"
                    yield from arenas.lost(self, plan, inner, reason)
                    return
                for attempt in inner.attempts:
                    if attempt.seq == message.seq and attempt.trial is None and not attempt.failure:
                        self.answered("trial")
                        attempt.failure = f"the trial was given up after {message.attempts} attempts: {message.reason}"
                        yield from inner_loop.next_attempt(self, plan.number, inner.spec.name, attempt.failure)
                        return
        if message.consumer in THINKERS:
            yield self._stop("gave_up", f"{message.consumer} failed {message.attempts} times on event {message.seq}: {message.reason}")

    def _finished(self, _seq: int, _source: str, message: RunFinished) -> Iterator[Request]:
        if self.finished is None:
            self.finished = message
            self.awaiting.clear()
        yield from ()


_TAKERS: dict[type[Message], Callable[[RunState, int, str, Any], Iterator[Request]]] = {
    TaskSubmitted: RunState._task,
    TaskDivided: stages.divided,
    PlanProposed: outer_loop.plan_proposed,
    PlanFailed: outer_loop.plan_failed,
    TrainingRequested: outer_loop.training_requested,
    TrainingProgressed: outer_loop.training_progressed,
    TrainingFinished: outer_loop.training_finished,
    PlanReviewed: outer_loop.plan_reviewed,
    SkillDrafted: inner_loop.drafted,
    SkillTried: inner_loop.tried,
    SkillReviewed: inner_loop.reviewed,
    SkillFailed: inner_loop.skill_failed,
    SkillSettled: inner_loop.settled,
    ArenaRequested: arenas.requested,
    ArenaProgressed: arenas.progressed,
    ArenaFinished: arenas.finished,
    ModelAsked: RunState._asked,
    ReviewMissed: RunState._missed,
    BudgetSpent: RunState._budget,
    DeadLettered: RunState._dead_letter,
    RunFinished: RunState._finished,
}
