"""Money, tokens and minutes of the questions: who has spent what, and whether the next question still fits.

A question is looked at before it is asked: where its prompt alone would go beyond what is left, it is not asked.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from rlgpt.agents.progress import Spent
from rlgpt.bus.messages import BudgetSpent, ModelAsked
from rlgpt.bus.models import Budgets, RoleBudget


@dataclass(frozen=True)
class Account:
    """Questions to live models, summed up.

    usd      of those whose price is known; `unpriced` is the number of the others
    seconds  spent waiting for the answers
    """

    questions: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    usd: float = 0.0
    unpriced: int = 0
    seconds: float = 0.0

    @property
    def tokens(self) -> int:
        return self.prompt_tokens + self.completion_tokens


@dataclass(frozen=True)
class Over:
    """A budget that is used up, or would be by the next question's prompt alone: `used` is then what it would come to.

    role  whose own it is, empty for the run's
    """

    budget: Literal["minutes", "tokens", "usd"]
    limit: float
    used: float
    role: str = ""

    def __str__(self) -> str:
        whose = f"of the role {self.role!r}" if self.role else "of the run"
        return f"the budget {whose} is {self.limit:g} {self.budget}, and this question would bring it to {self.used:g}"


def words(spent: BudgetSpent) -> str:
    """Which budget ended a run, as the reason of its end."""
    whose = f"{spent.role}'s " if spent.role else ""
    if not spent.question:
        return f"{whose}{spent.budget}: {spent.used:g} of {spent.limit:g} used"
    return f"{whose}{spent.budget}: {spent.question} was not asked, it would have brought them to {spent.used:g} of {spent.limit:g}"


def account(questions: Iterable[ModelAsked]) -> Account:
    asked = [one for one in questions if one.outcome != "over_budget"]
    return Account(
        questions=len(asked),
        prompt_tokens=sum(one.prompt_tokens for one in asked),
        completion_tokens=sum(one.completion_tokens for one in asked),
        usd=sum(one.usd or 0.0 for one in asked),
        unpriced=sum(one.usd is None for one in asked),
        seconds=sum(one.seconds for one in asked),
    )


def by_role(spent: Spent) -> dict[str, Account]:
    """The accounts of the roles that asked a live model, in the order of their first questions."""
    roles = dict.fromkeys(asked.role for asked in spent.live)
    return {role: account(asked for asked in spent.live if asked.role == role) for role in roles}


def over(budgets: Budgets, spent: Spent, role: str, prompt_tokens: int = 0, prompt_usd: float | None = None) -> Over | None:
    """Which budget forbids `role` a question with such a prompt, its own before the run's; None if none does."""
    own = next((budget for name, budget in budgets.roles.items() if name == role), RoleBudget())
    run = RoleBudget(tokens=budgets.tokens, usd=budgets.usd)  # the run's minutes pass also when nobody asks: the launcher counts them
    for limits, used, whose in ((own, by_role(spent).get(role, Account()), role), (run, account(spent.live), "")):
        minutes = used.seconds / 60
        if limits.minutes is not None and minutes >= limits.minutes:
            return Over("minutes", limits.minutes, minutes, whose)
        if limits.tokens is not None and (used.tokens >= limits.tokens or used.tokens + prompt_tokens > limits.tokens):
            return Over("tokens", limits.tokens, used.tokens + prompt_tokens, whose)
        if limits.usd is not None and (used.usd >= limits.usd or used.usd + (prompt_usd or 0.0) > limits.usd):
            return Over("usd", limits.usd, used.usd + (prompt_usd or 0.0), whose)
    return None
