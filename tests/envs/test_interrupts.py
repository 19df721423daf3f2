"""Interrupts: named conditions that end a call of a skill, in a trial and in training."""

from __future__ import annotations

import numpy as np
import pytest

from rlgpt.bus.parts import Skill
from rlgpt.bus.task import Environment
from rlgpt.envs.errors import SkillInvalid
from rlgpt.envs.pool import Call, Primitive, WorkerPool, try_skill

CORRIDOR = Environment(
    id="worlds:Corridor-v0",
    actions=("left", "right", "stay"),
    interrupts={"half_way": "obs[0] >= 2 and previous[0] < 2", "late": "obs[1] >= 4"},
)
RIGHT, STAY = Primitive(1), Primitive(2)
GAMMA = 0.5


def skill(name: str, body: str, max_steps: int = 10) -> Skill:
    return Skill(
        name=name, source=f"def {name}(obs, info):\n" + "".join(f"    {line}\n" for line in body.splitlines()), max_steps=max_steps
    )


ON = skill("on", "while True:\n    obs, info = yield RIGHT")
OUTER = skill("outer", "obs, info = yield STAY\nobs, info = yield from on(obs, info)\nyield LEFT")


def test_call_ends_with_the_interrupt_and_a_trial_says_which(monkeypatch):
    (episode,) = try_skill(CORRIDOR, ON, (), "obs[0] >= 2", [1])
    assert (episode.ended, episode.steps, episode.success, episode.error) == ("interrupted", 2, True, "")
    assert episode.trace[-1] == ("1 call was ended by the interrupt 'half_way', which held then: obs[0] >= 2 and previous[0] < 2")


def test_first_interrupt_that_holds_is_the_one_that_is_told():
    both = CORRIDOR.model_copy(update={"interrupts": {"b": "obs[0] == 3", "a": "obs[0] == 3"}})
    assert "the interrupt 'b'" in try_skill(both, ON, (), "False", [1])[0].trace[-1]


def test_trial_calls_again_what_an_interrupt_ended_until_it_succeeds_or_its_steps_are_taken():
    often = CORRIDOR.model_copy(update={"interrupts": {"each": "True"}})
    (episode,) = try_skill(often, ON, (), "obs[0] >= 4", [1])
    assert (episode.ended, episode.steps, episode.success) == ("interrupted", 4, True)
    assert episode.trace[-1] == "4 calls were ended by the interrupt 'each', which held then: True"
    (episode,) = try_skill(often, skill("two", "yield RIGHT\nyield RIGHT", max_steps=2), (), "False", [1])
    assert (episode.ended, episode.steps) == ("step limit", 2)


def test_trial_ends_with_an_interrupt_after_which_the_skill_does_nothing_more():
    once = skill("once", "if obs[0] < 2:\n    obs, info = yield from on(obs, info)")
    (episode,) = try_skill(CORRIDOR, once, (ON,), "False", [1])
    assert (episode.ended, episode.steps, episode.error) == ("interrupted", 2, "")


def test_interrupt_inside_a_nested_call_ends_the_whole_call():
    (episode,) = try_skill(CORRIDOR, OUTER, (ON,), "obs[0] >= 2", [1])
    assert (episode.ended, episode.steps, episode.error) == ("interrupted", 3, "")
    assert episode.last.startswith("obs[0]=2")


def test_interrupt_ends_the_call_a_controller_has_made_and_the_controller_goes_on():
    body = "for calls in range(1, 4):\n    obs, info = yield from outer(obs, info)\n    print(calls, int(obs[0]))\nyield STAY"
    player = skill("player", body, max_steps=100).model_copy(update={"whole": True})
    deep = skill("outer", "obs, info = yield from on(obs, info)\nprint('not reached before an interrupt')\nyield RIGHT")
    half_way = CORRIDOR.model_copy(update={"interrupts": {"each": "obs[0] >= 1"}})
    (episode,) = try_skill(half_way, player, (ON, deep), "False", [1])
    # Three calls of `outer`, each ended after one step by the interrupt, however deep; then the controller's own step.
    assert (episode.ended, episode.steps, episode.error) == ("returned", 4, "")
    assert [line.split() for line in episode.trace if line.startswith("it printed")] == [["it", "printed:", "1", "1", "2", "2", "3", "3"]]


def test_skill_that_catches_everything_cannot_go_on_after_an_interrupt():
    stubborn = skill("stubborn", "while True:\n    try:\n        yield RIGHT\n    except BaseException:\n        pass")
    (episode,) = try_skill(CORRIDOR, stubborn, (), "obs[0] >= 2", [1])
    assert (episode.ended, episode.steps) == ("interrupted", 2)


def test_end_of_the_episode_goes_before_an_interrupt_and_an_interrupt_before_the_step_limit():
    at_the_end = CORRIDOR.model_copy(update={"interrupts": {"there": "obs[0] >= 5"}})
    assert try_skill(at_the_end, ON, (), "False", [1])[0].ended == "episode over"
    two = skill("two", "while True:\n    yield RIGHT", max_steps=2)
    assert try_skill(CORRIDOR, two, (), "obs[0] >= 2", [1])[0].ended == "interrupted"


def test_interrupted_option_is_one_decision_of_the_steps_it_took_and_the_episode_goes_on():
    with WorkerPool(CORRIDOR, success="False", environments=2, workers=1, skills=[ON, OUTER], gamma=GAMMA) as pool:
        pool.reset([1, 2])
        step = pool.step([Call(0), Call(1)], [3, 4])
        assert step.duration.tolist() == [2, 3]
        np.testing.assert_allclose(step.reward, [-1 - GAMMA, -1 - GAMMA - GAMMA**2])
        assert step.obs.tolist() == [[2, 2], [2, 3]]
        assert (step.faults, step.ended) == (("", ""), (None, None))
        assert not (step.terminated | step.truncated).any()
        # `half_way` is over, since it looks at the step before; `late` holds from the fourth step on.
        step = pool.step([Call(0), Call(0)], [3, 4])
        assert step.duration.tolist() == [2, 1]


def test_primitive_actions_know_no_interrupts():
    with WorkerPool(CORRIDOR, success="False", environments=1) as pool:
        pool.reset([1])
        assert [pool.step([RIGHT], [2]).duration.tolist() for _ in range(3)] == [[1]] * 3


def test_interrupt_that_is_no_expression_is_told_before_anything_runs():
    broken = CORRIDOR.model_copy(update={"interrupts": {"hurt": "health <"}})
    with pytest.raises(SkillInvalid, match="interrupt 'hurt' expression 'health <' is not a Python expression"):
        WorkerPool(broken, success="False", environments=1)


def test_interrupt_that_fails_names_itself():
    broken = CORRIDOR.model_copy(update={"interrupts": {"hurt": "info['health'] < 3"}})
    (episode,) = try_skill(broken, ON, (), "False", [1])
    assert episode.ended == "error"
    assert "interrupt 'hurt' expression" in episode.error
    assert "KeyError: 'health'" in episode.error
