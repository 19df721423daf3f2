"""What a policy sees of the environments it acts in: their observations, as numbers of a common size, the last few side by side.

`ObservationView` makes arrays of an environment's observations; what is here depends on the past: running statistics, and the frames of
the episodes under way. numpy only.
"""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from rlgpt.envs.errors import EnvironmentUnsupported
from rlgpt.envs.moments import RunningMoments
from rlgpt.envs.observations import Learnable, ObservationView
from rlgpt.envs.transitions import Observations

Array = npt.NDArray[Any]
Bools = npt.NDArray[np.bool_]
CLIP = 10.0
"""Deviations from the mean beyond which a normalised number is cut off, as in stable-baselines3's VecNormalize."""


class Perception:
    """Observations of B environments as a policy takes them.

    space   what the policy sees
    frames  observations at the last so many decisions of the episode, oldest first; before an episode's first there is that one again
    normal  whether numbers (Box, not pictures) are normalised by running statistics; one-hot and binary parts never are

    `see` is called with every observation in order, since it remembers. `ends` looks at last observations and remembers nothing.
    """

    def __init__(self, view: ObservationView, *, frames: int = 1, normal: bool = False) -> None:
        self.view, self.frames = view, frames
        parts: dict[str, Any] = dict(view.space.spaces) if isinstance(view.space, spaces.Dict) else {"": view.space}
        self._moments = {key: RunningMoments(part.shape) for key, part in parts.items() if normal and _is_numbers(part)}
        self._history: dict[str, list[Array]] = {}
        seen = {key: _stacked(_normalised(part) if key in self._moments else part, frames, key) for key, part in parts.items()}
        self.space: spaces.Space[Any] = spaces.Dict(seen) if isinstance(view.space, spaces.Dict) else seen[""]

    def anew(self) -> Perception:
        """One with the same statistics that remembers no episode."""
        found = copy.copy(self)
        found._history = {}
        return found

    def see(self, obs: Observations, fresh: Bools | None, *, learn: bool) -> Learnable:
        """Observations [B, ...] as the policy takes them; `learn` adds them to the statistics first.

        fresh [B]  an episode begins with it (None: with all of them)
        """
        batch = self.view.convert(obs)
        if self.frames == 1 and not self._moments:
            return batch
        parts = batch if isinstance(batch, dict) else {"": batch}
        if learn:
            for key, moments in self._moments.items():
                moments.add(parts[key])
        return self._folded({key: self._remember(key, self._normal(key, part), fresh) for key, part in parts.items()})

    def ends(self, obs: Observations, rows: npt.NDArray[np.int64]) -> Learnable:
        """The same of the last observations of episodes that have just ended, for some environments: [R, ...]. Call it before `see`."""
        batch = self.view.convert(obs)
        parts = {key: part[rows] for key, part in (batch if isinstance(batch, dict) else {"": batch}).items()}
        if self.frames == 1 and not self._moments:
            return self._folded(parts)
        seen = {}
        for key, part in parts.items():
            before = [frame[rows] for frame in self._history.get(key, [])[1:]]
            seen[key] = _side_by_side([*before, self._normal(key, part)])
        return self._folded(seen)

    def episode(self, obs: Observations) -> Learnable:
        """The observations [T, ...] of one whole episode as the policy would have taken them; remembers and learns nothing."""
        batch = self.view.convert(obs)
        parts = {key: self._normal(key, part) for key, part in (batch if isinstance(batch, dict) else {"": batch}).items()}
        back = range(self.frames - 1, -1, -1)
        steps = np.arange(len(next(iter(parts.values()))))
        return self._folded({key: _side_by_side([part[np.maximum(steps - k, 0)] for k in back]) for key, part in parts.items()})

    def learn(self, obs: Observations) -> None:
        """Add observations [T, ...] to the statistics."""
        if self._moments:
            batch = self.view.convert(obs)
            for key, moments in self._moments.items():
                moments.add(batch[key] if isinstance(batch, dict) else batch)

    def state(self) -> dict[str, Any]:
        """The statistics, as plain values. Frames are no part of it: whoever continues begins fresh episodes."""
        return {key: moments.state() for key, moments in self._moments.items()}

    def restore(self, state: dict[str, Any]) -> None:
        """Statistics that `state` told."""
        for key, moments in self._moments.items():
            moments.restore(state[key])

    def _normal(self, key: str, part: Array) -> Array:
        moments = self._moments.get(key)
        if moments is None:
            return part
        return np.clip((part - moments.mean) / moments.deviation, -CLIP, CLIP).astype(np.float32)

    def _remember(self, key: str, part: Array, fresh: Bools | None) -> Array:
        if self.frames == 1:
            return part
        if fresh is None or key not in self._history or fresh.all():
            self._history[key] = [part] * self.frames
        else:
            began = fresh.reshape(-1, *(1,) * (part.ndim - 1))
            self._history[key] = [*(np.where(began, part, frame) for frame in self._history[key][1:]), part]
        return _side_by_side(self._history[key])

    def _folded(self, parts: dict[str, Array]) -> Learnable:
        return parts if isinstance(self.space, spaces.Dict) else parts[""]


def zeros(space: spaces.Space[Any], count: int = 2) -> Learnable:
    """So many observations of nothing, as a policy takes them."""
    if isinstance(space, spaces.Dict):
        return {key: np.zeros((count, *(part.shape or ())), part.dtype) for key, part in space.spaces.items()}
    return np.zeros((count, *(space.shape or ())), space.dtype)


def _is_numbers(space: spaces.Space[Any]) -> bool:
    return isinstance(space, spaces.Box) and space.dtype != np.uint8


def _normalised(space: spaces.Space[Any]) -> spaces.Space[Any]:
    return spaces.Box(-CLIP, CLIP, space.shape, np.float32)


def _stacked(space: spaces.Space[Any], frames: int, key: str) -> spaces.Space[Any]:
    """The space of `frames` observations side by side: pictures by channel, numbers by their last axis, the rest as one longer row."""
    if frames == 1:
        return space
    match space:
        case spaces.Box(shape=(channels, *size)) if space.dtype == np.uint8 and len(space.shape) == 3:
            if channels * frames >= min(size):
                raise EnvironmentUnsupported(
                    f"trainer.frame_stack is {frames}: {channels * frames} channels of {size[0]}x{size[1]} pixels{key and f' in {key}'} "
                    "are no picture any more; stack fewer frames"
                )
            return spaces.Box(0, 255, (channels * frames, *size), np.uint8)
        case spaces.Box():
            low, high = (np.concatenate([np.atleast_1d(bound)] * frames, axis=-1) for bound in (space.low, space.high))
            return spaces.Box(low, high, dtype=np.float32)
        case spaces.Discrete():
            return spaces.MultiDiscrete([int(space.n)] * frames)
        case spaces.MultiDiscrete():
            return spaces.MultiDiscrete(np.tile(space.nvec, frames))
    return spaces.MultiBinary(int(np.prod(space.shape or ())) * frames)  # all that is left


def _side_by_side(frames: list[Array]) -> Array:
    """[B, ...] each, oldest first -> one array: pictures [B, C, H, W] along C, everything else along its last axis."""
    if len(frames) == 1:
        return frames[0]
    if frames[0].ndim == 1:
        return np.stack(frames, axis=1)
    return np.concatenate(frames, axis=1 if frames[0].ndim == 4 and frames[0].dtype == np.uint8 else -1)
