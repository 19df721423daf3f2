"""An environment of gymnasium's or of any gym's API, as one: `reset(seed) -> (obs, info)`, `step(action) -> five values`.

What differs: gym before 0.26 steps to four values and tells a time limit by `info["TimeLimit.truncated"]`; before 0.22 it takes its seed by
`env.seed()`; its `make` cannot change the time limit.
"""

from __future__ import annotations

import contextlib
import difflib
import importlib
import inspect
import sys
from typing import Any

import numpy as np

from .spaces import SpaceData, describe

# As in `envs/registry.py`, which cannot be imported here.
_FAMILIES = {
    "rlgpt/Luanti": "rlgpt.envs.luanti",
    "ALE/": "ale_py",
    "MiniGrid-": "minigrid",
    "BabyAI-": "minigrid",
    "Fetch": "gymnasium_robotics",
    "FrankaKitchen": "gymnasium_robotics",
}


MAX_PICTURE = 16 << 20
OURS = "hosted."  # `hosted.minedojo:MineDojo` is an adapter that lies beside this file


class Unavailable(Exception):
    """The environment cannot be made; the text says why and what to do."""


class Adapter:
    """One environment, whatever its API.

    name     an id of gymnasium or gym, or `module:Id` (the module registers it), or `module:factory` (called with `kwargs`)
    """

    def __init__(self, name: str, kwargs: dict[str, Any]) -> None:
        self.env, self.library = _make(name, kwargs)
        self._inner = getattr(self.env, "unwrapped", self.env)
        self._takes_seed = "seed" in _parameters(self._inner.reset)
        self._seeds = not self._takes_seed and hasattr(self.env, "seed")
        self._limiter = _time_limit(self.env)
        self._most: int | None = None
        self._steps = 0
        self.renders = callable(getattr(self._inner, "render", None))
        self.restorable = all(callable(getattr(self._inner, method, None)) for method in ("snapshot", "restore"))
        self.warnings: list[str] = []
        if not self._takes_seed and not self._seeds:
            self.warnings.append("it takes no seed, so that its episodes cannot be repeated")

    def spaces(self) -> tuple[SpaceData, SpaceData]:
        """(observations, actions), as data."""
        return describe(self.env.observation_space), describe(self.env.action_space)

    @property
    def id(self) -> str:
        """The registered id, "" without one."""
        return str(getattr(getattr(self.env, "spec", None), "id", ""))

    @property
    def limit(self) -> int | None:
        """Time limit in steps, None without one."""
        registered = getattr(self._limiter, "_max_episode_steps", None)
        return self._most or (int(registered) if registered else None)

    def set_limit(self, steps: int | None) -> None:
        """Another time limit than the registered one; None changes nothing."""
        if steps is None:
            return
        self._most = steps
        if self._limiter is not None:
            self._limiter._max_episode_steps = steps

    def reset(self, seed: int) -> tuple[Any, dict[str, Any]]:
        self._steps = 0
        if self._seeds:
            self.env.seed(seed % 2**31)  # old environments hand it to numpy's RandomState
        result = self.env.reset(seed=seed) if self._takes_seed else self.env.reset()
        return result if self._with_info(result) else (result, {})

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        result = self.env.step(action)
        self._steps += 1
        if len(result) == 5:
            obs, reward, terminated, truncated, info = result
        else:
            obs, reward, done, info = result
            truncated = bool(done) and bool(info.get("TimeLimit.truncated", False))
            terminated = bool(done) and not truncated
        if self._most is not None and self._limiter is None and self._steps >= self._most:
            truncated = truncated or not terminated
        return obs, float(reward), bool(terminated), bool(truncated), dict(info)

    def snapshot(self) -> bytes:
        return bytes(self._inner.snapshot())

    def restore(self, snapshot: bytes) -> tuple[Any, dict[str, Any]]:
        self._steps = 0
        obs, info = self._inner.restore(snapshot)
        return obs, dict(info)

    def render(self) -> Any:
        """What is to be seen now, [height, width, 3] uint8. Raises ValueError where that is no such picture."""
        # Before gym 0.26 each call names what it wants; since then it was said when the environment was made.
        old = "mode" in _parameters(self.env.render) or "mode" in _parameters(self._inner.render)
        found = np.asarray(self.env.render(mode="rgb_array") if old else self.env.render())
        if found.dtype != np.uint8 or found.ndim != 3 or found.shape[2] != 3 or not 0 < found.nbytes <= MAX_PICTURE:
            raise ValueError(f"render() gave no array [height, width, 3] of bytes but {found.dtype} {list(found.shape)}")
        return np.ascontiguousarray(found)

    def close(self) -> None:
        self.env.close()

    def _with_info(self, result: Any) -> bool:
        """Whether a reset gave (obs, info). An observation may itself be a pair that ends in a dict."""
        if not (isinstance(result, tuple) and len(result) == 2 and isinstance(result[1], dict)):
            return False
        parts = getattr(self.env.observation_space, "spaces", None)
        return not (isinstance(parts, (list, tuple)) and len(parts) == 2 and type(parts[1]).__name__ == "Dict")


def _make(name: str, kwargs: dict[str, Any]) -> tuple[Any, str]:
    """The environment, and the library it is of, in words."""
    module_name, _, attribute = name.rpartition(":")
    module = _import(module_name, name) if module_name else None
    if module is not None and callable(getattr(module, attribute, None)):
        return _call(getattr(module, attribute), name, kwargs), f"{name}, {_python()}"
    errors = []
    for library in ("gymnasium", "gym"):
        try:
            gym = importlib.import_module(library)
        except ImportError as missing:
            errors.append(f"{library}: {missing}")
            continue
        _import_family(attribute)
        if library == "gymnasium" and attribute not in gym.envs.registration.registry and _gym_has(attribute):
            continue
        try:
            return gym.make(attribute, **kwargs), f"{library} {gym.__version__}, {_python()}"
        except TypeError as mismatch:
            raise Unavailable(f"environment {name!r} does not take kwargs {kwargs!r}: {mismatch}") from mismatch
        except Exception as error:
            errors.append(f"{library} {gym.__version__}: {type(error).__name__}: {error}")
    raise Unavailable(
        f"environment {name!r} cannot be made by {sys.executable}: {'; '.join(errors)} ({_nearest(attribute)}). Install there what is "
        "missing, or name an environment of your own `module:Id` or `module:factory`"
    )


def _call(factory: Any, name: str, kwargs: dict[str, Any]) -> Any:
    try:
        inspect.signature(factory).bind(**kwargs)
    except TypeError as mismatch:
        raise Unavailable(f"environment {name!r} does not take kwargs {kwargs!r}: {mismatch}") from None
    except ValueError:
        pass  # a factory in C tells no signature; its own error will do
    return factory(**kwargs)


def _import(module: str, name: str) -> Any:
    try:
        if module.startswith(OURS):
            return importlib.import_module(f".{module[len(OURS) :]}", __package__)
        return importlib.import_module(module)
    except ModuleNotFoundError as missing:
        raise Unavailable(
            f"environment {name!r} needs module {missing.name!r}, which is not installed or not on the path of {sys.executable}: "
            f"`{sys.executable} -m pip install {missing.name}`, or run from the folder that holds it"
        ) from missing


def _import_family(name: str) -> None:
    """Import the package that registers `name`, where it is installed; without it, making the environment says what is missing."""
    module = next((module for prefix, module in _FAMILIES.items() if name.startswith(prefix)), None)
    if module is not None:
        with contextlib.suppress(ModuleNotFoundError):
            importlib.import_module(module)


def _gym_has(name: str) -> bool:
    return name in _registered("gym")


def _registered(library: str) -> Any:
    """The ids a library knows."""
    try:
        registry: Any = importlib.import_module(f"{library}.envs.registration").registry
    except ImportError:
        return {}
    return getattr(registry, "env_specs", registry)


def _nearest(name: str) -> str:
    known = {**dict.fromkeys(_registered("gym")), **dict.fromkeys(_registered("gymnasium"))}
    plain = {key.lower().replace("-", ""): key for key in known}
    close = difflib.get_close_matches(name.lower().replace("-", "").replace("_", ""), plain, n=3, cutoff=0.5)
    return f"nearest registered: {', '.join(repr(plain[key]) for key in close)}" if close else "no registered id looks like it"


def _time_limit(env: Any) -> Any:
    """The wrapper that cuts episodes off, None if there is none."""
    while env is not None:
        if type(env).__name__ == "TimeLimit" and hasattr(env, "_max_episode_steps"):
            return env
        env = env.__dict__.get("env")
    return None


def _parameters(function: Any) -> list[str]:
    try:
        return list(inspect.signature(function).parameters)
    except (TypeError, ValueError):
        return []


def _python() -> str:
    return f"Python {sys.version_info[0]}.{sys.version_info[1]}.{sys.version_info[2]}"
