"""Learned policies in a worker: the same choices as torch's network, only numbers on the way, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from gymnasium import spaces
from sb3_contrib import MaskablePPO
from stable_baselines3 import PPO

from rlgpt.agents.learning.export import network
from rlgpt.agents.learning.policy import SIGHT, actions_of, is_masked, perception
from rlgpt.bus.messages import TrainingRequested
from rlgpt.bus.parts import Artifact, Skill
from rlgpt.bus.task import Environment, Evaluation, Learner
from rlgpt.envs.errors import SkillInvalid
from rlgpt.envs.learned import MAX_BYTES, LearnedPolicy, Network, packed
from rlgpt.envs.observations import ObservationView
from rlgpt.envs.pool import try_skill
from rlgpt.envs.skill import Calls, SkillSource, compile_skills
from rlgpt.envs.space import describe

BOX = spaces.Box(-2.0, 4.0, (3,), np.float32)
OBSERVATIONS = {
    "box": BOX,
    "discrete": spaces.Discrete(5, start=2),
    "several": spaces.MultiDiscrete([2, 3]),
    "dict": spaces.Dict({"z": BOX, "a": spaces.Discrete(3), "b": spaces.MultiBinary(4)}),
    "tuple": spaces.Tuple([spaces.Discrete(2), BOX]),
}
ACTIONS = {"discrete": spaces.Discrete(4), "several": spaces.MultiDiscrete([3, 2]), "box": spaces.Box(-1.0, 3.0, (2,), np.float32)}


class Built:
    """A torch policy with weights of its own, and the same as a worker runs it."""

    def __init__(self, observation: spaces.Space, action: spaces.Space, *, skills=(), greedy=True, until="", **settings):
        self.pool = SimpleNamespace(observation_space=observation, action_space=action)
        self.request = TrainingRequested(
            plan=1,
            environment=Environment(id="X-v0"),
            success="False",
            skills=skills,
            learner=Learner(hidden=(16, 8), **settings),
            evaluation=Evaluation(),
            seed=7,
        )
        view = ObservationView(observation)
        self.sight = perception(self.request, view)
        self.actions = actions_of(self.request, self.pool)
        self.masked = is_masked(self.request, self.actions)
        torch.manual_seed(3)
        kind = (MaskablePPO if self.masked else PPO).policy_aliases[view.policy]
        self.policy = kind(self.sight.space, self.actions.space, lambda _: 0.0, net_arch=[16, 8])
        for parameter in self.policy.parameters():
            torch.nn.init.normal_(parameter, std=0.5)
        observation.seed(1)
        if settings.get("normalize_observations"):
            self.sight.learn(_stacked([observation.sample() for _ in range(50)]))
        weights = {name: tensor.detach() for name, tensor in self.policy.state_dict().items()}
        for key, part in self.sight.state().items():
            weights |= {f"{SIGHT}{name}:{key}": torch.tensor(values, dtype=torch.float64) for name, values in part.items()}
        self.network = Network.unpack(network(self.request, weights, self.pool, until, greedy=greedy).pack())

    def learned(self, moment=(5, 0)):
        return LearnedPolicy(self.network, describe(self.pool.observation_space), describe(self.pool.action_space), lambda: moment)


def _stacked(rows):
    if isinstance(rows[0], dict):
        return {key: _stacked([row[key] for row in rows]) for key in rows[0]}
    return tuple(_stacked(list(part)) for part in zip(*rows, strict=True)) if isinstance(rows[0], tuple) else np.stack(rows)


def played(learned: LearnedPolicy, observations):
    """The actions it takes while it sees these."""
    play = learned(observations[0], {})
    taken = [next(play)]
    for obs in observations[1:]:
        taken.append(play.send((obs, {})))
    return taken


@pytest.mark.parametrize(
    ("observation", "action", "settings"),
    [
        ("box", "discrete", {}),
        ("box", "box", {}),
        ("discrete", "several", {}),
        ("several", "discrete", {"frame_stack": 3}),
        ("dict", "discrete", {"normalize_observations": True, "frame_stack": 2}),
        ("tuple", "box", {"normalize_observations": True}),
    ],
)
def test_numpy_takes_the_choices_that_torch_takes(observation, action, settings):
    built = Built(OBSERVATIONS[observation], ACTIONS[action], **settings)
    built.pool.observation_space.seed(11)
    seen = [built.pool.observation_space.sample() for _ in range(12)]
    runnable = np.ones((1, 0), bool)
    expected = []
    for step, obs in enumerate(seen):
        with torch.no_grad():
            tensors, _ = built.policy.obs_to_tensor(built.sight.see(_stacked([obs]), np.array([step == 0]), learn=False))
            row, _, _ = built.policy(tensors, deterministic=True)
        (choice,), _ = built.actions.decode(row.numpy(), runnable)
        expected.append(choice.action)
    taken = played(built.learned(), seen)
    assert len({str(one) for one in taken}) > 1, "a policy that always does the same would agree with anything"
    np.testing.assert_allclose(np.array(taken, float), np.array(expected, float), rtol=1e-5)


def test_drawn_choices_follow_the_shares_and_are_the_same_at_the_same_moment():
    built = Built(BOX, ACTIONS["discrete"], greedy=False)
    obs = np.array([0.5, -1.0, 2.0], np.float32)
    with torch.no_grad():
        shares = built.policy.get_distribution(torch.from_numpy(built.sight.see(obs[None], None, learn=False))).distribution.probs[0]
    taken = played(built.learned(), [obs] * 4000)
    assert np.bincount(taken, minlength=4) / 4000 == pytest.approx(shares.numpy(), abs=0.03)
    assert played(built.learned(), [obs] * 50) == taken[:50]
    assert played(built.learned((5, 1)), [obs] * 50) != taken[:50]


def test_a_second_call_within_a_decision_draws_anew():
    learned = Built(BOX, ACTIONS["discrete"], greedy=False).learned()
    obs = [np.zeros(3, np.float32)] * 50
    assert played(learned, obs) != played(learned, obs)


def test_a_call_ends_with_the_step_after_which_it_is_done():
    learned = Built(BOX, ACTIONS["discrete"], until="obs[0] - start[0] > 1 and steps > 2").learned()
    play = learned(np.zeros(3, np.float32), {})
    next(play)
    for steps, value in enumerate((2.0, 2.0, 0.5), start=1):
        play.send((np.full(3, value, np.float32), {"at": steps}))
    with pytest.raises(StopIteration) as end:
        play.send((np.full(3, 1.5, np.float32), {"at": 4}))
    assert end.value.value[1] == {"at": 4}


CHOSEN = "def hop(obs, info):\n    for _ in range(3):\n        obs, info = yield 9\n\n\ndef can_run(obs, info):\n    return obs[0] > 0\n"


def test_skills_are_chosen_as_whole_calls_and_only_where_they_can_run():
    built = Built(BOX, ACTIONS["discrete"], skills=(Skill(name="hop", source=CHOSEN, max_steps=2),))
    assert built.masked
    weights, biases = built.network.layers[-1]
    likes_hop = replace(built.network, layers=(*built.network.layers[:-1], (weights * 0, np.array([0, 0, 1, 0, 5], np.float32))))
    assert biases.shape == (5,)
    sources = [SkillSource("hop", CHOSEN, 2), SkillSource("learned", "def learned(obs, info):\n    yield from policy(obs, info)\n", 9)]
    sources[1] = replace(sources[1], network=likes_hop.pack())
    _, learned = compile_skills(sources, ("numpy",), {}, Calls(), (describe(BOX), describe(ACTIONS["discrete"])))
    play = learned.play(np.ones(3), {})
    taken = [next(play)] + [play.send((np.ones(3), {})) for _ in range(3)]
    assert taken == [9, 9, 9, 9], "two calls of two steps, as hop's own limit says"
    assert play.send((-np.ones(3), {})) == 2, "hop cannot run there: the likeliest of the others"


WRITES = (
    "def hop(obs, info):\n    obs[:] = 99\n    obs, info = yield 9\n\n\ndef can_run(obs, info):\n    obs[:] = 77\n    return 1 / obs[0]\n"
)


@pytest.mark.parametrize("fails", [False, True])
def test_a_skill_that_writes_to_what_it_sees_or_whose_can_run_fails_does_no_harm(fails):
    built = Built(BOX, ACTIONS["discrete"], skills=(Skill(name="hop", source=CHOSEN, max_steps=2),), until="obs[0] - start[0] > 1")
    weights, _ = built.network.layers[-1]
    likes_hop = replace(built.network, layers=(*built.network.layers[:-1], (weights * 0, np.array([0, 0, 1, 0, 5], np.float32))))
    source = WRITES.replace("1 / obs[0]", "1 / 0") if fails else WRITES
    sources = [SkillSource("hop", source, 2), SkillSource("learned", "def learned(obs, info):\n    yield from policy(obs, info)\n", 9)]
    sources[1] = replace(sources[1], network=likes_hop.pack())
    _, learned = compile_skills(sources, ("numpy",), {}, Calls(), (describe(BOX), describe(ACTIONS["discrete"])))
    play = learned.play(np.zeros(3), {})
    assert next(play) == (2 if fails else 9)
    assert play.send((np.full(3, 0.5), {})) == (2 if fails else 9)
    with pytest.raises(StopIteration):
        play.send((np.full(3, 1.5), {}))


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda net: replace(net, layers=net.layers[:-1]), "layers have sizes"),
        (lambda net: replace(net, observation=describe(spaces.Discrete(3))), "other observations"),
        (lambda net: replace(net, skills=("jump",)), "layers have sizes"),
        (lambda net: replace(net, until="reward > 1"), "may speak of"),
        (lambda net: replace(net, until="obs.__class__"), "private attribute"),
    ],
)
def test_what_does_not_fit_is_refused_before_it_plays(spoil, words):
    built = Built(BOX, ACTIONS["discrete"])
    with pytest.raises(SkillInvalid, match=words):
        LearnedPolicy(spoil(built.network), describe(BOX), describe(ACTIONS["discrete"]), lambda: (0, 0))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "no learned policy"),
        (b"\x80", "no learned policy"),
        (b"\x93\x01\x02\x03", "no learned policy"),
        (b"\x81\xa7version\x02", "version 2"),
        (b"x" * (MAX_BYTES + 1), "at most"),
    ],
)
def test_other_bytes_are_refused_with_the_reason(data, words):
    with pytest.raises(SkillInvalid, match=words):
        Network.unpack(data)


def test_weights_that_are_no_numbers_are_refused():
    built = Built(BOX, ACTIONS["discrete"])
    broken = replace(built.network, deviation=np.array([np.nan], np.float32))
    with pytest.raises(SkillInvalid, match="no finite numbers"):
        Network.unpack(broken.pack())


def artifact(path, data):
    path.write_bytes(data)
    import hashlib

    return Artifact(uri=path.as_uri(), sha256=hashlib.sha256(data).hexdigest(), media_type="x")


def test_a_changed_file_never_enters_a_worker(tmp_path):
    skill = Skill(name="learned", source="", max_steps=9, policy=artifact(tmp_path / "net", b"one"))
    (tmp_path / "net").write_bytes(b"two")
    with pytest.raises(SkillInvalid, match="the file was changed"):
        packed(skill)
    (tmp_path / "net").unlink()
    with pytest.raises(SkillInvalid, match="cannot be read"):
        packed(skill)


def test_it_plays_in_a_locked_worker_and_its_episode_can_be_repeated(tmp_path):
    observation = spaces.Box(
        np.array([-4.8, -np.inf, -0.41887903, -np.inf], np.float32), np.array([4.8, np.inf, 0.41887903, np.inf], np.float32)
    )
    built = Built(observation, spaces.Discrete(2), greedy=False, until="steps >= 4")
    file = artifact(tmp_path / "net", built.network.pack())
    skill = Skill(name="learned", source="def learned(obs, info):\n    yield from policy(obs, info)\n", max_steps=9, policy=file)
    calling = Skill(
        name="twice",
        source="def twice(obs, info):\n    for _ in range(2):\n        obs, info = yield from learned(obs, info)\n",
        max_steps=20,
    )
    cart_pole = Environment(id="CartPole-v1")
    alone = try_skill(cart_pole, skill, (), "steps >= 4", [1, 2])
    assert [(one.success, one.steps, one.ended, one.error) for one in alone] == [(True, 4, "returned", "")] * 2
    again = try_skill(cart_pole, calling, (skill,), "steps >= 8", [1])
    assert [(one.success, one.steps, one.error) for one in again] == [(True, 8, "")]
    assert again[0].trace[:4] == alone[0].trace[:4], "the same seed, the same choices"
