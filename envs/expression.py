"""Expressions of a scenario or a plan: when something has succeeded, what to add to a reward. Evaluated inside workers only.

Names: obs, info, start (obs at the start of the call or episode), previous (obs before the step), action, reward, terminated,
truncated, steps (since the start), episode_return, np, math, and abs min max any all len sum round float int bool.
"""

from __future__ import annotations

import ast
import math
from typing import Any

import numpy as np

from rlgpt.envs.errors import SkillInvalid

NAMES = ("obs", "info", "start", "previous", "action", "reward", "terminated", "truncated", "steps", "episode_return")
FUNCTIONS: dict[str, Any] = {f.__name__: f for f in (abs, min, max, any, all, len, sum, round, float, int, bool)}
_GLOBALS: dict[str, Any] = {"__builtins__": {}, "np": np, "math": math, **FUNCTIONS}
MAX_LENGTH = 2000


class ExpressionFailed(Exception):
    """The expression is well formed but could not be evaluated here; the text names the expression and the cause."""


class Expression:
    """A compiled expression. `names` are those of NAMES it uses."""

    def __init__(self, text: str, role: str) -> None:
        """Raises SkillInvalid with the reason; `role` (`success`, `shaping`) is for the error texts."""
        self.text, self.role = text.strip(), role
        if len(text) > MAX_LENGTH:
            raise SkillInvalid(f"the {role} expression has {len(text)} characters; at most {MAX_LENGTH}")
        try:
            tree = ast.parse(self.text, mode="eval")
        except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
            raise SkillInvalid(f"the {role} expression {self.text!r} is not a Python expression: {error}") from None
        self.names = self._check(tree)
        self._code = compile(tree, f"<{role}>", "eval")
        # Globals, not locals: comprehensions and lambdas inside an expression cannot see an eval's locals.
        self._scope = dict(_GLOBALS)

    def __call__(self, values: dict[str, Any]) -> Any:
        self._scope.update(values)
        try:
            return eval(self._code, self._scope)  # noqa: S307  only ever inside a locked worker
        except Exception as error:
            raise ExpressionFailed(f"the {self.role} expression {self.text!r} failed: {type(error).__name__}: {error}") from None

    def holds(self, values: dict[str, Any]) -> bool:
        """The value as a truth value; raises ExpressionFailed where it has none (an array of several)."""
        value = self(values)
        try:
            return bool(value)
        except ValueError as error:
            raise ExpressionFailed(f"the {self.role} expression {self.text!r} gave no single truth value: {error}") from None

    def amount(self, values: dict[str, Any]) -> float:
        """The value as a finite number."""
        value = self(values)
        try:
            result = float(value)
        except (TypeError, ValueError) as error:
            raise ExpressionFailed(f"the {self.role} expression {self.text!r} gave no number: {error}") from None
        if not math.isfinite(result):
            raise ExpressionFailed(f"the {self.role} expression {self.text!r} gave {result}, which is no finite number")
        return result

    def _check(self, tree: ast.Expression) -> frozenset[str]:
        bound = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
        used = set()
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and node.attr.startswith("_"):
                raise SkillInvalid(f"the {self.role} expression {self.text!r} uses the private attribute {node.attr!r}")
            if isinstance(node, (ast.Await, ast.Yield, ast.YieldFrom)):
                raise SkillInvalid(f"the {self.role} expression {self.text!r} must be a plain expression")
            if isinstance(node, ast.Name) and node.id not in bound:
                if node.id not in NAMES and node.id not in _GLOBALS:
                    raise SkillInvalid(
                        f"the {self.role} expression {self.text!r} uses {node.id!r}; "
                        f"it may use {', '.join(NAMES)}, np, math, {', '.join(FUNCTIONS)}"
                    )
                used.add(node.id)
        return frozenset(used & set(NAMES))
