"""How long a call may take."""

import pytest

from rlgpt.bus.task import Environment, Host
from rlgpt.envs.limits import call_deadline


@pytest.mark.parametrize(
    ("hosted", "limit", "steps", "seconds"),
    [
        (False, 12_000, 10_000, 30),
        (True, 12_000, 100, 30),
        (True, 12_000, 10_000, 300),
        (True, 12_000, 100_000, 360),  # a controller's call lasts no longer than the episode
        (True, None, 100_000, 30),
    ],
)
def test_calls_of_many_steps_on_a_host_have_the_time_that_those_take(hosted, limit, steps, seconds):
    environment = Environment(id="X-v0", max_episode_steps=limit, host=Host() if hosted else None)
    assert call_deadline(30.0, environment, steps) == pytest.approx(seconds)
