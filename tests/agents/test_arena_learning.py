"""Learning in an arena: its start states, what a restart finds, and what makes it fail."""

from __future__ import annotations

import numpy as np
import pytest
from learning_here import Killed

from rlgpt.agents.learning import arena as arenas
from rlgpt.agents.learning.arena import learn_arena
from rlgpt.agents.learning.start_states import Found
from rlgpt.bus.arena import Arena
from rlgpt.bus.messages import ArenaRequested
from rlgpt.bus.parts import Skill
from rlgpt.bus.task import Environment, Evaluation, Learner
from rlgpt.envs import starts
from rlgpt.envs.starts import StartState

PUSH = "def push(obs, info):\n    for _ in range(3):\n        obs, info = yield 1\n"
LEARNER = Learner(rollout=16, environments=2, batch_size=16, epochs=1, device="cpu", checkpoint_every=32)


def asked(**arena):
    described = {"success": "steps >= 30", "steps": 20, "env_steps": 96, "states": 4, "judged": "return", "shaping": "-abs(obs[2])"}
    return ArenaRequested(
        plan=1,
        name="balance",
        arena=Arena.model_validate({**described, **arena}),
        environment=Environment(id="CartPole-v1", actions=("left", "right")),
        skills=(Skill(name="push", source=PUSH, max_steps=5),),
        learner=LEARNER,
        evaluation=Evaluation(episodes=4),
        seed=2,
        workers=1,
    )


def learned(folder, request, on_point=lambda point: None):
    return learn_arena(request, folder, on_point, lambda: None, lambda: False)


def drawn(finished):
    return [point.model_dump(exclude={"steps_per_s"}) for point in finished.curve]


def test_killed_in_the_middle_it_goes_on_from_its_checkpoint_with_the_same_states_and_ends_alike(tmp_path):
    request = asked(where="abs(obs[2]) > 0.01 and steps > 2")
    whole = learned(tmp_path / "whole", request)
    assert not whole.failure, whole.failure
    assert whole.states == 4
    assert whole.found_steps > 0
    assert whole.contest.verified is True

    def kill(point):
        if point.env_steps >= 64:
            raise Killed

    with pytest.raises(Killed):
        learned(tmp_path / "again", request, kill)
    made = (tmp_path / "again" / "learned_in.starts").read_bytes()
    again = learned(tmp_path / "again", request)
    assert (tmp_path / "again" / "learned_in.starts").read_bytes() == made
    assert drawn(again) == drawn(whole)
    assert again.skill.policy.sha256 == whole.skill.policy.sha256
    assert again.contest == whole.contest
    assert (again.found_steps, again.env_steps) == (whole.found_steps, whole.env_steps)


def test_one_in_five_states_of_a_file_is_judged_in_and_never_learned_in(tmp_path):
    file = starts.write(tmp_path / "all.starts", [StartState(seed) for seed in range(10)])
    found = arenas.find_states(asked(starts=file), tmp_path, lambda: True)
    learned_in, judged_in = (starts.read(one.uri, one.sha256) for one in (found.learned_in, found.judged_in))
    assert [state.seed for state in judged_in] == [0, 5]
    assert [state.seed for state in learned_in] == [1, 2, 3, 4, 6, 7, 8, 9]
    own = starts.write(tmp_path / "own.starts", [StartState(99)])
    found = arenas.find_states(asked(starts=file, held_out=own), tmp_path, lambda: True)
    assert (found.learned_in, found.judged_in, found.states, found.steps) == (file, own, 10, 0)


def test_episodes_of_an_arena_are_as_long_as_it_says_whatever_led_to_their_start(tmp_path):
    actions = np.array([0, 1] * 6)
    file = starts.write(tmp_path / "some.starts", [StartState.of(seed, actions) for seed in range(5)])
    request = asked(starts=file, success="", steps=7, env_steps=32, primitives=("left", "right"))
    finished = learned(tmp_path / "arena", request)
    assert not finished.failure, finished.failure
    assert finished.skill.max_steps == 7
    assert finished.contest.env_steps <= 2 * 7


@pytest.mark.parametrize(
    ("arena", "words"),
    [
        ({"where": "obs[0] > 99"}, "in none of 20 episodes a state was met in which 'obs[0] > 99' holds"),
        ({"primitives": ("up",)}, "'up'"),
        ({"shaping": "nothing"}, "shaping"),
    ],
)
def test_an_arena_that_cannot_be_learned_in_says_why(tmp_path, arena, words):
    finished = learned(tmp_path, asked(**arena))
    assert finished.contest is None
    assert words in finished.failure


def test_pictures_are_left_to_the_learner_of_the_whole_task(tmp_path):
    request = asked().model_copy(update={"environment": Environment(id="rlgpt/CrafterPixels-v0"), "skills": ()})
    finished = learned(tmp_path, request)
    assert "hold pictures" in finished.failure


@pytest.mark.parametrize(("size", "snapshots"), [(None, False), (5_000, True), (starts.MAX_BYTES, False)])
def test_states_are_snapshots_where_the_environment_can_take_small_ones(tmp_path, monkeypatch, size, snapshots):
    asked_for = []

    def collect(_environment, _where, _plays, seeds, *, snapshots, alive):
        asked_for.append(snapshots)
        return Found([StartState(seed) for seed in seeds], len(seeds), 7 * len(seeds))

    monkeypatch.setattr(arenas, "snapshot_bytes", lambda _environment: size)
    monkeypatch.setattr(arenas, "collect", collect)
    found = arenas.find_states(asked(where="obs[0] > 0"), tmp_path, lambda: True)
    assert set(asked_for) == {snapshots}
    assert (found.states, found.steps) == (4, 7 * 6)
    seeds = [[state.seed for state in starts.read(one.uri, one.sha256)] for one in (found.learned_in, found.judged_in)]
    assert min(seeds[0]) > 1_000_004, "none that the task's evaluation plays"
    assert not set(seeds[0]) & set(seeds[1])
