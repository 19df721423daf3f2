"""Advantages where one decision lasts several environment steps: the semi-MDP form of GAE. numpy only."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from typing_extensions import override

from rlgpt.envs.moments import RunningMoments

Floats = npt.NDArray[np.floating[Any]]


def smdp_gae(
    reward: Floats,
    duration: npt.NDArray[np.integer[Any]],
    *,
    terminated: npt.NDArray[np.bool_],
    truncated: npt.NDArray[np.bool_],
    value: Floats,
    next_value: Floats,
    gamma: float,
    gae_lambda: float,
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Advantage and lambda-return of every decision of a rollout.

    reward      [T, B]  discounted sum over the decision's own environment steps, already inside it
    duration    [T, B]  environment steps k the decision took, >= 0
    terminated  [T, B]  the environment ended the episode: nothing follows
    truncated   [T, B]  the time limit ended it: its last observation still has a value
    value       [T, B]  V(s[t])
    next_value  [T, B]  V of the state the decision led to; where the episode ended, of its last observation, not the next episode's first
    ->          [T, B] float32, twice: advantages A, and A + value, what the critic is fitted to

        delta[t] = r[t] + gamma**k[t] * (1 - terminated[t]) * V(s[t+1]) - V(s[t])
        A[t]     = delta[t] + gamma**k[t] * lambda * (1 - done[t]) * A[t+1]

    GAE (Schulman et al. 2016, arXiv 1506.02438) on the semi-MDP of Sutton, Precup & Singh (1999), Artificial Intelligence 112. With every
    duration 1 it is GAE. gamma discounts time, so it takes the duration as its power. lambda does not: it weighs how many *bootstraps*
    lie between a decision and a later reward, each with the critic's error, and a skill of fifty steps is one bootstrap, not fifty;
    lambda**k would all but cut the credit of whatever came before a long skill.
    """
    done = terminated | truncated
    discount = np.power(gamma, duration, dtype=np.float64)
    delta = reward + discount * ~terminated * next_value - value
    carry = discount * gae_lambda * ~done
    advantage = np.zeros_like(delta)
    later = np.zeros(delta.shape[1])
    for t in reversed(range(len(delta))):
        later = advantage[t] = delta[t] + carry[t] * later
    return advantage.astype(np.float32), (advantage + value).astype(np.float32)


class ReturnUnit:
    """The unit a critic of B environments counts in: the largest discounted return, in absolute value, that any episode has gathered yet.

    A critic begins at 0. Where true values lie around -90, it takes hundreds of updates to get there, and until then every bootstrap
    is far too bright. A skill of fifty steps has its fifty rewards in hand and one such bootstrap, a single action one reward and the
    bootstrap: so the learner turns away from its skills (measured on MountainCar: 0 % instead of 95 %). In this unit values lie
    within about -1 and 1 whatever the rewards, and the critic is there after a few updates.

    largest   so far; 0 before the first reward
    gathered  [B] discounted return of the episodes under way
    """

    def __init__(self, environments: int, gamma: float) -> None:
        self.largest = 0.0
        self.gathered = np.zeros(environments)
        self._gamma = gamma

    @property
    def size(self) -> float:
        """Rewards are divided by it."""
        return self.largest or 1.0

    def follow(self, reward: Floats, duration: npt.NDArray[np.integer[Any]], done: npt.NDArray[np.bool_]) -> None:
        """One decision in every environment, [B] each."""
        self.gathered = self.gathered * np.power(self._gamma, duration) + reward
        self.count(self.gathered)
        self.gathered[done] = 0.0

    def count(self, gathered: Floats) -> None:
        """Take what episodes have gathered, [n], into account."""
        self.largest = max(self.largest, float(np.abs(gathered).max()))

    def forget_episodes(self) -> None:
        """Every environment begins a fresh episode."""
        self.gathered[:] = 0.0

    def state(self) -> dict[str, Any]:
        """Plain values, without the episodes under way: whoever continues begins fresh ones."""
        return {"largest": self.largest}

    def restore(self, state: dict[str, Any]) -> None:
        """What `state` told."""
        self.largest = float(state["largest"])


class ReturnSpread(ReturnUnit):
    """The standard deviation of discounted returns so far as the unit, as in stable-baselines3's VecNormalize, with gamma**duration.

    What an episode has gathered after every decision counts. Where a few returns are enormous, the largest one would make all others
    next to nothing. The critic is rescaled whenever the unit changes (`OptionLearning._change_unit`), so that a moving unit does not move
    its values, and rewards are not clipped, so that none is worth less than it is.
    """

    def __init__(self, environments: int, gamma: float) -> None:
        super().__init__(environments, gamma)
        self._moments = RunningMoments(())

    @property
    @override
    def size(self) -> float:
        return float(self._moments.deviation)

    @override
    def count(self, gathered: Floats) -> None:
        self._moments.add(gathered)

    @override
    def state(self) -> dict[str, Any]:
        return self._moments.state()

    @override
    def restore(self, state: dict[str, Any]) -> None:
        self._moments.restore(state)
