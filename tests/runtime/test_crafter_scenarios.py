"""The scenarios of Crafter: valid, and their models are told of the rules and the toolkit."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

import pytest

pytest.importorskip("crafter", reason="needs the extra [crafter]")

from rlgpt.agents.source_check import check_source
from rlgpt.envs.card import make_card
from rlgpt.envs.crafter.rules import ACTIONS
from rlgpt.envs.crafter.score import success_test
from rlgpt.envs.expression import Expression
from rlgpt.envs.pool import describe
from rlgpt.runtime.scenario import bundled, load

TASKS = {
    "crafter_wood": "collect_wood",
    "crafter_table": "place_table",
    "crafter_wood_pickaxe": "make_wood_pickaxe",
    "crafter_stone_pickaxe": "make_stone_pickaxe",
    "crafter_iron_pickaxe": "make_iron_pickaxe",
    "crafter_diamond": "collect_diamond",
}


@pytest.mark.parametrize("name", TASKS)
def test_scenario_asks_for_its_achievement_and_interrupts_what_is_going_on(name):
    assert name in bundled()
    task = load(name, ["llm.model=some-model"]).task
    assert task.success == success_test(TASKS[name])
    # The hand-written skill of the diamond looks at danger in every step of its own.
    assert {*task.environment.interrupts} == (set() if name == "crafter_diamond" else {"damage", "new_enemy", "achievement"})
    for role, text in {"success": task.success, **task.environment.interrupts}.items():
        Expression(text, role)


def test_card_tells_the_actions_the_rules_and_the_toolkit():
    task = load("crafter_diamond", ["llm.model=some-model"]).task
    card = make_card(task, describe(task.environment))
    assert card.actions == ACTIONS
    for word in ("MAKE_IRON_PICKAXE", "0.1", "10000 steps", "`nearest(", "`ways(", "`threats(", "collect_diamond"):
        assert word in card.text
    assert len(card.text) < 14_000


def test_answers_of_the_diamond_are_those_of_the_hand_written_controller_and_marked_as_such():
    answers = runpy.run_path(str(Path(__file__).parents[1] / "benchmarks" / "crafter_answers.py"))
    written = answers["TRANSCRIPT"].read_text()
    assert written == answers["lines"](), "run tests/benchmarks/crafter_answers.py again"
    entries = [json.loads(line) for line in written.splitlines()]
    assert {entry["model"] for entry in entries} == {"hand-written"}
    drafts = {entry["key"]: entry["answer"]["source"] for entry in entries if "source" in entry["answer"]}
    for key, source in drafts.items():
        check_source(source, key.split("/")[-2], ("math", "numpy"))
    assert len(set(drafts.values())) == 4
