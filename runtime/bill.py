"""What the questions cost, role by role, and what the budgets leave: for the live view and the summary."""

from __future__ import annotations

from rlgpt.agents.budget import Account, by_role
from rlgpt.agents.progress import Spent
from rlgpt.runtime.story import Story
from rlgpt.runtime.text import duration, money


def role_words(spent: Spent) -> str:
    """`slow 2 questions, 4,100 tokens, $0.02, 12 s; fast ...`; empty where no live model was asked."""
    return "; ".join(f"{role} {account_words(account)}" for role, account in by_role(spent).items())


def account_words(account: Account) -> str:
    questions = f"{account.questions} question{'s' * (account.questions != 1)}"
    return f"{questions}, {account.tokens:,} tokens, {money(account.usd, account.unpriced)}, {duration(account.seconds)}"


def budget_words(story: Story) -> str:
    """How much of every budget of tokens and money is used, the run's and the roles'; empty where there is none."""
    state = story.state
    if state.submitted is None:
        return ""
    budgets, spent, roles = state.task.budgets, state.spent, by_role(state.spent)
    parts = [f"{share(spent.tokens, budgets.tokens)} tokens"] if budgets.tokens else []
    parts += [f"{share(spent.usd, budgets.usd)} usd"] if budgets.usd else []
    for role, limits in budgets.roles.items():
        used = roles.get(role, Account())
        figures = (("tokens", used.tokens, limits.tokens), ("usd", used.usd, limits.usd), ("minutes", used.seconds / 60, limits.minutes))
        own = [f"{share(amount, limit)} {name}" for name, amount, limit in figures if limit is not None]
        parts += [f"{role} {' and '.join(own)}"] if own else []
    return "; ".join(parts)


def share(used: float, limit: float) -> str:
    return f"{used:,.4g} of {limit:,.4g}" if limit < 1000 else f"{used:,.0f} of {limit:,.0f}"
