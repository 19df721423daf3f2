"""Semi-MDP advantages, recomputed by slow loops over single environment steps."""

import numpy as np
import pytest
from gymnasium import spaces
from stable_baselines3.common.buffers import RolloutBuffer

from rlgpt.envs.smdp import ReturnUnit, smdp_gae

GAMMA, LAMBDA = 0.95, 0.9


def rollout(seed, decisions=40, environments=3, longest=7):
    """Random decisions: the rewards of their single steps, how they ended, and the critic's values."""
    rng = np.random.default_rng(seed)
    shape = (decisions, environments)
    duration = rng.integers(1, longest + 1, shape)
    ending = rng.choice(["goes on", "terminated", "truncated"], shape, p=[0.8, 0.1, 0.1])
    steps = [[rng.normal(size=duration[t, b]) for b in range(environments)] for t in range(decisions)]
    return steps, duration, ending, rng.normal(size=shape), rng.normal(size=shape)


def gae(steps, duration, ending, value, next_value, **settings):
    discounted = [[sum(GAMMA**i * r for i, r in enumerate(own)) for own in row] for row in steps]
    kept = {"gamma": GAMMA, "gae_lambda": LAMBDA} | settings
    return smdp_gae(
        np.array(discounted),
        duration,
        terminated=ending == "terminated",
        truncated=ending == "truncated",
        value=value,
        next_value=next_value,
        **kept,
    )


def slow_advantage(t, b, steps, ending, value, next_value):
    """Sum over the decisions from t on, walking time one environment step after the other."""
    total, clock, credit = 0.0, 0, 1.0
    for later in range(t, len(steps)):
        error = -value[later, b]
        for i, reward in enumerate(steps[later][b]):
            error += GAMMA**i * reward
        if ending[later, b] != "terminated":
            error += GAMMA ** len(steps[later][b]) * next_value[later, b]
        total += GAMMA**clock * credit * error
        if ending[later, b] != "goes on":
            break
        clock += len(steps[later][b])
        credit *= LAMBDA
    return total


@pytest.mark.parametrize("seed", range(5))
def test_advantages_are_those_of_a_walk_over_single_steps(seed):
    case = steps, duration, ending, value, next_value = rollout(seed)
    advantage, returns = gae(*case)
    expected = [[slow_advantage(t, b, steps, ending, value, next_value) for b in range(duration.shape[1])] for t in range(len(steps))]
    np.testing.assert_allclose(advantage, expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(returns, advantage + value, rtol=1e-5, atol=1e-6)


def test_single_steps_give_what_stable_baselines3_computes():
    steps, duration, ending, value, _ = rollout(7, longest=1)
    done = ending != "goes on"
    theirs = RolloutBuffer(40, spaces.Box(-1, 1, (1,)), spaces.Discrete(2), "cpu", gae_lambda=LAMBDA, gamma=GAMMA, n_envs=3)
    theirs.rewards[:] = [[own[0] for own in row] for row in steps]
    theirs.values[:], last = value, np.array([0.3, -0.2, 0.1], np.float32)
    theirs.episode_starts[1:] = done[:-1]
    import torch

    theirs.compute_returns_and_advantage(torch.tensor(last), done[-1])
    # Their buffer knows no truncation: an episode that ends has no value after it.
    advantage, returns = gae(steps, duration, np.where(done, "terminated", "goes on"), value, np.vstack([value[1:], last]))
    np.testing.assert_allclose(advantage, theirs.advantages, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(returns, theirs.returns, rtol=1e-4, atol=1e-5)


def test_truncated_episode_keeps_the_value_of_its_last_observation():
    one = {
        "reward": np.array([[2.0]]),
        "duration": np.array([[10]]),
        "value": np.array([[1.0]]),
        "next_value": np.array([[5.0]]),
        "gamma": 0.9,
        "gae_lambda": 0.9,
    }
    no, yes = np.array([[False]]), np.array([[True]])
    cut, _ = smdp_gae(terminated=no, truncated=yes, **one)
    over, _ = smdp_gae(terminated=yes, truncated=no, **one)
    both, _ = smdp_gae(terminated=yes, truncated=yes, **one)
    assert cut[0, 0] == pytest.approx(2.0 + 0.9**10 * 5.0 - 1.0)
    assert over[0, 0] == both[0, 0] == pytest.approx(2.0 - 1.0)


def test_ignoring_durations_gives_a_wrong_return():
    """Fifty steps until a reward of 1: worth 0.95**49 now, not the 0.95**4 that five decisions of ten steps would suggest."""
    steps = [[np.zeros(10)] for _ in range(4)] + [[np.array([0.0] * 9 + [1.0])]]
    ending = np.array([["goes on"]] * 4 + [["terminated"]])
    zeros, tens = np.zeros((5, 1)), np.full((5, 1), 10)
    _, right = gae(steps, tens, ending, zeros, zeros, gae_lambda=1.0)
    _, wrong = gae(steps, np.ones_like(tens), ending, zeros, zeros, gae_lambda=1.0)
    assert right[0, 0] == pytest.approx(0.95**49, rel=1e-5)
    assert wrong[0, 0] > 5 * right[0, 0]


def test_lambda_is_per_decision_so_a_long_skill_does_not_cut_the_credit_before_it():
    steps = [[np.zeros(1)], [np.zeros(50)], [np.array([1.0])]]
    ending, zeros = np.array([["goes on"], ["goes on"], ["terminated"]]), np.zeros((3, 1))
    advantage, _ = gae(steps, np.array([[1], [50], [1]]), ending, zeros, zeros)
    assert advantage[0, 0] == pytest.approx(GAMMA**51 * LAMBDA**2, rel=1e-5)


def test_unit_is_the_largest_discounted_return_of_any_episode():
    unit = ReturnUnit(2, gamma=0.5)
    assert unit.size == 1.0
    unit.follow(np.array([0.0, -4.0]), np.array([1, 1]), np.array([False, False]))
    unit.follow(np.array([1.0, -4.0]), np.array([3, 1]), np.array([False, True]))
    assert unit.size == 6.0  # -4 * 0.5 - 4
    unit.follow(np.array([0.0, -5.0]), np.array([1, 1]), np.array([False, False]))
    assert unit.size == 6.0  # a new episode began at 0
    unit.forget_episodes()
    assert not unit.gathered.any()
