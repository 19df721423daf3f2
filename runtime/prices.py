"""The user's own price table, `~/.config/rlgpt/prices.yaml`: what models cost, US dollars per million tokens.

    gpt-4o: {prompt: 2.5, completion: 10}
    my-local-model: {prompt: 0, completion: 0}

It is read when a scenario is, and what it says of models becomes part of the scenario as resolved, so that a resumed run, and processes on
other machines, count alike. A scenario's own `llm.prices` come before it.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from rlgpt.bus.errors import Explained
from rlgpt.bus.models import Price
from rlgpt.bus.task import Task

FILE = Path("rlgpt") / "prices.yaml"


class PricesInvalid(Explained):
    """The price table cannot be read; the message says where and why, but never shows a value: somebody may have put a key there."""


def user_file() -> Path:
    """Where the user's table is, if there is one: in $XDG_CONFIG_HOME, else in ~/.config."""
    given = os.environ.get("XDG_CONFIG_HOME") or ""
    return (Path(given) if given.startswith("/") else Path.home() / ".config") / FILE


def user_prices() -> dict[str, Price]:
    """The user's table by model name; empty where there is none. Raises PricesInvalid."""
    path = user_file()
    try:
        found: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise PricesInvalid(f"{path} cannot be read: {type(error).__name__}") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        raise PricesInvalid(f"{path}{f', line {mark.line + 1}' if mark else ''}: not YAML") from None
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise PricesInvalid(
            f"{path}: expected model names, each with its {{prompt: ..., completion: ...}} in US dollars per million tokens"
        )
    return {str(name): _price(path, str(name), value) for name, value in found.items()}


def with_user_prices(task: Task) -> Task:
    """The task, with the user's prices of models it says nothing of. Raises PricesInvalid."""
    prices = {**user_prices(), **task.llm.prices}
    return task.model_copy(update={"llm": task.llm.model_copy(update={"prices": prices})}) if prices != task.llm.prices else task


def _price(path: Path, name: str, value: Any) -> Price:
    try:
        return Price.model_validate(value)
    except ValidationError as error:
        finding = error.errors(include_input=False)[0]
        place = ".".join(map(str, (name, *finding["loc"])))
        raise PricesInvalid(
            f"{path}: {place}: {finding['msg']}; expected {{prompt: ..., completion: ...}}, numbers, in US dollars"
        ) from None
