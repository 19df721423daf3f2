"""A card's toolkit: functions that skills may call, and the observation in words. Loaded inside workers, before they are locked in."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from rlgpt.envs.errors import EnvironmentUnavailable
from rlgpt.envs.words import clip

WORDS = "words"
GLIMPSE = "glimpse"
NAMED = "TOOLKIT"
"""In a toolkit of several modules, the functions it offers, in order; otherwise they are those that the module itself defines."""
LONGEST = 400


@dataclass(frozen=True)
class Toolkit:
    """`functions` by name, for skills; `words(obs, info)` gives the observation in words, None if the toolkit has no such function.

    glimpse  `glimpse(obs, info)` gives a small picture for whoever watches, [height, width, 3] uint8; None likewise
    """

    functions: dict[str, Callable[..., Any]] = field(default_factory=dict)
    words: Callable[[Any, dict[str, Any]], Any] | None = None
    glimpse: Callable[[Any, dict[str, Any]], Any] | None = None

    def signatures(self) -> tuple[str, ...]:
        """Every function as models are told of it: how it is called, and the first paragraph of its docstring."""
        return tuple(f"`{name}{_signature(function)}`: {_about(function)}" for name, function in self.functions.items())

    def tell(self, obs: Any, info: dict[str, Any], otherwise: Callable[[], str]) -> str:
        """The observation in the toolkit's words; an error of the toolkit is told in their place."""
        if self.words is None:
            return otherwise()
        try:
            return clip(str(self.words(obs, info)), LONGEST)
        except Exception as error:
            return clip(f"{otherwise()} (the toolkit's words(obs, info) failed: {type(error).__name__}: {error})", LONGEST)


def load(module: str) -> Toolkit:
    """The toolkit that is this module, "" for none. Raises EnvironmentUnavailable."""
    if not module:
        return Toolkit()
    try:
        loaded = importlib.import_module(module)
    except Exception as error:
        raise EnvironmentUnavailable(
            f"the card's toolkit {module!r} cannot be imported: {type(error).__name__}: {error}. It is a module in the folder one runs in, "
            "or an installed one"
        ) from None
    named = getattr(loaded, NAMED, None)
    if named is None:
        own = {name: value for name, value in vars(loaded).items() if inspect.isfunction(value) and value.__module__ == module}
    else:
        own = {function.__name__: function for function in named}
    functions: dict[str, Callable[..., Any]] = {name: value for name, value in own.items() if not name.startswith("_")}
    if not functions:
        raise EnvironmentUnavailable(f"the card's toolkit {module!r} defines no function")
    words, glimpse = functions.pop(WORDS, None), functions.pop(GLIMPSE, None)
    return Toolkit(functions, words, glimpse)


def _signature(function: Callable[..., Any]) -> str:
    return str(inspect.signature(function)).replace("'", "")


def _about(function: Callable[..., Any]) -> str:
    text = inspect.getdoc(function) or "(not explained)"
    return clip(" ".join(text.split("\n\n")[0].split()), 600)
