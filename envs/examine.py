"""What is wrong with an environment, told to whoever wrote it: when it fails at all, and, as `rlgpt check` asks, when it plays but lies."""

from __future__ import annotations

import inspect
import traceback
from pathlib import Path
from typing import Any

import numpy as np

from rlgpt.envs.errors import EnvironmentUnavailable, EnvironmentUnsupported
from rlgpt.envs.space import Leaf, SpaceData, leaves
from rlgpt.envs.words import number, pick

EXAMINED_STEPS = 200


def diagnose(env: Any, name: str, error: Exception) -> EnvironmentUnavailable:
    """An exception of the environment's first episodes, as words for its author."""
    inner = env.unwrapped
    kind = type(inner).__name__
    for method, wanted in (("reset", "(self, *, seed=None, options=None)"), ("step", "(self, action)")):
        given = {"seed": 0, "options": None} if method == "reset" else {}
        try:
            inspect.signature(getattr(inner, method)).bind(*([] if given else [0]), **given)
        except TypeError:
            return _unfit(
                name, f"{kind}.{method}{inspect.signature(getattr(inner, method))} has to be {method}{wanted}, as Gymnasium calls it"
            )
        except (AttributeError, ValueError):
            continue
    try:
        begun = inner.reset(seed=0)
        if not (isinstance(begun, tuple) and len(begun) == 2 and isinstance(begun[1], dict)):
            return _unfit(name, f"{kind}.reset gave {_form(begun)}; it has to return (observation, info), info a dict")
        stepped = inner.step(inner.action_space.sample())
        if not (isinstance(stepped, tuple) and len(stepped) == 5):
            wanted = "(observation, reward, terminated, truncated, info)"
            return _unfit(name, f"{kind}.step gave {_form(stepped)}; it has to return {wanted}")
    except Exception as again:
        error = again
    return _unfit(name, f"{type(error).__name__}: {error}{_where(error)}")


def examine(env: Any, observation: SpaceData, name: str, deterministic: bool) -> list[str]:
    """Play two episodes of random actions and look at everything; warnings in words.

    Raises EnvironmentUnsupported for what no worker takes (not finite, no number, of another shape, whole numbers out of range), and where
    the same seed and actions gave another episode although the environment is said to be deterministic.
    """
    parts, warnings = leaves(observation), dict[str, None]()
    env.action_space.seed(0)
    actions = [env.action_space.sample() for _ in range(EXAMINED_STEPS)]
    first = _play(env, actions, parts, name, warnings)
    if deterministic:
        second = _play(env, actions, parts, name, warnings)
        differs = next((i for i, (a, b) in enumerate(zip(first, second, strict=False)) if not _same(a, b)), None)
        if differs is None and len(first) != len(second):
            differs = min(len(first), len(second))
        if differs is not None:
            when = f"after step {differs}" if differs else "at the reset"
            raise EnvironmentUnsupported(
                f"environment {name!r} is not deterministic: the same seed and actions gave another episode, {when}. Draw everything from "
                "self.np_random, after super().reset(seed=seed); or say environment.deterministic: false (scores are not verified then)"
            )
    return list(warnings)


def _play(env: Any, actions: list[Any], parts: list[Leaf], name: str, warnings: dict[str, None]) -> list[Any]:
    """One episode of seed 0, cut off after the actions: [(arrays, reward, terminated)], the reset first."""
    obs, info = env.reset(seed=0)
    if not isinstance(info, dict):
        raise diagnose(env, name, TypeError("reset has to return (observation, info), info a dict"))
    told = [(_arrays(obs, parts, name, "at the reset", env, warnings), 0.0, False)]
    for i, action in enumerate(actions, start=1):
        obs, reward, terminated, truncated, _ = env.step(action)
        when = f"after step {i}"
        try:
            gained = float(reward)
        except (TypeError, ValueError):
            raise EnvironmentUnsupported(f"environment {name!r}: its reward {when} is {reward!r}, which is no number") from None
        if not np.isfinite(gained):
            raise EnvironmentUnsupported(f"environment {name!r}: its reward {when} is {gained}; it has to be finite")
        told.append((_arrays(obs, parts, name, when, env, warnings), gained, bool(terminated)))
        if terminated or truncated:
            break
    return told


def _arrays(obs: Any, parts: list[Leaf], name: str, when: str, env: Any, warnings: dict[str, None]) -> list[Any]:
    arrays = []
    for part in parts:
        where = f"its observation{''.join(f'[{key!r}]' for key in part.path)} {when}"
        try:
            array = np.array(pick(obs, part.path))
        except (TypeError, KeyError, IndexError, ValueError) as error:
            raise EnvironmentUnsupported(
                f"environment {name!r}: {where} is not there or no array: {type(error).__name__}: {error}"
            ) from None
        if array.shape != part.shape:
            raise EnvironmentUnsupported(f"environment {name!r}: {where} has shape {array.shape}, its space says {part.shape}")
        if array.dtype.kind not in "biuf":
            raise EnvironmentUnsupported(f"environment {name!r}: {where} is of dtype {array.dtype}, which is no number")
        if not np.isfinite(array).all():
            raise EnvironmentUnsupported(f"environment {name!r}: {where} holds a value that is not finite: {array.ravel()[:8]}")
        if part.low is not None and ((array < part.low).any() or (array > part.high).any()):
            raise EnvironmentUnsupported(f"environment {name!r}: {where} holds a value outside {part.low} to {part.high}: {_few(array)}")
        arrays.append(array)
    if not warnings and not env.observation_space.contains(obs):
        values = ", ".join(_few(array) for array in arrays)
        warnings[
            f"the observation {when} lies outside its space {env.observation_space}: {values}; give the space wider bounds, or its dtype"
        ] = None
    return arrays


def _same(a: Any, b: Any) -> bool:
    return bool(a[1:] == b[1:] and all(np.array_equal(x, y) for x, y in zip(a[0], b[0], strict=True)))


def _few(array: Any) -> str:
    flat = array.ravel()
    return "[" + ", ".join(number(value) for value in flat[:8]) + (", ...]" if flat.size > 8 else "]")


def _form(value: Any) -> str:
    return f"a tuple of {len(value)}" if isinstance(value, tuple) else f"one {type(value).__name__}"


def _where(error: BaseException) -> str:
    """The last line outside of installed packages that it passed through."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "site-packages" not in frame.filename]
    own = [frame for frame in frames if Path(__file__).parent != Path(frame.filename).parent]
    return f" ({Path(own[-1].filename).name}, line {own[-1].lineno}: {own[-1].line})" if own else ""


def _unfit(name: str, why: str) -> EnvironmentUnavailable:
    return EnvironmentUnavailable(f"environment {name!r} failed in its first episodes: {why}")
