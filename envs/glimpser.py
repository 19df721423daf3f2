"""Drawing the glimpses of `envs/glimpse.py`: the worker's side."""

from __future__ import annotations

import time
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from rlgpt.envs.errors import EnvironmentUnavailable
from rlgpt.envs.frames import bounded, draw, is_picture
from rlgpt.envs.glimpse import EDGE, PERIOD_S, Glimpse
from rlgpt.envs.toolkit import Toolkit


class Moment(Protocol):
    """What of an `Episode` is looked at."""

    env: Any
    obs: Any
    info: dict[str, Any]
    seed: int
    steps: int


class Glimpser:
    """The worker's side: draws into `place`, the glimpse's part of the shared memory."""

    def __init__(self, place: npt.NDArray[np.uint8], toolkit: Toolkit) -> None:
        self._place, self._toolkit = place, toolkit
        self._due, self._number, self._blind = 0.0, 0, False

    def look(self, episode: Moment) -> None:
        """Draw it if that is due. Costs a look at the clock otherwise."""
        if self._blind or (now := time.monotonic()) < self._due:
            return
        self._due = now + PERIOD_S
        picture, words = self._drawn(episode)
        self._blind = picture is None and not words
        if self._blind:
            return
        height, width = picture.shape[:2] if picture is not None else (0, 0)
        rgb = picture.tobytes() if picture is not None else b""
        self._number += 1
        data = np.frombuffer(Glimpse(episode.seed, episode.steps, height, width, rgb, words).packed(self._number), np.uint8)
        # The number last, so that nobody takes a glimpse that is half the one before.
        self._place[:8] = 0
        self._place[8 : len(data)] = data[8:]
        self._place[:8] = data[:8]

    def _drawn(self, episode: Moment) -> tuple[npt.NDArray[np.uint8] | None, str]:
        obs, info, toolkit = episode.obs, episode.info, self._toolkit
        words = toolkit.tell(obs, info, lambda: "")
        if toolkit.glimpse is None:
            try:
                return bounded(draw(episode.env, obs), EDGE), words
            except EnvironmentUnavailable:
                return None, ""
        try:
            picture = toolkit.glimpse(obs, info)
        except Exception as error:
            return None, f"the toolkit's glimpse(obs, info) failed: {type(error).__name__}: {error}"
        if not is_picture(picture):
            return None, "the toolkit's glimpse(obs, info) gave no array [height, width, 3] of bytes"
        return bounded(picture, EDGE), words
