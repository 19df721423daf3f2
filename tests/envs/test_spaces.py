"""Spaces as data, and what is said of them to language models."""

from __future__ import annotations

import subprocess
import sys

import msgpack
import numpy as np
import pytest
from gymnasium import spaces

from rlgpt.bus.task import Environment, Task
from rlgpt.envs.actions import ActionInvalid, ActionReader
from rlgpt.envs.card import make_card
from rlgpt.envs.description import Description
from rlgpt.envs.errors import EnvironmentUnsupported
from rlgpt.envs.space import describe, fold, leaves, restore
from rlgpt.envs.words import constant, observation_words

SPACES = {
    "box": spaces.Box(-2.0, 3.0, (3,), np.float32),
    "box with bounds of its own": spaces.Box(np.array([-1.2, -0.07], np.float32), np.array([0.6, 0.07], np.float32)),
    "unbounded box": spaces.Box(-np.inf, np.inf, (2, 2), np.float64),
    "picture": spaces.Box(0, 255, (8, 8, 3), np.uint8),
    "discrete": spaces.Discrete(5, start=-2),
    "multidiscrete": spaces.MultiDiscrete([3, 5, 2]),
    "multidiscrete table": spaces.MultiDiscrete([[3, 5], [2, 9]]),
    "multibinary": spaces.MultiBinary(4),
    "dict": spaces.Dict({"a": spaces.Discrete(3), "b": spaces.Dict({"c": spaces.Box(0, 1, (2,), np.float32)})}),
    "tuple": spaces.Tuple((spaces.Discrete(3), spaces.Box(0, 1, (2,), np.float32))),
}


@pytest.mark.parametrize("name", SPACES)
def test_space_survives_the_wire(name):
    data = msgpack.unpackb(msgpack.packb(describe(SPACES[name])))
    assert restore(data) == SPACES[name]


@pytest.mark.parametrize("name", SPACES)
def test_observation_is_a_list_of_arrays_and_back(name):
    space = SPACES[name]
    space.seed(0)
    obs, data = space.sample(), describe(space)
    parts = []
    for leaf in leaves(data):
        part = obs
        for key in leaf.path:
            part = part[key]
        parts.append(np.asarray(part, leaf.dtype))
        assert parts[-1].shape == leaf.shape
    assert space.contains(fold(data, parts)) or isinstance(space, spaces.Discrete)


def test_parts_of_a_dict_that_are_no_arrays_are_left_out_for_learners():
    data = describe(spaces.Dict({"map": spaces.Discrete(3), "mission": spaces.Text(9)}))
    assert restore(data) == spaces.Dict({"map": spaces.Discrete(3)})
    assert [leaf.path for leaf in leaves(data)] == [("map",)]


@pytest.mark.parametrize("space", [spaces.Text(5), spaces.Tuple((spaces.Discrete(2), spaces.Text(5))), spaces.Sequence(spaces.Discrete(2))])
def test_observation_that_is_no_array_is_refused_with_advice(space):
    with pytest.raises(EnvironmentUnsupported, match="wrap the environment"):
        leaves(describe(space))


@pytest.mark.parametrize(
    ("space", "value", "action"),
    [
        (spaces.Discrete(3), np.int32(2), 2),
        (spaces.Discrete(3), np.array(1), 1),
        (spaces.Discrete(3, start=5), 7, 7),
        (spaces.MultiDiscrete([3, 2]), (2, 1), [2, 1]),
        (spaces.Box(-1, 1, (2,), np.float32), [0.5, -1], [0.5, -1]),
        (spaces.Box(-1, 1, (1,), np.float32), 1, [1]),
        (spaces.Box(-1, 1, (1,), np.float32), 1.0000001, [1]),
    ],
)
def test_action_is_read_in_the_forms_people_write(space, value, action):
    assert np.array_equal(ActionReader(describe(space), ())(value), action)


@pytest.mark.parametrize(
    ("space", "value", "says"),
    [
        (spaces.Discrete(3), 3, "out of range"),
        (spaces.Discrete(3), -1, "out of range"),
        (spaces.Discrete(3), 1.0, "is no action"),
        (spaces.Discrete(3), np.array([1]), "is no action"),
        (spaces.MultiDiscrete([3, 2]), (2, 2), "out of range"),
        (spaces.MultiDiscrete([3, 2]), (0.5, 1), "no integers"),
        (spaces.MultiDiscrete([3, 2]), 1, r"has shape \(\)"),
        (spaces.Box(-1, 1, (2,), np.float32), [0, 1.1], "out of range"),
        (spaces.Box(-1, 1, (2,), np.float32), [0, np.nan], "not finite"),
        (spaces.Box(-1, 1, (2,), np.float32), "left", "is no action"),
        (spaces.Box(-1, 1, (2,), np.float32), object(), "no array of numbers"),
    ],
)
def test_what_is_no_action_is_told_with_what_would_be(space, value, says):
    with pytest.raises(ActionInvalid, match=says):
        ActionReader(describe(space), ())(value)


@pytest.mark.parametrize(
    ("name", "expected"), [("push left", "PUSH_LEFT"), ("Noop!", "NOOP"), ("45 degrees", "ACTION_45_DEGREES"), ("--", "ACTION")]
)
def test_constants_are_names_python_takes(name, expected):
    assert constant(name) == expected
    assert expected.isidentifier()


def test_observation_in_words():
    box = describe(SPACES["box with bounds of its own"])
    assert observation_words(np.array([-0.5, 0.01234567]), box, ("position", "velocity")) == "position=-0.5, velocity=0.01235"
    assert observation_words(np.array([-0.5, 0.0]), box) == "obs[0]=-0.5, obs[1]=0"
    assert observation_words(3, describe(spaces.Discrete(4)), ("a", "b", "c", "d")) == "3 (d)"
    assert observation_words(np.zeros((8, 8, 3), np.uint8), describe(SPACES["picture"])) == "obs: 8x8x3 uint8, min 0, max 0, mean 0"
    assert (
        observation_words({"a": 1, "b": {"c": np.ones(2)}}, describe(SPACES["dict"]))
        == "obs['a']=1, obs['b']['c'][0]=1, obs['b']['c'][1]=1"
    )
    long = describe(spaces.Box(0, 1, (30,), np.float32))
    assert len(observation_words(np.random.default_rng(0).random(30), long, ["a rather long name"] * 30)) <= 400


def card_of(action: spaces.Space, observation: spaces.Space = SPACES["box with bounds of its own"], **fields):
    environment = Environment(id="Some-v0", **fields)
    task = Task(name="x", goal="Go.", success="obs[0] > 0.5", environment=environment)
    return make_card(task, Description("Some-v0", describe(observation), describe(action), 200, "position=0"))


def test_card_tells_actions_observations_limits_and_the_formats():
    card = card_of(
        spaces.Discrete(3), actions=("push left", "coast", "push right"), observations=("position", "velocity"), notes="Wind blows."
    )
    for part in (
        "`PUSH_LEFT` = 0: push left",
        "`obs[1]` velocity: -0.07 to 0.07",
        "cut off after 200 steps",
        "`obs[0] > 0.5` holds",
        "Wind blows.",
        "Imports allowed: math, numpy",
        "here at most 100",
        "`previous` (obs before the step)",
    ):
        assert part in card.text
    assert card.kind == "Discrete"
    assert card.actions == ("push left", "coast", "push right")
    assert len(card.text) < 2500


@pytest.mark.parametrize("name", ["discrete", "multidiscrete", "multidiscrete table", "box"])
def test_examples_on_a_card_are_valid_skills_for_its_kind_of_actions(name):
    action = SPACES[name]
    card = card_of(action)
    namespace: dict = {"np": np}
    exec(card.text.split("```python\n")[1].split("```")[0], namespace)
    for function in ("repeat_five", "until_it_changes"):
        play = namespace[function](np.zeros(2), {})
        reader, actions = ActionReader(describe(action), ()), [next(play)]
        for _ in range(3):
            actions.append(play.send((np.zeros(2), {})))
        assert all(np.shape(reader(value)) == action.shape for value in actions)


def test_actions_without_words_are_named_by_number():
    assert card_of(spaces.Discrete(2, start=1)).actions == ("1", "2")
    assert card_of(spaces.Discrete(1000)).actions == ()


def test_card_of_actions_nobody_can_take_is_refused():
    with pytest.raises(EnvironmentUnsupported, match="MultiBinary"):
        card_of(spaces.MultiBinary(3))


def test_same_environment_gives_the_same_card():
    assert card_of(spaces.Discrete(2)) == card_of(spaces.Discrete(2))
    assert card_of(spaces.Discrete(2)).version != card_of(spaces.Discrete(3)).version


def test_card_needs_no_gymnasium():
    code = "import sys, rlgpt.envs.card; sys.exit('gymnasium' in sys.modules or 'torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
