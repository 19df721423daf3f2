"""Start states for the stage after this one: where successful episodes ended. No torch: a controller's episodes give them too."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import structlog

from rlgpt.agents.learning.endings import LearningFailed
from rlgpt.agents.learning.evaluation import Played, Replays, check
from rlgpt.bus.messages import TrainingRequested
from rlgpt.bus.parts import Artifact
from rlgpt.bus.task import Environment
from rlgpt.envs.episodes import EpisodeSeeds
from rlgpt.envs.errors import WorkerDied
from rlgpt.envs.starts import StartState, read, write

log = structlog.get_logger()

DRAWN = 2**40
"""Where practice begins in the endless row of training seeds: learning never gets there, so that practice sees fresh ones."""


def check_practice(request: TrainingRequested) -> None:
    """Raises LearningFailed where the ends of episodes could not be begun from."""
    environment = request.environment
    if request.practice and not (environment.until_success and environment.deterministic):
        missing = "until_success: true" if not environment.until_success else "deterministic: true"
        raise LearningFailed(
            f"practice is {request.practice}: start states are the ends of successful episodes, reached again by their actions, which "
            f"needs environment.{missing}",
            0,
        )


def practice_seeds(request: TrainingRequested) -> list[int]:
    """As many different training seeds as episodes are practised, none of them held out."""
    held = request.evaluation
    seeds = EpisodeSeeds(request.seed, range(held.first_seed, held.first_seed + held.episodes), drawn=DRAWN)
    return list(islice(dict.fromkeys(islice(seeds, 2 * request.practice)), request.practice))


def evaluated_in(request: TrainingRequested) -> Environment:
    """The environment that episodes are scored in: with start states of its own, if the request names some, and every chain tried once."""
    starts = {} if request.held_out is None else {"starts": request.held_out}
    return request.environment.model_copy(update={"lead_tries": 1, **starts})


def evaluation_seeds(request: TrainingRequested) -> range:
    """The held-out seeds; with start states each of those once, by its number, as far as `evaluation.episodes` goes."""
    held, starts = request.evaluation, evaluated_in(request).starts
    return (
        range(held.first_seed, held.first_seed + held.episodes)
        if starts is None
        else range(min(len(read(starts.uri, starts.sha256)), held.episodes))
    )


def keep_ends(
    path: Path, request: TrainingRequested, environment: Environment, played: Sequence[Played], alive: Callable[[], bool]
) -> Artifact | None:
    """Write the ends of the successful episodes as start states; None if there are none.

    Each is reached once more in a clean worker that does not stop at success, and takes one further action there: an end after which the
    environment itself, or its time limit, leaves no step, is nothing to begin from.
    """
    starts = environment.starts
    bases = read(starts.uri, starts.sha256) if starts else []
    states = []
    with closing(Replays(environment.model_copy(update={"until_success": False}), request.success)) as replays:
        for episode in played:
            end = episode.end
            if not episode.success or end is None or end.actions is None or not len(end.actions):
                continue
            check(alive)
            if _goes_on(replays, end.seed, end.actions):
                begun = bases[end.seed % len(bases)] if bases else StartState.of(end.seed)
                states.append(begun.after(end.actions))
    log.info("start_states_kept", path=str(path), states=len(states), episodes=len(played))
    return write(path, states) if states else None


def _goes_on(replays: Replays, seed: int, actions: Any) -> bool:
    try:
        found = replays(seed, np.concatenate([actions, actions[-1:]]))
    except WorkerDied as why:
        log.info("end_is_no_start", seed=seed, why=str(why))
        return False
    return found.success
