"""Where a learner's episodes come from: the pool that plays them, as far as a learner needs it, and the seeds they start with."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import numpy as np
from gymnasium import spaces

from rlgpt.envs.transitions import Choice, Transitions


class Spaced(Protocol):
    """Whatever has an environment's spaces."""

    @property
    def observation_space(self) -> spaces.Space[Any]: ...
    @property
    def action_space(self) -> spaces.Space[Any]: ...


class Pool(Spaced, Protocol):
    """What learning and evaluation need of `rlgpt.envs.pool.WorkerPool`."""

    def reset(self, seeds: Sequence[int]) -> Transitions: ...
    def step(self, choices: Sequence[Choice], next_seeds: Sequence[int]) -> Transitions: ...
    def close(self) -> None: ...


class EpisodeSeeds(Iterator[int]):
    """Endless episode seeds of one learning, in [0, 2**31): a function of (seed, how many were drawn), never one that is held out."""

    def __init__(self, seed: int, held_out: range, drawn: int = 0) -> None:
        self.seed, self.held_out, self.drawn = seed, held_out, drawn

    def __next__(self) -> int:
        while True:
            state = np.random.SeedSequence([self.seed, self.drawn]).generate_state(1)
            self.drawn += 1
            episode = int(state[0]) >> 1
            if episode not in self.held_out:
                return episode
