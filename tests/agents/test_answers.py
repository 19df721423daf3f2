"""Answers that are well formed and cannot be right, and what the model is told of them."""

from __future__ import annotations

import re
from typing import Any

import pytest
from pydantic import BaseModel

from rlgpt.agents import source_check
from rlgpt.agents.answers import (
    AnswerRejected,
    ArenaAnswer,
    DivisionAnswer,
    DraftAnswer,
    PlanAnswer,
    PlanReviewAnswer,
    PpoSettings,
    SetUpAnswer,
    SkillAnswer,
    SoloAnswer,
    TrialReviewAnswer,
    check_arena,
    check_division,
    check_plan,
    check_plan_review,
    check_set_up,
    check_solo,
    check_trial_review,
    with_settings,
)
from rlgpt.agents.fast import both_shapings, choices
from rlgpt.agents.llm.reading import Malformed, read
from rlgpt.agents.source_check import check_source
from rlgpt.bus.parts import Skill
from rlgpt.bus.task import Learner
from rlgpt.envs import expression

ANSWERS: list[type[BaseModel]] = [
    *(PlanAnswer, SkillAnswer, SetUpAnswer, TrialReviewAnswer, PlanReviewAnswer),
    *(DivisionAnswer, SoloAnswer, DraftAnswer, ArenaAnswer),
]
GOOD_SOURCE = "import math\n\n\ndef climb(obs, info):\n    while obs[0] < 1:\n        obs, info = yield 1\n"


def plan(*sub_actions: dict[str, Any]) -> PlanAnswer:
    base = {"name": "climb", "purpose": "p", "mode": "code", "success": "obs[0] > 5", "reason": "r"}
    return PlanAnswer.model_validate({"rationale": "r", "sub_actions": [{**base, **sub_action} for sub_action in sub_actions]})


def source(text: str) -> SkillAnswer:
    return SkillAnswer(explanation="e", source=text)


def set_up(**fields: Any) -> SetUpAnswer:
    return SetUpAnswer.model_validate({"primitives": [], "skills": [], "shaping": "", "ppo": None, "reason": "r", **fields})


def objects(schema: Any):
    if isinstance(schema, dict):
        if schema.get("type") == "object":
            yield schema
        for value in schema.values():
            yield from objects(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from objects(value)


# ---------------------------------------------------------------- form


@pytest.mark.parametrize("answer", ANSWERS)
def test_schemas_are_what_strict_endpoints_take(answer):
    schema = answer.model_json_schema()
    for part in objects(schema):
        assert part["additionalProperties"] is False
        assert sorted(part["required"]) == sorted(part["properties"])
        for name, field in part["properties"].items():
            assert "default" not in field, name
            assert not ({"$ref", "allOf"} & field.keys() and len(field) > 1), f"{name}: a reference with something beside it"


def test_a_nullable_field_left_out_is_null_and_an_unknown_one_is_dropped():
    answer = read('{"primitives": [], "skills": ["a"], "shaping": "", "reason": "r", "thoughts": "..."}', SetUpAnswer)
    assert answer.ppo is None
    with pytest.raises(Malformed, match="shaping: Field required"):
        read('{"primitives": [], "skills": ["a"], "reason": "r"}', SetUpAnswer)


def test_a_source_in_a_fence_is_taken_out_of_it():
    assert source(f"```python\n{GOOD_SOURCE}```").source == GOOD_SOURCE
    assert source(GOOD_SOURCE).source == GOOD_SOURCE


def test_of_several_objects_the_last_valid_one_is_the_answer_even_with_braces_and_fences_inside():
    text = '{"explanation": "draft", "source": "x"} then {"explanation": "```{}```", "source": "d = {\\"a\\": 1}"} {"other": 1}'
    assert read(text, SkillAnswer).explanation == "```{}```"


# ---------------------------------------------------------------- plans


def test_a_good_plan_passes():
    check_plan(plan({}, {"name": "balance", "mode": "rl", "success": ""}))


@pytest.mark.parametrize(
    ("sub_actions", "mode", "words"),
    [
        ([], "rl-gpt", "at least one"),
        ([{}] * 2, "rl-gpt", "`climb` is taken"),
        ([{"name": f"s{i}"} for i in range(13)], "rl-gpt", "at most 12"),
        ([{"name": "controller"}], "rl-gpt", "taken"),
        ([{"name": "Climb Up"}], "rl-gpt", "lower_case"),
        ([{"name": "_climb"}], "rl-gpt", "lower_case"),
        ([{"name": ""}], "rl-gpt", "lower_case"),
        ([{"name": "for"}], "rl-gpt", "keyword"),
        ([{"mode": "rl"}], "code-only", "must be `code`"),
        ([{"success": " "}], "rl-gpt", "no success test"),
        ([{"success": "obs[0] >"}], "rl-gpt", "not one Python expression"),
        ([{"success": "x = 1"}], "rl-gpt", "not one Python expression"),
        ([{"success": "position > 0.5"}], "rl-gpt", "uses `position`, which does not exist there"),
        ([{"success": "rewards > 1"}], "rl-gpt", "nearest: `reward`"),
        ([{"success": "True"}], "rl-gpt", "does not depend on what happens"),
        ([{"success": "obs.__class__"}], "rl-gpt", "private"),
        ([{"success": "obs[0] > " + "1 + " * 1000 + "1"}], "rl-gpt", "2,000 are allowed"),
    ],
)
def test_an_impossible_plan_is_rejected_with_words_to_act_on(sub_actions, mode, words):
    with pytest.raises(AnswerRejected, match=words):
        check_plan(plan(*sub_actions), mode)


@pytest.mark.parametrize(
    "test",
    [
        "any(o > 1 for o in obs)",
        "info.get('n', 0) > start[1]",
        "np.abs(obs - previous).max() < 1e-3 and steps > 5",
        "terminated and not truncated",
    ],
)
def test_expressions_a_worker_would_evaluate_pass(test):
    check_plan(plan({"success": test}))
    expression.Expression(test, "success")


def test_the_names_promised_are_those_a_worker_knows():
    assert (*expression.NAMES, "np", "math", *expression.FUNCTIONS) == source_check.EXPRESSION_NAMES


# ---------------------------------------------------------------- stages, and plans with their code


def division(*stages: dict[str, Any]) -> DivisionAnswer:
    base = {"name": "fetch", "goal": "fetch it", "success": "obs[0] > 5"}
    return DivisionAnswer.model_validate({"rationale": "r", "sub_tasks": [{**base, **stage} for stage in stages]})


LAST = {"name": "leave", "success": "terminated  and obs[1] > 0"}


def test_a_division_whose_last_stage_ends_the_task_passes():
    check_division(division({}, LAST), "terminated and obs[1] > 0")
    check_division(division(LAST), "terminated and obs[1] > 0")


@pytest.mark.parametrize(
    ("stages", "words"),
    [
        ([], "there are 0 stages"),
        ([{"name": f"s{n}", "success": f"steps > {n}"} for n in range(8)] + [LAST], "there are 9 stages"),
        ([{}, {**LAST, "name": "fetch"}], "the name `fetch` is taken"),
        ([{}, {"name": "again", "success": "obs[0]>5"}, LAST], "has the success test of a stage before it"),
        ([{"goal": " "}, LAST], "has no goal"),
        ([{"success": "key"}, LAST], "uses `key`, which does not exist"),
        ([{"name": "Fetch"}, LAST], "lower_case"),
        ([LAST, {}], "has to be the task's own"),
    ],
)
def test_an_impossible_division_is_rejected_with_words_to_act_on(stages, words):
    with pytest.raises(AnswerRejected, match=words):
        check_division(division(*stages), "terminated and obs[1] > 0")


def solo(**sub_action: str) -> SoloAnswer:
    base = {"name": "climb", "purpose": "p", "mode": "code", "success": "obs[0] > 5", "reason": "r", "source": GOOD_SOURCE}
    return SoloAnswer.model_validate({"rationale": "r", "sub_actions": [{**base, **sub_action}]})


def test_a_plan_with_its_code_is_checked_as_a_plan_and_as_code():
    check_solo(solo(), "rl-gpt", ("math",))
    check_solo(solo(mode="rl", source=""), "rl-gpt", ())
    for changes, words in (
        ({"source": " "}, "has mode `code` and no source"),
        ({"source": "def other(obs, info):\n    yield 1\n"}, "the source of `climb`: .*defines no function `climb`"),
        ({"success": ""}, "no success test"),
    ):
        with pytest.raises(AnswerRejected, match=words):
            check_solo(solo(**changes), "rl-gpt", ("math",))


# ---------------------------------------------------------------- sources


def check(text: str) -> None:
    check_source(source(text).source, "climb", ("math", "numpy"))


@pytest.mark.parametrize(
    "text",
    [
        GOOD_SOURCE,
        "import numpy.linalg\nfrom math import sqrt\n" + GOOD_SOURCE,
        "def climb(obs, info):\n    obs, info = yield from other(obs, info)\n",
        "def can_run(obs, info):\n    return obs[0] < 1\n\n" + GOOD_SOURCE,
        "def climb(obs, info, limit=10):\n    yield 1\n",
        'def climb(obs, info):\n    "\\d is no escape"\n    env = 3\n    yield env\n',
    ],
)
def test_usable_sources_pass(text):
    check(text)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("def climb(obs, info)\n    yield 1", r"not valid Python: expected ':', line 1: 'def climb\(obs, info\)'"),
        ("def climb(obs, info):\\n    yield 1\\n", "two characters"),
        ("def climb(obs, info):\n    yield '\x00'\n", "null bytes"),
        ("x = " + "(" * 5000, "not valid Python"),
        ("x = 1\n" * 10_000, "30,000 are allowed"),
        ("Here is the skill: it climbs.", "not valid Python"),
        ("", "defines no function `climb` at its top level; it defines nothing"),
        ("def climb_up(obs, info):\n    yield 1\n", "it defines `climb_up`"),
        ("class A:\n    def climb(obs, info):\n        yield 1\n", "no function `climb`"),
        ("async def climb(obs, info):\n    yield 1\n", "plain `def`"),
        ("def climb(obs):\n    yield 1\n", r"exactly \(obs, info\), it takes \(obs\)"),
        ("def climb(self, obs, info):\n    yield 1\n", "exactly"),
        ("def climb(obs, info, rungs):\n    yield 1\n", "exactly"),
        ("def climb(obs, info):\n    return 1\n", "no `yield` of its own"),
        ("def climb(obs, info):\n    def inner():\n        yield 1\n    return inner()\n", "no `yield` of its own"),
        ("def can_run(obs, info):\n    yield 1\n\n" + GOOD_SOURCE, "must not `yield`"),
        ("import os\n" + GOOD_SOURCE, "line 1 imports `os`; allowed are `math`, `numpy`"),
        ("from subprocess import run\n" + GOOD_SOURCE, "imports `subprocess`"),
        ("from . import x\n" + GOOD_SOURCE, "imports"),
        ("import mathematics\n" + GOOD_SOURCE, "imports `mathematics`"),
        ("def climb(obs, info):\n    obs, info = env.step(1)\n    yield 1\n", "there is no environment object"),
        ("def climb(obs, info):\n    open('x')\n    yield 1\n", "files cannot be used"),
    ],
)
def test_an_unusable_source_is_rejected_with_words_to_act_on(text, words):
    with pytest.raises(AnswerRejected, match=words):
        check(text)


# ---------------------------------------------------------------- set-up, reviews


def test_a_set_up_of_what_exists_passes_and_its_settings_are_taken():
    ppo = dict.fromkeys(PpoSettings.model_fields)
    answer = set_up(primitives=["up"], skills=["climb"], shaping="obs[0] - previous[0]", ppo={**ppo, "gamma": 0.999, "epochs": 4})
    check_set_up(answer, skills=["climb"], primitives=["up", "down"])
    learner = with_settings(Learner(env_steps=5), answer.ppo)
    assert (learner.gamma, learner.epochs, learner.env_steps, learner.clip) == (0.999, 4, 5, 0.2)
    assert with_settings(Learner(), None) == Learner()


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"skills": ["climbs"]}, r"no skill `climbs` \(nearest: `climb`\); there is: `climb`"),
        ({"skills": ["climb", "climb"]}, "listed twice"),
        ({"primitives": ["jump"]}, "no primitive action `jump`.*`up`, `down`"),
        ({"shaping": "1.0"}, "does not depend"),
        ({"shaping": "potential(obs)"}, "uses `potential`"),
        ({"ppo": {"learning_rate": 5.0}}, r"ppo.learning_rate = 5.0 is outside its bounds, 1e-05 to 0.01"),
        ({"ppo": {"epochs": 0}}, "outside its bounds"),
    ],
)
def test_an_impossible_set_up_is_rejected(fields, words):
    with pytest.raises(AnswerRejected, match=words):
        check_set_up(set_up(**fields), skills=["climb"], primitives=["up", "down"])


ARENA = {
    "learn": True, "where": "obs[1] > 0", "success": "obs[0] > 1", "shaping": "", "judged": "success", "steps": 9,
    "can_run": "info['near']",
    "primitives": ["left"], "skills": [], "against": "swing", "reason": "r",
}  # fmt: skip


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"success": ""}, "`judged` is `success`"),
        ({"success": "reward > 0"}, "`success` uses reward"),
        ({"can_run": "steps > 3"}, "`can_run` uses steps"),
        ({"where": "obs >"}, "`where` 'obs >' is not one Python expression"),
        ({"steps": 0}, "from 1 to 50"),
        ({"steps": 51}, "from 1 to 50"),
        ({"against": "swim"}, "no accepted skill"),
        ({"skills": ["swim"]}, "no skill `swim`"),
        ({"primitives": ["up"]}, "no primitive action `up`"),
    ],
)
def test_an_impossible_arena_is_rejected_with_words_to_act_on(fields, words):
    check_arena(ArenaAnswer.model_validate(ARENA), ["swing"], ["left"], 50)
    with pytest.raises(AnswerRejected, match=re.escape(words)):
        check_arena(ArenaAnswer.model_validate({**ARENA, **fields}), ["swing"], ["left"], 50)
    check_arena(ArenaAnswer.model_validate({**ARENA, **fields, "learn": False}), ["swing"], ["left"], 50)


@pytest.mark.parametrize(
    ("scenario", "model", "whole"), [("", "", ""), ("a", "", "a"), ("", " b ", "b"), ("a if x else 1", "b", "(a if x else 1) + (b)")]
)
def test_shaping_of_scenario_and_model_are_one_expression(scenario, model, whole):
    assert both_shapings(scenario, model) == whole


def test_primitives_cannot_be_chosen_where_they_have_no_names():
    with pytest.raises(AnswerRejected, match="leave the list empty"):
        check_set_up(set_up(primitives=["thrust"]), skills=[], primitives=[])


def test_a_trial_review_that_asks_for_changes_says_which():
    check_trial_review(TrialReviewAnswer(verdict="accept", why="fine", change=""))
    with pytest.raises(AnswerRejected, match="`change` must say"):
        check_trial_review(TrialReviewAnswer(verdict="revise", why="slips", change=" "))
    with pytest.raises(AnswerRejected, match="`why` is empty"):
        check_trial_review(TrialReviewAnswer(verdict="give_up", why="", change=""))


def test_a_plan_review_covers_every_sub_action_once():
    def review(*names: str) -> PlanReviewAnswer:
        return PlanReviewAnswer.model_validate(
            {"sub_actions": [{"name": name, "worked": True, "why": "w"} for name in names], "why": "w", "advice": ""}
        )

    check_plan_review(review("balance", "climb"), ["climb", "balance"])
    for names, words in (
        (("climb",), "missing: balance"),
        (("climb", "blance"), "nearest: `balance`"),
        (("climb", "climb", "balance"), "once"),
    ):
        with pytest.raises(AnswerRejected, match=words):
            check_plan_review(review(*names), ["climb", "balance"])


def test_a_skill_that_is_not_chosen_can_still_be_called_by_one_that_is():
    climb, grip = (Skill(name=name, source=f"def {name}(obs, info):\n    yield 0\n", max_steps=9) for name in ("climb", "grip"))
    assert choices([grip, climb], ["climb"]) == {"skills": (climb,), "library": (grip,)}
