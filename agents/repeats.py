"""Dead loops: the same plan, or the same code, as one that failed before. What counts as the same, and where it was seen. Pure."""

from __future__ import annotations

import ast
import warnings
from collections.abc import Iterable
from functools import lru_cache

from rlgpt.agents.progress import Inner, PlanState
from rlgpt.bus.parts import SubAction

REMEMBERED = 1024
AGAIN = "This is the same again:"
"""How the words begin that a model is told of a repetition; a question that ended with one is known by them, also from a transcript."""


def is_repetition(outcome: str, reason: str) -> bool:
    """Whether a question failed because the model kept to something that had failed, whatever it was told."""
    return outcome == "impossible" and AGAIN in reason


@lru_cache(REMEMBERED)
def normal_form(source: str) -> str:
    """Python without comments, docstrings and layout; of what is no Python, the words."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(source.strip())
        for node in ast.walk(tree):
            if isinstance(node, ast.Module | ast.FunctionDef | ast.ClassDef) and ast.get_docstring(node, clean=False) is not None:
                node.body = node.body[1:] or [ast.Pass()]
        return ast.unparse(tree)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return " ".join(source.split())


def plan_form(sub_actions: Iterable[SubAction]) -> tuple[tuple[str, str, str], ...]:
    """What makes a plan the same plan: names, modes and success tests, in order; purposes and reasons may be worded otherwise."""
    return tuple((sub_action.name, sub_action.mode, normal_form(sub_action.success)) for sub_action in sub_actions)


def plan_repeated(sub_actions: Iterable[SubAction], earlier: Iterable[PlanState]) -> PlanState | None:
    """The first of the earlier plans that was the same, and was tried to its end; one that no process could learn may be tried again."""
    form = plan_form(sub_actions)
    tried = (plan for plan in earlier if plan.proposal is not None and plan.result is not None and plan.result.score is not None)
    return next((plan for plan in tried if plan.proposal and plan_form(plan.proposal.sub_actions) == form), None)


def code_repeated(source: str, inner: Inner, earlier: Iterable[PlanState]) -> str:
    """Which draft before had the same code, in words; empty if none had.

    inner    of the sub-action in hand: no draft of it was accepted, so that none that was tried is worth a repetition
    earlier  plans of the same stage before; there, code counts that failed the same success test
    """
    form = normal_form(source)
    for attempt in inner.attempts:
        if attempt.draft and attempt.trial and normal_form(attempt.draft.skill.source) == form:
            return f"attempt {attempt.number}"
    test = normal_form(inner.spec.success)
    for plan in earlier:
        for other in plan.inner.values():
            if normal_form(other.spec.success) != test:
                continue
            for attempt in other.attempts:
                failed = attempt.draft and attempt.trial and not attempt.trial.success
                if failed and attempt.draft and normal_form(attempt.draft.skill.source) == form:
                    return f"attempt {attempt.number} at `{other.spec.name}` in plan {plan.ordinal}"
    return ""
