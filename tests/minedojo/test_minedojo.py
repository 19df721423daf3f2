"""MineDojo 0.1 as an environment: the real package in its own venv, against a stand-in for the game (see stand_in.py)."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from rlgpt.bus.parts import Skill
from rlgpt.envs.errors import EnvironmentUnavailable, HostLost
from rlgpt.envs.minedojo_toolkit import CRAFT
from rlgpt.envs.pool import describe, try_skill

NOOP = (0, 0, 0, 12, 12, 0, 0, 0)


def act(**parts: int) -> np.ndarray:
    """The no-op, but for some of its parts."""
    names = ("ahead", "aside", "jump", "pitch", "yaw", "function", "craft", "slot")
    return np.array([parts.get(name, value) for name, value in zip(names, NOOP, strict=True)])


USE, ATTACK = act(function=1), act(function=3)


def craft(item: str) -> np.ndarray:
    return act(function=4, craft=CRAFT[item])


def slotted(function: int, item: str, info: dict) -> np.ndarray:
    return act(function=function, slot=info["slots"].index(item))


def play(env, *actions):
    """The last step's five values."""
    for action in actions:
        last = env.step(action)
        assert not last[2] or action is actions[-1], "the episode ended before its time"
    return last


def put_cow_ahead(game) -> None:
    game.world.mobs[:] = [["cow", game.world.x, game.world.z + 2.5, 8]]
    game.world.yaw, game.world.pitch = 0.0, 15.0


def test_milk_is_got_by_using_a_bucket_on_a_cow_and_ends_the_episode(playing, game):
    env = playing("milk")
    _, info = env.reset(seed=1)
    assert (info["holding"], info["inventory"], info["life"]) == ("bucket", {"bucket": 1}, 20.0)
    put_cow_ahead(game)
    _, reward, terminated, truncated, info = play(env, USE, act())
    assert (reward, terminated, truncated, info["success"], info["died"]) == (1.0, True, False, True, False)
    assert info["inventory"] == {"milk_bucket": 1}
    assert env.reset(seed=2)[1]["inventory"] == {"bucket": 1}
    assert not env.step(act())[2]


def test_observations_are_typed_arrays_of_the_space(playing):
    env = playing("milk", voxels=1, rays=3)
    obs, info = env.reset(seed=1)
    assert obs["rgb"].shape == (3, 32, 48)
    assert obs["rgb"].flags["C_CONTIGUOUS"]
    assert obs["solid"].shape == (3, 3, 3)
    assert obs["solid"][:, 0, :].all()
    assert not obs["solid"][:, 2, :].any()
    for key, part in obs.items():
        assert env.observation_space[key].contains(part), key
    assert ["grass_block", 0, -1, 0] in info["blocks"]


def test_lidar_names_what_it_hits_and_where(playing, game):
    env = playing("milk", rays=9)
    env.reset(seed=1)
    game.world.mobs[:] = [["cow", game.world.x - 3.0, game.world.z + 3.0, 8]]
    game.world.yaw, game.world.pitch = 0.0, 0.0
    info = play(env, act(), act())[4]
    (cow,) = [seen for seen in info["seen"] if seen["kind"] == "entity"]
    assert cow["name"] == "cow"
    assert cow["distance"] == pytest.approx(4.2, abs=0.5)
    assert cow["right"] == pytest.approx(45, abs=8)
    assert any(seen["name"] == "grass_block" for seen in info["seen"])


def test_log_to_stone_pickaxe_through_the_eight_part_action(playing, game):
    env = playing("stone_pickaxe", overrides={"break_speed_multiplier": 5.0, "initial_inventory": None})
    env.reset(seed=1)
    world = game.world
    world.slots[0] = ["air", 0, 0]
    for _ in range(3):
        world.blocks[(int(np.floor(world.x)), 65, int(np.floor(world.z)) + 2)] = "log"
        world.yaw, world.pitch = 0.0, 0.0
        info = play(env, *[ATTACK] * 14)[4]
    assert info["inventory"] == {"log": 3}
    info = play(env, *[craft("planks")] * 3, craft("stick"), craft("crafting_table"))[4]
    assert info["inventory"] == {"planks": 6, "stick": 4, "crafting_table": 1}
    world.pitch = 60.0
    info = play(env, act(), slotted(6, "crafting_table", info), act())[4]
    assert info["table"]
    info = play(env, craft("wooden_pickaxe"))[4]
    assert info["inventory"]["wooden_pickaxe"] == 1
    info = play(env, slotted(5, "wooden_pickaxe", info))[4]
    assert info["holding"] == "wooden_pickaxe"
    for _ in range(3):
        world.blocks[(int(np.floor(world.x)), 65, int(np.floor(world.z)) + 2)] = "stone"
        world.pitch = 0.0
        info = play(env, *[ATTACK] * 8)[4]
    assert info["inventory"]["cobblestone"] == 3
    world.pitch = 60.0
    _, reward, terminated, _, info = play(env, act(), craft("stone_pickaxe"))
    assert (reward, terminated, info["success"], info["inventory"]["stone_pickaxe"]) == (1.0, True, True, 1)


def test_table_nearby_is_a_success_of_its_own(playing, game):
    env = playing("crafting_table_nearby")
    _, info = env.reset(seed=1)
    game.world.give("crafting_table")
    game.world.pitch = 60.0
    info = play(env, act(), act())[4]
    assert not info["success"]
    _, reward, terminated, _, info = play(env, slotted(6, "crafting_table", info))
    assert (reward, terminated, info["table"]) == (1.0, True, True)


def test_reduced_actions_walk_and_use(playing, game):
    env = playing("milk", action="reduced")
    assert env.action_space.nvec.tolist() == [12, 3]
    _, before = env.reset(seed=1)
    after = play(env, *[np.array([1, 0])] * 5)[4]
    assert np.hypot(after["x"] - before["x"], after["z"] - before["z"]) == pytest.approx(1.08, abs=0.1)
    put_cow_ahead(game)
    assert play(env, np.array([0, 1]), np.array([0, 0]))[4]["success"]


def test_skill_on_the_reduced_actions_finds_the_cow_and_milks_it(hosted, game):
    game.world.mobs[:] = []
    chat = game.world.chat

    def cow_to_the_right(words):
        chat(words)
        if words[0] == "/weather":  # the last command of a reset
            game.world.mobs[:] = [["cow", game.world.x - 4.0, game.world.z + 3.0, 8]]
            game.world.yaw, game.world.pitch = 0.0, 15.0

    game.world.chat = cow_to_the_right
    body = (
        "obs, info = yield from look_for(obs, info, 'cow')\n    obs, info = yield from walk_to(obs, info, 'cow', 2.5)\n"
        "    while not info['success']:\n        obs, info = yield action(do='use')"
    )
    skill = Skill(name="milk", source=f"def milk(obs, info):\n    {body}\n", max_steps=60)
    environment = hosted("milk", action="reduced", rays=25).model_copy(update={"toolkit": "rlgpt.envs.minedojo_reduced_toolkit"})
    (episode,) = try_skill(environment, skill, (), "info['success']", [1])
    assert episode.error == ""
    assert episode.success, episode.trace


def test_masks_are_observed_on_demand(playing, game):
    env = playing("stone_pickaxe", masks=True)
    obs, info = env.reset(seed=1)
    assert {name: obs[f"can_{name}"].shape for name in ("craft", "equip", "place", "destroy")} == {
        "craft": (244,),
        "equip": (36,),
        "place": (36,),
        "destroy": (36,),
    }
    assert not obs["can_equip"].any(), "what is in the hand already"
    assert obs["can_destroy"].tolist() == [1, *[0] * 35]
    assert not obs["can_craft"].any()
    game.world.give("log")
    obs, *_, info = play(env, act(), act())
    assert obs["can_craft"][CRAFT["planks"]] == 1
    assert CRAFT["planks"] in info["craftable"]
    assert info["placeable"] == [info["slots"].index("log")]
    assert env.observation_space.contains(obs)


def test_commands_of_resets_are_those_asked_for_and_the_first_ones_only_in_a_running_game(playing, game):
    said = []
    chat = game.world.chat
    game.world.chat = lambda words: (said.append(" ".join(words)), chat(words))
    env = playing("milk", commands={"before": ["/clear"], "after": ["/time set 13000"]})
    env.reset(seed=1)
    assert "/clear" not in said
    assert said[-1] == "/time set 13000"
    said.clear()
    env.reset(seed=2)
    assert (said[0], said[1], said[-1]) == ("/clear", "/kill", "/time set 13000")


def test_what_only_the_fork_can_do_is_refused_with_its_name(playing):
    with pytest.raises(RuntimeError, match=r"takes no range for this task, .* only the fork MCEnv does"):
        playing("milk", teleport=[20, 70]).reset(seed=1)
    env = playing("milk", teleport_every=2)
    with pytest.raises(RuntimeError, match="moves the player at every fast reset; only the fork MCEnv"):
        env.reset(seed=1)


def test_forks_resets_are_used_where_they_are_there(playing):
    """`forked:make` gives the real package the parameters that MCEnv has, and tells what they were given."""
    here = {"path": [str(Path(__file__).parent)]}
    env = playing("milk", name="forked:make", host=here, teleport=[20, 70], teleport_every=2)
    moved = [env.reset(seed=seed)[1]["fork"] for seed in (1, 2, 3)]
    assert moved == [[20, 70, True], [20, 70, False], [20, 70, True]]


@pytest.mark.parametrize(
    ("clip", "says"),
    [
        ({"weights": "/nowhere/attn.pth", "prompt": "milk a cow"}, "/nowhere/attn.pth is no file; MineCLIP's README says where"),
        ({"weights": __file__, "prompt": "milk a cow"}, r"clip needs MineCLIP in the venv of MineDojo: .*; pip install git\+https"),
        ({"weights": __file__, "prompt": "", "variant": "attn"}, "clip needs a prompt"),
    ],
)
def test_mineclip_that_cannot_be_used_is_told_when_the_environment_is_made(hosted, clip, says):
    with pytest.raises(EnvironmentUnavailable, match=says):
        describe(hosted("milk", clip=clip))


def test_host_draws_what_the_player_sees(playing):
    env = playing("milk")
    env.reset(seed=1)
    obs = play(env, act(yaw=14))[0]
    assert env.render_mode == "rgb_array"
    assert np.array_equal(env.render(), np.moveaxis(obs["rgb"], 0, -1))


@pytest.mark.parametrize("function", [5, 6, 7])
def test_action_on_an_empty_slot_does_nothing_and_says_so(playing, function):
    env = playing("milk")
    env.reset(seed=1)
    info = env.step(act(function=function, slot=17))[4]
    assert "slot 17: that slot is empty" in info["refused"]
    assert env.step(act())[4]["refused"] == ""
    assert "nothing came of it" in env.step(craft("bed"))[4]["refused"]


def test_death_ends_the_episode_although_the_game_respawns(playing, game):
    env = playing("milk")
    env.reset(seed=1)
    game.events[game.steps + 2] = "die"
    _, reward, terminated, _, info = play(env, act(), act())
    assert (reward, terminated, info["died"], info["success"]) == (0.0, True, True, False)
    assert not env.reset(seed=2)[1]["died"]
    assert not env.step(act())[2]


@pytest.mark.parametrize("event", ["drop", "done"])
def test_game_that_is_lost_is_an_error_not_an_end_and_the_next_episode_plays(playing, game, event):
    env = playing("milk")
    env.reset(seed=1)
    missions = game.missions
    game.events[game.steps + 2] = event
    env.step(act())
    with pytest.raises(RuntimeError, match="Minecraft ended the mission, crashed, or closed its connection") as raised:
        env.step(act())
    assert type(raised.value).__name__ == "GameLost"
    game.events.clear()
    assert env.reset(seed=2)[1]["inventory"] == {"bucket": 1}
    assert game.missions == missions + 1
    put_cow_ahead(game)
    assert play(env, USE, act())[4]["success"]


def test_game_that_hangs_is_given_up_at_the_deadline(playing, game):
    env = playing("milk", host={"step_s": 1.5})
    env.reset(seed=1)
    game.events[game.steps + 1] = "hang"
    with pytest.raises(HostLost, match=r"no end of the environment's step within 1.5 s"):
        env.step(act())
    assert "no end of the environment's step" in env.lease.lost()


def test_thousand_steps_go_uninterrupted(playing):
    env = playing("milk", pictures=False, voxels=0)
    env.reset(seed=1)
    assert not any(env.step(act(yaw=13))[2] for _ in range(1000))


def test_game_that_does_not_come_back_is_told_and_the_host_lives(playing, game):
    env = playing("milk")
    env.reset(seed=1)
    game.close()
    game.events[game.steps + 1] = "drop"
    with pytest.raises(RuntimeError, match="Minecraft ended"):
        env.step(act())
    with pytest.raises(RuntimeError, match="Minecraft did not come up in 2 launches"):
        env.reset(seed=2)
    assert env.lease.lost() == ""


def test_task_that_is_none_is_told_with_those_there_are(hosted):
    with pytest.raises(EnvironmentUnavailable, match="no task 'mlik'; there are: log, stick"):
        describe(hosted("mlik"))


def test_argument_the_installed_minedojo_does_not_take_is_named(playing):
    env = playing("milk", overrides={"fast_reset_random_teleport_range_high": 100})
    with pytest.raises(RuntimeError, match="harvest task does not take fast_reset_random_teleport_range_high"):
        env.reset(seed=1)


def test_skill_in_a_locked_worker_milks_the_cow_of_a_game_in_another_interpreter(hosted, game):
    body = "while not info['success']:\n        obs, info = yield action(do='use')"
    skill = Skill(name="milk", source=f"def milk(obs, info):\n    {body}\n", max_steps=30)

    def cows(commands, client=game.world.client):
        put_cow_ahead(game)
        client(commands)

    game.world.client = cows
    (episode,) = try_skill(hosted("milk"), skill, (), "info['success']", [1])
    assert episode.error == ""
    assert episode.success


def test_launch_through_minedojos_own_script_survives_a_crash_and_a_slow_start(playing, constants):
    here = str(Path(__file__).parent)
    variables = {
        "STAND_IN_PYTHON": sys.executable,
        "STAND_IN_CONSTANTS": str(constants),
        "STAND_IN_SLOW": "1",
        "STAND_IN_EVENTS": '{"10": "exit"}',  # a reset takes six: two commands and four no-ops
        "MINEDOJO_HEADLESS": "1",
    }
    env = playing("milk", name="launched:make", port=None, host={"path": [here], "variables": variables, "reset_s": 100.0})
    assert env.reset(seed=1)[1]["inventory"] == {"bucket": 1}
    with pytest.raises(RuntimeError, match="Minecraft ended the mission, crashed"):
        play(env, *[act()] * 6)
    assert env.reset(seed=2)[1]["inventory"] == {"bucket": 1}
