"""A call or an episode in words: a bounded number of evenly chosen steps, and the range every part of the observation went through."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from rlgpt.envs.actions import Action
from rlgpt.envs.episode import Episode
from rlgpt.envs.space import SpaceData, leaves
from rlgpt.envs.toolkit import Toolkit
from rlgpt.envs.words import MANY, action_words, clip, info_words, names_of, number, observation_words, pick

LINES = 36


class Narrator:
    """Watches one episode from its current observation on; `trace()` is at most LINES + 4 lines."""

    def __init__(
        self, episode: Episode, observation: SpaceData, action: SpaceData, names: tuple[Sequence[str], Sequence[str]], toolkit: Toolkit
    ) -> None:
        self._episode, self._observation, self._action = episode, observation, action
        self._action_names, self._observation_names = names
        self._toolkit = toolkit
        self._stride, self._lines = 1, dict[int, str]()
        self._steps, self._last, self._met, self._met_line = 0, "", "", ""
        self._labels = names_of(observation, self._observation_names)
        self._low = self._high = self._flat()
        self.first = self._state()

    def step(self, action: Action) -> None:
        """One step has been taken; keep its line if it is among the evenly chosen ones."""
        self._steps += 1
        flat = self._flat()
        self._low, self._high = np.minimum(self._low, flat), np.maximum(self._high, flat)
        # Evenly spaced without knowing the length: whenever there are too many, every second line goes and the stride doubles.
        met_now = self._episode.success and not self._met
        chosen = self._steps % self._stride == 0
        if not (chosen or met_now or self._episode.over):
            self._last = ""
            return
        self._last = self._line(action)
        if met_now:
            self._met, self._met_line = f"the success test first held after step {self._steps}", self._last
        if chosen:
            self._lines[self._steps] = self._last
            if len(self._lines) > LINES:
                self._stride *= 2
                self._lines = {step: line for step, line in self._lines.items() if step % self._stride == 0}

    def trace(self) -> tuple[str, ...]:
        """Chosen steps, then where the success test held, then the range of every part of the observation."""
        lines = list(self._lines.values())
        if self._last and lines and self._last != lines[-1]:
            lines.append(self._last)
        if self._met:
            lines.append(self._met if self._met_line in lines else f"{self._met}: {self._met_line.partition(': ')[2]}")
        ranges = zip(self._labels, self._low, self._high, self._scalar, strict=True)
        parts = [f"{label} from {number(low)} to {number(high)}" for label, low, high, scalar in ranges if scalar]
        if parts:
            lines.append(f"over all {self._steps} steps: " + clip(", ".join(parts), 800))
        return tuple(lines)

    def last(self) -> str:
        """The present observation in words."""
        return self._state()

    def _line(self, action: Action) -> str:
        episode = self._episode
        words = action_words(action, self._action, self._action_names)
        end = " (terminated)" if episode.terminated else " (time limit)" if episode.truncated else ""
        return clip(f"{self._steps}: {words} -> {self._state()}, reward {number(episode.reward)}{end}", 400)

    def _state(self) -> str:
        obs, info = self._episode.obs, self._episode.info
        words = self._toolkit.tell(obs, info, lambda: observation_words(obs, self._observation, self._observation_names))
        # A toolkit's words are given the info too, and say of it what matters.
        scalars = info_words(info) if self._toolkit.words is None else ""
        return words + (f"; info: {scalars}" if scalars else "")

    def _flat(self) -> Any:
        """Scalar parts as they are, large arrays as zeros (they have no single range worth telling)."""
        parts, scalar = [], []
        for leaf in leaves(self._observation):
            size = int(np.prod(leaf.shape))
            small = size <= MANY
            scalar += [small] * size
            parts.append(np.asarray(pick(self._episode.obs, leaf.path), np.float64).ravel() if small else np.zeros(size))
        self._scalar = scalar
        return np.concatenate(parts) if parts else np.zeros(0)
