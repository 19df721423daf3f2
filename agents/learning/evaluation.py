"""A player's episodes on held-out seeds, replayed and scored. No torch: a skill that plays whole episodes is scored here too.

Every seed is played once, and every episode counts, in whatever order they end. A success counts only if the recorded actions, replayed
in a clean worker without model-written code, give the same episode.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import structlog

from rlgpt.agents.learning.endings import Stopped
from rlgpt.agents.learning.uses import Uses
from rlgpt.agents.scoring import wilson
from rlgpt.bus.messages import TrainingRequested
from rlgpt.bus.parts import Score, TrialEpisode
from rlgpt.bus.task import Environment
from rlgpt.envs.episodes import Pool
from rlgpt.envs.errors import WorkerDied
from rlgpt.envs.lead import UNREACHED
from rlgpt.envs.options import Bools
from rlgpt.envs.space import describe
from rlgpt.envs.transitions import Call, Choice, EpisodeEnd, Observations, Transitions
from rlgpt.envs.trial import Replayer
from rlgpt.envs.words import observation_words

log = structlog.get_logger()

Player = Callable[[Observations, Bools, Bools], tuple[list[Choice], npt.NDArray[np.int64]]]
"""Observations, runnable skills and whether an episode begins here in; choices, and what each is as an index into its names, out."""

TRACED = 20
"""Passages of an episode that are kept for the critic: half of them from its beginning, half from its end."""
SAMPLES = 3

Tell = Callable[[int, Any, Sequence[int]], list[str]]
"""Seed, actions [steps, ...] and environment steps in; what was observed after each of these steps, in words, out. May raise WorkerDied."""


@dataclass
class Passage:
    """The same choice made once or several times in a row.

    at       environment step it began at
    which    index of what it was
    calls    times it was made, in `steps` environment steps
    obs      observation after it, in words; empty where the episode can be repeated
    """

    at: int
    which: int
    calls: int = 0
    steps: int = 0
    obs: str = ""


@dataclass
class Played:
    """An evaluation episode.

    first, last  observations in words
    trace        what was chosen, in order; with more passages than are kept, those of the middle are left out
    """

    seed: int
    first: str
    last: str = ""
    end: EpisodeEnd | None = None
    fault: str = ""
    steps: int = 0
    chosen: Counter[int] = field(default_factory=Counter)
    trace: list[Passage] = field(default_factory=list)
    agreed: bool | None = None

    @property
    def unreached(self) -> bool:
        """The stages before were not passed, so that this one never began."""
        return self.fault.startswith(UNREACHED)

    @property
    def success(self) -> bool:
        return self.end is not None and self.end.success and not self.fault and self.agreed is not False


def controller(skill: int) -> Player:
    """A player that calls one skill again and again until the episode ends."""

    def play(_obs: Observations, runnable: Bools, _fresh: Bools) -> tuple[list[Choice], npt.NDArray[np.int64]]:
        return [Call(skill)] * len(runnable), np.zeros(len(runnable), np.int64)

    return play


class Evaluation:
    """Plays one episode of every seed on a pool that records actions.

    alive        called before each decision and each replay; False raises Stopped
    environment  of the episodes
    traced       passages of an episode that are kept
    uses         counts the decisions
    ended        called where an episode has ended, with the environment's number
    """

    def __init__(
        self,
        pool: Pool,
        player: Player,
        environments: int,
        alive: Callable[[], bool],
        environment: Environment,
        traced: int = TRACED,
        uses: Uses | None = None,
        ended: Callable[[int, Played], object] = lambda _environment, _episode: None,
    ) -> None:
        self._traced, self._uses, self._ended = traced, uses, ended
        self._pool, self._player, self._environments, self._alive = pool, player, environments, alive
        self._space, self._words, self._repeatable = describe(pool.observation_space), environment.observations, environment.deterministic

    def play(self, seeds: Sequence[int]) -> list[Played]:
        """The episodes, in the order of `seeds` (at least as many as environments)."""
        waiting, finished = list(seeds[self._environments :]), dict[int, Played]()
        now = self._pool.reset(seeds[: self._environments])
        playing: list[Played | None] = [Played(seed, self._in_words(now.obs, i)) for i, seed in enumerate(seeds[: self._environments])]
        fresh = np.ones(self._environments, np.bool_)
        while len(finished) < len(seeds):
            check(self._alive)
            choices, chosen = self._player(now.obs, now.runnable, fresh)
            # Who ends first plays what waits. An environment with nothing left to play is stepped with the others, unwatched.
            offered = [waiting[i % len(waiting)] if waiting else seeds[0] for i in range(self._environments)]
            runnable, now = now.runnable, self._pool.step(choices, offered)
            if self._uses:
                self._uses.add(runnable, chosen, now, np.array([episode is not None for episode in playing]))
            fresh = now.terminated | now.truncated
            for i in range(self._environments):
                episode = playing[i]
                if episode is not None:
                    self._note(episode, now, i, int(chosen[i]))
                if now.terminated[i] or now.truncated[i]:
                    if episode is not None:
                        finished[episode.seed] = episode
                        self._ended(i, episode)
                    playing[i] = Played(offered[i], self._in_words(now.obs, i)) if offered[i] in waiting else None
                    waiting = [seed for seed in waiting if seed != offered[i]]
        return [finished[seed] for seed in seeds]

    def _note(self, episode: Played, now: Transitions, i: int, which: int) -> None:
        over, duration = bool(now.terminated[i] or now.truncated[i]), int(now.duration[i])
        if over or not self._repeatable:
            episode.last = self._in_words(now.final_obs if over else now.obs, i)
        if not episode.trace or episode.trace[-1].which != which:
            episode.trace.append(Passage(episode.steps, which))
        passage = episode.trace[-1]
        passage.calls, passage.steps = passage.calls + 1, passage.steps + duration
        passage.obs = "" if self._repeatable else episode.last
        if len(episode.trace) > self._traced:
            del episode.trace[self._traced // 2]
        episode.steps += duration
        episode.chosen[which] += 1
        episode.end, episode.fault = now.ended[i], now.faults[i]
        if episode.fault and self._uses:
            self._uses.fail(which, episode.fault)

    def _in_words(self, obs: Observations, i: int) -> str:
        return observation_words(_row(obs, i), self._space, self._words)


def check(alive: Callable[[], bool]) -> None:
    """Raises Stopped where `alive` says so."""
    if not alive():
        raise Stopped


class Replays:
    """A clean worker that repeats episodes, and a new one where it was lost. Use in a `with` statement."""

    def __init__(self, environment: Environment, success: str) -> None:
        self._environment, self._success = environment, success
        self._replayer: Replayer | None = None

    def __call__(self, seed: int, actions: npt.NDArray[Any]) -> EpisodeEnd:
        """The episode of this seed with these actions [steps, ...]. Raises WorkerDied if they cannot be played."""
        self._replayer = self._replayer or Replayer(self._environment, self._success)
        try:
            return self._replayer.replay(seed, actions)
        except WorkerDied:
            self.close()
            raise

    def tell(self, seed: int, actions: npt.NDArray[Any], steps: Sequence[int]) -> list[str]:
        """See `Tell`."""
        self._replayer = self._replayer or Replayer(self._environment, self._success)
        try:
            return self._replayer.tell(seed, actions, steps)
        except WorkerDied:
            self.close()
            raise

    def close(self) -> None:
        """End the worker."""
        if self._replayer:
            self._replayer.close()
        self._replayer = None


def verify(played: Sequence[Played], replay: Callable[[int, Any], EpisodeEnd], alive: Callable[[], bool]) -> bool:
    """Replay every episode from its seed and actions; True if none disagrees. `agreed` of each says which did."""
    for episode in (episode for episode in played if not episode.fault):  # one that broke is a failure already
        check(alive)
        why = _disagreement(episode.end, replay)
        episode.agreed = not why
        if why:
            log.error("replay_disagreed", seed=episode.seed, why=why)
    return all(episode.agreed is not False for episode in played)


def _disagreement(told: EpisodeEnd | None, replay: Callable[[int, Any], EpisodeEnd]) -> str:
    """Why the replay does not confirm the episode, empty if it does."""
    if told is None or told.actions is None:
        return "the pool kept no actions of this episode"
    try:
        found = replay(told.seed, told.actions)
    except WorkerDied as error:
        return str(error)
    same = (found.success, found.steps) == (told.success, told.steps)
    if same and math.isclose(found.episode_return, told.episode_return, rel_tol=1e-6, abs_tol=1e-6):
        return ""
    first, second = (f"success {end.success}, {end.steps} steps, return {end.episode_return:g}" for end in (told, found))
    return f"it told of {first}; its replay gave {second}"


def score(request: TrainingRequested, played: Sequence[Played], names: Sequence[str], verified: bool | None) -> Score:
    """The figures of evaluation episodes; `names` of what was chosen."""
    n, successes = len(played), sum(episode.success for episode in played)
    chosen = sum((episode.chosen for episode in played), Counter[int]())
    low, high = wilson(successes, n)
    return Score(
        episodes=n,
        successes=successes,
        rate=successes / n,
        low=low,
        high=high,
        mean_return=sum(episode.end.episode_return for episode in played if episode.end) / n,
        mean_steps=sum(episode.steps for episode in played) / n,
        actions="code" if request.controller else request.evaluation.actions,
        first_seed=min(episode.seed for episode in played),
        env_steps=sum(episode.steps for episode in played),
        verified=verified,
        usage={names[which]: count / chosen.total() for which, count in sorted(chosen.items())},
    )


def samples(played: Sequence[Played], names: Sequence[str], tell: Tell | None = None) -> tuple[TrialEpisode, ...]:
    """A few episodes in words, failures first, since they are what a critic can learn from; `tell` says what was observed."""
    failed, succeeded = ([e for e in played if e.success is wanted] for wanted in (False, True))
    return tuple(_in_words(episode, names, tell) for episode in (failed[: SAMPLES - 1] + succeeded)[:SAMPLES])


def _in_words(episode: Played, names: Sequence[str], tell: Tell | None) -> TrialEpisode:
    first, last, observed = episode.first, episode.last, [passage.obs for passage in episode.trace]
    if tell and episode.end is not None and episode.end.actions is not None:
        at = [0, *(passage.at + passage.steps for passage in episode.trace), episode.steps]
        try:
            first, *observed, last = tell(episode.seed, episode.end.actions, at)
        except WorkerDied as lost:  # an episode that cannot be repeated is told by its choices alone
            log.warning("sample_not_told", seed=episode.seed, why=str(lost))
    error = episode.fault or ("" if episode.agreed is not False else "the replay of seed and actions gave a different episode")
    return TrialEpisode(
        seed=episode.seed,
        success=episode.success,
        steps=episode.steps,
        episode_return=episode.end.episode_return if episode.end else 0.0,
        ended="error" if error else "step limit" if episode.end and episode.end.truncated else "episode over",
        first=first,
        last=last,
        trace=tuple(_lines(episode, names, observed)),
        error=error,
    )


def _lines(episode: Played, names: Sequence[str], observed: Sequence[str]) -> Iterator[str]:
    """What was chosen, with what was observed after it, and how much is left out in the middle."""
    reached = 0
    for passage, obs in zip(episode.trace, observed, strict=True):
        if passage.at > reached:
            yield f"... {passage.at - reached} steps left out"
        reached = passage.at + passage.steps
        times = f"{passage.calls} times, " if passage.calls > 1 else ""
        steps = f"{passage.steps} step{'s' * (passage.steps != 1)}"
        yield f"step {passage.at}: {names[passage.which]} ({times}{steps})" + (f" -> {obs}" if obs else "")


def _row(obs: Any, i: int) -> Any:
    """Environment i's observation out of a batch."""
    if isinstance(obs, dict):
        return {key: _row(part, i) for key, part in obs.items()}
    if isinstance(obs, tuple):
        return tuple(_row(part, i) for part in obs)
    return obs[i]
