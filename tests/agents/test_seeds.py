"""`seeds: n`: every plan is learned n times, and judged by all of them together."""

import pytest
from test_loops import Log

from rlgpt.agents import fields
from rlgpt.agents.prompts import render
from rlgpt.agents.requests import AskPlan, AskPlanReview, Finish
from rlgpt.bus.messages import DeadLettered, TrainingProgressed
from rlgpt.bus.parts import Artifact, Point

POLICY = Artifact(uri="file:///best", sha256="0" * 64, media_type="x")


def three(**settings: object) -> Log:
    log = Log(**({"seeds": 3, "seed": 5, "critic": {"enabled": False}} | settings))
    log.begin(("climb", "rl"))
    for seed in (5, 6, 7):
        log.train(seed=seed)
    return log


def test_the_result_of_a_plan_waits_for_all_seeds_and_pools_them() -> None:
    log = three()
    assert log.trained(0.4, seed=6) == ()
    assert log.trained(0.9, seed=5, policy=POLICY) == ()
    assert log.state.plans[1].result is None
    assert log.trained(0.2, seed=7) == (AskPlan(2),)
    plan = log.state.plans[1]
    assert plan.result is not None
    pooled = plan.result.score
    assert pooled is not None
    assert (pooled.successes, pooled.episodes) == (150, 300)
    assert pooled.low < 0.5 < pooled.high
    assert plan.result.policy == POLICY, "the best seed's"
    assert [training.rate for training in plan.trainings.values()] == [0.9, 0.4, 0.2]
    assert log.state.spent.learning_steps == 300


def test_the_pooled_rate_decides_about_the_target_not_the_luckiest_seed() -> None:
    log = three(loops={"plans": 1})
    log.trained(1.0, seed=5)
    log.trained(0.0, seed=6)
    (finish,) = log.trained(1.0, seed=7)
    assert isinstance(finish, Finish)
    assert finish.outcome == "below_target"


def test_a_seed_that_failed_counts_as_failed_episodes_with_its_reason() -> None:
    log = three(loops={"plans": 1})
    log.trained(1.0, seed=5)
    log.trained(1.0, seed=6)
    log.trained(None, seed=7, failure="PPO diverged")
    result = log.state.plans[1].result
    assert result is not None
    assert result.score is not None
    assert (result.score.successes, result.score.episodes) == (200, 300)
    assert result.failure == "seed 7: PPO diverged"


def test_seeds_that_all_failed_leave_no_score() -> None:
    log = three(loops={"plans": 1})
    requests = [log.trained(None, seed=seed, failure="no memory") for seed in (5, 6, 7)]
    assert requests[:2] == [(), ()]
    (finish,) = requests[2]
    assert (finish.outcome, "seed 6: no memory" in finish.reason) == ("gave_up", True)


def test_a_seed_no_process_could_learn_is_a_failure_among_the_others() -> None:
    log = three()
    log.trained(1.0, seed=5)
    seq = next(training.seq for training in log.state.plans[1].trainings.values() if training.request.seed == 6)
    letter = DeadLettered(consumer="trainer", seq=seq, id="x", type="rlgpt.training.requested.v1", attempts=3, reason="killed")
    assert log.say(letter, "broker") == ()
    assert log.trained(1.0, seed=7) == (AskPlan(2),)
    assert "seed 6: training was given up" in log.state.plans[1].result.failure


def test_the_critic_is_asked_once_and_sees_every_seed() -> None:
    log = three(critic={"enabled": True})
    log.trained(1.0, seed=5)
    log.trained(0.0, seed=6)
    assert log.trained(0.5, seed=7) == (AskPlanReview(1),)
    plan = log.state.plans[1]
    question = render("plan_review", **fields.plan_review_fields(log.state, plan.trainings[7].result))
    for words in ("Learned 3 times", "Seed 6: 0 of 100 episodes succeed", "Evaluation on 300 held-out episodes"):
        assert words in question


def test_progress_is_kept_by_seed() -> None:
    log = three()
    for seed, steps in ((5, 100), (6, 300), (6, 200)):
        point = Point(env_steps=steps, episodes=1, success_rate=0, mean_return=0, steps_per_s=1)
        log.say(TrainingProgressed(plan=1, seed=seed, point=point), "trainer")
    curves = {seed: [point.env_steps for point in training.curve] for seed, training in log.state.plans[1].trainings.items()}
    assert curves == {5: [100], 6: [200], 7: []}
    assert log.state.plans[1].under_way == 300


def test_code_only_plays_its_controller_once_whatever_the_seeds() -> None:
    log = Log(mode="code-only", seeds=3, seed=4)
    log.begin(("go", "code"))
    assert log.state.seeds == (4,)


@pytest.mark.parametrize("seed", [0, 9])
def test_a_single_seed_is_judged_as_ever_also_by_trainers_that_name_none(seed) -> None:
    log = Log(seed=seed, critic={"enabled": False})
    log.begin(("climb", "rl"))
    log.train(seed=seed)
    (finish,) = log.trained(0.95)
    assert finish.outcome == "target_reached"
    assert log.state.plans[1].result is log.state.plans[1].trainings[seed].result
