"""Observations and actions in words, for language models: short, with the names the scenario gives."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from rlgpt.envs.space import SpaceData, leaves

MANY = 32
WORDS = 400


def number(value: Any) -> str:
    """Four significant digits, integers whole."""
    if isinstance(value, (bool, np.bool_)):
        return str(bool(value))
    if isinstance(value, (int, np.integer)):
        return str(int(value))
    return f"{float(value):.4g}"


def constant(name: str) -> str:
    """The Python constant that stands for an action's name in a skill: `push left` -> PUSH_LEFT."""
    word = re.sub(r"\W+", "_", name.strip()).strip("_").upper() or "ACTION"
    return word if not word[0].isdigit() else f"ACTION_{word}"


def names_of(space: SpaceData, names: Sequence[str]) -> list[str]:
    """A name for every scalar component of a space, in the order its arrays are flattened; `names` come first, where given."""
    found: list[str] = []
    for leaf in leaves(space):
        size = int(np.prod(leaf.shape))
        prefix = "".join(f"[{key!r}]" for key in leaf.path)
        if size > MANY:
            found += [f"obs{prefix}"] * size
        else:
            found += [f"obs{prefix}" + "".join(f"[{i}]" for i in index) for index in np.ndindex(leaf.shape)]
    if space["type"] == "Discrete" and len(names) != 1:
        return found
    return [*names[: len(found)], *found[len(names) :]]


def pick(obs: Any, path: Sequence[str | int]) -> Any:
    """The part of an observation that `path` leads to."""
    for key in path:
        obs = obs[key]
    return obs


def observation_words(obs: Any, space: SpaceData, names: Sequence[str] = ()) -> str:
    """One line: `position=-0.52, velocity=0.003`; large arrays by shape, smallest, largest and mean value."""
    if space["type"] == "Discrete" and len(names) == space["n"] and space["n"] > 1:
        return f"{int(obs)} ({names[int(obs) - space['start']]})"
    if space["type"] == "Opaque":
        return repr(obs)[:WORDS]
    labels, words, at = names_of(space, names), [], 0
    for leaf in leaves(space):
        value = np.asarray(pick(obs, leaf.path))
        size = int(np.prod(leaf.shape))
        if size > MANY:
            shape = "x".join(map(str, value.shape))
            words.append(
                f"{labels[at]}: {shape} {value.dtype}, min {number(value.min())}, max {number(value.max())}, mean {number(value.mean())}"
            )
        else:
            words += [f"{label}={number(item)}" for label, item in zip(labels[at : at + size], value.ravel(), strict=True)]
        at += size
    return clip(", ".join(words), WORDS)


def action_words(action: Any, space: SpaceData, names: Sequence[str] = ()) -> str:
    """An action by its constant's name (Discrete with names) or its numbers."""
    if space["type"] == "Discrete":
        index = int(action) - space["start"]
        return constant(names[index]) if len(names) == space["n"] and 0 <= index < len(names) else str(int(action))
    return "[" + ", ".join(number(item) for item in np.ravel(action)[:MANY]) + "]"


def info_words(info: dict[str, Any]) -> str:
    """Scalars of `info` only, a few."""
    scalars = {key: value for key, value in info.items() if isinstance(value, (bool, int, float, str, np.generic))}
    words = [f"{key}={value[:40]!r}" if isinstance(value, str) else f"{key}={number(value)}" for key, value in list(scalars.items())[:10]]
    return clip(", ".join(words), 200)


def clip(text: str, size: int) -> str:
    """At most `size` characters, with an ellipsis where something is missing."""
    return text if len(text) <= size else text[: size - 1] + "…"
