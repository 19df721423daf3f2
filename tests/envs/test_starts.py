"""Episodes that begin in saved states: the file, where it leads, and what is counted from there."""

from __future__ import annotations

import hashlib

import msgpack
import numpy as np
import pytest

from rlgpt.bus.parts import Artifact, Skill
from rlgpt.bus.task import Environment
from rlgpt.envs import starts
from rlgpt.envs.errors import StartsInvalid
from rlgpt.envs.pool import Call, Primitive, Replayer, WorkerPool, describe, replay, try_skill
from rlgpt.envs.starts import StartState

CORRIDOR = Environment(id="worlds:Corridor-v0", actions=("left", "right", "stay put"), observations=("cell", "time"))
RIGHT, STAY = Primitive(1), Primitive(2)
STRIDE = Skill(name="stride", source="def stride(obs, info):\n    for _ in range(3):\n        yield RIGHT\n", max_steps=10)


def right(n: int) -> np.ndarray:
    return np.ones(n, np.int64)


@pytest.fixture
def at(tmp_path):
    """The environment, beginning after so many steps to the right: one state for each number."""

    def at(*cells: int, environment: Environment = CORRIDOR, **kwargs) -> Environment:
        states = [StartState.of(100 + i, right(cell)) for i, cell in enumerate(cells)]
        return environment.model_copy(update={"starts": starts.write(tmp_path / "begin.starts", states), **kwargs})

    return at


def test_file_keeps_its_states_and_is_named_by_its_bytes(tmp_path):
    path = tmp_path / "folder" / "begin.starts"
    states = [StartState.of(3, right(2)), StartState(4, snapshot=b"\x00x"), StartState(5, b"", b"y").after(right(1))]
    file = starts.write(path, states)
    assert starts.read(file.uri, file.sha256) == states
    assert file == starts.artifact(path)
    assert file.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert [entry.name for entry in path.parent.iterdir()] == ["begin.starts"]  # nothing half-written beside it


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"\xc1", "no start-state file"),
        (b"", "no start-state file"),
        (msgpack.packb([1, 2]), "no start-state file"),
        (msgpack.packb({"version": 2, "states": [{"seed": 1}]}), "version 2, where 1 is known"),
        (msgpack.packb({"version": 1, "states": []}), "0 states"),
        (msgpack.packb({"version": 1, "states": [{"actions": b""}]}), "state 0: expected a map of seed"),
        (msgpack.packb({"version": 1, "states": [{"seed": 1}, {"seed": 1, "colour": 2}]}), "state 1: expected a map of seed"),
        (msgpack.packb({"version": 1, "states": [{"seed": "1"}]}), "seed is str, expected int"),
        (msgpack.packb({"version": 1, "states": [{"seed": True}]}), "seed is bool, expected int"),
        (msgpack.packb({"version": 1, "states": [{"seed": -1}]}), "seed -1, expected 0 to"),
        (msgpack.packb({"version": 1, "states": [{"seed": 1, "actions": [1]}]}), "actions is list, expected bytes"),
        (None, "cannot be read: FileNotFoundError"),
    ],
)
def test_file_that_is_none_is_told_with_its_name_and_the_cause(tmp_path, content, says):
    path = tmp_path / "begin.starts"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(StartsInvalid, match=says) as raised:
        starts.artifact(path)
    assert "begin.starts" in str(raised.value)


def test_file_that_is_too_large_is_not_read_whole(tmp_path, monkeypatch):
    monkeypatch.setattr(starts, "MAX_BYTES", 10)
    (tmp_path / "begin.starts").write_bytes(bytes(100))
    with pytest.raises(StartsInvalid, match="more than 10 bytes"):
        starts.artifact(tmp_path / "begin.starts")


def test_episodes_begin_in_the_states_and_count_from_there(at):
    with WorkerPool(at(1, 3, 4), success="obs[0] - start[0] == 1 and steps == 1", environments=3, workers=2) as pool:
        assert pool.reset([9, 10, 11]).obs.tolist() == [[1, 1], [3, 3], [4, 4]]
        step = pool.step([RIGHT] * 3, [10, 10, 9])
    ended = step.ended[2]
    assert (ended.steps, ended.episode_return, ended.success, ended.truncated) == (1, 10.0, True, False)
    assert step.obs.tolist() == [[2, 2], [4, 4], [1, 1]]  # and the next episode begins in a state as well


def test_recorded_actions_are_those_after_the_state_and_replay_from_it(at):
    environment = at(1, 2)
    with WorkerPool(environment, success="terminated", environments=1, skills=[STRIDE], record=True) as pool:
        pool.reset([7])
        end = pool.step([Call(0)], [8]).ended[0]
    assert end.actions.tolist() == [1, 1, 1]
    again = replay(environment, "terminated", end.seed, end.actions)
    assert (again.success, again.steps, again.episode_return) == (True, 3, 8.0)
    assert (end.success, end.steps, end.episode_return) == (True, 3, 8.0)
    from_the_beginning = replay(CORRIDOR, "terminated", end.seed, end.actions)
    assert not from_the_beginning.success


def test_trial_begins_in_the_states_and_is_verified_from_there(at):
    episodes = try_skill(at(0, 2), STRIDE, (), "terminated", [4, 5])
    assert [episode.success for episode in episodes] == [False, True]
    assert [episode.first for episode in episodes] == ["cell=0, time=0; info: at=0", "cell=2, time=2; info: at=2"]
    assert [(episode.steps, episode.error) for episode in episodes] == [(3, ""), (3, "")]


def test_description_shows_the_first_state(at):
    assert describe(at(3, 0)).words == "cell=3, time=3"


def test_time_limit_goes_on_counting_over_repeated_actions(at):
    with WorkerPool(at(3, max_episode_steps=4), success="False", environments=1) as pool:
        pool.reset([0])
        ended = pool.step([STAY], [0]).ended[0]
    assert (ended.steps, ended.truncated) == (1, True)


def test_snapshot_is_restored_and_further_actions_are_repeated_after_it(tmp_path):
    saved = CORRIDOR.model_copy(update={"id": "worlds:Saved-v0"})
    with Replayer(saved, "False") as replayer:
        snapshot = replayer.snapshot(3, np.array([0, 0, 1]))
    states = [StartState(0, snapshot=snapshot), StartState(0, snapshot=snapshot).after(right(2))]
    begun = saved.model_copy(update={"starts": starts.write(tmp_path / "begin.starts", states), "max_episode_steps": 3})
    with WorkerPool(begun, success="False", environments=2) as pool:
        assert pool.reset([0, 1]).obs.tolist() == [[-1, 3], [1, 5]]
        step = pool.step([STAY, STAY], [0, 1])
    assert step.truncated.tolist() == [False, True]  # a snapshot takes nothing of the time limit, repeated actions do


def test_snapshot_of_an_environment_that_has_none_is_told():
    with Replayer(CORRIDOR, "False") as replayer, pytest.raises(StartsInvalid, match="Corridor has no snapshot"):
        replayer.snapshot(3, right(1))


@pytest.mark.parametrize(
    ("states", "says"),
    [
        ([StartState.of(1, right(2)), StartState(7, b"123")], "state 1: 3 bytes of actions, no multiple of 8: made for other actions"),
        ([StartState.of(1, right(2)), StartState.of(7, right(9))], "state 1: the episode of seed 7 is terminated after 5 of its actions"),
        ([StartState.of(1, np.array([1, 77]))], "state 0: 77 is out of range"),
        ([StartState(1, snapshot=b"x")], "state 0: it holds a snapshot, but Corridor has no restore"),
    ],
)
def test_check_finds_a_state_that_cannot_be_reached(tmp_path, states, says):
    environment = CORRIDOR.model_copy(update={"starts": starts.write(tmp_path / "begin.starts", states)})
    with pytest.raises(StartsInvalid, match=says):
        describe(environment)


def test_file_that_was_changed_since_is_not_used(at, tmp_path):
    environment = at(1)
    starts.write(tmp_path / "begin.starts", [StartState.of(1, right(2))])  # others, in its place
    with pytest.raises(StartsInvalid, match=r"have sha256 [0-9a-f]*, not [0-9a-f]*: the file was changed"):
        describe(environment)


def test_file_that_is_not_there_is_told():
    nowhere = Artifact(uri="file:///nowhere/begin.starts", sha256="0" * 64, media_type=starts.MEDIA_TYPE)
    with pytest.raises(StartsInvalid, match=r"nowhere/begin\.starts: cannot be read"):
        WorkerPool(CORRIDOR.model_copy(update={"starts": nowhere}), success="True", environments=1)


def test_repeated_actions_in_an_environment_that_is_not_deterministic_are_warned_of(at):
    assert any("not deterministic" in warning for warning in describe(at(1, deterministic=False)).warnings)
    assert not any("not deterministic" in warning for warning in describe(at(1)).warnings)


def test_episode_that_ends_with_its_success_is_terminated_there(at):
    until = at(0, until_success=True)
    with WorkerPool(until, success="obs[0] == 2", environments=1, skills=[STRIDE], record=True, shaping="0.5 * (obs[0] == 2)") as pool:
        pool.reset([0])
        step = pool.step([Call(0)], [0])
        assert (step.duration.tolist(), step.terminated.tolist(), step.truncated.tolist()) == ([2], [True], [False])
        np.testing.assert_allclose(step.reward, [-1.5])  # the reward of the step itself, and its shaping, count
        assert step.final_obs.tolist() == [[2, 2]]
        end = step.ended[0]
    assert (end.success, end.steps, end.truncated, end.actions.tolist()) == (True, 2, False, [1, 1])
    again = replay(until, "obs[0] == 2", 0, end.actions)
    assert (again.success, again.steps, again.truncated) == (True, 2, False)
    assert replay(CORRIDOR, "obs[0] == 2", 0, end.actions).truncated  # without it, the episode was only left there


def test_success_ends_an_episode_of_primitive_actions_too():
    until = CORRIDOR.model_copy(update={"until_success": True})
    with WorkerPool(until, success="obs[0] == 1", environments=1) as pool:
        pool.reset([0])
        assert pool.step([STAY], [1]).ended == (None,)
        assert pool.step([RIGHT], [1]).ended[0].success


def test_trial_of_a_skill_goes_on_after_its_own_success_test():
    until = CORRIDOR.model_copy(update={"until_success": True})
    (episode,) = try_skill(until, STRIDE, (), "obs[0] == 1", [0])
    assert (episode.success, episode.steps, episode.ended, episode.error) == (True, 3, "returned", "")
