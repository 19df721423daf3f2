"""Stages that are played, live, before an episode begins: how a later stage is reached where nothing can be repeated.

A state of a deterministic environment is reached again by repeating its actions (`envs/starts.py`). Where that leads somewhere else, the
policies of the stages before are played each time, one after the other, each until its success test holds. A try that fails begins anew
at a reset; after so many tries the episode is given up. Their steps count for the environment's time limit and for `LEAD_STEPS`, the
worker's own account, and for nothing else: steps, return, success and memory are those of the episode itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from rlgpt.envs.transitions import Call, Choice

if TYPE_CHECKING:
    from rlgpt.envs.episode import Decision, Episode
    from rlgpt.envs.skill import CompiledSkill

UNREACHED = "the stages before were not passed: "
"""How the fault of an episode that could not begin begins."""
MAX_STEPS = 100_000
"""Of one stage in one try, where the environment has no time limit of its own."""
IDLE = 100
"""Decisions in a row without a step, before a try is given up."""
PLAYERS: Mapping[str, str] = {"application/vnd.rlgpt.policy+pytorch": "rlgpt.agents.learning.leading"}
"""Which module plays a policy, by the file's media type; `load(uri, sha256, spaces) -> Leading`. Imported, before the lock, only where a
stage has such a policy: networks need torch, which workers do without otherwise."""


class Beginning(Protocol):
    """Where episodes begin."""

    def begin(self, env: Any, seed: int) -> tuple[Any, dict[str, Any]]: ...


class Leading(Protocol):
    """Who decides in a stage."""

    def begin(self, seed: int) -> None:
        """A try begins."""

    def choose(self, obs: Any, runnable: npt.NDArray[np.bool_]) -> Choice:
        """The next decision, from the environment's observation and [S] which skills can run now."""


class Controller:
    """One skill plays all of the stage."""

    def __init__(self, skill: int) -> None:
        self._call = Call(skill)

    def begin(self, _seed: int) -> None:
        """It keeps nothing."""

    def choose(self, _obs: Any, _runnable: npt.NDArray[np.bool_]) -> Choice:
        return self._call


class NotReached(Exception):
    """The stages before were not passed; `obs` and `info` are where the last try ended."""

    def __init__(self, why: str, obs: Any, info: dict[str, Any]) -> None:
        super().__init__(UNREACHED + why)
        self.obs, self.info = obs, info


@dataclass(frozen=True)
class Leader:
    """A stage before, in one environment. Its `episode` ends with the stage's success."""

    name: str
    episode: Episode
    skills: Sequence[CompiledSkill]
    player: Leading

    def play(self, seed: int, obs: Any, info: dict[str, Any]) -> str:
        """Go on from here until the stage is passed: "", or why it was not. The episode holds where that led."""
        episode = self.episode
        episode.begin(seed, obs, info)
        self.player.begin(seed)
        idle = 0
        while not episode.over and episode.steps < MAX_STEPS and idle < IDLE:
            runnable = np.array([episode.may_run(skill) for skill in self.skills], np.bool_)
            decision = self._take(self.player.choose(episode.obs, runnable))
            if decision.fault and not episode.success:
                return f"{self.name}: {decision.fault}"
            idle = 0 if decision.duration else idle + 1
        if not episode.success:
            return f"{self.name}: no success within {episode.steps} steps"
        return f"{self.name}: the environment ended the episode with it" if episode.closed else ""

    def _take(self, choice: Choice) -> Decision:
        if isinstance(choice, Call):
            return self.episode.call(self.skills[choice.skill], advance=True)
        return self.episode.primitive(choice.action)


class LeadIn:
    """Begins episodes of one environment behind the stages before.

    first   where the first of them begins; None: at a reset
    tries   from a reset, before NotReached
    playing called with True and False around all of it
    """

    def __init__(self, leaders: Sequence[Leader], first: Beginning | None, tries: int, playing: Callable[[bool], None]) -> None:
        self._leaders, self._first, self._tries, self._playing = leaders, first, tries, playing

    def begin(self, env: Any, seed: int) -> tuple[Any, dict[str, Any]]:
        """(obs, info) where the last of the stages was passed. Raises NotReached, and what a failing reset raises."""
        self._playing(True)
        try:
            return self._begin(env, seed)
        finally:
            self._playing(False)

    def _begin(self, env: Any, seed: int) -> tuple[Any, dict[str, Any]]:
        obs: Any = None
        info: dict[str, Any] = {}
        why = ""
        for number in range(self._tries):
            # The first try has the episode's own seed; another draws other actions, also where the environment heeds seeds.
            own = seed if not number else int(np.random.SeedSequence([seed, number]).generate_state(1)[0]) >> 1
            obs, info = self._first.begin(env, own) if self._first else env.reset(seed=own)
            for leader in self._leaders:
                why = leader.play(own, obs, info)
                obs, info = leader.episode.obs, leader.episode.info
                if why:
                    break
            else:
                return obs, info
        raise NotReached(why if self._tries == 1 else f"{why} (in the last of {self._tries} tries)", obs, info)
