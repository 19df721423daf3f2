"""Crafter here is Crafter: worlds, steps, random draws, rewards and pictures are those of the original, object by object."""

from __future__ import annotations

import itertools
import subprocess
import sys

import numpy as np
import pytest

pytest.importorskip("crafter", reason="needs the extra [crafter]")

from crafter_original import Original, state_of, state_of_record

from rlgpt.envs.crafter.environment import CrafterPixels, CrafterSymbolic
from rlgpt.envs.crafter.rules import ITEMS

ENDLESS = itertools.count()


@pytest.fixture(scope="module")
def original():
    return Original()


@pytest.fixture(scope="module")
def symbolic():
    return CrafterSymbolic()


def differing(original, env) -> list[str]:
    ours, theirs = state_of_record(env._world), state_of(original)
    return [name for name in theirs if ours[name] != theirs[name]]


@pytest.mark.parametrize("seed", [0, 1, 2**31, 2**62 + 1])
def test_a_seed_is_the_world_of_the_original(original, symbolic, seed):
    original.begin(seed)
    symbolic.reset(seed=seed)
    assert differing(original, symbolic) == []


@pytest.mark.parametrize("seed", range(24))
def test_every_step_is_that_of_the_original_with_random_play_and_random_belongings(original, symbolic, seed):
    original.begin(seed)
    symbolic.reset(seed=seed)
    rng = np.random.default_rng(seed)
    for step in range(400):
        if step % 40 == 0:
            _give(original, symbolic, rng)
        action = int(rng.integers(17)) if rng.random() < 0.5 else int(rng.integers(1, 6))
        _, reward, _, told = original.step(action)
        _, ours, dead, _, info = symbolic.step(action)
        assert ours == pytest.approx(reward, abs=1e-12), f"step {step}"
        assert dead == (told["discount"] == 0)
        assert dict(info["inventory"]) == told["inventory"]
        assert dict(info["achievements"]) == told["achievements"]
        if step % 5 == 0 or dead:
            assert differing(original, symbolic) == [], f"step {step}"
        if dead:
            break


def _give(original, symbolic, rng) -> None:
    """The same things to both, so that random play gets to every rule."""
    for i, item in enumerate(ITEMS):
        count = 9 if i < 4 and rng.random() < 0.8 else int(rng.integers(1, 10)) if i < 4 else int(rng.integers(0, 10))
        original._player.inventory[item] = count
        symbolic._world["inventory"][0, i] = count


def test_a_night_outside_is_that_of_the_original(original, symbolic):
    """Zombies, skeletons and cows come and go, the agent sleeps, is hurt and wakes."""
    original.begin(5)
    symbolic.reset(seed=5)
    rng = np.random.default_rng(5)
    for step in range(700):
        original._player.inventory["health"] = 9
        symbolic._world["inventory"][0, 0] = 9
        if step % 60 == 30:
            original._player.inventory["energy"] = 3
            symbolic._world["inventory"][0, 3] = 3
        action = 6 if step % 60 > 30 else int(rng.integers(17))
        original.step(action)
        symbolic.step(action)
        if step % 10 == 9:
            assert differing(original, symbolic) == [], f"step {step}"


def test_pictures_are_those_of_the_original_by_day_and_by_night(original):
    env = CrafterPixels()
    rng = np.random.default_rng(1)
    dark = 0
    for seed in (3, 11):
        original.begin(seed)
        obs, _ = env.reset(seed=seed)
        for step in range(260):
            if step % 20 == 0:
                # Drawn without a trace, so that both worlds stay the same.
                before = original._world.random.get_state()
                picture = original.render()
                original._world.random.set_state(before)
                np.testing.assert_array_equal(obs, picture, err_msg=f"seed {seed}, step {step}")
                dark += original._world.daylight < 0.5
            original._player.inventory["health"] = 9
            env._world["inventory"][0, 0] = 9
            action = int(rng.integers(17))
            original.step(action)
            obs = env.step(action)[0]
    assert dark > 4


def test_looking_at_pictures_changes_nothing(symbolic):
    pixels = CrafterPixels(render_mode="rgb_array", render_size=90)
    pixels.reset(seed=9)
    symbolic.reset(seed=9)
    for _ in range(300):
        pixels._world["inventory"][0, 0] = symbolic._world["inventory"][0, 0] = 9
        pixels.step(5)
        pixels.render()
        symbolic.step(5)
    assert pixels._world.tobytes() == symbolic._world.tobytes()


PLAY = """
import zlib, numpy as np
from rlgpt.envs.crafter.environment import CrafterSymbolic
env = CrafterSymbolic()
env.reset(seed=77)
rng = np.random.default_rng(0)
for _ in range(500):
    obs = env.step(int(rng.integers(17)))[0]
    env._world["inventory"][0, 0] = 9
print(zlib.crc32(env._world.tobytes() + obs.tobytes()))
"""


def test_two_processes_play_the_same_episode():
    runs = [subprocess.run([sys.executable, "-c", PLAY], capture_output=True, text=True, check=True).stdout for _ in range(2)]
    assert runs[0] == runs[1] != ""
