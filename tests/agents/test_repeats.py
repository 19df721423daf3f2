"""Dead loops: the same plan or the same code again is noticed, told to the model, and ends its loop."""

import pytest
from test_loops import Log

from rlgpt.agents import words
from rlgpt.agents.agent import Context
from rlgpt.agents.answers import PlanAnswer, SkillAnswer
from rlgpt.agents.fast import Fast
from rlgpt.agents.llm.reading import AnswerRejected
from rlgpt.agents.repeats import AGAIN, code_repeated, is_repetition, normal_form, plan_repeated
from rlgpt.agents.requests import CONTROLLER, AskPlan, AskSkill, Finish, Settle
from rlgpt.agents.slow import Slow
from rlgpt.bus.messages import DeadLettered, PlanFailed, PlanProposed, SkillDrafted, SkillFailed
from rlgpt.bus.parts import Skill, SubAction

CODE = "def swing(obs, info):\n    yield 1\n"


def test_comments_docstrings_and_layout_do_not_make_other_code() -> None:
    dressed = 'def swing(obs, info):\n    """Swing."""\n    # left\n    yield (1)\n\n'
    assert normal_form(dressed) == normal_form(CODE)
    assert normal_form(CODE.replace("1", "2")) != normal_form(CODE)
    assert normal_form("def (") == "def ("


def test_code_that_failed_is_known_again_in_later_attempts_and_later_plans_of_the_same_test() -> None:
    log = Log(critic={"enabled": False}, loops={"attempts": 1, "plans": 3})
    log.begin(("swing", "code"))
    log.draft("swing", 1)
    (settle,) = log.tried("swing", 1, False)
    inner = log.state.plans[1].inner["swing"]
    again = "def swing(obs, info):  # other words\n    yield 1"
    assert code_repeated(again, inner, []) == "attempt 1"
    log.settled(settle)
    log.train()
    log.trained(0.1)
    log.plan(2, ("swing", "code"), ("climb", "rl"))
    later = log.state.plans[2].inner["swing"]
    assert code_repeated(again, later, log.state.siblings(2)) == "attempt 1 at `swing` in plan 1"
    assert code_repeated("def swing(obs, info): yield 2", later, log.state.siblings(2)) == ""


def test_code_whose_trial_was_lost_may_be_given_again() -> None:
    log = Log(critic={"enabled": False})
    log.begin(("swing", "code"))
    log.draft("swing", 1)
    letter = DeadLettered(consumer="rollout", seq=log.state.seq, id="x", type="rlgpt.skill.drafted.v1", attempts=3, reason="killed")
    assert log.say(letter, "broker") == (AskSkill(1, "swing", 2),)
    assert code_repeated("def swing(obs, info): yield 1", log.state.plans[1].inner["swing"], []) == ""


def test_code_that_was_accepted_may_be_given_again_in_a_later_plan() -> None:
    log = Log(critic={"enabled": False})
    log.begin(("swing", "code"))
    log.draft("swing", 1)
    (settle,) = log.tried("swing", 1, True)
    log.settled(settle)
    log.train()
    log.trained(0.1)
    log.plan(2, ("swing", "code"), ("climb", "rl"))
    assert code_repeated("def swing(obs, info): yield 1", log.state.plans[2].inner["swing"], log.state.siblings(2)) == ""


def test_a_model_that_keeps_to_the_same_code_ends_the_inner_loop_by_name() -> None:
    log = Log(loops={"attempts": 9, "repeats": 2}, critic={"enabled": False})
    log.begin(("swing", "code"))
    log.draft("swing", 1)
    log.tried("swing", 1, False)
    failed = SkillFailed(plan=1, attempt=2, name="swing", reason=f"impossible: {AGAIN} it is attempt 1", repeated=True)
    assert log.say(failed, "fast") == (AskSkill(1, "swing", 3),)
    told = words.attempts(log.state.plans[1].inner["swing"])
    assert "Code that had failed came again" in told
    assert "def swing" in told, "the code is still shown"
    (settle,) = log.say(failed.model_copy(update={"attempt": 3}), "fast")
    assert isinstance(settle, Settle)
    assert settle.skill is None
    assert settle.reason.startswith("dead loop: code that had failed came again 2 times")


def test_drafts_of_an_agent_that_does_not_look_are_counted_too() -> None:
    log = Log(loops={"attempts": 9, "repeats": 1}, critic={"enabled": False})
    log.begin(("swing", "code"))
    for attempt in (1, 2):
        skill = Skill(name="swing", source=CODE + "# " * attempt, max_steps=10)
        environment = log.task.environment
        log.say(SkillDrafted(plan=1, attempt=attempt, skill=skill, success="True", seeds=(1,), environment=environment), "mine")
        requests = log.tried("swing", attempt, False)
    (settle,) = requests
    assert isinstance(settle, Settle)
    assert "dead loop" in settle.reason


def test_a_controller_in_a_dead_loop_is_the_best_draft_there_was() -> None:
    log = Log(mode="code-only", loops={"attempts": 9, "repeats": 1}, critic={"enabled": False})
    log.begin(("swing", "rl"))
    log.draft(CONTROLLER, 1)
    log.tried(CONTROLLER, 1, False, wins=3)
    (settle,) = log.say(SkillFailed(plan=1, attempt=2, name=CONTROLLER, reason="again", repeated=True), "fast")
    assert isinstance(settle, Settle)
    assert settle.skill is not None
    assert "dead loop" in settle.reason


def subs(*names: tuple[str, str], purpose: str = "p") -> list[SubAction]:
    return [SubAction(name=name, purpose=purpose, mode=mode, success="True") for name, mode in names]


def test_a_plan_is_the_same_by_names_modes_and_tests_and_only_once_it_was_tried() -> None:
    log = Log(critic={"enabled": False})
    log.begin(("climb", "rl"))
    assert plan_repeated(subs(("climb", "rl"), purpose="in other words"), log.state.plans.values()) is None
    log.train()
    log.trained(0.1)
    again = plan_repeated(subs(("climb", "rl"), purpose="in other words"), log.state.plans.values())
    assert again is not None
    assert again.number == 1
    assert plan_repeated(subs(("climb", "code")), log.state.plans.values()) is None


@pytest.mark.parametrize("scored", [True, False])
def test_a_model_that_keeps_to_the_same_plan_ends_the_run_by_name(scored) -> None:
    log = Log(loops={"plans": 9, "repeats": 2}, critic={"enabled": False})
    log.begin(("climb", "rl"))
    log.train()
    assert log.trained(0.1 if scored else None) == (AskPlan(2),)
    failed = PlanFailed(plan=2, reason=f"impossible: {AGAIN} plan 1", repeated=True)
    assert log.say(failed, "slow") == (AskPlan(3),)
    (finish,) = log.say(failed.model_copy(update={"plan": 3}), "slow")
    assert isinstance(finish, Finish)
    assert finish.outcome == ("below_target" if scored else "gave_up")
    assert "dead loop: an earlier plan came again 2 times" in finish.reason


def test_the_same_plan_from_an_agent_that_does_not_look_is_not_learned_again_and_again() -> None:
    log = Log(loops={"plans": 9, "repeats": 1}, critic={"enabled": False})
    log.begin(("climb", "rl"))
    log.train()
    log.trained(0.1)
    (finish,) = log.plan(2, ("climb", "rl"))
    assert isinstance(finish, Finish)
    assert "dead loop" in finish.reason
    assert "plan 1 again" in finish.reason


def test_a_repetition_is_known_by_how_the_question_ended_also_from_a_transcript() -> None:
    assert is_repetition("impossible", f"{AGAIN} plan 1")
    assert not is_repetition("impossible", "no sub-actions")
    assert not is_repetition("malformed", AGAIN)


def test_the_model_is_told_which_plan_or_attempt_it_gave_again_and_how_that_went(tmp_path) -> None:
    log = Log(critic={"enabled": False}, loops={"attempts": 1, "plans": 3})
    log.begin(("swing", "code"))
    log.draft("swing", 1)
    (settle,) = log.tried("swing", 1, False)
    log.settled(settle)
    log.train()
    log.trained(0.4)
    context = Context(run="t-1", folder=tmp_path, address="ipc://none", name="slow")
    slow, fast = Slow(context), Fast(context)
    slow.state = fast.state = log.state
    again = {"name": "swing", "purpose": "as before", "mode": "code", "success": "info['high']", "reason": "r"}
    log.state.plans[1].proposal = PlanProposed(plan=1, sub_actions=(SubAction(**again),))
    answer = PlanAnswer.model_validate({"rationale": "r", "sub_actions": [again | {"purpose": "in other words"}]})
    with pytest.raises(AnswerRejected, match=r"same again: plan 1.*reached 40 of 100 episodes"):
        slow.check_plan(answer, number=2)
    log.plan(2, ("swing", "code"), ("climb", "rl"))
    source = SkillAnswer(explanation="e", source="# new\ndef swing(obs, info): yield 1")
    with pytest.raises(AnswerRejected, match=r"same again: .*attempt 1 at `swing` in plan 1, which failed"):
        fast._check(source, log.state.plans[2], log.state.plans[2].inner["swing"], [])
