"""Parts of the MineDojo adapter that need neither MineDojo nor a game: toolkits, the arguments of resets, MineCLIP's arithmetic."""

from __future__ import annotations

import importlib.util
import math
import sys
from pathlib import Path

import numpy as np
import pytest

from rlgpt.envs import card_files, minedojo_reduced_toolkit, minedojo_toolkit

ADAPTER = Path(__file__).parents[2] / "envs" / "hosting" / "minedojo"
STOCK = ["target_names", "fast_reset_random_teleport_range"]
FORK = [*STOCK, "fast_reset_random_teleport_range_low", "fast_reset_random_teleport_range_high"]


def part(name: str):
    """One file of the adapter; the package itself imports MineDojo."""
    spec = importlib.util.spec_from_file_location(f"minedojo_part_{name}", ADAPTER / f"{name}.py")
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


clip, resets = part("clip"), part("resets")


@pytest.mark.parametrize(
    ("asked", "known", "given"),
    [
        (None, STOCK, {}),
        ([0, 70], STOCK, {"fast_reset_random_teleport_range": 70}),
        ([0, 70], FORK, {"fast_reset_random_teleport_range_low": 0, "fast_reset_random_teleport_range_high": 70}),
        ([20, 70], FORK, {"fast_reset_random_teleport_range_low": 20, "fast_reset_random_teleport_range_high": 70}),
    ],
)
def test_range_of_a_fast_reset_is_given_as_the_installed_package_takes_it(asked, known, given):
    assert resets.teleport(asked, known) == given


@pytest.mark.parametrize(
    ("asked", "known", "says"),
    [
        ([20, 70], STOCK, "only the fork MCEnv"),
        ([0, 70], ["target_names"], "takes no range for this task.*only the fork MCEnv"),
        ([70, 70], FORK, "the first below the second"),
        ([-1, 70], FORK, "the first below the second"),
    ],
)
def test_range_that_cannot_be_given_is_refused(asked, known, says):
    with pytest.raises(ValueError, match=says):
        resets.teleport(asked, known)


@pytest.mark.parametrize("given", ["voyager", {"before": "/clear"}, {"before": ["clear"]}, {"later": []}, 3])
def test_commands_that_are_none_are_refused(given):
    with pytest.raises(ValueError, match="expected one of none, plan4mc, rl-gpt"):
        resets.commands(given)


def test_moves_of_every_third_reset():
    def reset(move_flag=True):
        raise AssertionError("it is only looked at")

    moves = resets.Moves(3)
    assert [moves.arguments(reset)["move_flag"] for _ in range(7)] == [True, False, False, True, False, False, True]
    assert resets.Moves(1).arguments(lambda: None) == {}


@pytest.mark.parametrize(
    ("logits", "reward"),
    [([0.0, 0.0, 0.0, 0.0], 0.0), ([-5.0, 5.0], 0.0), ([math.log(3.0), 0.0], 0.75 - 0.5), ([1000.0, 0.0, 0.0], 1 - 1 / 3)],
)
def test_direct_reward_is_how_far_the_prompt_is_likelier_than_by_chance(logits, reward):
    assert clip.direct(np.array([logits])) == pytest.approx(reward)


def test_looking_at_a_place_turns_by_its_angles():
    info = {"x": 0.5, "y": 64.0, "z": 0.5, "yaw": 0.0, "pitch": 0.0}
    west, below = minedojo_toolkit.look_at(info, -9.5, 65.62, 0.5), minedojo_toolkit.look_at(info, 0.5, 65.62 - 3.0, 3.5)
    assert west.tolist() == [0, 0, 0, 12, 18, 0, 0, 0]
    assert below.tolist() == [0, 0, 0, 15, 12, 0, 0, 0]
    behind = minedojo_toolkit.look_at({**info, "yaw": 170.0}, 0.5, 65.62, -9.5)
    assert behind[4] - 12 == round(10 / 15)


def test_facing_what_is_not_seen_is_no_turn():
    hit = {"name": "cow", "down": 15.0, "right": -30.0, "distance": 3.0}
    assert minedojo_toolkit.face({"seen": [hit]}, "cow").tolist() == [0, 0, 0, 13, 10, 0, 0, 0]
    assert minedojo_toolkit.face({"seen": [hit]}, "pig").tolist() == [0, 0, 0, 12, 12, 0, 0, 0]


def test_only_what_can_be_smelted_is_smelted():
    assert minedojo_toolkit.smelt("iron_ingot").tolist() == minedojo_toolkit.craft("iron_ingot").tolist()
    with pytest.raises(ValueError, match="'stick' cannot be smelted"):
        minedojo_toolkit.smelt("stick")


def test_reduced_actions_by_name():
    toolkit = minedojo_reduced_toolkit
    assert toolkit.action("turn_right", "attack").tolist() == [11, 2]
    assert toolkit.turn_to({"right": -40.0, "down": 20.0}).tolist() == [10, 0]
    assert toolkit.turn_to({"right": 10.0, "down": 20.0}).tolist() == [9, 0]
    assert toolkit.turn_to({"right": 10.0, "down": -10.0}).tolist() == [0, 0]
    with pytest.raises(ValueError, match="expected one of none, forward"):
        toolkit.action("fly")


@pytest.mark.parametrize(
    ("kwargs", "toolkit"),
    [({}, "minedojo_toolkit"), ({"action": "full"}, "minedojo_toolkit"), ({"action": "reduced"}, "minedojo_reduced_toolkit")],
)
def test_each_kind_of_action_has_a_card_with_its_own_toolkit(kwargs, toolkit):
    words = card_files.pick("hosted.minedojo:MineDojo", kwargs)
    assert words is not None
    assert words.fields["toolkit"] == f"rlgpt.envs.{toolkit}"
