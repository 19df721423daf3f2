"""Playing an environment until an expression holds, and keeping where it was as start states."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rlgpt.agents.learning.endings import Stopped
from rlgpt.bus.messages import TrainingRequested
from rlgpt.bus.parts import Skill
from rlgpt.bus.task import Environment
from rlgpt.envs.errors import StartsInvalid
from rlgpt.envs.pool import Call, Choice, EpisodeEnd, Primitive, Replayer, WorkerPool
from rlgpt.envs.starts import StartState, read

Player = Callable[[Any, Any, Any], tuple[Sequence[Choice], Any]]
"""(observations, runnable skills, where an episode begins) -> (choices, what each is)."""
WIDTH = 8
EPISODE_STEPS = 100_000


@dataclass(frozen=True)
class Found:
    """states  of the episodes in which the expression held, in the order of their seeds; episodes and steps that were played."""

    states: list[StartState]
    episodes: int
    steps: int


@dataclass(frozen=True)
class Plays:
    """Who plays: skills of the pool, a player made for that pool, and further skills that those may call."""

    skills: Sequence[Skill]
    player: Callable[[WorkerPool], Player]
    library: Sequence[Skill] = ()


def random_play(seed: int) -> Plays:
    """Random primitive actions."""

    def make(pool: WorkerPool) -> Player:
        pool.action_space.seed(seed)
        return lambda *_: ([Primitive(_plain(pool.action_space.sample())) for _ in range(pool.environments)], None)

    return Plays((), make)


def cycle_play(skills: Sequence[Skill]) -> Plays:
    """These skills, called one after the other in their order, and over again; one that cannot run now is passed over."""

    def make(pool: WorkerPool) -> Player:
        turn = np.zeros(pool.environments, np.int64)
        pool.action_space.seed(0)

        def play(_obs: Any, runnable: Any, fresh: Any) -> tuple[Sequence[Choice], Any]:
            turn[np.asarray(fresh)] = 0
            order = (turn[:, None] + np.arange(len(skills))) % len(skills)
            may = np.take_along_axis(np.asarray(runnable), order, axis=1)
            chosen = order[np.arange(len(turn)), may.argmax(axis=1)]
            turn[:] = chosen + 1
            some: list[bool] = np.asarray(may.any(axis=1)).tolist()
            return [Call(int(chosen[i])) if some[i] else Primitive(_plain(pool.action_space.sample())) for i in range(len(turn))], None

        return play

    return Plays(tuple(skills), make)


def skill_play(skill: Skill, library: Sequence[Skill] = ()) -> Plays:
    """One skill, called again and again; it may call those of `library`."""
    return Plays((skill,), lambda pool: lambda *_: ([Call(0)] * pool.environments, None), library)


def policy_play(request: TrainingRequested, weights: Any) -> Plays:
    """A run's policy, or its controller where there are no weights."""
    if weights is None:
        skills = {skill.name: skill for skill in (*request.library, *request.skills)}
        return skill_play(skills.pop(request.controller), tuple(skills.values())) if request.controller else random_play(request.seed)

    def make(pool: WorkerPool) -> Player:
        from rlgpt.agents.learning.policy import load_player

        return load_player(request, weights, pool)

    return Plays(tuple(request.skills), make, request.library)


def collect(
    environment: Environment,
    where: str,
    plays: Plays,
    seeds: Sequence[int],
    *,
    snapshots: bool = False,
    alive: Callable[[], bool] = lambda: True,
) -> Found:
    """Play one episode of every seed up to the first step after which `where` holds, and keep that state, unless it is the episode's end.

    snapshots  keep the environment's own snapshots instead of seed and actions
    alive      called before each decision; False raises Stopped
    Raises as `WorkerPool`, and StartsInvalid where snapshots cannot be had.
    """
    # A state in which the episode is over cannot be begun in.
    test = f"({where}) and not terminated and not truncated"
    until = environment.model_copy(update={"until_success": True})
    ends: dict[int, EpisodeEnd] = {}
    with WorkerPool(
        until, success=test, environments=min(WIDTH, len(seeds)), skills=plays.skills, library=plays.library, record=True
    ) as pool:
        for end in _episodes(pool, plays.player(pool), list(seeds), alive):
            ends[end.seed] = end
    held = [ends[seed] for seed in seeds if ends[seed].success and ends[seed].actions is not None]
    steps = sum(end.steps for end in ends.values())
    return Found(_states(environment, where, held, snapshots), len(ends), steps)


def snapshot_bytes(environment: Environment) -> int | None:
    """How large the environment's own snapshots are, at the beginning of an episode; None where it has none."""
    with Replayer(environment.model_copy(update={"until_success": False}), "False") as replayer:
        try:
            return len(replayer.snapshot(0, np.zeros((0,), np.int64)))
        except StartsInvalid:
            return None


def _episodes(pool: WorkerPool, player: Player, seeds: list[int], alive: Callable[[], bool]) -> Iterator[EpisodeEnd]:
    """The first episode of every seed."""
    width, due = pool.environments, set(seeds)
    waiting = seeds[width:]
    now, fresh = pool.reset(seeds[:width]), np.ones(width, bool)
    while due:
        if not alive():
            raise Stopped
        choices, _ = player(now.obs, now.runnable, fresh)
        offered = [waiting[i % len(waiting)] if waiting else seeds[0] for i in range(width)]
        now = pool.step(choices, offered)
        fresh = now.terminated | now.truncated
        waiting = [seed for seed in waiting if seed not in {offered[i] for i in np.flatnonzero(fresh)}]
        for end in now.ended:
            if end is not None and end.seed in due:
                due.discard(end.seed)
                yield end


def _states(environment: Environment, where: str, held: Sequence[EpisodeEnd], snapshots: bool) -> list[StartState]:
    starts = environment.starts
    bases = read(starts.uri, starts.sha256) if starts else []
    if not snapshots:
        begun = [bases[end.seed % len(bases)] if bases else StartState(end.seed) for end in held]
        return [state.after(end.actions) for state, end in zip(begun, held, strict=True) if end.actions is not None]
    with Replayer(environment.model_copy(update={"until_success": False}), where) as replayer:
        return [StartState(end.seed, snapshot=replayer.snapshot(end.seed, end.actions)) for end in held if end.actions is not None]


def _plain(action: Any) -> Any:
    return int(action) if isinstance(action, (int, np.integer)) else action
