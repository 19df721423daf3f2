"""Observations as the networks take them."""

import numpy as np
import pytest
from gymnasium import spaces
from stable_baselines3.common.preprocessing import is_image_space, is_image_space_channels_first

from rlgpt.envs.errors import EnvironmentUnsupported
from rlgpt.envs.observations import ObservationView


def test_bounded_components_are_scaled_and_others_left():
    view = ObservationView(spaces.Box(np.array([-1.2, -0.07, -np.inf, 0.0]), np.array([0.6, 0.07, np.inf, 3e38]), dtype=np.float64))
    converted = view.convert(np.array([[0.6, -0.07, 123.0, 5.0], [-0.3, 0.0, 0.0, 0.0]]))
    np.testing.assert_allclose(converted, [[1, -1, 123, 5], [0, 0, 0, 0]], atol=1e-6)
    assert converted.dtype == np.float32
    assert view.policy == "MlpPolicy"


def test_pictures_go_to_a_cnn_channels_first():
    view = ObservationView(spaces.Box(0, 255, (64, 48, 3), np.uint8))
    assert view.policy == "CnnPolicy"
    assert is_image_space(view.space)
    assert is_image_space_channels_first(view.space)
    picture = np.arange(2 * 64 * 48 * 3, dtype=np.uint64).astype(np.uint8).reshape(2, 64, 48, 3)
    np.testing.assert_array_equal(view.convert(picture)[1, 2], picture[1, :, :, 2])


def test_pictures_too_small_for_a_cnn_are_flat_numbers():
    view = ObservationView(spaces.Box(0, 255, (7, 7, 3), np.uint8))
    assert view.policy == "MlpPolicy"
    assert view.convert(np.full((2, 7, 7, 3), 10, np.uint8)).shape == (2, 147)


def test_discrete_observations_are_counted_from_zero():
    view = ObservationView(spaces.Discrete(4, start=-1))
    np.testing.assert_array_equal(view.convert(np.array([-1, 2])), [0, 3])
    assert view.space == spaces.Discrete(4)


def test_nested_parts_become_one_level():
    space = spaces.Dict(type=spaces.Discrete(3), deep=spaces.Tuple([spaces.Box(0, 2, (2,)), spaces.MultiBinary((2, 2))]))
    view = ObservationView(space)
    assert view.policy == "MultiInputPolicy"
    obs = {"type": np.array([2]), "deep": (np.array([[0.0, 2.0]]), np.ones((1, 2, 2), np.int8))}
    converted = view.convert(obs)
    assert set(converted) == set(view.space.spaces) == {"/type", "/deep/0", "/deep/1"}
    np.testing.assert_allclose(converted["/deep/0"], [[-1, 1]])
    assert converted["/deep/1"].shape == (1, 4)


def test_what_cannot_be_learned_from_is_refused_by_name():
    with pytest.raises(EnvironmentUnsupported, match="Sequence"):
        ObservationView(spaces.Sequence(spaces.Discrete(3)))
