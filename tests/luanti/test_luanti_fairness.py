"""Nothing that never was in view is told: not in the cube, not in the lidar, not among what is remembered."""

from __future__ import annotations

import numpy as np
import pytest
from luanti_arena import ATTACK, NOOP, Arena

from rlgpt.envs.luanti.blocks import BLOCK, OTHER_FREE
from rlgpt.envs.luanti.names import KINDS
from rlgpt.envs.luanti.toolkit import block_at, here

CLEAR = [*range(OTHER_FREE + 1)]


def bury(arena: Arena) -> None:
    """A cube of stone before the agent, with a diamond in the middle of it."""
    cube = [(e, u, s) for e in range(-2, 3) for u in range(1, 6) for s in range(2, 7)]
    arena.put("default:stone", *cube)
    arena.put("default:stone_with_diamond", (0, 2, 4))
    arena.env.probe("rl.forget_seen() rl.forget_remembered() rl.edits = rl.edits + 1")


def voxel(info, east: int, up: int, south: int) -> str:
    x, y, z = here(info)
    return block_at(info, (x + east, y + up, z + south))


def test_ore_in_the_middle_of_stone_is_not_known_until_it_is_dug_free(env):
    arena = Arena(env)
    bury(arena)
    arena.step(NOOP, 8)
    assert voxel(arena.info, 0, 1, 2) == "stone"
    assert voxel(arena.info, 0, 1, 4) == "unseen"
    assert "diamond_ore" not in arena.info["found"]
    assert not any(hit["name"] == "diamond_ore" for hit in arena.info["seen"])
    assert arena.obs["nearest"][list(KINDS).index("diamond_ore"), 3] == 0
    arena.give("default:pick_steel")
    arena.step(ATTACK, 40)
    assert voxel(arena.info, 0, 1, 4) == "diamond_ore"
    assert len(arena.info["found"]["diamond_ore"]) == 1


def test_xray_shows_it_at_once(made):
    arena = Arena(made(xray=True, target=""))
    bury(arena)
    arena.step(NOOP, 2)
    assert voxel(arena.info, 0, 1, 4) == "diamond_ore"
    assert not (np.asarray(arena.info["voxels"]) == BLOCK["unseen"]).any()


def test_what_is_behind_is_known_after_turning_round(env):
    arena = Arena(env)
    arena.put("default:stone", (0, 2, -5))
    arena.step(NOOP, 8)
    assert voxel(arena.info, 0, 1, -5) == "unseen"
    arena.step([0, 0, 0, 12, 24, 0, 0, 0], 1)
    arena.step(NOOP, 6)
    assert voxel(arena.info, 0, 1, -5) == "stone"


def test_dug_and_placed_blocks_change_what_is_known(env):
    arena = Arena(env)
    arena.put("default:dirt", (0, 2, 2))
    arena.step(NOOP, 2)
    assert voxel(arena.info, 0, 1, 2) == "dirt"
    arena.step(ATTACK, 16)
    assert voxel(arena.info, 0, 1, 2) == "air"


@pytest.mark.parametrize("seed", [5, 6])
def test_every_opaque_block_that_is_known_borders_on_one_that_can_be_seen_through(env, seed):
    _, info = env.reset(seed=seed)
    rng = np.random.default_rng(seed)
    for step in range(600):
        action = [1, 0, rng.integers(2), 12 + rng.integers(-1, 2), 12 + rng.integers(-1, 2), 3, 0, 0]
        info = env.step(action)[4]
        if step % 50:
            continue
        cube = np.asarray(info["voxels"])
        clear = np.isin(cube, CLEAR) & (cube != BLOCK["unseen"])
        opaque = ~np.isin(cube, CLEAR)
        inner = (slice(1, -1),) * 3
        open_beside = np.zeros(cube[inner].shape, bool)
        for axis in range(3):
            for by in (-1, 1):
                open_beside |= np.roll(clear, by, axis)[inner]
        assert (opaque[inner] <= open_beside).all()
        assert opaque[inner].any()


def test_no_block_is_known_when_an_episode_begins_anew(env):
    arena = Arena(env)
    for _ in range(24):
        arena.step([0, 0, 0, 12, 13, 0, 0, 0])
    known = (np.asarray(arena.info["voxels"]) != BLOCK["unseen"]).sum()
    _, info = env.reset(seed=3)
    first = np.asarray(info["voxels"]).copy()
    _, info = env.reset(seed=3)
    assert (np.asarray(info["voxels"]) == first).all()
    assert (first != BLOCK["unseen"]).sum() < known
