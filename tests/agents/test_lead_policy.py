"""A stage learned behind another one, where nothing can be repeated: its network is played in the locked workers of the next stage."""

import pytest
from learning_here import run

from rlgpt.bus.messages import TrainingRequested
from rlgpt.bus.parts import Skill
from rlgpt.bus.task import Environment, Evaluation, Lead, Learner

CLIMB = Environment(
    id="worlds:Climb-v0",
    kwargs={"top": 4},
    actions=("down", "up", "stay"),
    max_episode_steps=60,
    deterministic=False,
    until_success=True,
)
UP = Skill(name="up", source="def up(obs, info):\n    obs, info = yield UP\n", max_steps=3)
SETTINGS = Learner(env_steps=60, environments=2, rollout=16, batch_size=16, epochs=1, hidden=(8,), frame_stack=2)


@pytest.fixture(autouse=True)
def _worlds(monkeypatch):
    monkeypatch.syspath_prepend("tests/envs")


def request(**changes) -> TrainingRequested:
    fields = {
        "plan": 1,
        "environment": CLIMB,
        "success": "obs[0] >= 2",
        "skills": (UP,),
        "learner": SETTINGS,
        "evaluation": Evaluation(episodes=4, first_seed=50),
        "seed": 3,
    }
    return TrainingRequested(**{**fields, **changes})


def test_stage_is_scored_behind_the_network_of_the_one_before(tmp_path):
    first = run(tmp_path / "first", request())
    assert first.failure == ""
    assert (first.lead_steps, first.score.verified) == (0, None)
    lead = Lead(name="two", success="obs[0] >= 2", skills=(UP,), policy=first.policy)
    behind = CLIMB.model_copy(update={"lead": (lead,)})
    asked = request(environment=behind, success="obs[0] >= 4", controller="up", evaluation=Evaluation(episodes=12, first_seed=50))
    second = run(tmp_path / "second", asked)
    assert second.failure == ""
    assert 1 <= second.score.successes <= second.score.episodes <= 12
    assert all("2" in sample.first for sample in second.samples), second.samples


def test_stage_is_learned_behind_a_controller_and_the_steps_of_that_are_told(tmp_path):
    lead = Lead(name="two", success="obs[0] >= 2", skills=(UP,), controller="up")
    behind = CLIMB.model_copy(update={"lead": (lead,)})
    finished = run(tmp_path, request(environment=behind, success="obs[0] >= 4"))
    assert finished.failure == ""
    assert finished.env_steps >= 60
    assert finished.lead_steps >= 2 * 2, "two episodes at least were led to their beginning"
    assert finished.policy is not None


def test_stage_that_no_held_out_episode_reaches_is_a_failure_that_says_so(tmp_path):
    never = Lead(name="two", success="obs[0] >= 1000", skills=(UP,), controller="up")
    behind = CLIMB.model_copy(update={"lead": (never,), "lead_tries": 1})
    finished = run(tmp_path, request(environment=behind, controller="up"))
    assert finished.score is None
    assert finished.failure.startswith(
        "none of 4 held-out episodes got as far as this stage; the last: the stages before were not passed: two"
    )


def test_learning_that_never_gets_to_its_stage_ends_with_the_reason(tmp_path):
    never = Lead(name="two", success="obs[0] >= 1000", skills=(UP,), controller="up")
    behind = CLIMB.model_copy(update={"lead": (never,), "lead_tries": 1, "max_episode_steps": 2})
    finished = run(tmp_path, request(environment=behind, learner=SETTINGS.model_copy(update={"env_steps": 100_000})))
    assert "100 decisions in a row led to no environment step; the last: the stages before were not passed: two" in finished.failure
