"""Luanti as a Gymnasium environment: what it says when something is missing or breaks, and that it fits into the rest of rlgpt."""

from __future__ import annotations

import ast
import importlib.util
import os
import pwd
import select
import signal
import subprocess
import sys
from pathlib import Path

import luanti_by_hand
import numpy as np
import pytest

from rlgpt.bus.parts import Skill
from rlgpt.bus.task import Environment
from rlgpt.envs import card_files, minedojo_toolkit
from rlgpt.envs.errors import EnvironmentUnavailable
from rlgpt.envs.luanti import actions, belongings, environment, program
from rlgpt.envs.luanti.server import LuantiLost
from rlgpt.envs.pool import try_skill
from rlgpt.envs.registry import make

NAME = "rlgpt/Luanti-v0"
NOOP = list(actions.NOOP)
MINEDOJO = Path(environment.__file__).parents[1] / "hosting" / "minedojo"


@pytest.mark.parametrize("kwargs", [{}, {"action": "reduced", "voxels": 0}, {"pictures": True, "voxels": 3, "masks": True}])
def test_gymnasium_finds_nothing_wrong_with_it(kwargs):
    env = make(NAME, kwargs, None, checked=True)
    try:
        obs, _ = env.reset(seed=1)
        assert env.observation_space.contains(obs)
        env.action_space.seed(1)
        for _ in range(200):
            obs, _, terminated, _, _ = env.step(env.action_space.sample())
            assert env.observation_space.contains(obs)
            if terminated:
                break
        assert env.spec.max_episode_steps == 12_000
    finally:
        env.close()


def constants(file: str) -> dict:
    """What a module of rlgpt's MineDojo assigns at its top, as far as it is plain data."""
    found: dict = {}
    for node in ast.parse((MINEDOJO / file).read_text()).body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            try:
                found[node.targets[0].id] = eval(compile(ast.Expression(node.value), file, "eval"), {}, dict(found))
            except (NameError, AttributeError):  # no plain data
                continue
    return found


def test_actions_and_names_are_those_of_minedojo():
    theirs = constants("actions.py")
    assert (theirs["FULL"], theirs["REDUCED"], theirs["NOOP"], theirs["_MOVES"]) == (
        actions.FULL,
        actions.REDUCED,
        actions.NOOP,
        actions._MOVES,
    )
    shown = constants("observations.py")
    assert shown["ITEMS"] == belongings.ITEMS
    assert shown["SELF"] == environment.SELF


def test_reduced_actions_are_the_full_ones():
    spec = importlib.util.spec_from_file_location("minedojo_actions", MINEDOJO / "actions.py")
    theirs = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(theirs)
    for move in range(12):
        for function in range(3):
            assert (theirs.full([move, function]) == actions.full([move, function])).all()


def test_reward_is_obtain_diamonds_and_success_ends_the_episode(made):
    env = made(target="crafting_table", inventory={"log": 2})
    _, info = env.reset(seed=1)
    assert info["inventory"] == {"log": 2}
    rewards = []
    for item in ("planks", "stick", "planks", "crafting_table"):
        _, reward, terminated, _, info = env.step([*NOOP[:5], 4, luanti_by_hand.craft(item)[6], 0])
        rewards.append((reward, terminated, info["success"]))
    assert rewards == [(2, False, False), (4, False, False), (0, False, False), (4, True, True)]


def test_masks_say_which_crafts_and_slots_would_work(made):
    env = made(masks=True, target="", inventory={"log": 2, "stick": 1})
    obs, info = env.reset(seed=1)
    assert np.flatnonzero(obs["can_craft"]).tolist() == info["craftable"] == [luanti_by_hand.craft("planks")[6]]
    assert [obs[name][:3].tolist() for name in ("can_equip", "can_place", "can_destroy")] == [[1, 1, 0], [1, 0, 0], [1, 1, 0]]


def test_sparse_reward_is_given_once_at_success(made):
    env = made(target="planks", reward="sparse", inventory={"log": 1})
    env.reset(seed=1)
    assert env.step(NOOP)[1:3] == (0, False)
    assert env.step(luanti_by_hand.craft("planks"))[1:3] == (1, True)


def test_step_of_several_ticks_is_as_that_many_steps(made):
    one, four = made(target=""), made(target="", ticks=4)
    one.reset(seed=2), four.reset(seed=2)
    for _ in range(10):
        for _ in range(4):
            obs = one.step([1, *NOOP[1:]])[0]
    for _ in range(10):
        whole = four.step([1, *NOOP[1:]])[0]
    assert np.allclose(obs["self"], whole["self"])


def test_server_that_is_killed_ends_the_episode_with_an_error_and_the_next_has_another(made):
    env = made(target="")
    env.reset(seed=1)
    os.kill(env._server.pid, signal.SIGKILL)
    os.waitid(os.P_PID, env._server.pid, os.WEXITED | os.WNOWAIT)
    with pytest.raises(LuantiLost, match="the Luanti server is lost"):
        env.step(NOOP)
    with pytest.raises(LuantiLost, match="reset comes first"):
        env.step(NOOP)
    env.reset(seed=1)
    env.step(NOOP)


def test_error_in_lua_ends_the_server_with_its_text(made):
    env = made(target="")
    env.reset(seed=1)
    with pytest.raises(LuantiLost, match="a fault of the test"):
        env.probe("error('a fault of the test')")
    env.reset(seed=1)


def test_server_that_hangs_is_given_up_at_its_deadline(made):
    env = made(target="", step_s=1.0)
    env.reset(seed=1)
    server = env._server
    with pytest.raises(LuantiLost, match="did not answer in time"):
        env.probe("while true do end")
    assert server._process.process.poll() is not None
    assert not server._process.folder.exists()


def test_server_runs_unprivileged_and_listens_to_this_machine_only(made):
    env = made(target="")
    pid = env._server.pid
    if os.geteuid() == 0:
        users = Path(f"/proc/{pid}/status").read_text().split("Uid:")[1].split("\n")[0].split()
        assert set(users) == {str(pwd.getpwnam("nobody").pw_uid)}
    sockets = {os.readlink(fd) for fd in Path(f"/proc/{pid}/fd").iterdir() if "socket:" in os.readlink(fd)}
    inodes = {name[8:-1] for name in sockets}
    lines = [line.split() for kind in ("udp", "udp6", "tcp", "tcp6") for line in Path(f"/proc/net/{kind}").read_text().splitlines()[1:]]
    addresses = {fields[1].split(":")[0] for fields in lines if fields[9] in inodes}
    assert addresses == {"0100007F"}


def test_server_ends_with_the_program_that_started_it():
    code = (
        "import os, sys; from rlgpt.envs.luanti.environment import Luanti; env = Luanti(); env.reset(seed=1); "
        "print(env._server.pid, env._server._process.folder, flush=True); os.kill(os.getpid(), 9)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    pid, folder = done.stdout.split()
    fd = None
    try:
        fd = os.pidfd_open(int(pid))
        assert select.select([fd], [], [], 20)[0], "the server goes on"
    except ProcessLookupError:
        pass  # it had ended already
    finally:
        if fd is not None:
            os.close(fd)
    assert not Path(folder).exists()


def test_closing_ends_the_server_and_removes_its_folder(made):
    env = made()
    process = env._server._process
    env.close()
    assert process.process.poll() is not None
    assert not process.folder.exists()


def test_missing_server_is_told_with_the_command_that_installs_it(monkeypatch, tmp_path):
    monkeypatch.setattr(program, "_FOLDERS", ())
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EnvironmentUnavailable, match="apt install minetest-server"):
        environment.Luanti()


@pytest.mark.parametrize(
    ("kwargs", "told"),
    [
        ({"action": "half"}, "expected full or reduced"),
        ({"ores": "deep"}, "shallow or stock"),
        ({"daylight": "dusk"}, "day, night or cycle"),
        ({"inventory": {"gem": 1}}, "nobody knows gem"),
        ({"voxels": 9}, "from 0 to 5"),
    ],
)
def test_arguments_that_cannot_be_are_named(kwargs, told):
    with pytest.raises(ValueError, match=told):
        environment.Luanti(**kwargs)


def test_it_is_hosted_and_skills_play_it_with_the_cards_toolkit():
    words = card_files.pick(NAME, {"target": "planks"})
    task = Environment.model_validate({"id": NAME, "kwargs": {"target": "planks"}} | words.fields)
    assert task.host is not None
    source = """
def get_planks(obs, info):
    log = nearest(info, "log")
    obs, info = yield from walk_to(obs, info, log, within=1.6)
    obs, info = yield from dig_block(obs, info, nearest(info, "log"))
    while not can_craft(info, "planks"):
        obs, info = yield noop()
    obs, info = yield craft("planks")
"""
    header = f"from {task.toolkit} import nearest, walk_to, dig_block, can_craft, noop, craft\n"
    task = task.model_copy(update={"imports": (*task.imports, task.toolkit)})
    skill = Skill(name="get_planks", source=header + source, max_steps=300)
    episodes = try_skill(task, skill, (), "info['inventory'].get('planks', 0) > 0", (1, 2))
    assert [episode.success for episode in episodes] == [True, True], episodes[0].error


def test_skill_written_for_minedojo_with_its_toolkit_gets_planks_here(made):
    def planks(obs, info):
        for _ in range(6):
            obs, info = yield from minedojo_toolkit.look_for(obs, info, "wood")
            obs, info = yield from minedojo_toolkit.walk_to(obs, info, "wood", within=2.5)
            obs, info = yield minedojo_toolkit.turn_to(minedojo_toolkit.nearest(info, "wood"))
            obs, info = yield from minedojo_toolkit.attack_for(obs, info, 71)
            if minedojo_toolkit.count(info, "log"):
                break
        obs, info = yield minedojo_toolkit.craft("planks")
        return obs, info

    env = made(target="planks")
    for seed in (1, 2, 5):
        info = luanti_by_hand.play(env, seed, planks)
        assert info["success"], (seed, info["have"], minedojo_toolkit.words(None, info))


@pytest.mark.parametrize("seed", [0, 6])
def test_a_reader_of_the_card_gets_from_bare_hands_to_an_iron_pickaxe_in_fair_view(made, seed):
    env = made(target="iron_pickaxe")
    info = luanti_by_hand.play(env, seed, luanti_by_hand.make_iron_pickaxe)
    assert info["success"], info["have"]


def test_memory_does_not_grow_with_areas(made):
    env = made(target="")
    pids = set()
    for seed in range(6):
        env.reset(seed=seed)
        pids.add(env._server.pid)
    assert len(pids) == 1
    assert env._server.memory() < 95 << 20


def test_picture_shows_what_is_before_the_agent(made):
    env = made(render_mode="rgb_array", target="")
    env.reset(seed=1)
    up = [*NOOP[:3], 6, *NOOP[4:]]
    env.probe("""
        for y = 1, 31 do for x = -2, 2 do for z = -2, 2 do
            minetest.remove_node({x = agent.x + x, y = agent.y + y, z = agent.z + z})
        end end end
    """)
    env.step(up)
    sky = env.render()
    assert sky.shape == (64, 64, 3)
    assert (sky[32, 32] == (150, 190, 235)).all()
    env.step([*NOOP[:3], 24, *NOOP[4:]])
    ground = env.render()
    assert not (ground[32, 32] == (150, 190, 235)).all()
    assert len(np.unique(ground.reshape(-1, 3), axis=0)) > 10  # a texture
