"""Observations as the learner's networks take them: one array, or one flat dict of arrays. Stateless: nothing is estimated from data.

Box uint8 [H, W, C], 0..255   pictures for a CNN, channels first; those too small for one become flat numbers in [0, 1]
other Box                     float32
Discrete, MultiDiscrete       counted from 0, one-hot in the policy (stable-baselines3's)
MultiBinary                   as it is
Dict, Tuple, nested           one level, keys joined by "/" (the pool already leaves out Text and other parts that are no arrays)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from rlgpt.envs.errors import EnvironmentUnsupported
from rlgpt.envs.transitions import Observations

Array = npt.NDArray[Any]
Learnable = Array | dict[str, Array]
Convert = Callable[[Array], Array]
SMALLEST_PICTURE = 36
"""Pixels a side: what the three convolutions of stable-baselines3's NatureCNN need."""
WIDEST = 1e6
"""Bounds beyond this are no unit of measure, only the largest number somebody could think of."""


class ObservationView:
    """From an environment's observation space to a learner's.

    space   what the policy sees
    policy  stable-baselines3's policy class for it, by name
    """

    def __init__(self, space: spaces.Space[Any]) -> None:
        self.policy: Literal["MlpPolicy", "CnnPolicy", "MultiInputPolicy"]
        if isinstance(space, (spaces.Dict, spaces.Tuple)):
            self._leaves = list(_leaves(space, ()))
            if not self._leaves:
                raise EnvironmentUnsupported(f"nothing in the observation space {space} can be learned from")
            self.space: spaces.Space[Any] = spaces.Dict({key: leaf for key, _, leaf, _ in self._leaves})
            self.policy = "MultiInputPolicy"
        else:
            self._leaves = []
            self.space, self._convert = _leaf(space, "observations")
            self.policy = "CnnPolicy" if _is_picture(self.space) else "MlpPolicy"

    def convert(self, obs: Observations) -> Learnable:
        """A batch [B, ...] of the environment's observations as a batch of the learner's."""
        if not self._leaves:
            assert isinstance(obs, np.ndarray), f"expected an array, got {type(obs)}"
            return self._convert(obs)
        batch: dict[str, Array] = {}
        for key, path, _, convert in self._leaves:
            part: Any = obs
            for step in path:
                part = part[step]
            batch[key] = convert(part)
        return batch


def _leaves(
    space: spaces.Space[Any], path: tuple[str | int, ...]
) -> Iterator[tuple[str, tuple[str | int, ...], spaces.Space[Any], Convert]]:
    """(key, path, learner's space, conversion) of every part of a Dict or Tuple that can be learned from."""
    if isinstance(space, (spaces.Dict, spaces.Tuple)):
        parts: Any = space.spaces.items() if isinstance(space, spaces.Dict) else enumerate(space.spaces)
        for name, part in parts:
            yield from _leaves(part, (*path, name))
    else:
        # torch's ModuleDict refuses dots and names of its own attributes ("type", "keys"); the slash in front avoids both.
        key = "/" + "/".join(str(step).replace(".", "_") for step in path)
        yield key, path, *_leaf(space, key)


def _leaf(space: spaces.Space[Any], where: str) -> tuple[spaces.Space[Any], Convert]:
    """The learner's space of one part, and how a batch of it is converted."""
    match space:
        case spaces.Box() if _is_picture(space):
            return _picture(space)
        case spaces.Box():
            return _numbers(space)
        case spaces.Discrete(start=start):
            return spaces.Discrete(int(space.n)), (lambda batch: batch - start) if start else (lambda batch: batch)
        case spaces.MultiDiscrete(start=start):
            count = int(np.prod(space.nvec.shape))
            flat = start.reshape(-1)
            return spaces.MultiDiscrete(space.nvec.reshape(-1)), lambda batch: batch.reshape(-1, count) - flat
        case spaces.MultiBinary():
            return spaces.MultiBinary(int(np.prod(space.shape))), lambda batch: batch.reshape(len(batch), -1)
    raise EnvironmentUnsupported(
        f"{where} of kind {type(space).__name__} ({space}) cannot be learned from; Box, Discrete, MultiDiscrete, MultiBinary, "
        "and Dict or Tuple of these can: wrap the environment so that it offers one of them"
    )


def _is_picture(space: spaces.Space[Any]) -> bool:
    return (
        isinstance(space, spaces.Box)
        and len(space.shape) == 3
        and space.dtype == np.uint8
        and not space.low.any()
        and bool((space.high == 255).all())
    )


def _numbers(space: spaces.Box) -> tuple[spaces.Space[Any], Convert]:
    low, high = space.low.astype(np.float64), space.high.astype(np.float64)
    known = (high > low) & (np.maximum(np.abs(low), np.abs(high)) <= WIDEST)
    middle, half = np.zeros(space.shape), np.ones(space.shape)
    middle[known], half[known] = (low[known] + high[known]) / 2, (high[known] - low[known]) / 2
    scaled = spaces.Box(((low - middle) / half).astype(np.float32), ((high - middle) / half).astype(np.float32), dtype=np.float32)
    offset, factor = middle.astype(np.float32), (1 / half).astype(np.float32)
    return scaled, lambda batch: (batch.astype(np.float32, copy=False) - offset) * factor


def _picture(space: spaces.Box) -> tuple[spaces.Space[Any], Convert]:
    channels_first = int(np.argmin(space.shape)) == 0
    shape = space.shape if channels_first else (space.shape[2], space.shape[0], space.shape[1])
    if min(shape[1:]) < SMALLEST_PICTURE:
        # Such as MiniGrid's 7x7x3: codes from 0 to 10, which a division by 255 would make invisible.
        flat = spaces.Box(0.0, 255.0, (int(np.prod(shape)),), np.float32)
        return flat, lambda batch: batch.reshape(len(batch), -1).astype(np.float32)
    if channels_first:
        return space, lambda batch: batch
    return spaces.Box(0, 255, shape, np.uint8), lambda batch: np.ascontiguousarray(batch.transpose(0, 3, 1, 2))
