"""The two loops of RL-GPT as a fold over the log: events in, requests out, no I/O.

Every process that needs to know where a run stands (the agents, the live view, the report) feeds the same events, in the log's order,
to a `RunState`. `apply` returns what should be done next and by whom; an agent acts on its own role's requests and nothing else, so
restart, resume and a late joiner are the same code: fold the log, then act on what is still unanswered.

    outer   TaskSubmitted -> AskPlan -> PlanProposed -> (inner, per `code` sub-action) -> AskSetUp -> TrainingRequested
            -> TrainingFinished -> AskPlanReview -> PlanReviewed -> AskPlan of the next plan, or Finish
    inner   AskSkill -> SkillDrafted -> SkillTried -> AskTrialReview -> SkillReviewed -> Settle, or AskSkill of the next attempt
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

from rlgpt.agents.progress import Attempt, Inner, PlanState, Spent
from rlgpt.agents.requests import (
    CONTROLLER,
    AskPlan,
    AskPlanReview,
    AskSetUp,
    AskSkill,
    AskTrialReview,
    Finish,
    Outcome,
    Request,
    Settle,
)
from rlgpt.bus.envelope import consumer_of
from rlgpt.bus.messages import (
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
    SubAction,
    TaskSubmitted,
    TrainingFinished,
    TrainingProgressed,
    TrainingRequested,
)
from rlgpt.bus.task import Task


@dataclass
class RunState:
    """Where a run stands after the events seen so far.

    seq       number of the last event applied
    plans     by plan number, in order
    best      number of the plan with the best score, None before the first
    awaiting  numbers of events that still wait for an answer, with what they wait for
    ending    the run is being ended; requests other than Finish are no longer made
    """

    seq: int = 0
    submitted: TaskSubmitted | None = None
    plans: dict[int, PlanState] = field(default_factory=dict)
    spent: Spent = field(default_factory=Spent)
    best: int | None = None
    awaiting: dict[int, str] = field(default_factory=dict)
    ending: bool = False
    finished: RunFinished | None = None

    @property
    def task(self) -> Task:
        if self.submitted is None:
            raise ValueError(f"no task yet: event {self.seq} came before TaskSubmitted")
        return self.submitted.task

    @property
    def plan_limit(self) -> int:
        """Plans the run may make; without language models a second plan would be the first one again."""
        return 1 if self.task.mode == "rl-only" else self.task.loops.plans

    @property
    def critic_asked(self) -> bool:
        return self.task.critic.enabled and self.task.mode != "rl-only"

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

    def _within_budget(self, request: Request) -> Request:
        """The request, or the end of the run if what it needs is used up. Settling costs nothing; a review costs no environment steps."""
        if isinstance(request, Finish | Settle):
            return request
        spent = self.spent.over(self.task.budgets, steps=not isinstance(request, AskTrialReview | AskPlanReview))
        return self._stop("budget_spent", spent) if spent else request

    def _stop(self, outcome: Outcome, reason: str) -> Finish:
        """End early; a target reached before that stays reached."""
        if self.best is not None and self._rate(self.best) >= self.task.evaluation.target:
            return Finish("target_reached", f"plan {self.best} reached it ({reason})")
        return Finish(outcome, reason)

    # ------------------------------------------------------------ outer loop

    def _task(self, seq: int, _source: str, message: TaskSubmitted) -> Iterator[Request]:
        if self.submitted is None:
            self.submitted = message
            self.awaiting[seq] = "plan"
            yield AskPlan(1)

    def _plan(self, seq: int, _source: str, message: PlanProposed) -> Iterator[Request]:
        if message.plan in self.plans:
            return
        self._answered("plan")
        state = PlanState(message.plan, proposal=message)
        self.plans[message.plan] = state
        for sub_action in message.sub_actions:
            state.inner[sub_action.name] = Inner(sub_action)
        if self.task.mode == "code-only":
            state.inner[CONTROLLER] = Inner(
                SubAction(name=CONTROLLER, purpose="play whole episodes", mode="code", success=self.task.success)
            )
        self.awaiting[seq] = "skills"
        yield from self._next_sub_action(state)

    def _plan_failed(self, _seq: int, _source: str, message: PlanFailed) -> Iterator[Request]:
        if message.plan not in self.plans:
            self._answered("plan")
            self.plans[message.plan] = PlanState(message.plan, failure=message.reason)
            yield from self._next_plan(message.plan, message.reason)

    def _next_sub_action(self, plan: PlanState) -> Iterator[Request]:
        for inner in plan.inner.values():
            if inner.spec.mode == "code" and inner.settled is None:
                yield AskSkill(plan.number, inner.spec.name, len(inner.attempts) + 1)
                return
        if self.task.mode == "code-only" and not any(skill.name == CONTROLLER for skill in plan.skills):
            self._answered("skills")
            plan.failure = f"no draft of its {CONTROLLER} could be run"
            yield from self._next_plan(plan.number, f"plan {plan.number}: {plan.failure}")
        else:
            yield AskSetUp(plan.number)

    def _training(self, seq: int, _source: str, message: TrainingRequested) -> Iterator[Request]:
        plan = self.plans.get(message.plan)
        if plan and plan.training is None:
            self._answered("skills")
            plan.training, plan.training_seq = message, seq
            self.awaiting[seq] = "training"
        yield from ()

    def _progress(self, _seq: int, _source: str, message: TrainingProgressed) -> Iterator[Request]:
        plan = self.plans.get(message.plan)
        if plan and plan.result is None:
            # A trainer that continues from its checkpoint says some points again: the last word on a step count stands.
            plan.curve = [point for point in plan.curve if point.env_steps < message.point.env_steps] + [message.point]
            plan.resumed = max(plan.resumed, message.resumed)
        yield from ()

    def _trained(self, seq: int, _source: str, message: TrainingFinished) -> Iterator[Request]:
        plan = self.plans.get(message.plan)
        if plan is None or plan.result is not None:
            return
        plan.result = message
        self._answered("training")
        self.spent.learning_steps += message.env_steps
        self.spent.evaluation_steps += message.score.env_steps if message.score else 0
        self.spent.learn_s += message.learn_s
        self.spent.evaluate_s += message.evaluate_s
        if message.score and (self.best is None or message.score.rate > self._rate(self.best)):
            self.best = message.plan
        if self.critic_asked:
            self.awaiting[seq] = "plan review"
            yield AskPlanReview(message.plan)
        else:
            yield from self._after_plan(plan)

    def _plan_reviewed(self, _seq: int, source: str, message: PlanReviewed) -> Iterator[Request]:
        plan = self.plans.get(message.plan)
        if plan and plan.result and plan.review is None and consumer_of(source) in self.task.critic.reviewers:
            plan.review = message
            self._answered("plan review")
            yield from self._after_plan(plan)

    def _after_plan(self, plan: PlanState) -> Iterator[Request]:
        score = plan.result.score if plan.result else None
        if score and score.rate >= self.task.evaluation.target:
            yield Finish("target_reached", f"plan {plan.number} succeeds in {score.successes} of {score.episodes} held-out episodes")
        else:
            below = f"plan {plan.number} is below the target of {self.task.evaluation.target:.0%}"
            failure = plan.result.failure if plan.result else ""
            yield from self._next_plan(plan.number, f"plan {plan.number}: {failure}" if failure else below)

    def _next_plan(self, last: int, reason: str) -> Iterator[Request]:
        if last < self.plan_limit:
            yield AskPlan(last + 1)
        elif self.best is not None:
            yield Finish("below_target", f"{reason}, and all {self.plan_limit} plans are used")
        else:
            yield Finish("gave_up", f"{reason}; none of {self.plan_limit} plans led to a policy")

    # ------------------------------------------------------------ inner loop

    def _drafted(self, seq: int, _source: str, message: SkillDrafted) -> Iterator[Request]:
        attempt = self._attempt(message.plan, message.skill.name, message.attempt)
        if attempt and attempt.draft is None:
            attempt.draft, attempt.seq = message, seq
            self.awaiting[seq] = "trial"
        yield from ()

    def _tried(self, seq: int, _source: str, message: SkillTried) -> Iterator[Request]:
        attempt = self._attempt(message.plan, message.name, message.attempt)
        if attempt is None or attempt.trial is not None:
            return
        attempt.trial = message
        self._answered("trial")
        self.spent.trial_steps += message.env_steps
        if self.critic_asked:
            self.awaiting[seq] = "trial review"
            yield AskTrialReview(message.plan, message.name, message.attempt)
        else:
            words = "the success test holds in every episode" if message.success else "the success test failed"
            yield from self._judge(self._by_test_alone(message, words), attempt)

    @staticmethod
    def _by_test_alone(trial: SkillTried, words: str) -> SkillReviewed:
        verdict: Literal["accept", "revise"] = "accept" if trial.success else "revise"
        return SkillReviewed(plan=trial.plan, attempt=trial.attempt, name=trial.name, verdict=verdict, why=words)

    def _reviewed(self, _seq: int, source: str, message: SkillReviewed) -> Iterator[Request]:
        attempt = self._attempt(message.plan, message.name, message.attempt)
        if attempt and attempt.trial and attempt.review is None and consumer_of(source) in self.task.critic.reviewers:
            attempt.review = message
            self._answered("trial review")
            yield from self._judge(message, attempt)

    def _judge(self, review: SkillReviewed, attempt: Attempt) -> Iterator[Request]:
        """Both the success test and the critic have to accept; the critic cannot overrule a failed test."""
        passed = attempt.trial is not None and attempt.trial.success
        if passed and review.verdict == "accept" and attempt.draft:
            yield Settle(review.plan, review.name, attempt.draft.skill, review.attempt, "success test and review agree")
        else:
            yield from self._next_attempt(review.plan, review.name, review.why, given_up=review.verdict == "give_up")

    def _skill_failed(self, _seq: int, _source: str, message: SkillFailed) -> Iterator[Request]:
        attempt = self._attempt(message.plan, message.name, message.attempt)
        if attempt and attempt.draft is None and not attempt.failure:
            attempt.failure = message.reason
            yield from self._next_attempt(message.plan, message.name, message.reason)

    def _next_attempt(self, plan: int, name: str, reason: str, *, given_up: bool = False) -> Iterator[Request]:
        inner = self.plans[plan].inner[name]
        used = len(inner.attempts)
        if used < self.task.loops.attempts and not given_up:
            yield AskSkill(plan, name, used + 1)
            return
        passed = next((a for a in reversed(inner.attempts) if a.draft and a.trial and a.trial.success), None)
        if passed and passed.draft:
            # The success test has the last word, and the disagreement is on record.
            yield Settle(plan, name, passed.draft.skill, used, f"passed its success test; the critic disagreed: {reason}")
        elif name == CONTROLLER and (best := inner.best_draft()):
            yield Settle(plan, name, best, used, f"the best of {used} attempts, though {reason}")
        else:
            spent = "the critic gave it up" if given_up else f"all {used} attempts are used"
            yield Settle(plan, name, None, used, f"{spent}; last: {reason}")

    def _settled(self, _seq: int, _source: str, message: SkillSettled) -> Iterator[Request]:
        plan = self.plans.get(message.plan)
        inner = plan.inner.get(message.name) if plan else None
        if plan and inner and inner.settled is None:
            inner.settled = message
            yield from self._next_sub_action(plan)

    def _attempt(self, plan: int, name: str, number: int) -> Attempt | None:
        """The attempt, begun if it is the next one; None if the plan, the name or the number is not of this run."""
        state = self.plans.get(plan)
        inner = state.inner.get(name) if state else None
        if inner is None or inner.settled is not None:
            return None
        if number == len(inner.attempts) + 1:
            inner.attempts.append(Attempt(number))
        return inner.attempts[number - 1] if 0 < number <= len(inner.attempts) else None

    # ------------------------------------------------------------ besides the ring

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
                self._answered("plan review")
                plan.review = PlanReviewed(plan=plan.number, why=words)
                yield from self._after_plan(plan)
                return
            for inner in plan.inner.values():
                for attempt in inner.attempts:
                    if self.awaiting.get(message.seq) == "trial review" and attempt.trial and attempt.review is None:
                        self._answered("trial review")
                        attempt.review = self._by_test_alone(attempt.trial, words)
                        yield from self._judge(attempt.review, attempt)
                        return

    def _budget(self, _seq: int, _source: str, message: BudgetSpent) -> Iterator[Request]:
        yield self._stop("budget_spent", f"{message.budget}: {message.used:g} of {message.limit:g} used")

    def _dead_letter(self, _seq: int, _source: str, message: DeadLettered) -> Iterator[Request]:
        """Work that no process could do: the attempt or the plan fails with the reason, never the run in silence."""
        for plan in self.plans.values():
            if plan.training_seq == message.seq and plan.result is None:
                self._answered("training")
                plan.failure = f"training was given up after {message.attempts} attempts: {message.reason}"
                yield from self._next_plan(plan.number, plan.failure)
                return
            for inner in plan.inner.values():
                for attempt in inner.attempts:
                    if attempt.seq == message.seq and attempt.trial is None and not attempt.failure:
                        self._answered("trial")
                        attempt.failure = f"the trial was given up after {message.attempts} attempts: {message.reason}"
                        yield from self._next_attempt(plan.number, inner.spec.name, attempt.failure)
                        return
        if message.consumer in ("slow", "fast", "critic"):
            yield self._stop("gave_up", f"{message.consumer} failed {message.attempts} times on event {message.seq}: {message.reason}")

    def _finished(self, _seq: int, _source: str, message: RunFinished) -> Iterator[Request]:
        if self.finished is None:
            self.finished = message
            self.awaiting.clear()
        yield from ()

    def _answered(self, what: str) -> None:
        for seq in [seq for seq, waits_for in self.awaiting.items() if waits_for == what]:
            del self.awaiting[seq]

    def _rate(self, plan: int) -> float:
        result = self.plans[plan].result
        return result.score.rate if result and result.score else -1.0


_TAKERS: dict[type[Message], Callable[[RunState, int, str, Any], Iterator[Request]]] = {
    TaskSubmitted: RunState._task,
    PlanProposed: RunState._plan,
    PlanFailed: RunState._plan_failed,
    SkillDrafted: RunState._drafted,
    SkillTried: RunState._tried,
    SkillReviewed: RunState._reviewed,
    SkillFailed: RunState._skill_failed,
    SkillSettled: RunState._settled,
    TrainingRequested: RunState._training,
    TrainingProgressed: RunState._progress,
    TrainingFinished: RunState._trained,
    PlanReviewed: RunState._plan_reviewed,
    ModelAsked: RunState._asked,
    ReviewMissed: RunState._missed,
    BudgetSpent: RunState._budget,
    DeadLettered: RunState._dead_letter,
    RunFinished: RunState._finished,
}
