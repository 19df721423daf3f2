"""Frames of an episode as it is played, for environments that cannot repeat one to be drawn afterwards (`envs/camera.py` does that)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rlgpt.envs.errors import EnvironmentUnavailable
from rlgpt.envs.frames import framed


class Reel:
    """At most `most` frames, evenly spread over the episode so far: where there are too many, every other one goes.

    frames  one map a frame, as `frames.framed` gives it
    error   why there are no more, in words
    """

    def __init__(self, most: int) -> None:
        self._most = max(2, most)
        self.begin()

    def begin(self) -> None:
        """Another episode."""
        self.frames: list[dict[str, Any]] = []
        self.error, self._every, self._step = "", 1, -1

    def see(self, env: Any, obs: Any, describe: Callable[[], str], *, last: bool = False) -> None:
        """The state before the first step, and then after each; the last one is drawn in any case."""
        self._step += 1
        if self.error or (self._step % self._every and not last):
            return
        try:
            self.frames.append(framed(env, obs, self._step, describe()))
        except EnvironmentUnavailable as failure:
            self.error = str(failure)
        if len(self.frames) > self._most:
            self._every *= 2
            self.frames = [frame for frame in self.frames if frame["step"] % self._every == 0 or frame["step"] == self._step]
