"""Expressions of a scenario or a plan: when something has succeeded, what to add to a reward. Evaluated inside workers only.

Names: obs, info, start (obs at the start of the call or episode), previous (obs before the step), action, reward, terminated,
truncated, steps (since the start), episode_return, np, math, and abs min max any all len sum round float int bool.
"""

from __future__ import annotations

import ast
import builtins
import math
from types import CodeType
from typing import Any

import numpy as np

from rlgpt.envs.errors import SkillInvalid

NAMES = ("obs", "info", "start", "previous", "action", "reward", "terminated", "truncated", "steps", "episode_return")
FUNCTIONS: dict[str, Any] = {f.__name__: f for f in (abs, min, max, any, all, len, sum, round, float, int, bool)}
MAX_LENGTH = 2000


def _import(name: str, *rest: Any) -> Any:
    """numpy's methods (`any`, `sum`, ...) fetch their Python parts at first use, by the import of whoever calls them."""
    if name.partition(".")[0] != "numpy":
        raise ImportError(f"an expression may import nothing, not {name!r}")
    return builtins.__import__(name, *rest)


_GLOBALS: dict[str, Any] = {"__builtins__": {"__import__": _import}, "np": np, "math": math, **FUNCTIONS}


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
            self.names = self._check(tree)
            self._function = eval(_function(tree, sorted(self.names), role), dict(_GLOBALS))  # noqa: S307  it only makes a function
        except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
            raise SkillInvalid(f"the {role} expression {self.text!r} is not a Python expression: {error}") from None
        self._given = sorted(self.names)

    def __call__(self, values: dict[str, Any]) -> Any:
        """Its value; `values` has at least those of `names`."""
        try:
            return self._function(*[values[name] for name in self._given])
        except Exception as error:
            raise self._failed(error) from None

    def holds(self, values: dict[str, Any]) -> bool:
        """The value as a truth value; raises ExpressionFailed where it has none (an array of several)."""
        try:
            value = self._function(*[values[name] for name in self._given])  # as in __call__, without the call: it is asked in every step
        except Exception as error:
            raise self._failed(error) from None
        if value is True or value is False:
            return value
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

    def _failed(self, error: Exception) -> ExpressionFailed:
        return ExpressionFailed(f"the {self.role} expression {self.text!r} failed: {type(error).__name__}: {error}")

    def _check(self, tree: ast.Expression) -> frozenset[str]:
        bound = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and node.attr.startswith("_"):
                raise SkillInvalid(f"the {self.role} expression {self.text!r} uses the private attribute {node.attr!r}")
            if isinstance(node, (ast.Await, ast.Yield, ast.YieldFrom)):
                raise SkillInvalid(f"the {self.role} expression {self.text!r} must be a plain expression")
            if isinstance(node, ast.Name) and node.id not in bound and node.id not in NAMES and node.id not in _GLOBALS:
                raise SkillInvalid(
                    f"the {self.role} expression {self.text!r} uses {node.id!r}; "
                    f"it may use {', '.join(NAMES)}, np, math, {', '.join(FUNCTIONS)}"
                )
        # A name bound in one place, such as a comprehension's, may be meant in another.
        return frozenset({node.id for node in ast.walk(tree) if isinstance(node, ast.Name)} & set(NAMES))


def _function(tree: ast.Expression, names: list[str], role: str) -> CodeType:
    """Code that gives the expression as a function of `names`: looked up once, evaluated in every step."""
    arguments = ast.arguments([], [ast.arg(name) for name in names], None, [], [], None, [])
    return compile(ast.fix_missing_locations(ast.Expression(ast.Lambda(arguments, tree.body))), f"<{role}>", "eval")
