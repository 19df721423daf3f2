"""Files a scenario names: start states and cards; and the commands that make and show them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from rlgpt.agents.learning import start_states
from rlgpt.envs import starts
from rlgpt.envs.pool import WorkerPool
from rlgpt.envs.starts import StartState
from rlgpt.runtime import scenario

SCENARIO = """
name: mine
goal: Get there.
success: terminated
environment:
  id: {id}
  {more}
"""
CARD = """
version: 3
environments: ["MountainCar-*"]
actions: [back, rest, forth]
notes: Mind the valley.
toolkit: my_tools
"""
SWING = "def swing(obs, info):\n    while True:\n        obs, info = yield PUSH_RIGHT if obs[1] >= 0 else PUSH_LEFT\n"


def rlgpt(folder: Path, *arguments: str) -> tuple[int, str, str]:
    environment = {name: value for name, value in os.environ.items() if name != "RLGPT_RUNS"}
    command = [str(Path(sys.executable).parent / "rlgpt"), *arguments]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=200)
    return done.returncode, done.stdout, done.stderr


@pytest.fixture
def write(tmp_path):
    def write(more: str = "", identifier: str = "MountainCar-v0", folder: str = "mine") -> Path:
        (tmp_path / folder).mkdir(exist_ok=True)
        path = tmp_path / folder / "scenario.yaml"
        path.write_text(SCENARIO.format(id=identifier, more=more))
        return path

    return write


def complaints(path: Path, *overrides: str) -> str:
    with pytest.raises(scenario.ScenarioInvalid) as raised:
        scenario.load(str(path), overrides)
    return str(raised.value)


def test_start_states_are_named_relative_to_the_scenario_and_known_by_their_bytes(write, tmp_path):
    path = write("starts: up.starts")
    artifact = starts.write(path.parent / "up.starts", [StartState(1)])
    loaded = scenario.load(str(path))
    assert loaded.task.environment.starts == artifact
    assert Path(artifact.uri.removeprefix("file://")).is_absolute()
    path.write_text(loaded.resolved())  # as a run keeps it
    assert scenario.load(str(path)).task == loaded.task


def test_start_states_of_the_command_line_are_relative_to_where_it_was_typed(write, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    artifact = starts.write(tmp_path / "here.starts", [StartState(1)])
    assert scenario.load(str(write()), ["environment.starts=here.starts"]).task.environment.starts == artifact


def test_start_states_that_are_not_there_are_told_with_their_place(write):
    path = write("starts: nowhere.starts")
    assert "scenario.yaml:7:11: environment.starts: start states" in complaints(path)
    assert "nowhere.starts: cannot be read" in complaints(path)
    (path.parent / "nowhere.starts").write_text("no msgpack")
    assert "no start-state file" in complaints(path)


def test_bundled_cards_words_stand_where_the_scenario_has_none(write):
    plain = scenario.load(str(write())).task.environment
    assert (plain.card, plain.actions[0]) == ("mountain_car 1", "push_left")
    assert "gravity" in plain.notes
    own = scenario.load(str(write("notes: Mine."))).task.environment
    assert (own.card, own.notes, own.actions[0]) == ("mountain_car 1", "Mine.", "push_left")
    none = scenario.load(str(write("card: none"))).task.environment
    assert (none.card, none.notes, none.actions) == ("none", "", ())
    assert scenario.load(str(write(identifier="CartPole-v1"))).task.environment.card == ""


def test_bundled_mountain_cars_scenario_is_what_it_was_without_a_card():
    task = scenario.load("mountain_car").task
    without = scenario.load("mountain_car", ["environment.card=none"]).task
    assert task.environment.model_copy(update={"card": ""}) == without.environment.model_copy(update={"card": ""})


def test_users_own_card_comes_before_the_bundled_one_and_is_kept_as_words(write):
    path = write("card: my_card.yaml\n  observations: [place, speed]")
    (path.parent / "my_card.yaml").write_text(CARD)
    environment = scenario.load(str(path)).task.environment
    assert (environment.card, environment.actions, environment.notes) == ("my_card 3", ("back", "rest", "forth"), "Mind the valley.")
    assert (environment.observations, environment.toolkit) == (("place", "speed"), "my_tools")
    path.write_text(scenario.load(str(path)).resolved())
    (path.parent / "my_card.yaml").unlink()  # the run has its words
    assert scenario.load(str(path)).task.environment == environment


def test_card_that_is_none_is_told_with_its_place_and_what_there_is(write):
    path = write("card: nowhere.yaml")
    assert "environment.card: card" in complaints(path)
    assert "bundled ones: " in complaints(path)
    (path.parent / "nowhere.yaml").write_text("version: 1\nactoins: [a]")
    assert "actoins: Extra inputs" in complaints(path)


def test_bundled_card_can_be_named_for_an_environment_that_resembles_its_own(write):
    environment = scenario.load(str(write("card: mountain_car", identifier="my_module:Hills-v0"))).task.environment
    assert (environment.card, environment.actions) == ("mountain_car 1", ("push_left", "coast", "push_right"))


def test_card_command_prints_what_models_are_told_and_its_size(write, tmp_path):
    status, text, size = rlgpt(tmp_path, "card", "MountainCar-v0")
    assert status == 0
    assert text.startswith("# Environment `MountainCar-v0`")
    assert "The engine is weaker than gravity" in text
    tokens = -(-len(text) // 4)
    assert f"mountain_car 1, text {size.split('text ')[1][:12]}: about {tokens} tokens" in size


def test_card_command_shows_a_users_own_card_with_its_toolkit(write, tmp_path):
    path = write("card: my_card.yaml")
    (path.parent / "my_card.yaml").write_text(CARD)
    (tmp_path / "my_tools.py").write_text("def downhill(obs):\n    '''Where the valley is.'''\n")
    status, text, size = rlgpt(tmp_path, "card", str(path))
    assert status == 0
    assert "- `downhill(obs)`: Where the valley is." in text
    assert "`FORTH` = 2: forth" in text
    assert "my_card 3" in size


def test_card_of_an_environment_that_is_not_there_is_an_error(tmp_path):
    status, _, error = rlgpt(tmp_path, "card", "MountainCart-v0")
    assert (status, "'MountainCar-v0'" in error) == (2, True)


def test_states_made_by_a_skill_are_where_the_expression_first_held(tmp_path):
    (tmp_path / "swing.py").write_text(SWING)
    arguments = ("--where", "obs[0] > 0.2", "--episodes", "10", "--skill", "swing.py", "--to", "up.starts")
    status, text, error = rlgpt(tmp_path, "starts", "make", "mountain_car", *arguments)
    assert (status, error) == (0, "")
    assert text.startswith("10 states of 10 episodes (")
    environment = scenario.load("mountain_car", [f"environment.starts={tmp_path / 'up.starts'}"]).task.environment
    with WorkerPool(environment, success="False", environments=10) as pool:
        positions = pool.reset(range(10)).obs[:, 0]
    assert ((positions > 0.2) & (positions < 0.3)).all()
    assert len(set(positions.tolist())) >= 5  # who has touched the left wall comes by the same places


def test_states_where_the_expression_never_holds_are_an_error_and_no_file(tmp_path):
    status, _, error = rlgpt(tmp_path, "starts", "make", "mountain_car", "--where", "obs[0] > 0.4", "--episodes", "2", "--to", "up.starts")
    assert (status, "held in none of 2 episodes (300 steps)" in error) == (2, True)
    assert not (tmp_path / "up.starts").exists()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--where", "obs[0] >"), "is not a Python expression"),
        (("--where", "True", "--skill", "nowhere.py"), "No such file"),
        (("--where", "True", "--policy", "nowhere"), "nowhere"),
        (("--where", "True", "--snapshots"), "MountainCarEnv has no snapshot"),
    ],
)
def test_what_is_wrong_with_the_making_is_told(tmp_path, options, says):
    status, _, error = rlgpt(tmp_path, "starts", "make", "mountain_car", "--episodes", "1", "--to", "up.starts", *options)
    assert (status, says in error) == (2, True), error


def test_states_made_from_start_states_go_on_from_those(tmp_path):
    environment = scenario.load("mountain_car").task.environment
    first = start_states.collect(environment, "steps == 3", start_states.random_play(0), range(4))
    begun = environment.model_copy(update={"starts": starts.write(tmp_path / "first.starts", first.states)})
    second = start_states.collect(begun, "steps == 2", start_states.random_play(1), [9, 6])
    assert [len(state.actions) // 8 for state in second.states] == [5, 5]
    assert [state.seed for state in second.states] == [9 % 4, 6 % 4]
    assert second.states[0].actions.startswith(first.states[1].actions)
    assert second.steps == 4


ARENA = "\narenas:\n  climb: {{starts: {0}, held_out: {1}, success: 'obs[0] > 0.4', where: ''}}"


def test_start_states_of_an_arena_are_named_alike(write, tmp_path):
    path = write(ARENA.format("a.starts", "b.starts"))
    learned_in, held_out = (starts.write(path.parent / f"{name}.starts", [StartState(ord(name))]) for name in "ab")
    loaded = scenario.load(str(path))
    arena = loaded.task.arenas["climb"]
    assert (arena.starts, arena.held_out) == (learned_in, held_out)
    path.write_text(loaded.resolved())
    assert scenario.load(str(path)).task == loaded.task
    path = write(ARENA.format("a.starts", "nowhere.starts"))
    assert "arenas.climb.held_out: start states" in complaints(path)


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("shaping=obs[0] + nothing", "shaping expression 'obs[0] + nothing' uses 'nothing'"),
        ("arenas.climb={success: reward > 0}", "arenas.climb.success: 'reward > 0' uses reward"),
        ("arenas.climb={success: 'obs[0] > 0', can_run: steps > 3}", "arenas.climb.can_run: 'steps > 3' uses steps"),
    ],
)
def test_expressions_that_only_learning_would_evaluate_are_read_before_a_run(tmp_path, setting, words):
    status, _, error = rlgpt(tmp_path, "check", "mountain_car", "--set", setting)
    assert (status, words in error) == (2, True), error
