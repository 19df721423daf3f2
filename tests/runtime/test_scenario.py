"""A scenario becomes a task, or every mistake in it is named at once: place, key, value, nearest valid name."""

from pathlib import Path

import pytest
import yaml

from rlgpt.bus.task import Task
from rlgpt.runtime import scenario
from rlgpt.runtime.scenario import ScenarioInvalid

GOOD = """\
name: cart_pole
goal: Keep the pole upright.
success: steps >= 500
environment:
  id: CartPole-v1
"""


def complaints(text: str, *overrides: str) -> list[str]:
    with pytest.raises(ScenarioInvalid) as caught:
        scenario.parse(text, "s.yaml", overrides)
    return [str(problem) for problem in caught.value.problems]


def test_smallest_scenario_takes_every_default():
    assert scenario.parse(GOOD, "s.yaml") == Task(
        name="cart_pole", goal="Keep the pole upright.", success="steps >= 500", environment={"id": "CartPole-v1"}
    )


def test_all_mistakes_are_told_at_once_in_the_order_of_the_file():
    text = GOOD.replace("success", "sucess") + "mode: rl-gtp\nloops: {plans: 0, attemps: 3}\ntrainer:\n  env_steps: soon\n"
    found = complaints(text)
    assert found == [
        "s.yaml:1:1: success: missing; this setting has no default",
        "s.yaml:3:1: sucess: unknown setting (here: 'steps >= 500'); did you mean 'success'?",
        "s.yaml:6:7: mode: expected rl-gpt, rl-only or code-only (here: 'rl-gtp'); did you mean 'rl-gpt'?",
        "s.yaml:7:16: loops.plans: expected greater than or equal to 1 (here: 0)",
        "s.yaml:7:19: loops.attemps: unknown setting (here: 3); did you mean 'attempts'?",
        "s.yaml:9:14: trainer.env_steps: expected a valid integer, unable to parse string as an integer (here: 'soon')",
    ]


def test_key_said_twice_is_an_error_and_not_the_second_value():
    assert complaints(GOOD + "seed: 1\nseed: 2\n") == ["s.yaml:7:1: seed: said twice (first in line 6); keep one of them"]


def test_setting_of_another_section_is_pointed_to():
    assert complaints(GOOD + "env_steps: 10\n") == ["s.yaml:6:1: env_steps: unknown setting (here: 10); did you mean 'trainer.env_steps'?"]


def test_override_replaces_the_value_and_reads_it_as_yaml():
    task = scenario.parse(GOOD, "s.yaml", ["trainer.env_steps=5000", "trainer.hidden=[32, 32]", "critic.reviewers=[critic, mine]"])
    assert (task.trainer.env_steps, task.trainer.hidden, task.critic.reviewers) == (5000, (32, 32), ("critic", "mine"))


def test_mistake_of_an_override_is_told_by_its_number():
    found = complaints(GOOD, "seed=1", "trainer.steps=4", "evaluation.target=2", "novalue", "trainer.hidden=[1", "name.first=x")
    assert found == [
        "--set #2: trainer.steps: unknown setting (here: 4); did you mean 'env_steps'?",
        "--set #3: evaluation.target: expected less than or equal to 1 (here: 2)",
        "--set #4: expected key=value, such as trainer.env_steps=50000 (here: 'novalue')",
        "--set #5: trainer.hidden: not YAML: expected ',' or ']', but got '<stream end>' (here: '[1')",
        "--set #6: name.first: name has no settings inside it (here: 'cart_pole')",
    ]


@pytest.mark.parametrize("text", ["critic: off\n", ""])
def test_critic_can_be_switched_off_in_a_word(text: str):
    assert scenario.parse(GOOD + text, "s.yaml", [] if text else ["critic=off"]).critic.enabled is False


def test_override_reaches_into_a_critic_that_was_switched_off_in_a_word():
    task = scenario.parse(GOOD + "critic: off\n", "s.yaml", ["critic.reviewers=[mine]"])
    assert (task.critic.enabled, task.critic.reviewers) == (False, ("mine",))


def test_model_of_one_role_is_checked_with_the_common_settings():
    text = GOOD + "llm:\n  model: m\n  roles:\n    fast: {model: n}\n"
    assert [scenario.parse(text, "s.yaml").llm.of(role).model for role in ("slow", "fast")] == ["m", "n"]


def test_mistakes_in_the_models_of_roles_are_told_where_they_stand():
    text = GOOD + "llm:\n  roles:\n    slwo: {model: y}\n    fast: {temprature: 1, timeout_s: -1}\n"
    assert complaints(text) == [
        "s.yaml:8:5: llm.roles.slwo: expected slow, fast, critic or solo; did you mean 'slow'?",
        "s.yaml:9:12: llm.roles.fast.temprature: unknown setting (here: 1); did you mean 'temperature'?",
        "s.yaml:9:38: llm.roles.fast.timeout_s: expected greater than 0 (here: -1)",
    ]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: [1, 2\nb: 3\n", "s.yaml:2:2: not YAML: while parsing a flow sequence expected ',' or ']', but got ':'"),
        ("- name\n", "s.yaml:1:1: expected a mapping of settings (here: ['name'])"),
        ("just words\n", "s.yaml:1:1: expected a mapping of settings (here: 'just words')"),
        ("? [a, b]\n: 1\n", "s.yaml:1:3: a key has to be a plain word"),
        ("seed: 2026-13-45\n", "s.yaml:1:7: seed: not readable: month must be in 1..12"),
    ],
)
def test_what_is_no_mapping_of_settings_is_refused_with_its_place(text: str, words: str):
    assert words in complaints(text)


def test_empty_file_lacks_what_has_no_default():
    assert [line.split(": ")[1] for line in complaints("")] == ["name", "goal", "success", "environment"]


def test_aliases_that_multiply_are_stopped():
    layers = "\n".join(f"x{n}: &x{n} [{', '.join([f'*x{n - 1}'] * 10)}]" for n in range(1, 9))
    assert any("too large" in line for line in complaints(f"x0: &x0 [1]\n{layers}\n"))


def test_alias_of_itself_is_stopped():
    assert any("too large" in line for line in complaints("a: &a [*a]\n"))


def test_python_objects_are_not_made_from_yaml():
    found = complaints(GOOD + "seed: !!python/object/apply:os.getpid []\n")
    assert any("seed" in line for line in found)


def test_resolved_scenario_reads_back_as_the_same_task(tmp_path: Path):
    first = scenario.load(
        "mountain_car", ["mode=code-only", "llm.price={prompt: 1, completion: 2}", "environment.kwargs={goal_velocity: 0.1}"]
    )
    (tmp_path / "scenario.yaml").write_text(first.resolved())
    assert scenario.load(str(tmp_path)).task == first.task
    assert "--set mode=code-only" in first.resolved().splitlines()[0]


def test_bundled_scenarios_are_found_by_name_and_are_valid():
    assert "mountain_car" in scenario.bundled()
    for name in scenario.bundled():
        assert scenario.load(name).task.name


def test_file_and_folder_are_found_with_the_recorded_answers_beside_them(tmp_path: Path):
    (tmp_path / "scenario.yaml").write_text(GOOD)
    (tmp_path / "transcript.jsonl").write_bytes(b"{}\n")
    for which in (tmp_path, tmp_path / "scenario.yaml"):
        assert scenario.load(str(which)).transcript == b"{}\n"


def test_unknown_name_is_answered_with_the_nearest_scenario():
    with pytest.raises(ScenarioInvalid, match="did you mean 'mountain_car'"):
        scenario.load("mountain_cra")


def test_missing_file_is_not_taken_for_a_name():
    with pytest.raises(ScenarioInvalid, match=r"^\./mine\.yaml: there is no such file$"):
        scenario.load("./mine.yaml")


def test_file_that_is_no_text_is_refused(tmp_path: Path):
    (tmp_path / "s.yaml").write_bytes(b"\xff\xfe\x00name")
    with pytest.raises(ScenarioInvalid, match="cannot be read"):
        scenario.load(str(tmp_path / "s.yaml"))


def test_resolved_scenario_names_every_setting():
    fields = yaml.safe_load(scenario.load("mountain_car").resolved())
    assert set(fields) == set(Task.model_fields)
