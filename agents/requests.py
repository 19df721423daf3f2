"""What the two loops ask for: which role should do what next. `loops` makes them, agents answer those of their own role."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from rlgpt.bus.parts import Skill
from rlgpt.bus.task import Task

CONTROLLER = "controller"
"""Name of the sub-action that `code-only` adds to every plan: the program that plays whole episodes with the accepted skills."""

Outcome = Literal["target_reached", "below_target", "budget_spent", "gave_up"]


@dataclass(frozen=True)
class AskDivision:
    """Slow agent: say which stages the task has, those of the scenario or, as task planner, its own."""

    role: ClassVar[str] = "slow"


@dataclass(frozen=True)
class AskPlan:
    """Slow agent: propose plan number `plan`, for stage `stage` (0: the task is not divided)."""

    role: ClassVar[str] = "slow"
    plan: int
    stage: int = 0


@dataclass(frozen=True)
class AskSkill:
    """Fast agent: write attempt number `attempt` of the skill `name`."""

    role: ClassVar[str] = "fast"
    plan: int
    name: str
    attempt: int


@dataclass(frozen=True)
class Settle:
    """Fast agent: end the inner loop of `name`; `skill` is None where it falls to `rl`."""

    role: ClassVar[str] = "fast"
    plan: int
    name: str
    skill: Skill | None
    attempts: int
    reason: str


@dataclass(frozen=True)
class AskArena:
    """Fast agent: say in which arena the sub-action `name` is to be learned by itself, or leave it to the learner of the whole task."""

    role: ClassVar[str] = "fast"
    plan: int
    name: str


@dataclass(frozen=True)
class AskSetUp:
    """Fast agent: every sub-action of the plan is settled, set up the learning."""

    role: ClassVar[str] = "fast"
    plan: int


@dataclass(frozen=True)
class AskTrialReview:
    """Critic: review this trial."""

    role: ClassVar[str] = "critic"
    plan: int
    name: str
    attempt: int


@dataclass(frozen=True)
class AskPlanReview:
    """Critic: review this plan as a whole, now that it was learned and evaluated."""

    role: ClassVar[str] = "critic"
    plan: int


@dataclass(frozen=True)
class Finish:
    """Slow agent: end the run with the best policy so far."""

    role: ClassVar[str] = "slow"
    outcome: Outcome
    reason: str


Request = AskDivision | AskPlan | AskSkill | Settle | AskArena | AskSetUp | AskTrialReview | AskPlanReview | Finish


def question_prefix(task: Task) -> str:
    """What the logical keys of a task's questions begin with: answers of different settings never meet in one transcript."""
    return f"{task.mode}/one-agent" if task.agents == "one" else task.mode
