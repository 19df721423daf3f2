"""What skills remember within an episode, where the environment allows it: shared by the skills, by nobody else, and never for longer."""

from __future__ import annotations

import pytest

from rlgpt.bus.parts import Skill
from rlgpt.bus.task import Environment
from rlgpt.envs.pool import Call, Primitive, Trials, WorkerPool, replay

CORRIDOR = Environment(id="worlds:Corridor-v0", actions=("left", "right", "stay"), memory=True)
STAY = Primitive(2)


def skill(name: str, body: str, can_run: str = "", max_steps: int = 20) -> Skill:
    mask = f"def can_run(obs, info):\n    return {can_run}\n" if can_run else ""
    return Skill(
        name=name, source=f"{mask}def {name}(obs, info):\n" + "".join(f"    {line}\n" for line in body.splitlines()), max_steps=max_steps
    )


# Takes as many steps as it has been called, so that its duration tells what it remembers.
COUNT = skill("count", "memory['calls'] = memory.get('calls', 0) + 1\nfor _ in range(memory['calls']):\n    yield STAY")
TELL = skill("tell", "for _ in range(1 + memory.get('calls', 0)):\n    yield STAY")
OUTER = skill("outer", "obs, info = yield from count(obs, info)\nobs, info = yield from tell(obs, info)")


def durations(pool: WorkerPool, *calls: int) -> list[list[int]]:
    return [pool.step([Call(call)] * pool.environments, [9] * pool.environments).duration.tolist() for call in calls]


def test_skill_remembers_across_its_calls_and_all_skills_share_it():
    with WorkerPool(CORRIDOR, success="False", environments=1, skills=[COUNT, TELL]) as pool:
        pool.reset([1])
        assert durations(pool, 0, 0, 0, 1) == [[1], [2], [3], [4]]


def test_nested_calls_share_it():
    with WorkerPool(CORRIDOR, success="False", environments=1, skills=[COUNT, TELL, OUTER]) as pool:
        pool.reset([1])
        assert durations(pool, 2, 1) == [[1 + 2], [2]]


def test_every_environment_of_a_worker_has_its_own():
    with WorkerPool(CORRIDOR, success="False", environments=3, workers=1, skills=[COUNT]) as pool:
        pool.reset([1, 2, 3])
        found = [pool.step(list(choices), [9] * 3).duration.tolist() for choices in ([Call(0), STAY, STAY], [Call(0), Call(0), STAY])]
        assert found == [[1, 1, 1], [2, 1, 1]]
        assert durations(pool, 0) == [[3, 2, 1]]


def test_next_episode_begins_with_nothing_remembered():
    short = CORRIDOR.model_copy(update={"max_episode_steps": 6})
    with WorkerPool(short, success="False", environments=1, skills=[COUNT]) as pool:
        pool.reset([1])
        assert durations(pool, 0, 0, 0, 0, 0) == [[1], [2], [3], [1], [2]]  # the third call ended the episode
        pool.reset([1])
        assert durations(pool, 0) == [[1]]


def test_error_in_a_skill_leaves_nothing_for_the_next_episode():
    broken = skill("broken", "memory['calls'] = 7\nyield 1 / 0")
    with WorkerPool(CORRIDOR, success="False", environments=1, skills=[broken, COUNT]) as pool:
        pool.reset([1])
        assert "ZeroDivisionError" in pool.step([Call(0)], [2]).faults[0]
        assert durations(pool, 1) == [[1]]


def test_can_run_reads_what_its_own_environment_remembers():
    once = skill("once", "memory['done'] = True\nyield STAY", can_run="not memory.get('done')")
    with WorkerPool(CORRIDOR, success="False", environments=2, workers=1, skills=[once]) as pool:
        assert pool.reset([1, 2]).runnable.tolist() == [[True], [True]]
        assert pool.step([Call(0), STAY], [3, 4]).runnable.tolist() == [[False], [True]]


def test_every_seed_of_a_trial_begins_with_nothing_remembered_and_is_verified():
    with Trials(CORRIDOR) as trials:
        episodes = trials.run(COUNT, (), "False", [1, 2, 3])
    assert [(episode.steps, episode.error) for episode in episodes] == [(1, "")] * 3


def test_episode_played_with_memory_replays_from_its_actions_alone():
    swing = skill("swing", "memory['n'] = memory.get('n', 0) + 1\nyield RIGHT if memory['n'] % 4 else LEFT")
    with WorkerPool(CORRIDOR, success="terminated", environments=1, skills=[swing], record=True) as pool:
        pool.reset([1])
        end = next(end for _ in range(30) for end in pool.step([Call(0)], [2]).ended if end)
    assert end.actions.tolist() == [1, 1, 1, 0, 1, 1, 1]
    again = replay(CORRIDOR, "terminated", 1, end.actions)
    assert (again.success, again.steps, again.episode_return) == (True, end.steps, end.episode_return)


@pytest.mark.parametrize("source", ["memory", "count.__globals__['memory']"])
def test_without_the_setting_there_is_no_memory(source):
    without = CORRIDOR.model_copy(update={"memory": False})
    with Trials(without) as trials:
        (episode,) = trials.run(skill("count", f"{source}['x'] = 1\nyield STAY"), (), "False", [1])
    assert "NameError: name 'memory' is not defined" in episode.error or "KeyError: 'memory'" in episode.error
