"""Skills in every kind of action space."""

import numpy as np
import pytest
import torch
from gymnasium import spaces
from sb3_contrib.common.maskable.distributions import make_masked_proba_distribution
from stable_baselines3.common.policies import ActorCriticPolicy

from rlgpt.envs.options import ActionsUnsupported, SkillActions, action_names, kept_numbers
from rlgpt.envs.transitions import Call, Primitive

ALL = np.ones((1, 2), bool)


def decode(actions, batch, runnable=ALL):
    choices, chosen = actions.decode(np.array(batch), np.broadcast_to(runnable, (len(batch), runnable.shape[1])))
    return choices, [actions.names[which] for which in chosen]


def test_discrete_gets_one_more_choice_per_skill():
    actions = SkillActions.of(spaces.Discrete(3), ["chop", "dig"], words=["left", "stay", "right"])
    assert actions.space == spaces.Discrete(5)
    choices, names = decode(actions, [0, 2, 3, 4])
    assert choices == [Primitive(0), Primitive(2), Call(0), Call(1)]
    assert names == ["left", "right", "chop", "dig"]


def test_discrete_actions_are_counted_from_the_start_of_the_space():
    actions = SkillActions.of(spaces.Discrete(2, start=5), ["chop"])
    assert actions.names == ("5", "6", "chop")
    assert decode(actions, [0, 1, 2], np.ones((1, 1), bool))[0] == [Primitive(5), Primitive(6), Call(0)]


def test_only_the_primitives_that_were_named_stay():
    actions = SkillActions.of(spaces.Discrete(3), ["chop", "dig"], primitives=["right", "left"], words=["left", "stay", "right"])
    assert actions.names == ("left", "right", "chop", "dig")
    assert decode(actions, [1, 3])[0] == [Primitive(2), Call(1)]
    assert kept_numbers(["left", "stay", "right"], ["right", "left"]) == [2, 0]


def test_unknown_primitive_is_an_error_with_the_nearest_name():
    with pytest.raises(ActionsUnsupported, match=r"'rigth'.*did you mean 'right'"):
        SkillActions.of(spaces.Discrete(2), primitives=["rigth"], words=["left", "right"])


def test_words_that_do_not_name_every_action_are_an_error():
    with pytest.raises(ActionsUnsupported, match="names 1 actions"):
        action_names(spaces.Discrete(2), ["left"])


def test_a_skill_and_a_primitive_of_one_name_stay_apart():
    assert SkillActions.of(spaces.Discrete(2), ["left"], words=["left", "right"]).names == ("left", "right", "left (skill)")


def test_skill_that_cannot_run_becomes_the_first_primitive_that_stays():
    actions = SkillActions.of(spaces.Discrete(3), ["chop", "dig"], primitives=["2"])
    assert decode(actions, [1, 2], np.array([[False, True]])) == ([Primitive(2), Call(1)], ["2", "dig"])


def test_discrete_mask_lets_only_runnable_skills_be_chosen():
    actions = SkillActions.of(spaces.Discrete(2), ["chop", "dig"])
    np.testing.assert_array_equal(actions.mask(np.array([[False, True], [True, True]])), [[1, 1, 0, 1], [1, 1, 1, 1]])


def test_multi_discrete_gets_a_leading_choice():
    space = spaces.MultiDiscrete([3, 4], start=[0, 10])
    actions = SkillActions.of(space, ["chop", "dig"])
    assert actions.space == spaces.MultiDiscrete([3, 3, 4])
    choices, names = decode(actions, [[0, 2, 3], [1, 0, 0], [2, 1, 1]])
    assert names == ["primitive", "chop", "dig"]
    assert choices[1:] == [Call(0), Call(1)]
    np.testing.assert_array_equal(choices[0].action, [2, 13])
    assert space.contains(choices[0].action)


def test_multi_discrete_mask_has_the_layout_of_sb3_contrib():
    actions = SkillActions.of(spaces.MultiDiscrete([3, 4]), ["chop", "dig"])
    masks = actions.mask(np.array([[False, True]] * 50))
    distribution = make_masked_proba_distribution(actions.space).proba_distribution(torch.zeros(50, 3 + 3 + 4))
    distribution.apply_masking(masks)
    drawn = distribution.sample().numpy()
    assert set(drawn[:, 0]) == {0, 2}
    assert set(drawn[:, 2]) == {0, 1, 2, 3}


def test_multi_discrete_without_skills_stays_as_it_is():
    actions = SkillActions.of(spaces.MultiDiscrete([3, 4]))
    assert actions.space == spaces.MultiDiscrete([3, 4])
    np.testing.assert_array_equal(decode(actions, [[2, 3]], np.ones((1, 0), bool))[0][0].action, [2, 3])


def test_box_takes_the_largest_logit():
    space = spaces.Box(np.array([0.0, -2.0], np.float32), np.array([1.0, 2.0], np.float32))
    actions = SkillActions.of(space, ["chop", "dig"])
    assert actions.space.shape == (2 + 3,)
    choices, names = decode(actions, [[0.0, 1.0, 5.0, 1.0, 1.0], [0, 0, 0.1, 0.2, -3], [0, 0, 1.0, 3.0, 4.0]])
    assert names == ["primitive", "chop", "dig"]
    assert choices[1:] == [Call(0), Call(1)]
    np.testing.assert_allclose(choices[0].action, [0.5, 2.0])


def test_box_primitive_is_scaled_to_the_bounds_and_clipped_to_them():
    space = spaces.Box(-2.0, 6.0, (2, 1))
    choices, _ = decode(SkillActions.of(space), [[-9.0, 0.5]], np.ones((1, 0), bool))
    np.testing.assert_allclose(choices[0].action, [[-2.0], [4.0]])
    assert space.contains(choices[0].action)


def test_box_skill_that_cannot_run_becomes_the_primitive_of_the_same_vector():
    actions = SkillActions.of(spaces.Box(-1.0, 1.0, (1,)), ["chop", "dig"])
    choices, names = decode(actions, [[0.25, 0.0, 9.0, 1.0]], np.array([[False, True]]))
    assert names == ["primitive"]
    np.testing.assert_allclose(choices[0].action, [0.25])
    assert actions.mask(ALL) is None


def test_untrained_box_policy_tries_primitives_and_skills_alike():
    actions = SkillActions.of(spaces.Box(-1.0, 1.0, (3,)), ["a", "b", "c"])
    torch.manual_seed(0)
    policy = ActorCriticPolicy(spaces.Box(-1, 1, (4,)), actions.space, lambda _: 1e-3)
    drawn = policy(torch.randn(4000, 4))[0].detach().numpy()
    _, chosen = actions.decode(drawn, np.ones((4000, 3), bool))
    shares = np.bincount(chosen, minlength=4) / 4000
    np.testing.assert_allclose(shares, 0.25, atol=0.05)


@pytest.mark.parametrize(
    ("space", "words"),
    [
        (spaces.MultiBinary(3), "MultiBinary.*Discrete, MultiDiscrete and Box can"),
        (spaces.Dict(a=spaces.Discrete(2)), "Dict"),
        (spaces.Box(-np.inf, np.inf, (2,)), "unbounded"),
    ],
)
def test_other_actions_are_refused_by_name(space, words):
    with pytest.raises(ActionsUnsupported, match=words):
        SkillActions.of(space, ["chop"])


def test_primitives_of_a_box_cannot_be_restricted():
    with pytest.raises(ActionsUnsupported, match="only restrict Discrete"):
        SkillActions.of(spaces.Box(-1, 1, (2,)), primitives=["left"])
