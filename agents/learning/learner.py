"""The learner: a training request in, a scored policy out. Learning imports torch; this file, and playing a controller, do not."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import structlog

from rlgpt.agents.learning.endings import LearningFailed, Stopped
from rlgpt.agents.learning.evaluation import TRACED, Evaluation, Played, Player, Replays, check, controller, samples, score, verify
from rlgpt.agents.learning.practice import check_practice, evaluated_in, evaluation_seeds, keep_ends, practice_seeds
from rlgpt.agents.learning.uses import Uses
from rlgpt.bus.messages import TrainingFinished, TrainingRequested
from rlgpt.bus.parts import Point, TrialEpisode
from rlgpt.bus.task import Environment
from rlgpt.envs.errors import EnvironmentUnavailable, EnvironmentUnsupported, SkillInvalid, StartsInvalid
from rlgpt.envs.options import ActionsUnsupported, kept_numbers
from rlgpt.envs.pool import WorkerPool

log = structlog.get_logger()

Alive = Callable[[], bool]
TOUCH_S = 0.2
HOPELESS = (EnvironmentUnavailable, EnvironmentUnsupported, SkillInvalid, StartsInvalid, ActionsUnsupported, LearningFailed)
"""What would happen again at every further attempt: the request is answered with the reason, not given back to the queue."""


def learn(
    request: TrainingRequested,
    folder: Path,
    on_point: Callable[[Point], None],
    on_touch: Callable[[], None],
    stop: Callable[[], bool],
    *,
    logs: Path | None = None,
    on_resume: Callable[[int], None] = lambda _times: None,
) -> TrainingFinished:
    """Learn under `request` and evaluate the policy as it is at the end, or only evaluate its controller.

    folder     checkpoints and the policy file; a learning that was interrupted here continues from its newest valid checkpoint
    on_point   called with every new point of the curve; after a continuation, with those since the checkpoint again
    on_touch   sign of life, called at decisions and minibatches, but not more often than every TOUCH_S seconds
    stop       polled at every decision and minibatch. A stopped learning returns at once, with the policy of its last update, without a
               score, and with `failure` saying so. It writes no checkpoint, so that learning on later gives the curve of an unbroken one.
    logs       TensorBoard files; default `folder`/tensorboard
    on_resume  called with how many times this learning was continued, if it was

    Environment steps pass the budget by less than one decision per environment: a decision is never cut short.
    What no further attempt could change (see HOPELESS) is in `failure`; anything else is raised.
    """

    alive = signs_of_life(on_touch, stop)
    try:
        check_practice(request)
        if request.controller:
            return _play_controller(request, folder, alive)
        return _learn(request, folder, on_point, alive, logs=logs or folder / "tensorboard", on_resume=on_resume)
    except HOPELESS as error:
        log.error("learning_failed", kind=type(error).__name__, why=str(error))
        spent = error.env_steps if isinstance(error, LearningFailed) else 0
        failure = f"{type(error).__name__}: {error}"
        return TrainingFinished(plan=request.plan, seed=request.seed, env_steps=spent, score=None, policy=None, failure=failure)


def signs_of_life(on_touch: Callable[[], None], stop: Callable[[], bool]) -> Alive:
    """What learning asks again and again: it touches, now and then, and says whether to go on."""
    touched = 0.0

    def alive() -> bool:
        nonlocal touched
        if time.monotonic() - touched > TOUCH_S:
            on_touch()
            touched = time.monotonic()
        return not stop()

    return alive


def _learn(
    request: TrainingRequested,
    folder: Path,
    on_point: Callable[[Point], None],
    alive: Alive,
    *,
    logs: Path,
    on_resume: Callable[[int], None],
) -> TrainingFinished:
    finished, player, names, uses = trained(request, folder, on_point, alive, logs=logs, on_resume=on_resume)
    return finished if finished.failure else _evaluate(request, finished, player, names, folder, alive, uses)


def trained(
    request: TrainingRequested,
    folder: Path,
    on_point: Callable[[Point], None],
    alive: Alive,
    *,
    logs: Path,
    on_resume: Callable[[int], None],
) -> tuple[TrainingFinished, Player, Sequence[str], Uses]:
    """What was learned, without a score; the policy as a player, the names of what it chooses, and an empty count of its uses.

    `failure` says where it was stopped.
    """
    from rlgpt.agents.learning.policy import save_policy
    from rlgpt.agents.learning.training import Training

    settings = request.learner
    rewards = {"gamma": settings.gamma, "shaping": request.shaping, "success_reward": settings.success_reward}
    with closing(_pool(request, request.environment, settings.environments, waiting=lambda: check(alive), **rewards)) as pool:
        training = Training(request, pool, folder, logs=logs, on_point=on_point, alive=alive)
        if training.resumed:
            on_resume(training.resumed)
        stopped = ""
        try:
            training.run()
        except Stopped:
            stopped = f"stopped after {training.model.num_timesteps} of {settings.env_steps} environment steps; not evaluated"
            log.warning("learning_stopped", env_steps=training.model.num_timesteps, of=settings.env_steps)
        finally:
            training.close()
    finished = TrainingFinished(
        plan=request.plan,
        seed=request.seed,
        env_steps=training.model.num_timesteps,
        lead_steps=pool.lead_steps,
        score=None,
        policy=save_policy(folder / "policy.pt", training.model.policy, request, training.env.sight, training.env.blocked),
        curve=tuple(training.curve.points),
        device=training.device,
        learn_s=round(training.learn_s, 3),
        learned=training.uses.told(training.env.blocked.tolist()),
        failure=stopped,
    )
    uses = Uses(training.actions.names, training.actions.primitives, training.env.blocked)
    return finished, training.player(), training.actions.names, uses


def _play_controller(request: TrainingRequested, folder: Path, alive: Alive) -> TrainingFinished:
    names = [skill.name for skill in request.skills]
    if request.controller not in names:
        raise SkillInvalid(f"controller {request.controller!r} is none of the request's skills ({', '.join(names) or 'it has none'})")
    player = controller(names.index(request.controller))
    empty = TrainingFinished(plan=request.plan, seed=request.seed, env_steps=0, score=None, policy=None)
    return _evaluate(request, empty, player, [request.controller], folder, alive)


def _evaluate(
    request: TrainingRequested,
    finished: TrainingFinished,
    player: Player,
    names: Sequence[str],
    folder: Path,
    alive: Alive,
    uses: Uses | None = None,
) -> TrainingFinished:
    """`finished` with its score, samples, uses, start states and the time they took, or unscored where it was stopped meanwhile."""
    began = time.monotonic()
    try:
        played, verified = play_and_verify(request, player, alive, uses=uses)
        began_here = [episode for episode in played if not episode.unreached]
        shown = _samples(request, began_here, names)
        finished = _practise(request, finished, player, played, folder, alive)
    except Stopped:
        return finished.model_copy(update={"failure": "stopped during evaluation; not scored"})
    if not began_here:
        why = f"none of {len(played)} held-out episodes got as far as this stage; the last: {played[-1].fault}"
        log.warning("stage_not_reached", why=why)
        return finished.model_copy(update={"failure": why})
    result = score(request, began_here, names, verified)
    log.info("policy_scored", rate=result.rate, low=result.low, high=result.high, episodes=result.episodes, verified=verified)
    spent = round(time.monotonic() - began, 3)
    told = uses.told() if uses else ()
    return finished.model_copy(update={"score": result, "samples": shown, "played": told, "evaluate_s": spent})


def _samples(request: TrainingRequested, played: Sequence[Played], names: Sequence[str]) -> tuple[TrialEpisode, ...]:
    """A few episodes in words: those of the environment's card, where the episodes can be repeated."""
    environment = evaluated_in(request)
    with closing(Replays(environment, request.success)) as replays:
        return samples(played, names, replays.tell if environment.deterministic else None)


def play_and_verify(
    request: TrainingRequested, player: Player, alive: Alive, traced: int = TRACED, uses: Uses | None = None
) -> tuple[list[Played], bool | None]:
    """The evaluation's episodes, and whether their replays agree; None where the environment is not deterministic."""
    environment = evaluated_in(request)
    played = play_once(request, player, alive, traced, uses=uses)
    if not environment.deterministic:
        return played, None
    with closing(Replays(environment, request.success)) as replays:
        return played, verify(played, replays, alive)


def play_once(
    request: TrainingRequested,
    player: Player,
    alive: Alive,
    traced: int = TRACED,
    *,
    uses: Uses | None = None,
    film: int = 0,
    ended: Callable[[WorkerPool, int, Played], object] = lambda _pool, _environment, _episode: None,
) -> list[Played]:
    """The evaluation's episodes, not replayed. `film`: frames kept of each, to be had in `ended`, which is called as each ends."""
    seeds = evaluation_seeds(request)
    return _play(request, evaluated_in(request), player, seeds, alive, traced, uses=uses, film=film, ended=ended)


def _practise(
    request: TrainingRequested, finished: TrainingFinished, player: Player, played: Sequence[Played], folder: Path, alive: Alive
) -> TrainingFinished:
    """`finished` with the start states that practice and evaluation reached; the steps of practice count as learning's."""
    if not request.practice:
        return finished
    practised = _play(request, request.environment, player, practice_seeds(request), alive)
    return finished.model_copy(
        update={
            "env_steps": finished.env_steps + sum(episode.steps for episode in practised),
            "reached": keep_ends(folder / "reached.starts", request, request.environment, practised, alive),
            "held_out": keep_ends(folder / "held_out.starts", request, evaluated_in(request), played, alive),
        }
    )


def _play(
    request: TrainingRequested,
    environment: Environment,
    player: Player,
    seeds: Sequence[int],
    alive: Alive,
    traced: int = TRACED,
    *,
    uses: Uses | None = None,
    film: int = 0,
    ended: Callable[[WorkerPool, int, Played], object] = lambda _pool, _environment, _episode: None,
) -> list[Played]:
    """One episode of every seed, its actions recorded; `uses` counts its decisions."""
    environments = min(request.learner.environments, len(seeds))
    with closing(_pool(request, environment, environments, record=True, film=film, waiting=lambda: check(alive))) as pool:
        return Evaluation(pool, player, environments, alive, environment, traced, uses, partial(ended, pool)).play(seeds)


def _pool(request: TrainingRequested, environment: Environment, environments: int, **more: Any) -> WorkerPool:
    return WorkerPool(
        environment,
        success=request.success,
        environments=environments,
        workers=request.workers,
        skills=request.skills,
        library=request.library,
        fallbacks=kept_numbers(environment.actions, request.primitives),
        **more,
    )
