"""Trying a skill: what a rollout agent, and behind it the critic, gets to know."""

from __future__ import annotations

import importlib.util
import re

import numpy as np
import pytest

from rlgpt.bus.parts import Skill
from rlgpt.bus.task import Environment
from rlgpt.envs.errors import EnvironmentUnavailable, EnvironmentUnsupported, SkillInvalid, WorkerDied
from rlgpt.envs.pool import Limits, Replayer, Trials, describe, replay, try_skill

CORRIDOR = Environment(id="worlds:Corridor-v0", actions=("left", "right", "stay put"), observations=("cell", "time"))
CAR = Environment(id="MountainCar-v0", actions=("push left", "coast", "push right"), observations=("position", "velocity"))


def skill(body: str, name: str = "walk", max_steps: int = 20) -> Skill:
    lines = "\n".join(f"    {line}" for line in body.strip("\n").splitlines())
    return Skill(name=name, source=f"def {name}(obs, info):\n{lines}\n", max_steps=max_steps)


@pytest.fixture(scope="module")
def corridor():
    with Trials(CORRIDOR) as trials:
        yield trials


@pytest.fixture
def attempt(corridor):
    def attempt(body: str, success: str = "obs[0] >= 3", seeds: tuple[int, ...] = (7,), **kwargs):
        return corridor.run(skill(body), (), success, seeds, **kwargs)

    return attempt


def test_skill_that_reaches_its_goal_succeeds_and_says_what_it_did(attempt):
    (episode,) = attempt("for _ in range(3):\n    obs, info = yield RIGHT")
    assert episode.success
    assert (episode.seed, episode.steps, episode.episode_return, episode.ended, episode.error) == (7, 3, -3.0, "returned", "")
    assert episode.first == "cell=0, time=0; info: at=0"
    assert episode.last == "cell=3, time=3; info: at=3"
    assert "1: RIGHT -> cell=1, time=1; info: at=1, reward -1" in episode.trace
    assert any("success test first held after step 3" in line for line in episode.trace)
    assert "over all 3 steps: cell from 0 to 3, time from 0 to 3" in episode.trace


def test_every_seed_is_one_episode_from_its_start(attempt):
    episodes = attempt("obs, info = yield RIGHT", seeds=(1, 2, 3))
    assert [episode.seed for episode in episodes] == [1, 2, 3]
    assert [episode.steps for episode in episodes] == [1, 1, 1]


def test_success_may_hold_at_any_step_not_only_at_the_last(attempt):
    (episode,) = attempt("for action in (RIGHT, RIGHT, RIGHT, LEFT, LEFT):\n    yield action")
    assert episode.success
    assert episode.last.startswith("cell=1")


def test_success_sees_the_start_of_the_call_and_the_step_before(attempt):
    body = "yield RIGHT\nyield RIGHT"
    assert attempt(body, "obs[0] - start[0] == 2 and obs[0] - previous[0] == 1 and steps == 2")[0].success
    assert attempt(body, "any(part > start[0] for part in obs)")[0].success
    assert not attempt(body, "obs[0] == start[0]")[0].success


@pytest.mark.parametrize(
    ("body", "ended", "steps"),
    [
        ("while True:\n    yield STAY_PUT", "step limit", 20),
        ("while True:\n    yield 'right'", "episode over", 5),
        ("yield np.int64(1)\nreturn", "returned", 1),
    ],
)
def test_call_ends_by_return_step_limit_or_the_episode(attempt, body, ended, steps):
    (episode,) = attempt(body)
    assert (episode.ended, episode.steps, episode.error) == (ended, steps, "")


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("yield RIGHT\nyield 1 / 0", "ZeroDivisionError: division by zero (line 3 of walk: yield 1 / 0)"),
        ("yield 3", "yielded 3 is out of range: an action is an integer from 0 to 2, or one of LEFT, RIGHT, STAY_PUT"),
        ("yield 'rihgt'", "nearest: 'right'"),
        ("yield 0.5", "0.5 is no action"),
        ("yield True", "True is no action"),
        ("yield None", "None is no action"),
        ("if False:\n    yield RIGHT", "returned without yielding an action"),
        ("yield undefined", "NameError: name 'undefined' is not defined"),
        ("yield RIGHT\nraise SystemExit", "raised SystemExit"),
        ("open('/etc/passwd')\nyield RIGHT", "NameError: name 'open' is not defined"),
        ("__import__('os').getcwd()\nyield RIGHT", "a skill may import only math, numpy, not 'os'"),
        ("def deeper(n):\n    return deeper(n + 1)\ndeeper(0)\nyield RIGHT", "RecursionError"),
    ],
)
def test_error_in_a_skill_is_told_in_words_its_author_can_use(attempt, body, says):
    (episode,) = attempt(body)
    assert episode.ended == "error"
    assert not episode.success
    assert says in episode.error


@pytest.mark.parametrize(
    ("source", "says", "line"),
    [
        ("def walk(obs, info):\n    yield (\n", "SyntaxError in line 2", 2),
        ("def walk(obs, info):\n\treturn 1\n", "is no generator function", 1),
        ("def other(obs, info):\n    yield 1\n", "defines no function of that name", None),
        ("import os\ndef walk(obs, info):\n    yield 1\n", "line 1: it may not import 'os', only math, numpy", 1),
        ("def walk(obs):\n    yield 1\n", "exactly (obs, info)", 1),
        ("x = 1\ny = x / 0\ndef walk(obs, info):\n    yield 1\n", "fails when it is defined: ZeroDivisionError", 2),
        ("def walk(obs, info):\n    yield 1\ncan_run = 3\n", "can_run of skill 'walk' has to take exactly", None),
        ("(" * 5000, "cannot be parsed|SyntaxError", None),
    ],
)
def test_skill_that_cannot_be_tried_at_all_is_invalid_and_says_why_and_where(corridor, source, says, line):
    with pytest.raises(SkillInvalid) as raised:
        corridor.run(Skill(name="walk", source=source, max_steps=5), (), "True", [1])
    assert any(part in str(raised.value) for part in says.split("|"))
    if line is not None:
        assert raised.value.line == line


@pytest.mark.parametrize("expression", ["obs[0] >", "import os", "open('x')", "obs.__class__", "nonsense > 1", "(yield 1)"])
def test_success_expression_that_is_none_is_invalid(attempt, expression):
    with pytest.raises(SkillInvalid, match="success expression"):
        attempt("yield 1", expression)


def test_success_expression_that_fails_names_itself_and_the_cause(attempt):
    (episode,) = attempt("yield RIGHT", "info['wood'] > 0")
    assert episode.ended == "error"
    assert "the success expression \"info['wood'] > 0\" failed: KeyError: 'wood'" in episode.error


def test_can_run_that_is_false_at_the_start_of_the_trial_is_an_error_that_says_so(corridor):
    source = "def can_run(obs, info):\n    return obs[0] > 2\ndef walk(obs, info):\n    yield 1\n"
    (episode,) = corridor.run(Skill(name="walk", source=source, max_steps=5), (), "True", [1])
    assert (episode.ended, episode.steps) == ("error", 0)
    assert "can_run(obs, info) is false" in episode.error


def test_skill_calls_accepted_skills_each_bounded_and_gets_their_last_observation(corridor):
    library = [skill("while True:\n    yield RIGHT", "stride", max_steps=2), skill("yield LEFT", "back")]
    body = "obs, info = yield from stride(obs, info)\nassert info['at'] == obs[0] == 2\n"
    body += "obs, info = yield from back(obs, info)\nassert obs[0] == 1"
    (episode,) = corridor.run(skill(body), library, "obs[0] == 2", [1])
    assert (episode.success, episode.steps, episode.error) == (True, 3, "")


def test_skill_cannot_call_a_skill_outside_its_library(attempt):
    (episode,) = attempt("obs, info = yield from stride(obs, info)")
    assert "name 'stride' is not defined" in episode.error


def test_skill_that_writes_to_its_observation_changes_nothing_outside(attempt):
    (episode,) = attempt("obs[:] = 99\nobs, info = yield RIGHT\nassert obs[0] == 1")
    assert episode.error == ""
    assert episode.last.startswith("cell=1")


def test_trace_of_a_long_call_stays_short_and_keeps_its_end(corridor, attempt):
    (episode,) = attempt("while True:\n    yield STAY_PUT", seeds=(1,))
    long = corridor.run(skill("while True:\n    yield STAY_PUT", max_steps=49), (), "False", [1])[0]
    assert len(episode.trace) <= 40
    assert len(long.trace) <= 40
    assert long.steps == 49
    assert long.trace[-1] == "over all 49 steps: cell from 0 to 0, time from 0 to 49"


def test_skill_that_never_yields_is_stopped_softly_and_the_next_seed_is_tried(corridor):
    # Ten steps, for which a hosted environment's call has no more time than any other's.
    endless = skill("while True:\n    pass\nyield 1", max_steps=10)
    episodes = corridor.run(endless, (), "obs[0] >= 3", (1, 2), deadline_s=0.5)
    assert [episode.ended for episode in episodes] == ["error", "error"]
    assert all("was stopped: no end within 0.4 s" in episode.error for episode in episodes)


@pytest.mark.parametrize(
    "body",
    [
        # In C, where no signal handler of Python runs.
        "yield RIGHT\nmax(iter(int, 1))",
        # In Python, which swallows what the handler raises wherever it may strike.
        "yield RIGHT\nclass Stubborn:\n    def __enter__(self): pass\n    def __exit__(self, *_): return True\n"
        + "\n".join("    " * i + f"while True:\n{'    ' * i}  with Stubborn():" for i in range(8))
        + "\n"
        + "    " * 8
        + "while True: pass",
    ],
)
def test_skill_that_cannot_be_stopped_is_killed_and_what_it_had_done_is_told(attempt, body):
    episodes = attempt(body, seeds=(1, 2), deadline_s=0.6)
    (episode,) = episodes  # a draft that has to be killed has failed; the other seeds are not worth a deadline each
    assert (episode.ended, episode.steps) == ("error", 1)
    assert "lost its worker: no answer within 0.6 s" in episode.error
    assert episode.trace[0].startswith("1: RIGHT")


def test_skill_that_takes_too_much_memory_is_told_so():
    (episode,) = try_skill(CORRIDOR, skill("x = bytearray(1 << 33)\nyield RIGHT"), (), "obs[0] >= 3", [7], limits=Limits(memory_mb=64))
    assert "MemoryError" in episode.error


def test_skill_that_hoards_memory_until_nothing_is_left_ends_as_an_error():
    (episode,) = try_skill(
        CORRIDOR,
        skill("x = []\nwhile True:\n    x.append(bytearray(1 << 20))\nyield RIGHT"),
        (),
        "obs[0] >= 3",
        [7],
        limits=Limits(memory_mb=64),
    )
    assert "MemoryError" in episode.error or "memory" in episode.error


def test_skill_that_crashes_its_interpreter_is_told_so():
    ctypes_too = CORRIDOR.model_copy(update={"imports": ("ctypes",)})
    (episode,) = try_skill(ctypes_too, skill("import ctypes\nctypes.string_at(0)\nyield RIGHT"), (), "obs[0] >= 3", [7])
    assert "it crashed (SIGSEGV)" in episode.error


def test_flood_of_output_is_bounded(attempt):
    (episode,) = attempt("print('hello')\nfor _ in range(1000):\n    print('x' * 10_000)\nyield RIGHT")
    assert episode.error == ""
    assert episode.trace[-1].startswith("it printed: hello\nxxx")
    assert len(episode.trace[-1]) < 2500


def test_module_level_loop_in_a_skill_is_killed_at_the_deadline(corridor):
    with pytest.raises(WorkerDied, match="no answer within"):
        corridor.run(
            Skill(name="walk", source="while True: pass\ndef walk(obs, info):\n    yield 1\n", max_steps=1), (), "True", [1], deadline_s=0.5
        )


def test_not_deterministic_environment_is_judged_by_the_trial_itself():
    lucky = Environment(id="worlds:Lucky-v0", deterministic=False)
    (episode,) = try_skill(lucky, skill("for _ in range(3):\n    yield 1"), (), "obs[0] >= 3", [7])
    assert (episode.success, episode.steps, episode.error) == (True, 3, "")


def test_environment_that_claims_to_be_deterministic_but_is_not_is_found_out():
    lucky = Environment(id="worlds:Lucky-v0")
    (episode,) = try_skill(lucky, skill("for _ in range(3):\n    yield 1"), (), "obs[0] >= 3", [7])
    assert not episode.success
    assert "its actions, repeated in a clean worker, gave episode_return" in episode.error


def test_skill_that_forges_its_success_is_found_out():
    # It reaches through the garbage collector for the episode it is in, and declares it a success.
    body = """
import gc
for thing in gc.get_objects():
    if type(thing).__name__ == "Episode":
        thing.success = True
        thing.episode_return = 1000.0
yield STAY_PUT
"""
    cheat = CORRIDOR.model_copy(update={"imports": ("gc",)})
    (episode,) = try_skill(cheat, skill(body), (), "obs[0] >= 3", [7])
    assert not episode.success
    assert "repeated in a clean worker, gave success False (claimed: True)" in episode.error


def test_replay_gives_the_same_episode_again():
    end = replay(CORRIDOR, "terminated", 3, np.array([1, 2, 1, 1, 1, 1]))
    assert (end.seed, end.success, end.episode_return, end.steps, end.truncated) == (3, True, 5.0, 6, False)


def test_replay_of_what_is_no_episode_says_so():
    with Replayer(CORRIDOR, "terminated") as replayer:
        with pytest.raises(WorkerDied, match="step 2: 9 is out of range"):
            replayer.replay(3, np.array([1, 9]))
        with pytest.raises(WorkerDied, match="over after 5 of 7 actions"):
            replayer.replay(3, np.array([1] * 7))
        assert replayer.narrate(3, np.array([1] * 5)).success


def test_description_says_what_the_environment_is():
    description = describe(CAR)
    assert description.id == "MountainCar-v0"
    assert description.action_space == {"type": "Discrete", "n": 3, "start": 0}
    assert description.max_episode_steps == 200
    assert description.words.startswith("position=-0.")
    assert describe(CAR.model_copy(update={"max_episode_steps": 77})).max_episode_steps == 77


@pytest.mark.parametrize(
    ("identifier", "says"),
    [
        ("MountainCart-v0", "'MountainCar-v0'"),
        ("mountain_car", "MountainCar"),
        ("CartPole-v7", "CartPole"),
        ("MiniGrid-Empty-5x5-v0", "`pip install minigrid`"),
        ("ALE/Pong-v5", "`pip install ale-py`"),
        ("nowhere_at_all:World-v0", "module 'nowhere_at_all', which is not installed"),
        ("LunarLander-v3", "gymnasium[box2d]"),
    ],
)
def test_environment_that_is_not_there_says_what_to_do(identifier, says):
    module = {"LunarLander-v3": "Box2D", "ALE/Pong-v5": "ale_py", "MiniGrid-Empty-5x5-v0": "minigrid"}.get(identifier)
    if module and importlib.util.find_spec(module):
        pytest.skip(f"{module} is installed here")
    with pytest.raises(EnvironmentUnavailable, match=re.escape(says)):
        describe(Environment(id=identifier))


def test_kwargs_the_environment_does_not_take_are_named():
    with pytest.raises(EnvironmentUnavailable, match="colour"):
        describe(Environment(id="worlds:Corridor-v0", kwargs={"colour": 1}))


def test_actions_nobody_can_take_are_told():
    with pytest.raises(EnvironmentUnsupported, match="action space of type Text"):
        describe(Environment(id="worlds:Speech-v0"))


def test_import_that_is_not_there_is_told():
    with pytest.raises(SkillInvalid, match="'no_such_module', which cannot be imported"):
        describe(CORRIDOR.model_copy(update={"imports": ("no_such_module",)}))


def test_environment_of_ones_own_is_found_in_the_folder_one_runs_in(tmp_path, monkeypatch):
    (tmp_path / "my_world.py").write_text("import worlds, gymnasium\ngymnasium.register('Mine-v0', worlds.Corridor)\n")
    monkeypatch.chdir(tmp_path)
    assert describe(Environment(id="my_world:Mine-v0")).id == "Mine-v0"


def test_oddities_gymnasium_warns_of_are_in_the_description():
    assert any("float64" in warning for warning in describe(Environment(id="worlds:Crooked-v0")).warnings)
