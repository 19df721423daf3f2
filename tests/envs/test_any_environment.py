"""Environments by id, of every family that can be installed beside: card, trial, pool and verification, behind the lock or hosted."""

from __future__ import annotations

import importlib.util

import pytest

from rlgpt.agents.prompts import tokens
from rlgpt.bus.parts import Skill
from rlgpt.bus.task import Environment, Task
from rlgpt.envs import card_files
from rlgpt.envs.card import make_card
from rlgpt.envs.pool import Call, Primitive, Replayer, Trials, WorkerPool
from rlgpt.envs.space import restore

LIMIT, STEPS = 60, 12
CASES = [
    ("CartPole-v1", {}, "gymnasium"),
    ("Acrobot-v1", {}, "gymnasium"),
    ("FrozenLake-v1", {"map_name": "4x4"}, "gymnasium"),
    ("FrozenLake8x8-v1", {"is_slippery": True}, "gymnasium"),
    ("CliffWalking-v1", {}, "gymnasium"),
    ("Pendulum-v1", {}, "gymnasium"),
    ("LunarLander-v3", {}, "Box2D"),
    ("BipedalWalker-v3", {}, "Box2D"),
    ("MiniGrid-DoorKey-8x8-v0", {}, "minigrid"),
    ("HalfCheetah-v5", {}, "mujoco"),
    ("ALE/Breakout-v5", {}, "ale_py"),
]
EXTRA = {"Box2D": "box2d", "minigrid": "minigrid", "mujoco": "mujoco", "ale_py": "atari"}


def environment_of(name: str, kwargs: dict, module: str) -> Environment:
    """With its card's words, as a scenario gets them."""
    if not importlib.util.find_spec(module):
        pytest.skip(f"{module} is not installed: pip install 'rlgpt[{EXTRA[module]}]'")
    words = card_files.pick(name, kwargs)
    return Environment.model_validate({"id": name, "kwargs": kwargs, "max_episode_steps": LIMIT} | (words.fields if words else {}))


@pytest.mark.parametrize(("name", "kwargs", "module"), CASES, ids=[f"{case[0]}" for case in CASES])
def test_environment_by_its_id_has_a_card_and_is_tried_played_and_verified(name, kwargs, module):
    environment = environment_of(name, kwargs, module)
    with Trials(environment) as trials:
        zygote = trials._zygote  # some take seconds to start
        task = Task(name="any", goal="Go on.", success=f"steps >= {STEPS}", environment=environment)
        card = make_card(task, zygote.description)
        actions = restore(zygote.description.action_space)
        actions.seed(1)
        taken = [actions.sample().tolist() for _ in range(STEPS)]
        with Replayer(environment, task.success, zygote=zygote) as clean:
            skill = Skill(name="go", source=f"def go(obs, info):\n    for a in {taken}:\n        yield a\n", max_steps=STEPS)
            with WorkerPool(environment, success=task.success, environments=2, workers=1, skills=[skill], record=True) as pool:
                pool.reset([1, 2])
                ends = []
                for i in range(LIMIT):
                    step = pool.step([Call(0), Primitive(actions.sample())], [10 + 2 * i, 11 + 2 * i])
                    assert step.faults == ("", "")
                    ends += [end for end in step.ended if end]
            for end in ends[:3]:
                again = clean.replay(end.seed, end.actions)
                assert (again.success, again.steps, again.truncated) == (end.success, end.steps, end.truncated)
                assert again.episode_return == pytest.approx(end.episode_return)
        episodes = trials.run(skill, (), task.success, [1, 2])
    assert len(ends) >= 3
    assert 0 < tokens(card.text) < 1500
    assert [episode.error for episode in episodes] == ["", ""]
    assert all(episode.ended in ("returned", "step limit", "episode over") for episode in episodes)
    assert all(episode.first and episode.last and episode.trace for episode in episodes)
