"""The hand-written answers of the bundled scenarios are what `luanti_answers.py` makes, say what they are, and fit their questions."""

from __future__ import annotations

import ast
import builtins
import json

import luanti_answers
import luanti_by_hand
import pytest

from rlgpt.agents.answers import PlanAnswer, PlanReviewAnswer, SetUpAnswer, SkillAnswer, TrialReviewAnswer, check_plan
from rlgpt.agents.llm.providers import HAND_WRITTEN
from rlgpt.agents.source_check import check_source
from rlgpt.envs.toolkit import load
from rlgpt.runtime.scenario import load as load_scenario

SCENARIOS = sorted(luanti_answers.SCENARIOS)


def lines(scenario: str) -> list[dict]:
    return [json.loads(line) for line in (luanti_answers.FOLDER / scenario / "transcript.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_they_are_those_of_the_code_in_the_tests(scenario):
    assert (luanti_answers.FOLDER / scenario / "transcript.jsonl").read_text() == luanti_answers.transcript(scenario)


@pytest.mark.parametrize("inventory", [{"cobblestone": 3, "stick": 2, "crafting_table": 1}, {"cobblestone": 3, "planks": 6}])
def test_with_an_empty_hand_another_pickaxe_is_made(made, inventory):
    last = luanti_by_hand.play(made(inventory=inventory, step_s=120.0), 5, luanti_by_hand.keep_a_pickaxe, 400)
    assert last["inventory"].get("stone_pickaxe") == 1


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_every_one_says_that_it_was_written_by_hand(scenario):
    head, *answers = lines(scenario)
    assert head["run"] == HAND_WRITTEN
    assert {line["model"] for line in answers} == {HAND_WRITTEN}
    assert "HAND-WRITTEN" in (luanti_answers.FOLDER / scenario / "scenario.yaml").read_text()


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_there_is_one_plan_for_every_stage_and_its_tests_are_the_scenarios(scenario):
    task = load_scenario(scenario).task
    wanted = [stage.success for stage in task.stages] or [task.success]
    for mode in ("rl-gpt", "code-only"):
        asked = [line["answer"] for line in lines(scenario)[1:] if line["key"].startswith(mode) and line["role"] == "slow"]
        plans = [PlanAnswer.model_validate(answer) for answer in asked]
        for plan in plans:
            check_plan(plan, mode)
        assert [plan.sub_actions[0].success for plan in plans] == wanted


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_sources_use_nothing_but_the_toolkit_and_themselves(scenario):
    known = {*load("rlgpt.envs.luanti.toolkit").functions, *vars(builtins)}
    kinds = {"set-up": SetUpAnswer, "plan": PlanReviewAnswer}
    for line in lines(scenario)[1:]:
        _, _, role, *rest = line["key"].split("/")
        if role == "critic" and rest != ["plan"]:
            TrialReviewAnswer.model_validate(line["answer"])
        elif rest and rest[-1] in kinds:
            kinds[rest[-1]].model_validate(line["answer"])
        elif role == "fast":
            answer = SkillAnswer.model_validate(line["answer"])
            check_source(answer.source, rest[0], ("math", "numpy"))
            tree = ast.parse(answer.source)
            own = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
            called = {node.func.id for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}
            skills = {part.skill.__name__ for part in luanti_answers.SCENARIOS[scenario]} if rest[0] == "controller" else set()
            assert called <= known | own | skills, called - known - own
