"""Crafter as a Gymnasium environment: what agents see of it, and saving and restoring a world."""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest

pytest.importorskip("crafter", reason="needs the extra [crafter]")

from rlgpt.bus.task import Environment
from rlgpt.envs.crafter import encoding, rules
from rlgpt.envs.crafter.environment import CrafterSymbolic
from rlgpt.envs.crafter.score import crafter_score, success_rates, success_test
from rlgpt.envs.expression import Expression
from rlgpt.envs.pool import Trials, describe, try_skill
from rlgpt.envs.registry import make

SYMBOLIC = "rlgpt/CrafterSymbolic-v0"


@pytest.fixture
def env():
    return CrafterSymbolic()


def play(env, seed: int, steps: int, start: int = 0) -> list:
    rng = np.random.default_rng(seed)
    actions = rng.integers(17, size=start + steps).tolist()[start:]
    followed = []
    for action in actions:
        obs, reward, dead, _, info = env.step(action)
        followed.append((obs.tobytes(), reward, dead, info["have"], info["x"], info["y"]))
        if dead:
            break
    return followed


@pytest.mark.parametrize(("name", "kwargs"), [(SYMBOLIC, {}), (SYMBOLIC, {"planes": True}), ("rlgpt/CrafterPixels-v0", {"size": 72})])
def test_gymnasium_finds_nothing_wrong_with_it(name, kwargs):
    env = make(name, kwargs, None, checked=True)
    obs, info = env.reset(seed=1)
    assert env.observation_space.contains(obs)
    for action in range(17):
        obs, _, _, _, info = env.step(action)
        assert env.observation_space.contains(obs)
    assert info["seen"].map[info["x"], info["y"]] > 0
    assert env.spec.max_episode_steps == 10_000


def test_it_runs_in_a_locked_worker_with_its_toolkit():
    environment = Environment(id=SYMBOLIC, actions=rules.ACTIONS, imports=("math", "numpy", "rlgpt.envs.crafter.toolkit"))
    from rlgpt.bus.parts import Skill

    source = """
from rlgpt.envs.crafter.toolkit import nearest, step_towards, unexplored, ways, threats, can, missing, facing

def get_wood(obs, info):
    while info["inventory"]["wood"] < 1:
        tree = nearest(info, "tree") or unexplored(info)
        ways(info).step_towards(tree.cell)
        threats(info), can(info, "place_table"), missing(info, "place_table")
        step = step_towards(info, tree.cell)
        obs, info = yield DO if step is None else step
"""
    episodes = try_skill(environment, Skill(name="get_wood", source=source, max_steps=100), (), success_test("collect_wood"), (1, 2, 3))
    assert [episode.success for episode in episodes] == [True] * 3, episodes[0].error
    assert "wood 1" in episodes[0].last


def test_pictures_run_in_a_locked_worker():
    from rlgpt.bus.parts import Skill

    environment = Environment(id="rlgpt/CrafterPixels-v0", actions=rules.ACTIONS)
    source = "def wait(obs, info):\n    assert obs.shape == (64, 64, 3)\n    for _ in range(250):\n        obs, info = yield NOOP\n"
    with Trials(environment) as trials:
        (episode,) = trials.run(Skill(name="wait", source=source, max_steps=300), (), "obs.mean() < 60", (4,))
    assert episode.error == ""
    assert episode.steps > 150


def test_its_card_starts_from_what_it_says_of_itself():
    assert "health=9, food=9, drink=9, energy=9, x=32, y=32" in describe(Environment(id=SYMBOLIC)).info


def test_the_same_seed_is_the_same_episode_and_another_is_another(env):
    env.reset(seed=1)
    first = play(env, 1, 200)
    env.reset(seed=2)
    other = play(env, 1, 200)
    env.reset(seed=1)
    assert play(env, 1, 200) == first != other


def test_resets_without_a_seed_go_through_new_worlds(env):
    first = env.reset(seed=1)[0]
    worlds = {env.reset()[0].tobytes() for _ in range(4)}
    assert len(worlds | {first.tobytes()}) == 5


def test_a_restored_snapshot_goes_on_exactly_as_the_world_it_was_taken_of(env):
    for seed in (3, 8):
        env.reset(seed=seed)
        play(env, seed, 120)
        saved, light = env.snapshot(), env._world["daylight"][0]
        followed = play(env, seed + 1, 150)
        other = CrafterSymbolic()
        other.reset(seed=99)
        obs, info = other.restore(saved)
        assert (info["daylight"], info["new"], info["damage"], info["new_enemies"]) == (light, "", 0, 0)
        assert other.snapshot() == saved
        assert play(other, seed + 1, 150) == followed
        assert len(saved) < 16_000
        assert obs.shape == env.observation_space.shape


def test_a_restored_snapshot_equals_the_replay_of_its_actions(env):
    env.reset(seed=12)
    play(env, 5, 100)
    again = CrafterSymbolic()
    again.reset(seed=12)
    followed = play(again, 5, 100)
    restored = CrafterSymbolic()
    obs, _ = restored.restore(env.snapshot())
    assert np.count_nonzero(obs != np.frombuffer(followed[-1][0], np.float32)) <= 1  # health lost in the last step is not told again
    assert restored._world.tobytes() == again._world.tobytes()
    assert restored.seen.map.tobytes() == again.seen.map.tobytes()


@pytest.mark.parametrize("damage", ["cut", "flip", "other", "object", "empty"])
def test_a_damaged_snapshot_is_refused_and_changes_nothing(env, damage):
    env.reset(seed=4)
    before = env._world.tobytes()
    other = CrafterSymbolic()
    other.reset(seed=5)
    if damage == "object":
        other._world["x"][0, 3] = 999  # compiled code would write far outside of its arrays
    saved = other.snapshot()
    broken = {"cut": saved[:-9], "flip": saved[:40] + bytes([saved[40] ^ 255]) + saved[41:], "other": b"something else" * 9, "empty": b""}
    with pytest.raises(ValueError, match="snapshot of Crafter"):
        env.restore(broken.get(damage, saved))
    assert env._world.tobytes() == before


def test_an_agent_knows_only_what_was_in_view(env):
    env.reset(seed=6)
    rng = np.random.default_rng(0)
    seen = np.zeros((64, 64), bool)
    for _ in range(200):
        x, y = int(env._world["x"][0, 0]), int(env._world["y"][0, 0])
        seen[max(0, x - 4) : x + 5, max(0, y - 3) : y + 4] = True
        info = env.step(int(rng.integers(1, 5)))[4]
        env._world["inventory"][0, 0] = 9
    x, y = info["x"], info["y"]
    seen[max(0, x - 4) : x + 5, max(0, y - 3) : y + 4] = True
    memory = info["seen"]
    np.testing.assert_array_equal(memory.map > 0, seen)
    np.testing.assert_array_equal(memory.when >= 0, seen)
    assert not memory.creatures[~seen].any()
    assert (memory.distance[~seen] == -1).all()
    assert not memory.map.flags.writeable


def test_the_vector_is_named_and_says_what_is_ahead_and_around(env):
    obs, info = env.reset(seed=0)
    named = dict(zip(encoding.NAMES, obs, strict=True))
    assert len(named) == len(encoding.NAMES) == len(obs)
    assert named["health / 9"] == 1
    assert named[f"ahead {info['ahead']}"] == 1
    assert named["facing down"] == 1
    assert sum(named[f"ahead {name}"] for name in ("edge of the world", *rules.MATERIALS)) == 1
    memory = info["seen"]
    trees = np.argwhere(memory.map == rules.MATERIAL["tree"])
    beside = [memory.distance[x + dx, y + dy] for x, y in trees for dx, dy in rules.DIRECTIONS if memory.distance[x + dx, y + dy] >= 0]
    assert named["nearest tree: 1 / (1 + steps)"] == pytest.approx(1 / (1 + min(beside)))


def test_death_ends_an_episode_and_the_time_limit_cuts_it_off():
    env = gymnasium.make(SYMBOLIC, max_episode_steps=3)
    env.reset(seed=0)
    assert [env.step(0)[2:4] for _ in range(3)] == [(False, False), (False, False), (False, True)]
    env.reset(seed=0)
    env.unwrapped._world["inventory"][0, 0] = 1
    env.unwrapped._world["recover"][0] = -14.9
    env.unwrapped._world["inventory"][0, 1] = 0
    assert env.step(0)[2:4] == (True, False)


@pytest.mark.parametrize("name", rules.ACHIEVEMENTS)
def test_success_of_an_achievement_holds_once_it_is_unlocked(env, name):
    _, info = env.reset(seed=0)
    test = Expression(success_test(name), "success")
    assert not test.holds({"info": info})
    env._world["achievements"][0, rules.ACHIEVEMENT[name]] = 1
    info = env.step(0)[4]
    assert test.holds({"info": info})


def test_what_is_new_is_told_in_the_step_it_happens(env):
    env.reset(seed=0)
    env._world["inventory"][0, rules.ITEM["sapling"]] = 1
    assert env.step(rules.ACTION["place_plant"])[4]["new"] == "place_plant"
    assert env.step(0)[4]["new"] == ""


def test_crafter_score_is_the_geometric_mean_of_the_paper():
    none = dict.fromkeys(rules.ACHIEVEMENTS, 0.0)
    assert crafter_score(none) == 0
    assert crafter_score(dict.fromkeys(rules.ACHIEVEMENTS, 100.0)) == pytest.approx(100)
    # One of 22 always: exp(ln(101) / 22) - 1.
    assert crafter_score({**none, "collect_wood": 100.0}) == pytest.approx(101 ** (1 / 22) - 1)
    with pytest.raises(ValueError, match="22 success rates"):
        crafter_score({"collect_wood": 50.0})


def test_success_rates_count_episodes_not_events():
    episodes = [dict.fromkeys(rules.ACHIEVEMENTS, 0) | {"collect_wood": count} for count in (0, 1, 7, 0)]
    rates = success_rates(episodes)
    assert rates["collect_wood"] == 50
    assert rates["eat_cow"] == 0
