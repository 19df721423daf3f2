"""`rlgpt check` on environments with a fault: each is told in words that its author can act on, before anything costs time."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from rlgpt.bus.task import Environment, Host, Task
from rlgpt.envs.errors import EnvironmentUnavailable, EnvironmentUnsupported
from rlgpt.envs.pool import Limits, describe

HERE = Path(__file__).parent


def world(kind: str, **fields) -> Environment:
    return Environment(id=f"broken_worlds:{kind}-v0", **fields)


def checked(environment: Environment, success: str = "terminated") -> dict:
    """What `rlgpt check` is answered."""
    task = Task(name="x", goal="Go on.", success=success, environment=environment)
    command = [sys.executable, "-P", "-m", "rlgpt.runtime.describe"]
    return json.loads(subprocess.run(command, input=task.model_dump_json().encode(), capture_output=True, check=False, cwd=HERE).stdout)


def test_environment_that_only_prints_is_fine():
    answer = checked(world("Sound"))
    assert answer["warnings"] == []
    assert answer["card"]["kind"] == "Discrete"


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("OldReset", "OldReset.reset() has to be reset(self, *, seed=None, options=None), as Gymnasium calls it"),
        ("ResetWithoutInfo", "ResetWithoutInfo.reset gave one ndarray; it has to return (observation, info), info a dict"),
        ("FailingReset", "failed in its first episodes: KeyError: 'track' (broken_worlds.py, line "),
        ("OldStep", "OldStep.step gave a tuple of 4; it has to return (observation, reward, terminated, truncated, info)"),
        ("FailingStep", "IndexError: no such cell (broken_worlds.py, line "),
        ("NoObservationSpace", "has to set self.observation_space and self.action_space to spaces of gymnasium.spaces"),
        ("NoActionSpace", "has to set self.observation_space and self.action_space to spaces of gymnasium.spaces"),
        ("NeedsAnArgument", "does not take kwargs {}: NeedsAnArgument.__init__() missing 1 required positional argument: 'size'"),
    ],
)
def test_environment_that_does_not_play_says_which_part_and_why(kind, says):
    with pytest.raises(EnvironmentUnavailable) as raised:
        describe(world(kind))
    assert says in str(raised.value)
    assert f"broken_worlds:{kind}-v0" in str(raised.value)


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("WrongShape", "its observation at the reset has shape (3,), its space says (2,)"),
        ("RewardInWords", "its reward after step 1 is 'well done', which is no number"),
        ("RewardNotFinite", "its reward after step 1 is nan; it has to be finite"),
        ("ObservationNotFinite", "its observation after step 4 holds a value that is not finite"),
        ("SeedIgnored", "the same seed and actions gave another episode, at the reset. Draw everything from self.np_random"),
        ("ByTheClock", "the same seed and actions gave another episode, after step 1"),
    ],
)
def test_environment_that_plays_what_nobody_can_use_says_at_which_step(kind, says):
    with pytest.raises(EnvironmentUnsupported) as raised:
        describe(world(kind))
    assert says in str(raised.value)


def test_environment_that_says_it_is_not_deterministic_need_not_be():
    assert describe(world("SeedIgnored", deterministic=False)).warnings == ()


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        (
            "OutsideItsSpace",
            "the observation after step 11 lies outside its space Box(-1.0, 1.0, (2,), float32): [0.1739, 1.1]; give the space wider",
        ),
        ("WrongKind", "The obs returned by the `reset()` method was expecting a numpy array, actual type: <class 'list'>"),
    ],
)
def test_what_can_be_lived_with_is_a_warning(kind, says):
    assert any(says in warning for warning in describe(world(kind)).warnings)


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("OpensAFile", "the environment failed in step 1: PermissionError: [Errno 1] Operation not permitted: "),
        ("OpensAFileAtReset", "it failed: PermissionError: [Errno 1] Operation not permitted: "),
        ("StartsAProcess", "let it be hosted: environment.host: {}"),
        ("ImportsLate", "ModuleNotFoundError: No module named 'wave' (nothing can be imported behind the lock: import it at the top"),
    ],
)
def test_environment_that_does_not_fit_behind_the_lock_is_told_what_to_do(kind, says):
    error = checked(world(kind))["error"]
    assert says in error
    assert f"environment 'broken_worlds:{kind}-v0' plays, but not behind the lock" in error


def test_the_same_environment_plays_when_it_is_hosted():
    assert "card" in checked(world("OpensAFile", host=Host(path=(str(HERE),))))


def test_success_test_that_fails_later_in_an_episode_is_told_as_such():
    error = checked(world("Sound"), "obs[5] > 0")["error"]
    assert error.startswith("success: 'obs[5] > 0' cannot be evaluated after a step")


def test_environment_that_hangs_is_given_up():
    with pytest.raises(Exception, match=r"Hangs-v0.*did not start: no answer in time"):
        describe(world("Hangs"), Limits(start_s=2.0))
