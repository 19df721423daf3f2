"""The scenarios of Crafter: valid, and their models are told of the rules and the toolkit."""

from __future__ import annotations

import pytest

pytest.importorskip("crafter", reason="needs the extra [crafter]")

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
    assert {*task.environment.interrupts} == {"damage", "new_enemy", "achievement"}
    for role, text in {"success": task.success, **task.environment.interrupts}.items():
        Expression(text, role)


def test_card_tells_the_actions_the_rules_and_the_toolkit():
    task = load("crafter_diamond", ["llm.model=some-model"]).task
    card = make_card(task, describe(task.environment))
    assert card.actions == ACTIONS
    for word in ("MAKE_IRON_PICKAXE", "0.1", "10000 steps", "`nearest(", "`ways(", "`threats(", "collect_diamond"):
        assert word in card.text
    assert len(card.text) < 14_000
