"""Cards: which is picked, what of it is taken, that what they say is so, and a user's own."""

from __future__ import annotations

import importlib.util

import gymnasium
import numpy as np
import pytest

from rlgpt.bus.parts import Skill
from rlgpt.bus.task import Environment, Task
from rlgpt.envs import card_files
from rlgpt.envs.card import make_card
from rlgpt.envs.card_files import CardInvalid
from rlgpt.envs.errors import EnvironmentUnavailable
from rlgpt.envs.pool import describe, try_skill

MINIGRID = pytest.mark.skipif(not importlib.util.find_spec("minigrid"), reason="needs minigrid: pip install 'rlgpt[minigrid]'")
BOX2D = pytest.mark.skipif(not importlib.util.find_spec("Box2D"), reason="needs Box2D: pip install 'rlgpt[box2d]'")


def words(name: str, **kwargs) -> dict:
    found = card_files.pick(name, kwargs)
    return found.fields if found else {}


def environment(name: str, **fields) -> Environment:
    return Environment.model_validate({"id": name} | words(name) | fields)


def card_text(environment: Environment) -> str:
    return make_card(Task(name="x", goal="Go on.", success="terminated", environment=environment), describe(environment)).text


def test_every_bundled_card_is_one_and_says_something():
    assert {"mountain_car", "lunar_lander", "frozen_lake", "minigrid"} <= set(card_files.bundled())
    assert all(card.environments and (card.notes or card.host or card.toolkit) for card in card_files.bundled().values())


def test_card_is_picked_by_id_and_arguments():
    assert card_files.pick("LunarLander-v3", {}).label == "lunar_lander 1"
    assert card_files.pick("my_module:LunarLander-v3", {}).label == "lunar_lander 1"
    assert card_files.pick("LunarLander-v3", {"continuous": True}) is None  # other actions
    assert card_files.pick("CartPole-v1", {}) is None
    assert "push the lander" in words("LunarLander-v3", enable_wind=True)["notes"]
    assert "push the lander" not in words("LunarLander-v3")["notes"]
    assert "yellow door" in words("MiniGrid-DoorKey-5x5-v0")["notes"]
    assert "yellow door" not in words("MiniGrid-Empty-5x5-v0")["notes"]


@pytest.mark.parametrize(
    ("name", "kwargs"),
    [("FrozenLake-v1", {}), ("FrozenLake-v1", {"map_name": "8x8"}), ("FrozenLake8x8-v1", {}), ("FrozenLake8x8-v1", {"map_name": "4x4"})],
)
def test_map_on_the_frozen_lakes_card_is_the_one_that_is_walked(name, kwargs):
    desc = gymnasium.make(name, **kwargs).unwrapped.desc
    rows = ["".join(cell.decode() for cell in row) for row in desc]
    notes = words(name, **kwargs).get("notes", "").splitlines()
    on_card = [line for line in notes if line and set(line) <= set("SFHG")]
    assert on_card in (rows, [])
    assert on_card or name == "FrozenLake8x8-v1"  # an 8x8 lake that is made with another map has none


def test_frozen_lakes_card_says_how_slippery_it_is():
    assert "probability 1/3" in words("FrozenLake-v1")["notes"]
    assert "not slippery" in words("FrozenLake-v1", is_slippery=False)["notes"]
    assert "probability" not in words("FrozenLake-v1", success_rate=0.9)["notes"]
    transitions = gymnasium.make("FrozenLake-v1").unwrapped.P[5 - 1][3]  # up, from the cell left of which is the start's row
    assert sorted(p for p, *_ in transitions) == pytest.approx([1 / 3] * 3)


@BOX2D
def test_lunar_landers_card_says_what_its_actions_do():
    env, moved = gymnasium.make("LunarLander-v3"), {}
    for action in range(4):
        changes = []
        for seed in range(10):
            before, _ = env.reset(seed=seed)
            for _ in range(10):
                after, *_ = env.step(action)
            changes.append((after - before) / 10)
        moved[action] = np.mean(changes, axis=0)
    nothing, left, main, right = (moved[i] for i in range(4))
    assert nothing[3] == pytest.approx(-0.027, abs=0.003)
    assert main[3] - nothing[3] == pytest.approx(0.046, abs=0.01)
    assert (left[5], left[2]) == (pytest.approx(0.04, abs=0.01), pytest.approx(-0.01, abs=0.005))
    assert (right[5], right[2]) == (pytest.approx(-0.04, abs=0.01), pytest.approx(0.01, abs=0.005))


SOLVE = """
def solve(obs, info):
    for step in range(600):
        goal, key, door = find(obs, "goal"), find(obs, "key"), find(obs, "door")
        place, last = None, None
        if goal and way(obs, *goal[0]) is not None:
            place, last = goal[0], FORWARD
        elif carried(obs) and door and cell(obs, *door[0])[2] == "locked" and way(obs, *door[0]) is not None:
            place, last = door[0], TOGGLE
        elif not carried(obs) and key and way(obs, *key[0]) is not None:
            place, last = key[0], PICK_UP
        elif door and cell(obs, *door[0])[2] == "open" and way(obs, *door[0]) is not None and not memory.get("through"):
            place, last = door[0], FORWARD
        if place is None:
            # Nothing to go to is seen: look around, and walk a little, drawn from the step's number.
            ahead = cell(obs, 1)[0] in ("empty", "floor") and memory.setdefault("draw", np.random.default_rng(1)).random() < 0.6
            obs, info = yield (FORWARD if ahead else TURN_RIGHT)
            continue
        path = way(obs, *place)
        if not path and last == FORWARD and cell(obs, 1)[0] == "door":
            memory["through"] = True
        obs, info = yield (path[0] if path else last)
"""


@MINIGRID
def test_minigrids_toolkit_is_enough_to_open_the_door_and_reach_the_goal():
    episodes = try_skill(
        environment("MiniGrid-DoorKey-8x8-v0", memory=True), Skill(name="solve", source=SOLVE, max_steps=640), (), "terminated", range(20)
    )
    assert [episode.error for episode in episodes] == [""] * 20
    assert sum(episode.success for episode in episodes) >= 18
    assert any("carries: yellow key" in line for line in episodes[0].trace)


@MINIGRID
def test_toolkit_is_on_the_card_and_its_words_tell_what_is_observed():
    text = card_text(environment("MiniGrid-DoorKey-5x5-v0"))
    assert "- `find(obs: Obs, kind: str, color: str | None = None, state: str | None = None) -> list[tuple[int, int]]`: Where such" in text
    assert "At the start, for example: looks " in text
    assert "An episode is cut off after 250 steps." in text


@MINIGRID
def test_minigrids_names_are_its_own():
    from minigrid.core import constants

    from rlgpt.envs.cards import minigrid

    assert {name: i for i, name in enumerate(minigrid.KINDS)} == constants.OBJECT_TO_IDX
    assert {name: i for i, name in enumerate(minigrid.COLORS)} == constants.COLOR_TO_IDX
    assert {name: i for i, name in enumerate(minigrid.DOORS)} == constants.STATE_TO_IDX


@pytest.fixture
def toolkit(tmp_path, monkeypatch):
    def toolkit(source: str) -> Environment:
        (tmp_path / "my_tools.py").write_text(source)
        monkeypatch.chdir(tmp_path)
        return Environment(id="worlds:Corridor-v0", actions=("left", "right", "stay"), toolkit="my_tools")

    return toolkit


TOOLS = '''
def left_to_go(obs, goal=5):
    """Cells to the goal.

    Not told to models.
    """
    return goal - _at(obs)

def _at(obs):
    return int(obs[0])

def words(obs, info):
    return f"{left_to_go(obs)} to go"
'''


def test_functions_of_a_users_toolkit_can_be_called_in_skills_and_its_words_are_in_the_trace(toolkit):
    environment = toolkit(TOOLS)
    walk = Skill(name="walk", source="def walk(obs, info):\n    while left_to_go(obs) > 1:\n        obs, info = yield RIGHT\n", max_steps=9)
    (episode,) = try_skill(environment, walk, (), "obs[0] == 4", [1])
    assert (episode.success, episode.first, episode.last, episode.error) == (True, "5 to go", "1 to go", "")
    text = card_text(environment)
    assert "- `left_to_go(obs, goal=5)`: Cells to the goal.\n" in text
    assert "_at" not in text
    assert "`words" not in text


def test_skill_may_import_the_toolkit_by_its_name_too(toolkit):
    walk = Skill(name="walk", source="from my_tools import left_to_go as far\ndef walk(obs, info):\n    yield far(obs) - 4\n", max_steps=9)
    (episode,) = try_skill(toolkit(TOOLS), walk, (), "obs[0] == 1", [1])
    assert (episode.success, episode.error) == (True, "")


def test_words_that_fail_do_not_cost_the_trial_and_are_told(toolkit):
    environment = toolkit("def words(obs, info):\n    return info['colour']\n")
    walk = Skill(name="walk", source="def walk(obs, info):\n    yield RIGHT\n", max_steps=9)
    (episode,) = try_skill(environment, walk, (), "obs[0] == 1", [1])
    assert episode.success
    assert "(the toolkit's words(obs, info) failed: KeyError: 'colour')" in episode.last


@pytest.mark.parametrize(("source", "says"), [("def (", "cannot be imported: SyntaxError"), ("x = 1", "defines no function")])
def test_toolkit_that_is_none_is_told(toolkit, source, says):
    with pytest.raises(EnvironmentUnavailable, match=says):
        describe(toolkit(source))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("version: 1\nacions: [a]", "acions: Extra inputs are not permitted .*a card has: .*actions"),
        ("notes: x", "version: Field required"),
        ("version: [", "not YAML"),
        ("just words", "the file: Input should be"),
        ("version: 0", "version: Input should be greater than or equal to 1"),
    ],
)
def test_card_file_that_is_none_says_what_a_card_has(text, says):
    with pytest.raises(CardInvalid, match=rf"card mine\.yaml: {says}"):
        card_files.parse(text, "mine.yaml")


def test_the_settings_nobody_uses_leave_the_card_as_it_was():
    plain = card_text(Environment(id="worlds:Corridor-v0"))
    assert not any(word in plain for word in ("`memory`", "Toolkit", "saved states", "also ends"))


def test_what_the_scenario_sets_is_on_the_card(tmp_path):
    from rlgpt.envs import starts

    begun = starts.write(tmp_path / "x.starts", [starts.StartState(1)])
    text = card_text(
        Environment(
            id="worlds:Corridor-v0", memory=True, interrupts={"far": "obs[0] > 3 and previous[0] <= 3"}, starts=begun, until_success=True
        )
    )
    assert "- far: `obs[0] > 3 and previous[0] <= 3`" in text
    assert "`memory` is a dict" in text
    assert "Episodes begin in saved states" in text
    assert "The episode ends when the task is done." in text
