"""PPO over options on an in-process pool whose every environment step is on record."""

from itertools import pairwise

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from local_pool import LocalPool
from stable_baselines3.common.callbacks import BaseCallback

from rlgpt.agents.learning import ppo
from rlgpt.agents.learning.ppo import make_ppo
from rlgpt.bus.task import Learner
from rlgpt.envs.episodes import EpisodeSeeds
from rlgpt.envs.observations import ObservationView
from rlgpt.envs.options import SkillActions
from rlgpt.envs.vector import SkillVecEnv

torch.set_num_threads(1)

GAMMA = 0.9
REWARDS = np.array([0.0, 1.0, -1.0, 0.5, 0.0, 0.0, 2.0, 0.0, -0.5, 0.0, 0.0, 1.0])
EXACT = [sum(GAMMA**i * r for i, r in enumerate(REWARDS[s:])) for s in range(len(REWARDS))]
"""Value of every state of the corridor under every policy: what is on the way is the same, however long the strides."""


class Corridor(gym.Env):
    """Twelve cells in a row; the only action goes one cell on and gathers what lies there. It starts anywhere."""

    observation_space = spaces.Discrete(len(REWARDS))
    action_space = spaces.Discrete(1)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.cell = int(self.np_random.integers(len(REWARDS)))
        return self.cell, {}

    def step(self, action):
        reward = float(REWARDS[self.cell])
        self.cell += 1
        over = self.cell == len(REWARDS)
        return 0 if over else self.cell, reward, over, False, {}


def stride(obs, info):
    for _ in range(4):
        _obs, _info = yield 0


def learner(pool, names=("stride",), *, masked=False, **settings):
    settings = Learner(**{"rollout": 16, "batch_size": 32, "gamma": GAMMA, "hidden": (16,)} | settings)
    view, actions = ObservationView(pool.observation_space), SkillActions.of(pool.action_space, names)
    seeds = EpisodeSeeds(0, range(0))
    env = SkillVecEnv(pool, actions, view, seeds, environments=len(pool.envs), skills=len(names))
    return make_ppo(env, settings, masked=masked, seed=0, device="cpu")


def corridor(environments=4, **more):
    return LocalPool(Corridor, environments, skills=[stride], gamma=GAMMA, **more)


def learned_values(steps):
    pool = corridor()
    model = learner(pool, learning_rate=5e-3, gae_lambda=0.95)
    model.learn(steps)
    values = model._values(np.arange(len(REWARDS))).numpy().reshape(-1) * model.counted
    return values, pool


def test_critic_gets_to_the_exact_values_of_a_semi_markov_process():
    values, pool = learned_values(8_000)
    np.testing.assert_allclose(values, EXACT, atol=0.08)
    assert any(a == b == 0 for a, b in pairwise(step[0] for step in pool.log)), "no strides were taken"


def test_critic_that_ignores_durations_is_measurably_wrong(monkeypatch):
    right = ppo.smdp_gae

    def blind(reward, duration, **more):
        return right(reward, np.ones_like(duration), **more)

    monkeypatch.setattr(ppo, "smdp_gae", blind)
    values, _ = learned_values(8_000)
    assert np.abs(values - EXACT).max() > 0.2


class Wages(gym.Env):
    """One state; action 0 pays 1 at once, action 1 is a step of work that pays 3 when it is the fourth in a row. It never ends.

    With gamma 0.9, taking 0 for ever is worth 1 / (1 - 0.9) = 10, working for ever 0.9**3 * 3 / (1 - 0.9**4) = 6.4; who takes each choice
    for one step of time believes the work to be worth 0.9**3 * 3 / (1 - 0.9) = 21.9.
    """

    observation_space = spaces.Box(0, 1, (1,), np.float32)
    action_space = spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.worked = self.taken = 0
        return np.ones(1, np.float32), {}

    def step(self, action):
        self.worked, self.taken = self.worked + 1 if action == 1 else 0, self.taken + 1
        paid = 1.0 if action == 0 else 3.0 if self.worked == 4 else 0.0
        self.worked %= 4
        return np.ones(1, np.float32), paid, False, self.taken >= 200, {}


def work(obs, info):
    for _ in range(4):
        _obs, _info = yield 1


def share_of_work_and_value(steps):
    """Of a policy over "take" and "work", learned with the exact values above in reach."""
    pool = LocalPool(Wages, 4, skills=[work], gamma=GAMMA)
    view, actions = ObservationView(pool.observation_space), SkillActions.of(pool.action_space, ["work"], ["0"])
    env = SkillVecEnv(pool, actions, view, EpisodeSeeds(0, range(0)), environments=4, skills=1)
    settings = Learner(rollout=32, batch_size=64, gamma=GAMMA, hidden=(16,), learning_rate=5e-3)
    model = make_ppo(env, settings, masked=False, seed=0, device="cpu")
    model.learn(steps)
    seen = torch.ones(1, 1)
    with torch.no_grad():
        share = float(model.policy.get_distribution(seen).distribution.probs[0, 1])
        return share, float(model.policy.predict_values(seen)) * model.counted


def test_choice_between_a_skill_and_an_action_is_the_exact_one_of_the_semi_markov_process():
    share, value = share_of_work_and_value(8_000)
    assert share < 0.05
    assert value == pytest.approx(10.0, abs=0.8)


def test_learner_that_ignores_durations_chooses_wrongly(monkeypatch):
    right = ppo.smdp_gae
    monkeypatch.setattr(ppo, "smdp_gae", lambda reward, duration, **more: right(reward, np.ones_like(duration), **more))
    share, _ = share_of_work_and_value(8_000)
    assert share > 0.95


def test_timesteps_are_environment_steps_and_none_counts_twice():
    pool = corridor()
    model = learner(pool)
    model.learn(1000)
    assert model.num_timesteps == len(pool.log)


@pytest.mark.parametrize("budget", [1, 37, 500])
def test_budget_is_passed_by_less_than_one_decision_per_environment(budget):
    pool = corridor(environments=3)
    model = learner(pool)
    model.step_limit = budget
    model.learn(budget)
    assert budget <= model.num_timesteps < budget + 3 * 4
    assert model.num_timesteps == len(pool.log)


def test_rollout_cut_by_the_budget_trains_on_what_there_is():
    model = learner(corridor(), rollout=64, batch_size=16)
    model.step_limit = 120
    model.learn(120)
    rows = model.rollout_buffer.buffer_size
    assert 0 < rows < 64
    assert len(model.rollout_buffer.returns) == rows * 4
    assert model._n_updates > 0


def test_minibatch_of_one_decision_does_not_poison_the_weights():
    model = learner(corridor(environments=1), rollout=17, batch_size=16, masked=True)
    model.learn(40)
    assert all(np.isfinite(weights.detach().numpy()).all() for weights in model.policy.parameters())


def test_masked_skill_is_never_called():
    pool = LocalPool(Corridor, 4, skills=[stride, stride], can_run=[lambda cell: cell >= 8, None], gamma=GAMMA)
    model = learner(pool, ("late", "any"), masked=True)
    asked = []
    step = pool.step
    pool.step = lambda choices, seeds: asked.extend(zip(list(pool.obs), choices, strict=True)) or step(choices, seeds)
    model.learn(600)
    called = [cell for cell, choice in asked if getattr(choice, "skill", None) == 0]
    assert called
    assert min(called) >= 8


def test_blocked_skill_is_not_called_any_more_without_a_mask_either():
    pool = corridor()
    model = learner(pool)
    model.env.block(0)
    model.learn(300)
    assert model.rollout_buffer.durations.max() == 1
    assert model.rollout_buffer.actions.max() == 1, "the policy, which does not mask, still tried"


class Timed(Corridor):
    """A corridor without an end, cut off after three steps; every step gives 1."""

    def reset(self, *, seed=None, options=None):
        self.taken = 0
        return super().reset(seed=seed)

    def step(self, action):
        self.taken += 1
        self.cell = (self.cell + 1) % len(REWARDS)
        return self.cell, 1.0, False, self.taken >= 3, {}


def test_time_limit_inside_a_skill_bootstraps_with_the_last_observation():
    """With the bootstrap every state is worth 1 / (1 - gamma) = 10; without, at most 1 + 0.9 + 0.81."""
    pool = LocalPool(Timed, 4, skills=[stride], gamma=GAMMA)
    model = learner(pool, learning_rate=5e-3, gae_lambda=1.0)
    model.learn(6_000)
    values = model._values(np.arange(len(REWARDS))).numpy() * model.counted
    np.testing.assert_allclose(values, 10.0, atol=1.0)


class Spaces(gym.Env):
    """Random observations of any kind; takes any action; ten steps an episode."""

    def __init__(self, observation_space, action_space):
        self.observation_space, self.action_space = observation_space, action_space

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.observation_space.seed(seed)
        self.taken = 0
        return self.observation_space.sample(), {}

    def step(self, action):
        assert self.action_space.contains(action), action
        self.taken += 1
        return self.observation_space.sample(), 1.0, False, self.taken >= 10, {}


NESTED = spaces.Dict(type=spaces.Discrete(3, start=1), deep=spaces.Tuple([spaces.Box(0, 2, (2,)), spaces.MultiBinary(3)]))
PICTURE = spaces.Box(0, 255, (40, 40, 3), np.uint8)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize(
    ("observed", "acted", "policy"),
    [
        (spaces.Box(-1, 1, (3,)), spaces.Discrete(3, start=2), "MlpPolicy"),
        (spaces.Discrete(4), spaces.MultiDiscrete([2, 3]), "MlpPolicy"),
        (spaces.MultiDiscrete([2, 3]), spaces.Box(-2, 5, (2,)), "MlpPolicy"),
        (NESTED, spaces.Discrete(2), "MultiInputPolicy"),
        (spaces.Dict(picture=PICTURE, bag=spaces.Box(0, 9, (2,))), spaces.MultiDiscrete([2, 2]), "MultiInputPolicy"),
        (PICTURE, spaces.Discrete(2), "CnnPolicy"),
    ],
)
def test_every_kind_of_space_can_be_learned_on(observed, acted, policy, masked):
    def twice(obs, info):
        for _ in range(2):
            yield acted.sample()

    pool = LocalPool(lambda: Spaces(observed, acted), 2, skills=[twice], gamma=GAMMA)
    model = learner(pool, ("twice",), masked=masked and not isinstance(acted, spaces.Box), rollout=8, batch_size=8, epochs=1)
    assert model.env.view.policy == policy
    model.learn(60)
    assert model.num_timesteps == len(pool.log)
    assert {1, 2} <= set(model.rollout_buffer.durations.reshape(-1).tolist())


class Stop(BaseCallback):
    def _on_step(self):
        return False


def test_callback_can_stop_a_rollout():
    model = learner(corridor())
    model.learn(1000, callback=Stop())
    assert model._n_updates == 0


def test_vec_env_speaks_stable_baselines3():
    pool = corridor(environments=2)
    env = learner(pool).env
    env.reset()
    infos = []
    for _ in range(6):
        _, _, dones, new = env.step(np.array([0, 1]))
        infos += [info for done, info in zip(dones, new, strict=True) if done]
    assert all({"terminal_observation", "episode", "TimeLimit.truncated", "duration"} <= info.keys() for info in infos)
    assert infos[0]["is_success"]
    np.testing.assert_array_equal(env.env_method("action_masks"), [[True, True]] * 2)
    with pytest.raises(AttributeError, match="worker processes"):
        env.get_attr("cell")


def test_training_seeds_are_reproducible_and_never_held_out():
    first, again = EpisodeSeeds(3, range(0)), EpisodeSeeds(3, range(0), drawn=5)
    drawn = [next(first) for _ in range(10)]
    assert drawn[5:] == [next(again) for _ in range(5)]
    held = EpisodeSeeds(3, range(min(drawn), min(drawn) + 1))
    assert min(drawn) not in [next(held) for _ in range(10)]
    assert all(0 <= seed < 2**31 for seed in drawn)
