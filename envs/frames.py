"""What an environment looks like, drawn inside a worker: small frames of chosen steps of an episode that is repeated there."""

from __future__ import annotations

from collections.abc import Sequence
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
            if _is_picture(found):
                return bounded(found)
            reason = "render() gave no array [height, width, 3] of bytes"
    if _is_picture(obs):
        return bounded(obs)
    raise EnvironmentUnavailable(f"the environment cannot draw itself: {reason}")


def bounded(frame: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """The frame with at most EDGE pixels a side: means over blocks of the smallest whole size that does."""
    size = -(-max(frame.shape[:2]) // EDGE)
    height, width = (max(1, extent // size) for extent in frame.shape[:2])
    # A side shorter than a block stays as it is.
    blocks = frame[: height * size, : width * size].reshape(height, -1, width, min(size, frame.shape[1]), 3)
    return np.ascontiguousarray(blocks.mean(axis=(1, 3)).round().astype(np.uint8))


def film(episode: Episode, reader: ActionReader, seed: int, actions: Sequence[Any], steps: Sequence[int]) -> dict[str, Any]:
    """Repeat an episode, and draw it after the environment steps `steps` (0: before the first).

    -> error: why it could not be repeated to its end, in words; frames: one map a frame, of step, height, width, rgb (bytes)
    """
    frames: list[dict[str, Any]] = []

    def look() -> None:
        if episode.steps in steps:
            frame = draw(episode.env, episode.obs)
            frames.append({"step": episode.steps, "height": frame.shape[0], "width": frame.shape[1], "rgb": frame.tobytes()})

    try:
        episode.reset(seed)
        look()
        for i, value in enumerate(actions):
            if episode.over:
                return {"error": f"the episode was over after {i} of {len(actions)} actions", "frames": frames}
            fault = episode.primitive(reader(value)).fault
            if fault:
                return {"error": fault, "frames": frames}
            look()
    except (ActionInvalid, EnvironmentUnavailable) as error:
        return {"error": str(error), "frames": frames}
    return {"error": "", "frames": frames}


def _is_picture(array: Any) -> bool:
    return isinstance(array, np.ndarray) and array.dtype == np.uint8 and array.ndim == 3 and array.shape[2] == 3 and array.size > 0
