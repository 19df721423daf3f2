"""The toolkit of Crafter: what skills are told is so, in worlds built by hand; and nothing an agent has not seen is told."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("crafter", reason="needs the extra [crafter]")

from crafter import constants

from rlgpt.envs import card_files
from rlgpt.envs.crafter import engine, rules, toolkit
from rlgpt.envs.crafter.environment import CrafterSymbolic
from rlgpt.envs.toolkit import load

LEGEND = {name[0]: name for name in ("grass", "water", "stone", "path", "tree", "lava", "coal", "iron", "diamond")} | {
    "#": "table",
    "F": "furnace",
}
assert len({*LEGEND}) == 11
KINDS = {"Z": rules.ZOMBIE, "S": rules.SKELETON, "C": rules.COW, "<": rules.ARROW, ">": rules.ARROW, "P": rules.PLANT}


@pytest.fixture
def world():
    """A function that makes a world of the drawing, the agent (@) in the middle of the map and of the drawing; stone around."""

    def draw(*rows: str, facing: tuple[int, int] = (0, 1), step: int = 100, **items: int):
        env = CrafterSymbolic()
        env.reset(seed=0)
        w = env._world
        w["material"][:] = rules.MATERIAL["stone"]
        w["object"][:] = 0
        for name in ("kind", "x", "y", "health", "timer", "dx", "dy"):
            w[name][:] = 0
        (ay, ax) = next((j, row.index("@")) for j, row in enumerate(rows) if "@" in row)
        count = 1
        w["kind"][0, 0], w["x"][0, 0], w["y"][0, 0] = rules.PLAYER, 32, 32
        w["dx"][0, 0], w["dy"][0, 0] = facing
        w["object"][0, 32, 32] = 1
        for j, row in enumerate(rows):
            for i, mark in enumerate(row):
                x, y = 32 + i - ax, 32 + j - ay
                w["material"][0, x, y] = rules.MATERIAL[LEGEND.get(mark, "grass")]
                if mark in KINDS:
                    w["kind"][0, count], w["x"][0, count], w["y"][0, count], w["health"][0, count] = KINDS[mark], x, y, 5
                    w["dx"][0, count] = {"<": -1, ">": 1}.get(mark, 0)
                    count += 1
                    w["object"][0, x, y] = count
        w["objects"] = count
        w["step"] = step
        for name, n in items.items():
            w["inventory"][0, rules.ITEM[name]] = n
        engine.observe(w, env._record, env._vector, True)
        return env, env._info()

    return draw


def follow(env, info, steps) -> list[int]:
    """Take the actions `steps(info)` gives until it gives None."""
    taken = []
    while (action := steps(info)) is not None:
        taken.append(action)
        assert len(taken) < 60
        info = env.step(action)[4]
    return taken


def test_the_nearest_is_that_with_the_shortest_walk_not_the_shortest_line(world):
    _, info = world(
        "sssssssss",
        "st@gggggg",
        "sssssssgs",
        "sssstgggs",
    )
    assert toolkit.nearest(info, "tree").steps == 0
    _, info = world(
        "ssststtss",
        "ssss@gggs",
        "ssssstsgs",
        "ssssggggs",
    )
    spot = toolkit.nearest(info, "tree")
    assert (spot.cell, spot.steps) == ((33, 31), 1)


def test_what_cannot_be_walked_to_is_not_the_nearest(world):
    _, info = world("tswsssssd", "sss@sssss")
    assert toolkit.nearest(info, "diamond") is None
    assert toolkit.steps_to(info, (37, 31)) is None
    assert toolkit.step_towards(info, (37, 31)) is None


def test_following_its_steps_leads_before_the_thing_and_faces_it(world):
    env, info = world("tggggssss", "sssgggsss", "ssss@ssss")
    spot = toolkit.nearest(info, "tree")
    follow(env, info, lambda info: toolkit.step_towards(info, spot.cell))
    info = env.step(rules.ACTION["do"])[4]
    assert info["inventory"]["wood"] == 1


def test_a_creature_in_the_way_is_walked_around(world):
    _, info = world("ssgggssss", "ss@Cgtsss", "ssssssss")
    assert toolkit.nearest(info, "tree").steps == 4
    assert toolkit.step_towards(info, (35, 32)) == rules.ACTION["move_up"]


def test_ways_dig_with_a_pickaxe_and_only_with_it(world):
    drawing = ("sssssssss", "sg@ssdsss", "sssssssss")
    _, info = world(*drawing)
    assert toolkit.ways(info).nearest("diamond") is None
    env, info = world(*drawing, wood_pickaxe=1)
    spot = toolkit.ways(info).nearest("diamond")
    assert spot.steps == 4
    taken = follow(env, info, lambda info: toolkit.ways(info).step_towards(spot.cell))
    # Turn, dig, step; dig, step; the diamond is ahead then.
    assert [rules.ACTIONS[action] for action in taken] == ["move_right", "do", "move_right", "do", "move_right"]
    assert env.seen.ahead == "diamond"


def test_ways_bridge_water_with_stone_and_get_the_stone_back(world):
    env, info = world("wwwwwwwww", "sg@wwtsss", "wwwwwwwww", wood_pickaxe=1, stone=1)
    follow(env, info, lambda info: toolkit.ways(info).step_towards((35, 32)))
    assert env.seen.ahead == "tree"
    assert env.seen.inventory()["stone"] == 1
    _, info = world("wwwwwwwww", "sg@wwtsss", "wwwwwwwww", wood_pickaxe=1)
    assert toolkit.ways(info).nearest("tree") is None


def test_ways_go_around_danger_and_never_through_lava(world):
    env, info = world("ggggggsss", "sg@gltsss", "ggggggsss")
    assert toolkit.ways(info).nearest("tree").steps == 4
    follow(env, info, lambda info: toolkit.ways(info).step_towards((35, 32)))
    assert env.seen.ahead == "tree"
    danger = np.zeros((64, 64), np.int16)
    danger[:, 31] = 10
    _, info = world("ggggggsss", "sg@gltsss", "ggggggsss")
    assert toolkit.ways(info, fell=False, danger=danger).path((35, 32))[0] in ((32, 33), (33, 32))
    assert all(y != 31 for _, y in toolkit.ways(info, danger=danger).path((35, 32)))


@pytest.mark.parametrize("seed", range(6))
def test_ways_cost_what_an_independent_search_says(seed):
    env = CrafterSymbolic()
    _, info = env.reset(seed=seed)
    rng = np.random.default_rng(seed)
    for _ in range(150):
        info = env.step(int(rng.integers(1, 5)))[4]
        env._world["inventory"][0, 0] = 9
    env._world["inventory"][0, rules.ITEM["wood_pickaxe"]] = 1
    info = env.step(0)[4]
    found = toolkit.ways(info)
    price = {rules.MATERIAL[name]: 2 for name in ("stone", "coal", "tree")} | {
        rules.MATERIAL[name]: 1 for name in ("grass", "sand", "path")
    }
    here = env.seen.position
    cost = {here: 0}
    for _ in range(200):  # Bellman-Ford
        for (x, y), so_far in list(cost.items()):
            for dx, dy in rules.DIRECTIONS:
                cell = x + dx, y + dy
                if not (0 <= cell[0] < 64 and 0 <= cell[1] < 64) or (env.seen.creatures[cell] and env.seen.when[cell] == env.seen.step):
                    continue
                step = price.get(int(env.seen.map[cell]))
                if step and so_far + step < cost.get(cell, 10**6):
                    cost[cell] = so_far + step
    assert {(int(x), int(y)): int(found.cost[x, y]) for x, y in np.argwhere(found.cost >= 0)} == cost


def test_unexplored_is_the_nearest_walkable_cell_at_the_edge_of_what_was_seen(world):
    _, info = world("ggggggggg", "gggg@gggg", "ggggggggg")
    spot = toolkit.unexplored(info)
    assert spot.steps == 4
    assert spot.x in (28, 36)


@pytest.mark.parametrize("action", [name for name in rules.ACTIONS if name.startswith(("make", "place"))])
def test_what_can_be_made_is_what_the_world_makes(world, action):
    rng = np.random.default_rng(0)
    made = 0
    for trial in range(60):
        around = "".join(rng.choice(list("gs#Fw"), 8))
        items = {name: int(rng.integers(0, 6)) for name in ("wood", "stone", "coal", "iron", "sapling")}
        env, info = world(around[:3], around[3] + "@" + around[4], around[5:], facing=(1, 0), **items)
        expected = toolkit.can(info, action)
        lacks = toolkit.missing(info, action)
        before = info["achievements"][action]
        after = env.step(rules.ACTION[action])[4]["achievements"][action]
        assert expected == (after > before), (trial, around, items)
        assert not (expected and lacks)
        made += expected
    assert 0 < made < 60


def test_what_is_missing_is_counted(world):
    _, info = world("ggg", "#@g", "ggg", wood=1)
    assert toolkit.missing(info, "make_iron_pickaxe") == {"coal": 1, "iron": 1, "furnace": 1}
    assert toolkit.missing(info, "place_table") == {"wood": 1}
    assert toolkit.missing(info, "make_wood_pickaxe") == {}


def test_threats_are_told_nearest_first_and_whether_they_are_aimed(world):
    _, info = world("sssssssss", "ss>g@ggSs", "sssssZsss")
    found = [(threat.kind, threat.dx, threat.dy, threat.aimed) for threat in toolkit.threats(info)]
    assert found == [("arrow", -2, 0, True), ("zombie", 1, 1, False), ("skeleton", 3, 0, True)]
    _, info = world("sssssssss", "ss<g@gsSs", "sssssssss")
    assert [threat.aimed for threat in toolkit.threats(info)] == [False, False]


def test_an_aimed_arrow_hits_whoever_stays(world):
    env, info = world("sssssssss", "ss>g@ggss", "sssssssss")
    assert toolkit.threats(info)[0].aimed
    damage = [env.step(0)[4]["damage"] for _ in range(3)]
    assert sum(damage) == 2


def test_needs_phase_facing_and_words(world):
    _, info = world("ggg", "g@t", "ggg", facing=(1, 0), step=620, food=3, drink=5, energy=9, wood=2)
    assert toolkit.needs(info) == [(3, "food"), (5, "drink"), (9, "energy")]
    assert toolkit.phase(info) == 20
    assert toolkit.facing(info, "tree")
    assert "food 3" in toolkit.words(None, info)
    assert "before tree, has wood 2" in toolkit.words(None, info)


def test_dangers_are_around_zombies_and_in_the_line_of_skeletons_up_to_a_wall(world):
    _, info = world("sssssssss", "ssgg@ggSs", "sssssssss", "ssZssssss")
    fear = toolkit.dangers(info, zombie=6, shot=4)
    assert [int(fear[32 + dx, 32]) for dx in (-2, -1, 0, 1, 2)] == [6 + 4, 4, 4, 4, 4]  # an arrow flies five cells
    assert fear[29, 32] == 0
    _, info = world("sssssssss", "ssgg@gsSs", "sssssssss")
    assert not toolkit.dangers(info).any()


def test_closed_is_where_nobody_can_come(world):
    _, info = world("sss", "s@w", "sss")
    assert toolkit.closed(info)
    for rows in (("sssss", "sg@ss", "sssss"), ("sssss", "ss@Ss", "sssss"), ("ssspsss", "ppppppp", "ppp@ppp", "ppppppp")):
        _, info = world(*rows)
        assert not toolkit.closed(info), rows


def test_shelter_entered_as_told_is_closed(world):
    env, info = world("ggggg", "gg@gg", "sssss", "sssss", "sssss", wood_pickaxe=1)
    outside, door, room = toolkit.shelter(toolkit.ways(info))
    follow(env, info, lambda info: toolkit.ways(info).step_towards(outside))
    info = env._info()
    assert info["seen"].position == outside
    for cell in (door, room):
        while info["seen"].position != cell:
            info = env.step(toolkit.enter(info, cell))[4]
    info = env.step(rules.ACTION["move_up" if door[1] < room[1] else "move_down"])[4]
    assert info["seen"].position == door
    assert not toolkit.closed(info)
    info = env.step(rules.ACTION["place_stone"])[4]
    assert toolkit.closed(info)


def test_no_shelter_where_a_wall_is_missing(world):
    rooms = ("ggggggg", "ggg@ggg", "gsgsgsg", "gsgsgsg", "sssssss")
    _, info = world(*rooms, wood_pickaxe=1)
    assert toolkit.shelter(toolkit.ways(info)) is None
    _, info = world(*rooms[:2], *["sssssss"] * 3, wood_pickaxe=1)
    assert toolkit.shelter(toolkit.ways(info)) is not None


def test_frontier_is_the_cheapest_cell_at_the_edge_of_what_is_known(world):
    _, info = world("sssssssss", "sg@gggggg", "sssssssss")
    spot = toolkit.frontier(toolkit.ways(info))
    assert (spot.cell, spot.steps) == ((36, 32), 4)
    tabu = np.full((64, 64), -1, np.int32)
    tabu[spot.cell] = info["step"] + 1
    assert toolkit.frontier(toolkit.ways(info), tabu=tabu) is None


def test_pasture_is_where_grass_may_go_on_and_nothing_if_all_was_just_seen(world):
    _, info = world(*["ggggggggg"] * 3, "gggg@gggg", *["sssssssss"] * 3)
    spot = toolkit.pasture(toolkit.ways(info))
    assert spot.y == 29
    info["seen"]._record["map"][0][info["seen"].map == 0] = rules.MATERIAL["water"]
    info["seen"]._record["when"][0][:] = info["step"]
    assert toolkit.pasture(toolkit.ways(info)) is None


def test_nearest_by_ways_leaves_out_what_is_tabu(world):
    _, info = world("sssssssss", "stggg@gts", "sssssssss")
    going, tabu = toolkit.ways(info), np.full((64, 64), -1, np.int32)
    assert going.nearest("tree").steps == 1
    tabu[34, 32] = info["step"] + 1
    assert going.nearest("tree", tabu=tabu).steps == 3
    with pytest.raises(ValueError, match="'gold' is neither a material"):
        going.nearest("gold")


def test_unknown_names_are_told_with_those_there_are(world):
    _, info = world("ggg", "g@g", "ggg")
    with pytest.raises(ValueError, match="'gold' is neither a material"):
        toolkit.nearest(info, "gold")
    with pytest.raises(ValueError, match="'sleep' neither makes nor places"):
        toolkit.can(info, "sleep")


def test_the_card_of_crafter_tells_the_rules_of_the_installed_crafter():
    card = card_files.parse((card_files.importlib.resources.files("rlgpt.envs.cards") / "crafter.yaml").read_text(), "crafter.yaml")
    assert card.actions == rules.ACTIONS
    notes = " ".join(card.notes.split())
    assert all(name in notes for name in (*constants.achievements, *constants.materials, *rules.CREATURES))
    assert f"place_stone: {constants.place['stone']['uses']['stone']} stone" in notes
    assert f"place_table: {constants.place['table']['uses']['wood']} wood" in notes
    assert f"place_furnace: {constants.place['furnace']['uses']['stone']} stone" in notes
    assert constants.make["iron_pickaxe"] == {"uses": {"wood": 1, "coal": 1, "iron": 1}, "nearby": ["table", "furnace"], "gives": 1}
    assert constants.collect["grass"]["probability"] == 0.1
    assert len(load("rlgpt.envs.crafter.toolkit").functions) > 12
