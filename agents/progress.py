"""What a run has done so far, as `loops` keeps it: plans, attempts, and what was spent."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from rlgpt.bus.messages import (
    AgentJoined,
    AgentLeft,
    ArenaFinished,
    ArenaRequested,
    Message,
    ModelAsked,
    PlanProposed,
    PlanReviewed,
    SkillDrafted,
    SkillReviewed,
    SkillSettled,
    SkillTried,
    TrainingFinished,
    TrainingRequested,
)
from rlgpt.bus.models import Budgets
from rlgpt.bus.parts import Artifact, Point, Skill, SubAction
from rlgpt.bus.task import Environment, SubTask

LAUNCHER = "launcher"
"""Role of the process that starts the others and keeps the clock."""


@dataclass
class Attempt:
    """One draft of a skill. `seq` is the draft's event number; `failure` says why there was no draft or no trial.

    repeated  it was, apart from comments and layout, code that had failed before
    """

    number: int
    seq: int | None = None
    draft: SkillDrafted | None = None
    trial: SkillTried | None = None
    review: SkillReviewed | None = None
    failure: str = ""
    repeated: bool = False

    @property
    def disagreement(self) -> str:
        """Where the critic and the success test say different things of the trial, in words; empty where they agree, or one is missing."""
        if self.trial is None or self.review is None:
            return ""
        if self.review.verdict == "accept" and not self.trial.success:
            return "the critic accepts what failed its success test"
        if self.review.verdict != "accept" and self.trial.success:
            return f"it passed its success test, and the critic says {self.review.verdict}"
        return ""


@dataclass
class Learnt:
    """A sub-action's learning in its arena. `seq` is the request's event number; `failure` says why no process could do it."""

    request: ArenaRequested
    seq: int
    curve: list[Point] = field(default_factory=list)
    resumed: int = 0
    result: ArenaFinished | None = None
    failure: str = ""

    @property
    def under_way(self) -> int:
        """Environment steps of a learning that has not ended yet, as far as they are known."""
        ended = self.result is not None or self.failure
        return self.curve[-1].env_steps if self.curve and not ended else 0


@dataclass
class Inner:
    """The inner loop of one sub-action: attempts of one that is code, the arena of one that is learned by itself."""

    spec: SubAction
    attempts: list[Attempt] = field(default_factory=list)
    learnt: Learnt | None = None
    settled: SkillSettled | None = None

    def best_draft(self) -> Skill | None:
        """The draft that met its success test in most episodes of its trial, the earliest of equals; None if none could be tried."""
        tried = [a for a in self.attempts if a.draft and a.trial and not a.trial.error]
        best = max(tried, key=lambda a: sum(e.success for e in a.trial.episodes) if a.trial else 0, default=None)
        return best.draft.skill if best and best.draft else None


@dataclass
class Training:
    """The learning of a plan with one seed. `seq` is the request's event number."""

    request: TrainingRequested
    seq: int
    curve: list[Point] = field(default_factory=list)
    resumed: int = 0
    result: TrainingFinished | None = None

    @property
    def steps(self) -> int:
        """Environment steps learned, as far as it is known."""
        return self.result.env_steps if self.result else self.curve[-1].env_steps if self.curve else 0

    @property
    def rate(self) -> float:
        """Of its own evaluation; -1 without one."""
        return self.result.score.rate if self.result and self.result.score else -1.0


@dataclass
class PlanState:
    """One round of the outer loop. `failure` says why there is no proposal, or no result.

    ordinal    its number among the plans of its stage, from 1: the number models know it by
    trainings  by seed, in the order asked for
    result     once all of them have ended: that of the one there is, or of all seeds together, with the policy of the best
    """

    number: int
    stage: int = 0
    ordinal: int = 1
    proposal: PlanProposed | None = None
    inner: dict[str, Inner] = field(default_factory=dict)
    trainings: dict[int, Training] = field(default_factory=dict)
    result: TrainingFinished | None = None
    review: PlanReviewed | None = None
    failure: str = ""
    repeated: bool = False

    @property
    def training(self) -> TrainingRequested | None:
        """What was asked for; with several seeds, the first: they differ by the seed alone."""
        first = next(iter(self.trainings.values()), None)
        return first.request if first else None

    @property
    def curve(self) -> list[Point]:
        """The learning curve; with several seeds, that of the one furthest on."""
        return max((training.curve for training in self.trainings.values()), key=_reached, default=[])

    @property
    def resumed(self) -> int:
        """Times a learning of this plan was continued from a checkpoint."""
        return sum(training.resumed for training in self.trainings.values())

    @property
    def under_way(self) -> int:
        """Environment steps of learnings that have not ended yet."""
        return sum(training.steps for training in self.trainings.values() if training.result is None)

    @property
    def arena_under_way(self) -> int:
        """The same of learnings in arenas."""
        return sum(inner.learnt.under_way for inner in self.inner.values() if inner.learnt)

    @property
    def best_training(self) -> Training | None:
        """The seed with the best score, the first of equals; None if none has a score."""
        best = max(self.trainings.values(), key=lambda training: training.rate, default=None)
        return best if best and best.rate >= 0 else None

    @property
    def rate(self) -> float:
        """Of the whole plan; -1 without a score."""
        return self.result.score.rate if self.result and self.result.score else -1.0

    @property
    def skills(self) -> list[Skill]:
        """The accepted skills, in the plan's order."""
        return [inner.settled.skill for inner in self.inner.values() if inner.settled and inner.settled.skill]


@dataclass
class Stage:
    """A sub-task with its two loops; a task that is not divided is one stage, number 0.

    environment  the task's; from the second stage on it begins where the best policy of the stage before succeeded, or behind it
    held_out     start states of the evaluation; None: the evaluation's own seeds
    target       success rate at which the stage is done
    last         no other stage follows
    plans        numbers of its plans so far
    best         the one with the best score, None before the first
    repeats      plans that were an earlier one again
    """

    number: int
    task: SubTask
    environment: Environment
    target: float
    last: bool
    held_out: Artifact | None = None
    plans: list[int] = field(default_factory=list)
    best: int | None = None
    repeats: int = 0


def _reached(curve: list[Point]) -> int:
    return curve[-1].env_steps if curve else 0


@dataclass
class Spent:
    """What the run has used. Steps are environment steps; a question asked again after a restart counts once.

    arena_steps  of learning in arenas, and of looking for their start states: beside `env_steps`, and limited by each arena alone
    trial_steps, learning_steps  with what was played before their episodes, by the stages before
    seconds  in which the run was running: pauses before a resume are left out
    """

    trial_steps: int = 0
    learning_steps: int = 0
    arena_steps: int = 0
    evaluation_steps: int = 0
    seconds: float = 0.0
    learn_s: float = 0.0
    evaluate_s: float = 0.0
    questions: dict[str, ModelAsked] = field(default_factory=dict)
    last: datetime | None = None

    def tick(self, message: Message, time: str) -> None:
        """Pass the time since the last event. What lies before a launcher joins is a pause; presence itself takes no time."""
        launcher = isinstance(message, AgentJoined) and message.role == LAUNCHER
        if not time or (isinstance(message, AgentJoined | AgentLeft) and not launcher):
            return
        at = datetime.fromisoformat(time)
        if self.last is not None and not launcher:
            self.seconds += max(0.0, (at - self.last).total_seconds())
        self.last = at

    def count(self, asked: ModelAsked) -> None:
        self.questions.setdefault(asked.key, asked)

    @property
    def env_steps(self) -> int:
        """Of trials and learning, what `budgets.env_steps` limits."""
        return self.trial_steps + self.learning_steps

    @property
    def live(self) -> list[ModelAsked]:
        """Questions that cost something: recorded answers are free."""
        return [asked for asked in self.questions.values() if asked.origin != "recorded"]

    @property
    def tokens(self) -> int:
        return sum(asked.prompt_tokens + asked.completion_tokens for asked in self.live)

    @property
    def usd(self) -> float:
        """Of the questions whose price is known; see `unpriced`."""
        return sum(asked.usd or 0.0 for asked in self.live)

    @property
    def unpriced(self) -> int:
        return sum(asked.usd is None for asked in self.live)

    def over(self, budgets: Budgets, *, steps: bool = True) -> str:
        """Which budget is used up, in words; empty if none is. Without `steps`, environment steps are not looked at."""
        used = {
            "env_steps": (budgets.env_steps if steps else None, self.env_steps),
            "minutes": (budgets.minutes, self.seconds / 60),
            "tokens": (budgets.tokens, self.tokens),
            "usd": (budgets.usd, self.usd),
        }
        for name, (limit, amount) in used.items():
            if limit is not None and amount >= limit:
                return f"{name}: {amount:g} of {limit:g} used"
        return ""
