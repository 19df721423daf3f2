"""What is ours and off by default: hunger and healing, night, zombies; on the agent's own tick, as deterministic as the rest."""

from __future__ import annotations

import pytest
from luanti_arena import AHEAD, ATTACK, NOOP, USE, Arena

from rlgpt.envs.luanti.environment import Luanti


@pytest.fixture(scope="module")
def wild():
    env = Luanti(probe=True, target="", monsters=True, hunger=True, daylight="night")
    yield env
    env.close()


@pytest.fixture
def arena(wild):
    arena = Arena(wild)
    wild.probe("rl.forget_creatures() rl.most_creatures = 0")
    return arena


def put_zombie(arena: Arena, east: float, south: float) -> None:
    arena.env.probe(
        "rl.forget_creatures() rl.creatures[1] = "
        f"{{x = rl.arena.x + {east}, y = rl.arena.y + 0.5, z = rl.arena.z - {south}, vy = 0, hp = 20, rest = 0, burnt = 0}}"
    )


def zombies(arena: Arena) -> list[dict]:
    return [hit for hit in arena.info["seen"] if hit["kind"] == "entity"]


def test_work_makes_hungry_and_rest_does_not(arena):
    arena.env.probe("agent.saturation, agent.exhausted = 0, 3.99")
    arena.step(NOOP, 5)
    assert arena.info["food"] == 20
    arena.step(AHEAD, 20)
    assert arena.info["food"] == 19


def test_who_is_full_heals_and_who_starves_is_hurt_down_to_one(arena):
    arena.env.probe("agent.hp = 10")
    arena.step(NOOP, 79)
    assert arena.info["life"] == 10
    arena.step(NOOP)
    assert arena.info["life"] == 11
    arena.env.probe("agent.food, agent.saturation, agent.hp, agent.digested = 0, 0, 2, 0")
    arena.step(NOOP, 80)
    assert arena.info["life"] == 1
    arena.step(NOOP, 160)
    assert (arena.info["life"], arena.info["died"]) == (1, False)


def test_an_apple_is_food_and_no_health(arena):
    arena.env.probe("agent.food, agent.hp = 10, 10")
    arena.give("default:apple", 2)
    arena.step(USE)
    assert (arena.info["food"], arena.info["life"], arena.info["inventory"]) == (12, 10, {"apple": 1})


def test_without_hunger_an_apple_heals(env):
    arena = Arena(env)
    arena.env.probe("agent.hp = 10")
    arena.give("default:apple", 2)
    arena.step(USE)
    assert (arena.info["food"], arena.info["life"], arena.info["inventory"]) == (20, 12, {"apple": 1})


def test_zombie_in_view_comes_and_strikes(arena):
    put_zombie(arena, 0, 6)
    arena.step(NOOP)
    (seen,) = zombies(arena)
    assert seen["name"] == "zombie"
    assert seen["distance"] == pytest.approx(6, abs=0.5)
    arena.step(NOOP, 45)
    assert arena.info["life"] == 17
    assert zombies(arena)[0]["distance"] < 1.7


def test_zombie_behind_a_wall_is_neither_seen_nor_sees(arena):
    arena.put("default:stone", *[(east, up, 3) for east in range(-9, 10) for up in (1, 2, 3)])
    put_zombie(arena, 0, 6)
    arena.step(NOOP, 60)
    assert not zombies(arena)
    assert arena.info["life"] == 20


def test_sword_kills_it(arena):
    arena.give("default:sword_steel")
    put_zombie(arena, 0, 2)
    arena.step(ATTACK, 31)  # 6 points each half second
    assert arena.env.probe("return #rl.creatures") == "0"


@pytest.mark.parametrize("roof", [False, True])
def test_sun_burns_it_where_there_is_no_roof(arena, roof):
    walls = [(east, up, south) for east, south in ((7, 8), (9, 8), (8, 7), (8, 9)) for up in (1, 2)]
    arena.put("default:stone", *walls, *([(8, 3, 8)] if roof else []))
    put_zombie(arena, 8, 8)
    arena.env.probe("rl.settings.daylight, rl.creatures[1].hp = 'day', 2")
    arena.step(NOOP, 45)
    left = arena.env.probe("rl.settings.daylight = 'night' return #rl.creatures")
    assert left == ("1" if roof else "0")


def test_light_follows_the_hour(made):
    light = {}
    for daylight in ("day", "night"):
        env = made(daylight=daylight, target="")
        arena = Arena(env)
        light[daylight] = arena.info["light"]
    assert light["day"] > 10 > light["night"]


def test_night_with_zombies_is_the_same_elsewhere(made):
    told = []
    for _ in range(2):
        env, seen = made(monsters=True, daylight="night", target=""), []
        env.reset(seed=12)
        for step in range(500):
            _, _, ended, _, info = env.step([1 if step % 7 else 0, 0, 1, 12, 12 + (step % 11 == 0), 0, 0, 0])
            seen.append((info["life"], info["x"], info["y"], info["z"], [hit for hit in info["seen"] if hit["kind"] == "entity"]))
            if ended:
                break
        told.append(seen)
    assert told[0] == told[1]
    assert any(entities for *_, entities in told[0])
