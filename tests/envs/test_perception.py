"""What a policy sees, recomputed from whole histories kept aside."""

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

from rlgpt.envs.errors import EnvironmentUnsupported
from rlgpt.envs.moments import RunningMoments
from rlgpt.envs.observations import ObservationView
from rlgpt.envs.perception import CLIP, Perception
from rlgpt.envs.smdp import ReturnSpread

B, T = 3, 12
VECTOR = spaces.Box(-np.inf, np.inf, (2,), np.float32)
PICTURE = spaces.Box(0, 255, (40, 36, 3), np.uint8)
KINDS = [VECTOR, spaces.Box(-1, 1, (2, 3)), spaces.Discrete(4, start=2), spaces.MultiDiscrete([2, 3]), spaces.MultiBinary(3), PICTURE]
KINDS.append(spaces.Dict(a=VECTOR, b=spaces.Tuple([spaces.Discrete(3), PICTURE])))


def batch(space, rng_seed):
    batched = gymnasium.vector.utils.batch_space(space, B)
    batched.seed(rng_seed)
    return batched.sample()


def parts(seen):
    return seen if isinstance(seen, dict) else {"": seen}


@pytest.mark.parametrize("space", KINDS, ids=str)
def test_frames_are_those_of_the_episode_under_way(space):
    view, rng = ObservationView(space), np.random.default_rng(0)
    sight = Perception(view, frames=3)
    began = np.zeros(B, int)
    history = []
    for t in range(T):
        obs = batch(space, t)
        fresh = np.ones(B, bool) if t == 0 else rng.random(B) < 0.3
        began[fresh] = t
        history.append(parts(view.convert(obs)))
        seen = parts(sight.see(obs, fresh, learn=True))
        for key, part in seen.items():
            for i in range(B):
                rows = [np.atleast_1d(history[max(t - back, began[i])][key][i]) for back in (2, 1, 0)]
                axis = 0 if rows[0].ndim == 3 else -1
                np.testing.assert_array_equal(part[i], np.concatenate(rows, axis=axis))
        one = {key: part[0] for key, part in seen.items()}
        assert sight.space.contains(one if isinstance(sight.space, spaces.Dict) else one[""])


def test_last_observation_is_stacked_on_the_episode_that_ended_and_not_on_the_next():
    sight = Perception(ObservationView(VECTOR), frames=2)
    first, last, begun = (np.full((B, 2), value, np.float32) for value in (1, 2, 9))
    sight.see(first, None, learn=True)
    ended = sight.ends(last, np.array([1]))
    np.testing.assert_array_equal(ended, [[1, 1, 2, 2]])
    seen = sight.see(np.where([[False], [True], [False]], begun, last), np.array([False, True, False]), learn=True)
    np.testing.assert_array_equal(seen, [[1, 1, 2, 2], [9, 9, 9, 9], [1, 1, 2, 2]])


@pytest.mark.parametrize("frames", [1, 3])
def test_whole_episode_at_once_is_seen_as_step_by_step(frames):
    sight = Perception(ObservationView(VECTOR), frames=frames, normal=True)
    obs = np.random.default_rng(0).normal(size=(T, 2)).astype(np.float32)
    sight.learn(obs)
    stepped = [sight.see(obs[t : t + 1], np.array([t == 0]), learn=False)[0] for t in range(T)]
    np.testing.assert_array_equal(sight.episode(obs), stepped)


def test_numbers_are_normalised_by_what_was_seen_so_far_and_pictures_never():
    space = spaces.Dict(a=VECTOR, b=PICTURE)
    view, sight = ObservationView(space), Perception(ObservationView(space), normal=True)
    seen_so_far = []
    for t in range(T):
        obs = batch(space, t)
        obs["a"] = obs["a"] * 50 + 7
        seen_so_far.append(obs["a"])
        seen = sight.see(obs, None, learn=True)
        rows = np.concatenate(seen_so_far).astype(np.float64)
        np.testing.assert_allclose(seen["/a"], np.clip((obs["a"] - rows.mean(0)) / rows.std(0), -CLIP, CLIP), rtol=1e-4, atol=1e-5)
        np.testing.assert_array_equal(seen["/b"], view.convert(obs)["/b"])


def test_statistics_are_frozen_where_nothing_is_learned_and_come_back_exactly():
    sight, again = (Perception(ObservationView(VECTOR), normal=True) for _ in range(2))
    for t in range(4):
        sight.see(batch(VECTOR, t), None, learn=True)
    before = sight.state()
    np.testing.assert_array_equal(sight.see(batch(VECTOR, 9), None, learn=False), sight.ends(batch(VECTOR, 9), np.arange(B)))
    assert sight.state() == before
    again.restore(before)
    np.testing.assert_array_equal(sight.see(batch(VECTOR, 9), None, learn=False), again.see(batch(VECTOR, 9), None, learn=False))


def test_frames_that_make_more_channels_than_pixels_are_refused():
    with pytest.raises(EnvironmentUnsupported, match="frame_stack is 12: 36 channels"):
        Perception(ObservationView(PICTURE), frames=12)


def test_moments_of_batches_are_those_of_all_rows():
    moments, rows = RunningMoments((2,)), np.random.default_rng(0).normal(1e4, 3.0, (50, 2))
    np.testing.assert_array_equal(moments.deviation, 1.0)
    for part in np.split(rows, [1, 7, 30]):
        moments.add(part)
    np.testing.assert_allclose(moments.mean, rows.mean(0))
    np.testing.assert_allclose(moments.deviation, rows.std(0))


def test_spread_of_returns_is_that_of_what_episodes_gathered_discounted_by_durations():
    gamma, rng, spread = 0.9, np.random.default_rng(1), ReturnSpread(B, 0.9)
    gathered, everything = np.zeros(B), []
    for _ in range(20):
        reward, duration, done = rng.normal(5, 2, B), rng.integers(1, 8, B), rng.random(B) < 0.2
        gathered = gathered * gamma**duration + reward
        everything.append(gathered.copy())
        gathered[done] = 0
        spread.follow(reward, duration, done)
    assert spread.size == pytest.approx(np.std(everything))
    again = ReturnSpread(B, gamma)
    again.restore(spread.state())
    assert again.size == spread.size
