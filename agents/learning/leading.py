"""A policy file as the player of a stage before an episode: loaded in a zygote before the lock, played in its workers (`envs/lead.py`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import fsspec
import numpy as np
import torch
from gymnasium import spaces

from rlgpt.agents.learning.policy import PolicyPlayer, load_player, read_policy
from rlgpt.envs.errors import EnvironmentUnavailable
from rlgpt.envs.options import Bools
from rlgpt.envs.space import SpaceData, fold, leaves, restore
from rlgpt.envs.transitions import Choice
from rlgpt.envs.words import pick


@dataclass(frozen=True)
class _Spaces:
    observation_space: spaces.Space[Any]
    action_space: spaces.Space[Any]


class LeadingPolicy:
    """One environment's observations in, one choice out. Its draws follow from the seed of `begin`."""

    def __init__(self, player: PolicyPlayer, observation: SpaceData) -> None:
        self._player, self._space, self._leaves = player, observation, leaves(observation)
        self._fresh = True

    def begin(self, seed: int) -> None:
        torch.manual_seed(seed)
        self._fresh = True

    def choose(self, obs: Any, runnable: Bools) -> Choice:
        """[S] which skills can run now."""
        arrays = [np.asarray(pick(obs, leaf.path) if leaf.path else obs, leaf.dtype)[None] for leaf in self._leaves]
        fresh, self._fresh = np.array([self._fresh]), False
        (choice,), _ = self._player(fold(self._space, arrays), runnable[None], fresh)
        return choice


def load(uri: str, sha256: str, found: tuple[SpaceData, SpaceData]) -> LeadingPolicy:
    """The policy of this file, on observations and actions of these spaces. Raises EnvironmentUnavailable."""
    torch.set_num_threads(1)  # behind the lock no thread can be started
    try:
        with fsspec.open(uri, "rb") as file:
            request, weights = read_policy(file.read(), sha256)
    except (OSError, ValueError, ImportError) as error:
        raise EnvironmentUnavailable(f"the policy of an earlier stage, {uri}, cannot be read: {error}") from None
    player = load_player(request, weights, _Spaces(restore(found[0]), restore(found[1])))
    leading = LeadingPolicy(player, found[0])
    _rehearse(leading, found[0], len(request.skills))
    return leading


def _rehearse(leading: LeadingPolicy, observation: SpaceData, skills: int) -> None:
    """One decision, so that whatever torch imports or allocates at first is there before the lock."""
    leading.choose(restore(observation).sample(), np.ones(skills, np.bool_))
