"""Luanti's body and hands: by the engine's rules and the game's own tables."""

from __future__ import annotations

import math

import pytest
from luanti_arena import AHEAD, ATTACK, DOWN, JUMP, NOOP, SNEAK, SPRINT, USE, Arena

from rlgpt.envs.minedojo_toolkit import CRAFT


@pytest.fixture
def arena(env):
    return Arena(env)


def craft(item: str) -> list[int]:
    return [*NOOP[:5], 4, CRAFT[item], 0]


def slot(function: int, number: int) -> list[int]:
    return [*NOOP[:5], function, 0, number]


@pytest.mark.parametrize(("action", "speed"), [(AHEAD, 4.0), (SNEAK, 1.35), (SPRINT, 5.2)])
def test_a_second_of_walking_is_the_engines_speed(arena, action, speed):
    arena.step(action, 20)
    assert arena.at == pytest.approx((0, 1, speed), abs=1e-3)


def test_wall_stops_the_body_at_its_half_width(arena):
    arena.put("default:stone", (0, 1, 2), (0, 2, 2))
    arena.step(AHEAD, 40)
    assert 1.5 - 0.3 - 0.06 <= arena.at[2] <= 1.5 - 0.3 + 1e-4


def test_head_stops_the_body_too(arena):
    arena.put("default:stone", (0, 2, 2))
    arena.step(AHEAD, 40)
    assert arena.at[2] <= 1.2 + 1e-4


def test_one_block_is_jumped_onto_and_two_are_not(arena):
    arena.put("default:stone", (0, 1, 2))
    arena.step([1, 0, 1, *NOOP[3:]], 12)
    arena.step(NOOP, 20)
    assert arena.at[1] == pytest.approx(2, abs=1e-3)
    arena.put("default:stone", *[(0, up, 4) for up in (1, 2, 3)])
    arena.step([1, 0, 1, *NOOP[3:]], 40)
    assert arena.at[2] <= 3.2


def test_a_jump_is_as_high_as_the_engines(arena):
    heights = []
    for _ in range(16):
        arena.step(JUMP if not heights else NOOP)
        heights.append(arena.at[1])
    # 6.5 nodes/s upwards against twice 9.81, in ticks of 1/20 s.
    assert max(heights) - 1 == pytest.approx(6.5**2 / (4 * 9.81), abs=0.2)
    assert heights[-1] == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("height", [4, 8, 11])
def test_falls_hurt_by_the_speed_beyond_fourteen(arena, height):
    arena.put("default:stone", *[(0, -height, south) for south in (4, 5, 6)])
    for south in (3, 4, 5, 6):
        arena.put("air", (0, 0, south))
    arena.stand(0, 1, 5)
    arena.step(NOOP, 60)
    assert arena.at[1] == pytest.approx(1 - height, abs=1e-2)
    expected = max(0, math.sqrt(4 * 9.81 * height) - 14)
    assert 20 - arena.info["life"] == pytest.approx(expected, abs=1.5)
    assert (arena.info["life"] == 20) == (height == 4)


def test_sneaking_stays_on_the_edge_and_walking_does_not(arena):
    for south in (3, 4, 5):
        for east in (-1, 0, 1):
            arena.put("air", (east, 0, south))
    arena.step(SNEAK, 80)
    assert arena.at[1] == 1
    arena.step(AHEAD, 20)
    assert arena.at[1] < 1


def test_water_breaks_a_fall_and_is_swum_in(arena):
    arena.put("default:water_source", *[(0, up, south) for up in (-3, -2, -1) for south in (0,)])
    arena.put("default:stone", (0, -4, 0), *[(e, u, s) for u in (-3, -2, -1) for e, s in ((1, 0), (-1, 0), (0, 1), (0, -1))])
    arena.put("air", (0, 0, 0))
    arena.stand(0, 6, 0)
    arena.step(NOOP, 60)
    assert arena.info["in_liquid"]
    assert arena.info["life"] == 20
    before = arena.at[1]
    arena.step(NOOP, 10)
    assert before - 0.2 < arena.at[1] < before  # the engine's slow sinking
    arena.step(JUMP, 10)
    assert arena.at[1] > before


def test_breath_lasts_twenty_seconds_under_water(arena):
    arena.put("default:water_source", *[(0, up, 0) for up in (1, 2, 3)])
    arena.put("default:stone", *[(e, u, s) for u in (1, 2, 3) for e, s in ((1, 0), (-1, 0), (0, 1), (0, -1))])
    arena.step(NOOP, 20 * 20 - 60)
    assert arena.info["oxygen"] < 90
    assert arena.info["life"] == 20
    arena.step(NOOP, 60 + 120)
    assert arena.info["oxygen"] == 0
    assert 20 - arena.info["life"] in (3, 4)  # one in two seconds
    arena.put("air", *[(0, up, 0) for up in (1, 2, 3)])
    arena.step(NOOP, 110)
    assert arena.info["oxygen"] == 300


def test_lava_takes_what_the_game_says_and_kills(arena):
    per_second = int(arena.env.probe("return minetest.registered_nodes['default:lava_source'].damage_per_second"))
    arena.put("default:lava_source", (0, 1, 0), (0, 2, 0))
    arena.step(NOOP, 20)
    assert arena.info["life"] == 20 - per_second
    arena.step(NOOP, 60)
    assert (arena.info["life"], arena.info["died"], arena.ended) == (0, True, True)


def test_hand_reaches_four_blocks(arena):
    arena.put("default:stone", (0, 2, 5))  # its face is 4.5 away
    assert arena.step(NOOP)["pointed"] == ""
    arena.stand(0, 1, 0.6)
    assert arena.step(NOOP)["pointed"] == "stone"


@pytest.mark.parametrize(
    ("tool", "node"),
    [
        ("", "default:tree"),
        ("", "default:dirt"),
        ("default:pick_wood", "default:stone"),
        ("default:pick_stone", "default:stone"),
        ("default:pick_steel", "default:stone"),
        ("default:pick_stone", "default:stone_with_iron"),
        ("default:pick_steel", "default:stone_with_diamond"),
    ],
)
def test_digging_takes_the_games_time_and_drops(arena, tool, node):
    arena.put(node, (0, 2, 1))
    if tool:
        arena.give(tool)
    params = f"minetest.get_dig_params(minetest.registered_nodes['{node}'].groups, ItemStack('{tool}'):get_tool_capabilities())"
    seconds = float(arena.env.probe(f"return {params}.time"))
    ticks = math.ceil(seconds * 20 - 1e-6)
    arena.step(ATTACK, ticks - 1)
    assert arena.name_at(0, 2, 1) == node
    arena.step(ATTACK)
    assert arena.name_at(0, 2, 1) == "air"
    drop = arena.env.probe(f"return minetest.registered_nodes['{node}'].drop or '{node}'")
    assert f"{drop} 1" in arena.env.probe(
        "local s = '' for _, i in ipairs(agent.bag:get_list('main')) do s = s .. i:get_name() .. ' ' .. i:get_count() .. ';' end return s"
    )


def test_digging_begins_anew_when_the_hand_rests(arena):
    arena.put("default:dirt", (0, 2, 1))
    arena.step(ATTACK, 10)
    assert arena.info["progress"] > 0.5
    arena.step(NOOP)
    arena.step(ATTACK, 10)
    assert arena.name_at(0, 2, 1) == "default:dirt"


def test_what_the_tool_cannot_dig_is_refused(arena):
    arena.put("default:stone", (0, 2, 1))
    arena.step(ATTACK, 40)
    assert arena.info["refused"] == "the tool in hand cannot dig that"
    arena.put("default:stone_with_diamond", (0, 2, 1))
    arena.give("default:pick_stone")
    assert arena.step(ATTACK)["refused"] == "the tool in hand cannot dig that"


def test_wooden_pickaxe_breaks_after_the_games_uses(arena):
    arena.give("default:pick_wood")
    uses = 0
    while arena.info["holding"] == "wooden_pickaxe" and uses < 60:
        arena.put("default:stone", (0, 2, 1))
        arena.step(ATTACK, 32)
        uses += 1
    assert uses in (30, 31)  # 10 at the tool's level, three times as many below it


def test_sand_falls_and_lies_at_the_bottom(arena):
    arena.put("default:stone", (0, 2, 1))
    arena.put("default:sand", (0, 3, 1))
    arena.give("default:pick_steel")
    arena.step(ATTACK, 40)
    assert arena.name_at(0, 2, 1) == "air"
    assert arena.name_at(0, 1, 1) == "default:sand"


def test_recipes_of_more_than_two_by_two_need_a_table(arena):
    arena.give("default:wood", 9)
    arena.give("default:stick", 4, slot=1)
    assert arena.step(craft("wooden_pickaxe"))["refused"] == "no crafting table is near"
    arena.step(craft("crafting_table"))
    assert arena.info["inventory"] == {"planks": 5, "stick": 4, "crafting_table": 1}
    assert CRAFT["wooden_pickaxe"] not in arena.info["craftable"]
    arena.step([0, 0, 0, 16, 12, 0, 0, 0])
    arena.step(slot(6, arena.info["slots"].index("crafting_table")))
    assert arena.info["table"]
    assert CRAFT["wooden_pickaxe"] in arena.info["craftable"]
    arena.step(craft("wooden_pickaxe"))
    assert arena.info["inventory"] == {"planks": 2, "stick": 2, "wooden_pickaxe": 1}


def test_smelting_needs_a_furnace_and_fuel_that_lasts(arena):
    arena.give("default:iron_lump", 4)
    assert arena.step(craft("iron_ingot"))["refused"] == "no furnace is near"
    arena.put("default:furnace", (0, 1, 2))
    arena.step([0, 0, 0, 14, 12, 0, 0, 0])
    assert arena.info["furnace"]
    assert arena.step(craft("iron_ingot"))["refused"] == "there is no fuel"
    arena.give("default:coal_lump", 2, slot=1)
    for _ in range(4):
        arena.step(craft("iron_ingot"))
    assert arena.info["inventory"] == {"iron_ingot": 4, "coal": 1}  # 40 s of heat in a lump, 3 s an ingot


def test_rules_of_table_and_furnace_can_be_off(made):
    env = made(table=False, furnace=False, target="", inventory={"planks": 3, "stick": 2, "iron_ore": 1, "coal": 1})
    _, info = env.reset(seed=1)
    assert {CRAFT["wooden_pickaxe"], CRAFT["iron_ingot"]} <= set(info["craftable"])
    for item in ("wooden_pickaxe", "iron_ingot"):
        info = env.step(craft(item))[4]
    assert info["inventory"] == {"wooden_pickaxe": 1, "iron_ingot": 1}


def test_nothing_is_placed_into_the_agent(arena):
    arena.give("default:cobble", 2)
    arena.step(DOWN)
    assert arena.step(slot(6, 0))["refused"] == "the agent stands there"
    arena.step([0, 0, 0, 9, 12, 0, 0, 0])  # 45 degrees down
    assert arena.step(slot(6, 0))["refused"] == ""
    assert arena.name_at(0, 1, 1) == "default:cobble"


def test_hand_and_slots_change_places_and_items_go(arena):
    arena.give("default:cobble", 2)
    arena.give("default:pick_wood", 1, slot=5)
    assert arena.step(slot(5, 5))["slots"][:6:5] == ["wooden_pickaxe", "cobblestone"]
    assert arena.step(slot(5, 9))["refused"] == "that slot is empty"
    arena.step([*NOOP[:5], 2, 0, 0])
    assert arena.info["inventory"] == {"cobblestone": 2}
    assert arena.step(slot(7, 5))["inventory"] == {}


def test_bucket_takes_water_and_gives_it_back(arena):
    arena.put("default:water_source", (0, 1, 2))
    arena.give("bucket:bucket_empty")
    arena.step([0, 0, 0, 14, 12, 0, 0, 0])
    arena.step(USE)
    assert arena.info["holding"] == "water_bucket"
    assert arena.name_at(0, 1, 2) == "air"
    arena.step(USE)
    assert arena.info["holding"] == "bucket"
