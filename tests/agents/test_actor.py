"""The numpy forward pass beside the torch one it stands for."""

import numpy as np
import pytest
import torch
from gymnasium import spaces
from sb3_contrib.common.maskable.policies import MaskableActorCriticPolicy
from stable_baselines3.common.policies import ActorCriticPolicy

from rlgpt.agents.learning.actor import SmallActor

OBS = spaces.Box(-1.0, 1.0, (2, 3))


def policy(kind=ActorCriticPolicy, obs=OBS, actions=None, **more):
    torch.manual_seed(0)
    made = kind(obs, actions or spaces.Discrete(4), lambda _: 1e-2, net_arch=[32, 32], **more)
    with torch.no_grad():  # away from the nearly uniform start
        made.action_net.weight.mul_(300)
    return made


def batch(n):
    return np.random.default_rng(0).normal(size=(n, 2, 3)).astype(np.float32)


@pytest.mark.parametrize("masked", [False, True])
def test_values_and_log_probabilities_are_those_of_torch(masked):
    torchs = policy(MaskableActorCriticPolicy if masked else ActorCriticPolicy)
    obs, masks = batch(500), np.random.default_rng(1).random((500, 4)) < 0.5
    masks[:, 0] = True
    actions, values, log_probs = SmallActor(torchs)(obs, masks if masked else None)
    more = {"action_masks": masks} if masked else {}
    with torch.no_grad():
        expected = torchs.evaluate_actions(torch.from_numpy(obs), torch.from_numpy(actions), **more)
    np.testing.assert_allclose(values, expected[0].numpy().reshape(-1), atol=1e-5)
    np.testing.assert_allclose(log_probs, expected[1].numpy(), atol=1e-4)
    if masked:
        assert masks[np.arange(500), actions].all()


def test_actions_are_drawn_as_often_as_they_are_likely():
    torchs = policy()
    obs = np.repeat(batch(1), 20_000, axis=0)
    np.random.seed(0)
    actions, _, _ = SmallActor(torchs)(obs, None)
    with torch.no_grad():
        likely = torchs.get_distribution(torch.from_numpy(obs[:1])).distribution.probs.numpy()[0]
    np.testing.assert_allclose(np.bincount(actions, minlength=4) / 20_000, likely, atol=0.02)


def test_weights_are_never_stale():
    torchs = policy()
    actor, obs = SmallActor(torchs), batch(3)
    _, before, _ = actor(obs, None)
    torchs.predict_values(torch.from_numpy(obs)).sum().backward()
    torchs.optimizer.step()
    _, after, _ = actor(obs, None)
    assert not np.allclose(before, after)
    torchs.load_state_dict(policy().state_dict())
    np.testing.assert_allclose(actor(obs, None)[1], before, atol=1e-6)


@pytest.mark.parametrize(
    "other",
    [
        {"actions": spaces.Box(-1, 1, (2,))},
        {"actions": spaces.MultiDiscrete([2, 2])},
        {"obs": spaces.Discrete(5)},
        {"activation_fn": torch.nn.ReLU},
    ],
)
def test_other_policies_are_left_to_torch(other):
    assert SmallActor.fits(policy())
    assert not SmallActor.fits(policy(**other))
