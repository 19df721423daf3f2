"""The forward pass of a small network on a small batch, in numpy.

For a 64-wide network and eight environments, torch spends nearly all of its time on the way to the arithmetic: the pass below takes a
fifth of it, and rollouts are made of nothing else. Updates stay torch's. The weights are views of torch's own memory, so that they need
no copying and are never stale.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from gymnasium import spaces
from stable_baselines3.common.torch_layers import FlattenExtractor
from torch import nn

from rlgpt.envs.options import Bools

Floats = npt.NDArray[np.float32]


class SmallActor:
    """Draws actions from a stable-baselines3 policy with array observations, Discrete actions and Tanh layers, on the CPU (`fits`).

    Draws with numpy's global generator, the one stable-baselines3 shuffles minibatches with.
    """

    def __init__(self, policy: Any) -> None:
        self._pi, self._vf = ([_weights(layer) for layer in net if isinstance(layer, nn.Linear)] for net in _nets(policy))
        self._action, self._value = _weights(policy.action_net), _weights(policy.value_net)

    @staticmethod
    def fits(policy: Any) -> bool:
        """Whether this policy is of the kind drawn from here."""
        return (
            policy.device.type == "cpu"
            and isinstance(policy.observation_space, spaces.Box)
            and isinstance(policy.action_space, spaces.Discrete)
            and isinstance(policy.features_extractor, FlattenExtractor)
            and all(isinstance(layer, (nn.Linear, nn.Tanh)) for net in _nets(policy) for layer in net)
        )

    def __call__(self, obs: npt.NDArray[Any], masks: Bools | None) -> tuple[npt.NDArray[np.int64], Floats, Floats]:
        """Actions [B], values [B] and log-probabilities [B] for observations [B, ...] and the choices that can be made [B, n]."""
        features = obs.reshape(len(obs), -1).astype(np.float32, copy=False)
        logits = _affine(_through(features, self._pi), self._action)
        if masks is not None:
            logits = np.where(masks, logits, np.float32(-1e8))  # what sb3-contrib puts there
        logits = logits - logits.max(axis=1, keepdims=True)
        log_probs = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
        share = np.cumsum(np.exp(log_probs), axis=1)
        # Scaled by the sum, which rounding may leave just below 1; what has no share of its own is then never drawn.
        drawn = np.random.random((len(obs), 1)) * share[:, -1:]
        actions = (drawn >= share).sum(axis=1)
        values = _affine(_through(features, self._vf), self._value)[:, 0]
        return actions, values, log_probs[np.arange(len(obs)), actions]


def _nets(policy: Any) -> tuple[nn.Sequential, nn.Sequential]:
    return policy.mlp_extractor.policy_net, policy.mlp_extractor.value_net


def _weights(layer: Any) -> tuple[Floats, Floats]:
    return layer.weight.detach().numpy().T, layer.bias.detach().numpy()


def _affine(features: Floats, layer: tuple[Floats, Floats]) -> Floats:
    return features @ layer[0] + layer[1]


def _through(features: Floats, layers: list[tuple[Floats, Floats]]) -> Floats:
    for layer in layers:
        features = np.tanh(_affine(features, layer))
    return features
