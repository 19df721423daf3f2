"""One sub-action learned in its arena: start states looked for, PPO, the policy as a skill, and what it is worth against the alternative.

Every step is kept in the arena's folder as soon as it is whole: start states, checkpoints, the policy. Whoever takes over goes on there.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog
from gymnasium import spaces

from rlgpt.agents.learning.contest import compare
from rlgpt.agents.learning.endings import LearningFailed, Stopped
from rlgpt.agents.learning.learner import HOPELESS, Alive, signs_of_life, trained
from rlgpt.agents.learning.start_states import collect, cycle_play, random_play, snapshot_bytes
from rlgpt.bus.messages import ArenaFinished, ArenaRequested, TrainingFinished, TrainingRequested
from rlgpt.bus.parts import Artifact, Point
from rlgpt.bus.task import Environment, Learner
from rlgpt.envs import starts
from rlgpt.envs.errors import StartsInvalid
from rlgpt.envs.files import fetch, write_whole
from rlgpt.envs.space import restore
from rlgpt.envs.trial import describe

log = structlog.get_logger()

NEVER = "False"
"""The success test of an arena that has none."""
KEPT_BACK = 5
"""One of so many of a file's start states is judged in, and not learned in."""
LOOKED_IN = 5
"""Episodes are played until enough states are found, but not more than so many a state."""
WAVE = 64


def learn_arena(
    asked: ArenaRequested,
    folder: Path,
    on_point: Callable[[Point], None],
    on_touch: Callable[[], None],
    stop: Callable[[], bool],
    *,
    logs: Path | None = None,
    on_resume: Callable[[int], None] = lambda _times: None,
) -> ArenaFinished:
    """As `learner.learn`, for one sub-action in its arena."""
    alive = signs_of_life(on_touch, stop)
    try:
        return _learn(asked, folder, on_point, alive, logs=logs or folder / "tensorboard", on_resume=on_resume)
    except HOPELESS as error:
        log.error("arena_failed", name=asked.name, kind=type(error).__name__, why=str(error))
        spent = error.env_steps if isinstance(error, LearningFailed) else 0
        return ArenaFinished(plan=asked.plan, name=asked.name, env_steps=spent, failure=f"{type(error).__name__}: {error}")
    except Stopped:
        return ArenaFinished(plan=asked.plan, name=asked.name, env_steps=0, failure="stopped")


def _learn(
    asked: ArenaRequested,
    folder: Path,
    on_point: Callable[[Point], None],
    alive: Alive,
    *,
    logs: Path,
    on_resume: Callable[[int], None],
) -> ArenaFinished:
    from rlgpt.agents.learning.export import as_skill, check_exportable, network
    from rlgpt.agents.learning.policy import read_policy

    spaced = _Spaces.of(asked.environment)
    found = find_states(asked, folder, alive)
    request = training(asked, found.learned_in)
    check_exportable(spaced, request)
    learned, *_ = trained(request, folder, on_point, alive, logs=logs, on_resume=on_resume)
    told: dict[str, Any] = {"curve": learned.curve, "device": learned.device, "learn_s": learned.learn_s}
    finished = ArenaFinished(
        plan=asked.plan, name=asked.name, env_steps=learned.env_steps, found_steps=found.steps, states=found.states, **told
    )
    if learned.failure:
        return finished.model_copy(update={"failure": learned.failure})
    _, weights = read_policy(_content(learned))
    greedy = asked.arena.actions == "greedy"
    skill = as_skill(asked, network(request, weights, spaced, asked.arena.success, greedy=greedy), folder / "skill.network")
    began = time.monotonic()
    contest = compare(asked, skill, arena_of(asked, found.judged_in), spaced.action_space, alive)
    log.info("arena_judged", name=asked.name, against=contest.against, difference=contest.difference, low=contest.low, high=contest.high)
    spent = round(time.monotonic() - began, 3)
    return finished.model_copy(update={"skill": skill, "contest": contest, "evaluate_s": spent})


def _content(learned: TrainingFinished) -> bytes:
    assert learned.policy is not None, "a learning that ended well has a policy"
    return fetch(learned.policy.uri, 1 << 30)


@dataclass(frozen=True)
class _Spaces:
    observation_space: spaces.Space[Any]
    action_space: spaces.Space[Any]

    @classmethod
    def of(cls, environment: Environment) -> _Spaces:
        described = describe(environment)
        return cls(restore(described.observation_space), restore(described.action_space))


def training(asked: ArenaRequested, begun: Artifact | None) -> TrainingRequested:
    """What the learner is asked for; it begins in these states."""
    arena = asked.arena
    return TrainingRequested(
        plan=asked.plan,
        environment=arena_of(asked, begun),
        success=arena.success or NEVER,
        skills=tuple(skill for skill in asked.skills if skill.name in arena.skills),
        library=tuple(skill for skill in asked.skills if skill.name not in arena.skills),
        primitives=arena.primitives,
        shaping=arena.shaping,
        learner=Learner.model_validate({**asked.learner.model_dump(), "env_steps": arena.env_steps, **arena.trainer}),
        evaluation=asked.evaluation,
        seed=asked.seed,
        workers=asked.workers,
    )


def arena_of(asked: ArenaRequested, begun: Artifact | None) -> Environment:
    """The environment with the arena's episodes; where there are no start states, they begin as the task's do."""
    changed: dict[str, Any] = {"horizon": asked.arena.steps, "until_success": bool(asked.arena.success)}
    if begun is not None:
        changed["starts"] = begun
    return asked.environment.model_copy(update=changed)


# ---------------------------------------------------------------- start states


@dataclass(frozen=True)
class States:
    """Start states of learning and of judging, None where episodes begin as the task's do; how many, and the steps spent to find them."""

    learned_in: Artifact | None = None
    judged_in: Artifact | None = None
    states: int = 0
    steps: int = 0


def find_states(asked: ArenaRequested, folder: Path, alive: Alive) -> States:
    """The arena's start states; those that were found before are not looked for again. Raises StartsInvalid where there are none."""
    arena = asked.arena
    if arena.starts is not None:
        rows = starts.read(arena.starts.uri, arena.starts.sha256)
        if arena.held_out is not None:
            return States(arena.starts, arena.held_out, len(rows))
        return _split(arena.starts, rows, folder)
    if not arena.where:
        return States()
    note = folder / "states.json"
    paths = folder / "learned_in.starts", folder / "judged_in.starts"
    if not note.exists():
        counts = arena.states, max(2, arena.states // 2)
        spent = sum(_look(asked, path, count, first, alive) for path, count, first in zip(paths, counts, _first_seeds(asked), strict=True))
        write_whole(note, json.dumps({"steps": spent}).encode())
    learned_in, judged_in = (starts.artifact(path) for path in paths)
    count = len(starts.read(learned_in.uri, learned_in.sha256))
    return States(learned_in, judged_in, count, int(json.loads(note.read_text())["steps"]))


def _split(file: Artifact, rows: list[starts.StartState], folder: Path) -> States:
    if len(rows) < KEPT_BACK:
        raise StartsInvalid(
            f"start states {file.uri}: {len(rows)} of them, and one in {KEPT_BACK} is kept back to judge in: make more, or name held_out"
        )
    learned_in = starts.write(folder / "learned_in.starts", [row for i, row in enumerate(rows) if i % KEPT_BACK])
    judged_in = starts.write(folder / "judged_in.starts", rows[::KEPT_BACK])
    return States(learned_in, judged_in, len(rows) - len(rows[::KEPT_BACK]))


def _first_seeds(asked: ArenaRequested) -> tuple[int, int]:
    """Where the seeds of episodes begin that states are looked for in: none is played by trials or by the task's evaluation."""
    beyond = asked.evaluation.first_seed + asked.evaluation.episodes + 1_000_000 * (1 + asked.seed)
    return beyond, beyond + 500_000


def _look(asked: ArenaRequested, path: Path, count: int, first: int, alive: Alive) -> int:
    """Write up to `count` states in which `where` held; returns the environment steps this took."""
    size = snapshot_bytes(asked.environment)
    snapshots = size is not None and size * count <= starts.MAX_BYTES // 4  # else the actions are repeated at every reset
    plays = cycle_play(asked.skills) if asked.skills else random_play(asked.seed)
    found: list[starts.StartState] = []
    steps = episodes = 0
    while len(found) < count and episodes < LOOKED_IN * count:
        seeds = range(first + episodes, first + episodes + min(WAVE, count))
        wave = collect(asked.environment, asked.arena.where, plays, seeds, snapshots=snapshots, alive=alive)
        found, steps, episodes = [*found, *wave.states], steps + wave.steps, episodes + wave.episodes
    if not found:
        raise LearningFailed(
            f"the arena of {asked.name}: in none of {episodes} episodes a state was met in which {asked.arena.where!r} holds; the skills "
            "that play there are those accepted before it. Change `where`, or let a skill before it lead there",
            0,
        )
    log.info("arena_states", name=asked.name, path=str(path), states=len(found[:count]), episodes=episodes, env_steps=steps)
    starts.write(path, found[:count])
    return steps
