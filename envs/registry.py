"""How an environment's id becomes an environment: `gymnasium.make`, with errors that say what to install. Runs inside workers."""

from __future__ import annotations

import difflib
import importlib
from typing import Any

import gymnasium
from gymnasium import error
from gymnasium.envs.registration import registry

from rlgpt.envs.errors import EnvironmentUnavailable

# id prefix: (module that registers it on import, what to install)
FAMILIES = {
    "rlgpt/Crafter": ("rlgpt.envs.crafter", "rlgpt[crafter]"),
    "rlgpt/Luanti": ("rlgpt.envs.luanti", "rlgpt"),
    "ALE/": ("ale_py", "ale-py"),
    "MiniGrid-": ("minigrid", "minigrid"),
    "BabyAI-": ("minigrid", "minigrid"),
    "highway-": ("highway_env", "highway-env"),
    "procgen": ("procgen", "procgen"),
    "Fetch": ("gymnasium_robotics", "gymnasium-robotics"),
    "FrankaKitchen": ("gymnasium_robotics", "gymnasium-robotics"),
    "PointMaze": ("gymnasium_robotics", "gymnasium-robotics"),
    "AntMaze": ("gymnasium_robotics", "gymnasium-robotics"),
}


def make(name: str, kwargs: dict[str, Any], max_episode_steps: int | None, *, checked: bool = False) -> gymnasium.Env[Any, Any]:
    """The environment with this id, registered or `module:Id`; `checked` adds Gymnasium's own checker, which warns of oddities.

    Raises EnvironmentUnavailable with the nearest registered id, or what to install.
    """
    _import_family(name)
    try:
        env = gymnasium.make(name, max_episode_steps=max_episode_steps, disable_env_checker=not checked, **kwargs)
    except ModuleNotFoundError as missing:
        raise EnvironmentUnavailable(_needs_module(name, missing)) from missing
    except error.DependencyNotInstalled as missing:
        raise EnvironmentUnavailable(f"environment {name!r} needs a package that is not installed: {missing}") from missing
    except (error.UnregisteredEnv, error.Error) as unknown:
        raise EnvironmentUnavailable(_unknown(name, unknown)) from unknown
    except TypeError as mismatch:
        if "inherit from `gymnasium.spaces.Space`" in str(mismatch):
            raise EnvironmentUnavailable(
                f"environment {name!r} has to set self.observation_space and self.action_space to spaces of gymnasium.spaces: {mismatch}"
            ) from mismatch
        raise EnvironmentUnavailable(f"environment {name!r} does not take kwargs {kwargs!r}: {mismatch}") from mismatch
    return env


def nearest(name: str) -> list[str]:
    """Registered ids that look like `name`, the best first."""
    close = difflib.get_close_matches(name, list(registry), n=3, cutoff=0.5)
    if close:
        return close
    lowered = {key.lower().replace("-", ""): key for key in registry}
    return [lowered[key] for key in difflib.get_close_matches(name.lower().replace("-", "").replace("_", ""), lowered, n=3, cutoff=0.5)]


def _import_family(name: str) -> None:
    """Import the module that registers `name`; also `module` of `module:Id`, which Gymnasium would do with a vaguer error."""
    module, _, _ = name.rpartition(":")
    family = next((module for prefix, (module, _) in FAMILIES.items() if name.startswith(prefix)), "")
    if not module and not (family and name not in registry):
        return
    try:
        importlib.import_module(module or family)
    except ModuleNotFoundError as missing:
        raise EnvironmentUnavailable(_needs_module(name, missing)) from missing


def _needs_module(name: str, missing: ModuleNotFoundError) -> str:
    bare = name.rpartition(":")[2]
    package = next((package for prefix, (_, package) in FAMILIES.items() if bare.startswith(prefix)), missing.name or "")
    return (
        f"environment {name!r} needs module {missing.name!r}, which is not installed or not on the path here: "
        f"`pip install {package}`, or run from the folder that holds it"
    )


def _unknown(name: str, unknown: Exception) -> str:
    close = nearest(name.rpartition(":")[2])
    hint = f"nearest registered: {', '.join(map(repr, close))}" if close else "no registered id looks like it"
    return (
        f"environment {name!r} cannot be made: {type(unknown).__name__}: {unknown} ({hint}). "
        "An environment of your own is named `module:Id`, where importing the module registers Id"
    )
