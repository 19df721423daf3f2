"""A policy cloned from code: a skill plays whole episodes, and the network learns to choose as it did.

What is a choice there: a call the skill makes of another skill, where a policy may make that call too, and otherwise each of its
primitive actions. So a network that begins from a script over skills chooses skills, and one that begins from a plain script acts.

The skill plays in a worker of its own. Its actions are then repeated in the learner's own environments, which gives the observations,
what could be run, and the rewards with shaping; an episode counts only if that comes to the same end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import numpy as np
import structlog
from sb3_contrib import MaskablePPO

from rlgpt.agents.learning.endings import LearningFailed, Stopped
from rlgpt.agents.learning.imitation import Decisions, clone, discounted
from rlgpt.bus.messages import TrainingRequested
from rlgpt.envs.demonstrations import Demonstration, Demonstrator
from rlgpt.envs.errors import SkillInvalid
from rlgpt.envs.options import Bools
from rlgpt.envs.transitions import Call, Primitive, Transitions
from rlgpt.envs.vector import SkillVecEnv

log = structlog.get_logger()

ANY = "code"
"""Of `warm_start`: the skill that succeeds most often."""


@dataclass
class Repeated:
    """One episode as the learner's environments saw it: observations and runnable skills at its decisions, rewards [T] of its steps."""

    demonstration: Demonstration
    obs: list[Any]
    runnable: list[Bools]
    rewards: list[float]


def warm_start(request: TrainingRequested, model: Any, env: SkillVecEnv, seeds: Iterator[int], alive: Callable[[], bool]) -> None:
    """Clone the skill that `learner.warm_start` names into the model; its environment steps are added to the model's.

    Raises SkillInvalid where there is no such skill, LearningFailed where it never succeeds or its episodes cannot be repeated. With
    `code`, where no skill succeeds alone, nothing is cloned, and the log says so.
    """
    skill, demonstrations, spent = _play(request, seeds, alive)
    model.num_timesteps += spent
    if not demonstrations:
        log.warning("nothing_to_clone", why="no skill succeeds alone: learning begins from scratch", env_steps=spent)
        return
    episodes = _repeat(env, demonstrations, alive)
    for episode in episodes:
        env.sight.learn(_together(episode.obs))
    learned = [_decisions(request, model, env, episode) for episode in episodes]
    decisions = _joined([one for one in learned if len(one)])
    model.adopt_unit()
    passes = clone(model, decisions)
    for one in learned:
        if model.past and len(one):
            model.past.remember(one)
    log.info("skill_cloned", skill=skill, episodes=len(episodes), decisions=len(decisions), passes=passes, env_steps=spent)


def _play(request: TrainingRequested, seeds: Iterator[int], alive: Callable[[], bool]) -> tuple[str, list[Demonstration], int]:
    """Who was best, its successful episodes, and the environment steps of all."""
    wanted, names = request.learner.warm_start, [skill.name for skill in request.skills]
    if wanted != ANY and wanted not in names:
        raise SkillInvalid(f"trainer.warm_start names {wanted!r}, which is none of the plan's skills ({', '.join(names) or 'it has none'})")
    if not request.environment.deterministic:
        raise LearningFailed(
            "trainer.warm_start repeats a skill's episodes to learn from them, which environment.deterministic: false rules out; "
            "remove one of them",
            0,
        )
    players = list(range(len(names))) if wanted == ANY else [names.index(str(wanted))]
    drawn = [next(seeds) for _ in range(request.learner.warm_episodes)]
    best, spent = (-1, list[Demonstration]()), 0
    demonstrator = Demonstrator(request.environment, request.success, request.skills, library=request.library) if players else _Nobody()
    with closing(demonstrator) as worker:
        for player in players:
            played: list[Demonstration] = []
            for seed in drawn:
                if not alive():
                    raise Stopped
                if spent >= request.learner.env_steps:
                    break
                played.append(worker.play(player, seed))
                spent += played[-1].steps
            good = [one for one in played if one.success]
            faults = sorted({one.fault for one in played if one.fault})
            log.info("skill_played_alone", skill=names[player], successes=len(good), episodes=len(played), faults=faults[:3])
            if len(good) > len(best[1]) or best[0] < 0:
                best = (player, good)
    if wanted != ANY and not best[1]:
        raise LearningFailed(
            f"trainer.warm_start: skill {wanted!r} succeeded in none of {len(drawn)} episodes that it played alone: there is nothing to "
            "clone; let it play whole episodes, or remove trainer.warm_start",
            spent,
        )
    return names[best[0]] if players else "", best[1], spent


class _Nobody:
    """Where there is no skill, no worker is needed."""

    def play(self, _skill: int, _seed: int) -> Demonstration:
        raise AssertionError("there is no skill to play")

    def close(self) -> None:
        """Nothing to end."""


def _repeat(env: SkillVecEnv, demonstrations: Sequence[Demonstration], alive: Callable[[], bool]) -> list[Repeated]:
    """The episodes again, in the learner's environments, as primitive actions. Raises LearningFailed where one comes to another end."""
    pool, count = env.pool, env.num_envs
    queues = [list(demonstrations[i::count]) for i in range(count)]
    waits = demonstrations[0]  # where there is nothing (more) to play, the first one's first action passes the time
    playing = [Repeated(queue.pop(0), [], [], []) if queue else None for queue in queues]
    done: list[Repeated] = []
    now = pool.reset([(episode.demonstration if episode else waits).seed for episode in playing])
    wanted = [set(episode.demonstration.decisions().tolist()) if episode else set[int]() for episode in playing]
    while any(playing):
        if not alive():
            raise Stopped
        actions = []
        for i, episode in enumerate(playing):
            if episode is None:
                actions.append(Primitive(_action(waits, 0)))
                continue
            step = len(episode.rewards)
            if step in wanted[i]:
                episode.obs.append(_row(now.obs, i))
                episode.runnable.append(now.runnable[i].copy())
            actions.append(Primitive(_action(episode.demonstration, step)))
        now = pool.step(actions, [(queue[0] if queue else waits).seed for queue in queues])
        for i, episode in enumerate(playing):
            if episode is not None:
                episode.rewards.append(float(now.reward[i]))
                if _over(episode, now, i):
                    done.append(episode)
                    playing[i] = Repeated(queues[i].pop(0), [], [], []) if queues[i] else None
                    following = playing[i]
                    wanted[i] = set(following.demonstration.decisions().tolist()) if following else set()
    return sorted(done, key=lambda episode: episode.demonstration.seed)


def _over(episode: Repeated, now: Transitions, i: int) -> bool:
    """Whether this step was the episode's last, as it has to be exactly where the demonstration ended."""
    end, last = now.ended[i], len(episode.rewards) == episode.demonstration.steps
    if (end is not None) != last or (end is not None and (not end.success or now.faults[i])):
        seed, step = episode.demonstration.seed, len(episode.rewards)
        raise LearningFailed(
            f"trainer.warm_start: the episode of seed {seed} ended differently when its actions were repeated (at step {step} of "
            f"{episode.demonstration.steps}); the environment is not deterministic: say so (environment.deterministic: false), and remove "
            "trainer.warm_start",
            0,
        )
    return last


def _decisions(request: TrainingRequested, model: Any, env: SkillVecEnv, episode: Repeated) -> Decisions:
    """What was chosen when, as the policy sees and gives it. Choices that the policy does not have, or could not make, are left out."""
    gamma, demonstration = request.learner.gamma, episode.demonstration
    begins = demonstration.decisions()
    ends = [*begins[1:], demonstration.steps]
    rewards = [sum(gamma**k * r for k, r in enumerate(episode.rewards[a:b])) for a, b in zip(begins, ends, strict=True)]
    durations = np.subtract(ends, begins)
    model.unit.count(_gathered(rewards, durations, gamma))
    rows, actions = [], []
    masks = env.actions.mask(np.array(episode.runnable, bool).reshape(len(begins), -1))
    for row, step in enumerate(begins):
        callee = int(demonstration.callee[step])
        action = env.actions.encode(Call(callee) if callee >= 0 else Primitive(_action(demonstration, step)))
        if action is not None and (callee < 0 or episode.runnable[row][callee]):
            rows.append(row)
            actions.append(action)
    seen = env.sight.episode(_together(episode.obs))
    everything = Decisions(
        seen, np.zeros(len(begins)), masks if isinstance(model, MaskablePPO) else None, discounted(np.array(rewards), durations, gamma)
    ).rows(np.array(rows, np.int64))
    kept = np.array(actions, env.action_space.dtype).reshape(len(rows), *(env.action_space.shape or ()))
    return Decisions(everything.seen, kept, everything.masks, everything.returns)


def _gathered(rewards: Sequence[float], durations: Any, gamma: float) -> Any:
    """Discounted return gathered after each decision, as `ReturnUnit.follow` counts it."""
    gathered, sofar = np.zeros(len(rewards)), 0.0
    for t, (reward, duration) in enumerate(zip(rewards, durations, strict=True)):
        gathered[t] = sofar = sofar * gamma ** float(duration) + reward
    return gathered


def _joined(parts: Sequence[Decisions]) -> Decisions:
    if not parts:
        raise LearningFailed(
            "trainer.warm_start: the skill's episodes hold no choice that the policy has; keep the primitive actions it takes, or the "
            "skills that it calls",
            0,
        )
    first = parts[0]
    seen = (
        {key: np.concatenate([part.seen[key] for part in parts]) for key in first.seen}
        if isinstance(first.seen, dict)
        else np.concatenate([part.seen for part in parts])
    )
    masks = None if first.masks is None else np.concatenate([part.masks for part in parts if part.masks is not None])
    return Decisions(seen, np.concatenate([part.actions for part in parts]), masks, np.concatenate([part.returns for part in parts]))


def _action(demonstration: Demonstration, step: int) -> Any:
    action = demonstration.actions[step]
    return int(action) if np.ndim(action) == 0 else action


def _row(obs: Any, i: int) -> Any:
    if isinstance(obs, dict):
        return {key: _row(part, i) for key, part in obs.items()}
    return tuple(_row(part, i) for part in obs) if isinstance(obs, tuple) else obs[i]


def _together(rows: Sequence[Any]) -> Any:
    """Observations [T] as one batch [T, ...]."""
    if isinstance(rows[0], dict):
        return {key: _together([row[key] for row in rows]) for key in rows[0]}
    return tuple(_together(list(part)) for part in zip(*rows, strict=True)) if isinstance(rows[0], tuple) else np.stack(rows)
