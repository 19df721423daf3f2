"""What holds for an environment inside the locked worker holds for one that is hosted: the same tests, a second time."""

from __future__ import annotations

import pytest
import test_pool
import test_trial

from rlgpt.bus.task import Host
from rlgpt.envs.pool import Trials
from rlgpt.envs.zygote import Zygote

# These are about skills and expressions alone, or start a host for every parameter; what is special to hosts is in test_hosting.py.
ELSEWHERE = frozenset(
    {
        "test_environment_that_fails_ends_its_episode_with_the_reason",
        "test_fallback_is_any_action_unless_told_and_the_same_for_the_same_seed",
        "test_gymnasium_environment_plays_behind_the_lock",
        "test_invalid_skill_or_expression_is_told_before_anything_runs",
        "test_environment_that_is_not_there_says_what_to_do",
        "test_import_that_is_not_there_is_told",
        "test_skill_that_cannot_be_tried_at_all_is_invalid_and_says_why_and_where",
        "test_success_expression_that_is_none_is_invalid",
        "test_call_that_takes_no_step_costs_one_fallback_action_so_that_no_decision_is_free",
        "test_skill_that_cannot_be_stopped_is_killed_and_what_it_had_done_is_told",
        "test_skill_that_hoards_memory_until_nothing_is_left_ends_as_an_error",
        "test_can_run_that_fails_counts_as_false",
        "test_reset_begins_an_episode_of_each_seed_in_order",
    }
)


@pytest.fixture(scope="module", autouse=True)
def hosted():
    """Every environment of this file has a host."""
    with pytest.MonkeyPatch.context() as patch:
        begin = Zygote.__init__

        def hosting(self, environment, **kwargs):
            begin(self, environment.model_copy(update={"host": Host(step_s=1.5, reset_s=20)}), **kwargs)

        patch.setattr(Zygote, "__init__", hosting)
        yield


@pytest.fixture(scope="module")
def corridor(hosted):
    with Trials(test_trial.CORRIDOR) as trials:
        yield trials


attempt = test_trial.attempt

for module in (test_pool, test_trial):
    globals().update({name: test for name, test in vars(module).items() if name.startswith("test_") and name not in ELSEWHERE})
