"""What an environment looks like, drawn inside a worker: small frames of chosen steps of an episode that is repeated there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from rlgpt.envs.actions import ActionInvalid, ActionReader
from rlgpt.envs.episode import Episode
from rlgpt.envs.errors import EnvironmentUnavailable

EDGE = 384
"""Pixels: no frame is wider or higher. Models are charged by the pixel, and see no more in larger ones of this kind."""


def draw(env: Any, obs: Any) -> npt.NDArray[np.uint8]:
    """What the environment draws now, [height, width, 3] at most EDGE each, or its observation where that is such a picture itself.

    Raises EnvironmentUnavailable where there is nothing to see, with the reason.
    """
    reason = "it has no render mode 'rgb_array'"
    if env.render_mode == "rgb_array":
        try:
            found = env.render()
        except Exception as error:
            reason = f"render() failed: {type(error).__name__}: {error}"[:500]
        else:
            if is_picture(found):
                return bounded(found)
            reason = "render() gave no array [height, width, 3] of bytes"
    if is_picture(obs):
        return bounded(obs)
    raise EnvironmentUnavailable(f"the environment cannot draw itself: {reason}")


def bounded(frame: npt.NDArray[np.uint8], edge: int = EDGE) -> npt.NDArray[np.uint8]:
    """The frame with at most `edge` pixels a side: means over blocks of the smallest whole size that does."""
    size = -(-max(frame.shape[:2]) // edge)
    height, width = (max(1, extent // size) for extent in frame.shape[:2])
    # A side shorter than a block stays as it is.
    blocks = frame[: height * size, : width * size].reshape(height, -1, width, min(size, frame.shape[1]), 3)
    return np.ascontiguousarray(blocks.mean(axis=(1, 3)).round().astype(np.uint8))


class Film:
    """An episode that is repeated and drawn, a part at a time.

    describe  the present state in words, for a line under the frame
    """

    def __init__(self, episode: Episode, reader: ActionReader, seed: int, actions: Sequence[Any], describe: Callable[[], str]) -> None:
        self._episode, self._reader, self._seed, self._actions, self._describe = episode, reader, seed, actions, describe
        self._begun, self._next = False, 0

    def draw(self, steps: Sequence[int]) -> dict[str, Any]:
        """Go on until the last of the environment steps `steps`, ascending (0: before the first), and draw after each of them.

        -> error: why it could not be repeated so far, in words; frames: one map a frame, of step, height, width, rgb (bytes), words
        """
        frames: list[dict[str, Any]] = []
        try:
            if not self._begun:
                self._episode.reset(self._seed)
                self._begun = True
            for step in steps:
                error = self._go_on(step)
                if error:
                    return {"error": error, "frames": frames}
                frames.append(self._frame(step))
        except (ActionInvalid, EnvironmentUnavailable) as failure:
            return {"error": str(failure), "frames": frames}
        return {"error": "", "frames": frames}

    def _go_on(self, step: int) -> str:
        """Repeat actions until `step` of them were taken; why that is not possible, or nothing."""
        while self._next < step:
            if self._episode.over:
                return f"the episode was over after {self._next} of {len(self._actions)} actions"
            fault = self._episode.primitive(self._reader(self._actions[self._next])).fault
            if fault:
                return fault
            self._next += 1
        return ""

    def _frame(self, step: int) -> dict[str, Any]:
        return framed(self._episode.env, self._episode.obs, step, self._describe())


def framed(env: Any, obs: Any, step: int, words: str) -> dict[str, Any]:
    """A frame as it travels: step, height, width, rgb (bytes), words. Raises EnvironmentUnavailable as `draw`."""
    frame = draw(env, obs)
    return {"step": step, "height": frame.shape[0], "width": frame.shape[1], "rgb": frame.tobytes(), "words": words}


def is_picture(array: Any) -> bool:
    """[height, width, 3] bytes."""
    return isinstance(array, np.ndarray) and array.dtype == np.uint8 and array.ndim == 3 and array.shape[2] == 3 and array.size > 0
