"""How learning and evaluation end before their end."""

from __future__ import annotations

from rlgpt.bus.errors import Explained


class Stopped(Exception):
    """The caller's `stop` said so."""


class LearningFailed(Explained):
    """There will be no policy; the text says why and what to change. `env_steps` were spent on it."""

    def __init__(self, text: str, env_steps: int) -> None:
        super().__init__(text)
        self.env_steps = env_steps
