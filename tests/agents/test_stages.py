"""Long tasks in stages: which stage begins when and where, how the chain is scored, and what ends it."""

import pytest
from test_loops import Log

from rlgpt.agents import stages
from rlgpt.agents.loops import RunState
from rlgpt.agents.requests import AskDivision, AskPlan, AskPlanReview, AskSetUp, AskSkill, Finish
from rlgpt.bus.messages import BudgetSpent, PlanProposed, TaskDivided, TaskSubmitted
from rlgpt.bus.parts import Artifact, Card, SubAction
from rlgpt.bus.task import SubTask, Task

STAGES = [
    {"name": "fetch", "goal": "fetch the key", "success": "obs[1] > 0"},
    {"name": "leave", "goal": "leave through the door", "success": "terminated"},
]
REACHED, HELD_OUT = (Artifact(uri=f"file:///{name}", sha256="0" * 64, media_type="x") for name in ("reached", "held_out"))
STARTS = {"reached": REACHED, "held_out": HELD_OUT}


class Chain(Log):
    """A run of two stages without a critic, whose plans have one sub-action for the learner."""

    def __init__(self, **settings: object) -> None:
        super().__init__(**({"stages": STAGES, "critic": {"enabled": False}, "evaluation": {"target": 0.81}} | settings))

    def submit(self):
        return self.say(TaskSubmitted(run="t-1", task=self.task, card=Card(text="card", kind="Discrete", version="1")))

    def divide(self, *sub_tasks: SubTask):
        self.submit()
        return self.say(TaskDivided(sub_tasks=sub_tasks or self.task.stages), "slow")

    def learn(self, rate: float | None, plan: int, stage: int, *, episodes: int = 100, **more: object):
        """A whole plan, from its proposal to its result."""
        self.say(PlanProposed(plan=plan, stage=stage, sub_actions=(SubAction(name="all", purpose="p", mode="rl"),)), "slow")
        self.train(plan)
        return self.trained(rate, plan, episodes=episodes, **more)


def test_a_task_with_stages_is_divided_before_it_is_planned() -> None:
    log = Chain()
    assert log.submit() == (AskDivision(),)
    assert log.say(TaskDivided(sub_tasks=log.task.stages), "slow") == (AskPlan(1, 1),)


def test_a_planner_may_divide_a_task_the_scenario_does_not() -> None:
    log = Chain(stages=[], loops={"planner": True})
    assert log.divide(*(SubTask.model_validate(stage) for stage in STAGES)) == (AskPlan(1, 1),)
    assert [task.name for task in log.state.sub_tasks] == ["fetch", "leave"]


def test_a_division_nobody_asked_for_changes_nothing() -> None:
    log = Log()
    log.begin(("climb", "rl"))
    assert log.say(TaskDivided(sub_tasks=(SubTask(name="a", goal="g", success="terminated"),)), "stranger") == ()
    assert log.state.sub_tasks == ()


def test_the_next_stage_begins_where_the_one_before_succeeded() -> None:
    log = Chain()
    log.divide()
    first = log.state.stage
    assert (first.environment.starts, first.environment.until_success, first.held_out) == (None, True, None)
    assert log.learn(0.95, 1, 1, **STARTS) == (AskPlan(2, 2),)
    second = log.state.stage
    assert (second.environment.starts, second.environment.until_success, second.held_out) == (REACHED, True, HELD_OUT)
    assert second.task.success == "terminated"


def test_a_stage_is_planned_again_until_its_own_target_within_its_own_plans() -> None:
    log = Chain(loops={"plans": 2})
    log.divide()
    assert log.learn(0.5, 1, 1, **STARTS) == (AskPlan(2, 1),)
    assert log.learn(0.95, 2, 1, **STARTS) == (AskPlan(3, 2),)
    assert log.learn(0.1, 3, 2, episodes=95) == (AskPlan(4, 2),)
    assert [stage.plans for stage in log.state.stages] == [[1, 2], [3]]


def test_stage_targets_are_such_that_the_chain_reaches_the_task_target() -> None:
    log = Chain()
    log.divide()
    assert log.state.stage.target == pytest.approx(0.9)
    log = Chain(evaluation={"target": 0.81, "stage_target": 0.5})
    log.divide()
    assert log.state.stage.target == 0.5


def test_the_chain_is_scored_over_the_first_stages_held_out_seeds() -> None:
    log = Chain()
    log.divide()
    log.learn(0.95, 1, 1, **STARTS)
    assert log.state.score is not None
    assert log.state.score.successes == 0, "nobody has passed the second stage yet"
    (finish,) = log.learn(90 / 95, 2, 2, episodes=95)
    assert isinstance(finish, Finish)
    assert finish.outcome == "target_reached"
    assert "90 of 100 held-out episodes pass all 2 stages" in finish.reason
    chain = log.state.score
    assert (chain.successes, chain.episodes, chain.rate) == (90, 100, 0.9)
    assert chain.low < 0.9 < chain.high
    # Each of a hundred attempts plays the first stage, ninety-five of them the second: one step each.
    assert chain.mean_steps == pytest.approx(1 + 0.95)
    assert chain.env_steps == 100


def test_a_stage_below_its_target_hands_its_best_policy_on_and_the_end_says_so() -> None:
    log = Chain(loops={"plans": 2})
    log.divide()
    log.learn(0.6, 1, 1, **STARTS)
    other = Artifact(uri="file:///worse", sha256="1" * 64, media_type="x")
    assert log.learn(0.4, 2, 1, reached=other, held_out=other) == (AskPlan(3, 2),)
    assert log.state.stage.held_out == HELD_OUT
    (finish,) = log.learn(1.0, 3, 2, episodes=60)
    assert isinstance(finish, Finish)
    assert finish.outcome == "below_target"
    assert "60 of 100" in finish.reason


@pytest.mark.parametrize(("more", "words"), [({}, "no practice episode"), ({"reached": REACHED}, "no held-out episode")])
def test_a_stage_that_reached_no_start_state_ends_the_run_below_target_by_name(more, words) -> None:
    log = Chain(loops={"plans": 1})
    log.divide()
    (finish,) = log.learn(0.0, 1, 1, **more)
    assert isinstance(finish, Finish)
    assert finish.outcome == "below_target"
    assert "stage 1 (fetch)" in finish.reason
    assert words in finish.reason


def test_a_stage_without_any_policy_gives_up_or_ends_below_target_after_an_earlier_one() -> None:
    log = Chain(loops={"plans": 1})
    log.divide()
    (finish,) = log.learn(None, 1, 1, failure="diverged")
    assert (finish.outcome, "diverged" in finish.reason) == ("gave_up", True)
    log = Chain(loops={"plans": 1})
    log.divide()
    log.learn(1.0, 1, 1, **STARTS)
    (finish,) = log.learn(None, 2, 2, failure="diverged")
    assert (finish.outcome, "stage 2 (leave)" in finish.reason) == ("below_target", True)
    assert [(result.name, result.plan) for result in stages.results(log.state)] == [("fetch", 1), ("leave", None)]


def test_budgets_span_all_stages() -> None:
    log = Chain(budgets={"env_steps": 150})
    log.divide()
    assert log.learn(1.0, 1, 1, **STARTS) == (AskPlan(2, 2),)
    (finish,) = log.learn(0.1, 2, 2)
    assert finish.outcome == "budget_spent"
    assert finish.reason.startswith("stage 2 (leave): env_steps: 200 of 150")


def test_one_stage_of_two_is_not_the_target_when_a_budget_is_spent() -> None:
    log = Chain(critic={"enabled": True})
    log.divide()
    assert log.learn(1.0, 1, 1, **STARTS) == (AskPlanReview(1),)
    (finish,) = log.say(BudgetSpent(budget="minutes", limit=1, used=1), "launcher")
    assert finish.outcome == "budget_spent"


def test_code_only_writes_a_controller_for_every_stage() -> None:
    log = Chain(mode="code-only")
    log.divide()
    sub_action = SubAction(name="go", purpose="p", mode="code", success="True")
    assert log.say(PlanProposed(plan=1, stage=1, sub_actions=(sub_action,)), "slow") == (AskSkill(1, "go", 1),)
    assert log.state.plans[1].inner["controller"].spec.success == "obs[1] > 0"


def test_a_chain_folded_again_gives_the_same_requests_and_state() -> None:
    log = Chain(loops={"plans": 2})
    log.divide()
    asked = [log.learn(0.5, 1, 1, **STARTS), log.learn(0.95, 2, 1, **STARTS), log.learn(0.2, 3, 2), log.learn(1.0, 4, 2)]
    again = RunState()
    requests = [request for event in log.events if (request := again.apply(*event))]
    assert [request for request in requests if request in asked] == asked
    assert again == log.state


def test_a_late_result_of_a_stage_that_is_over_changes_nothing() -> None:
    log = Chain(loops={"plans": 2})
    log.divide()
    log.learn(0.95, 1, 1, **STARTS)
    assert log.trained(0.1, 1) == ()
    assert log.state.stage.number == 2
    assert log.say(PlanProposed(plan=2, stage=2, sub_actions=(SubAction(name="all", purpose="p", mode="rl"),)), "slow") == (AskSetUp(2),)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"stages": [STAGES[1], STAGES[1]]}, "two have the same name"),
        ({"stages": STAGES[:1]}, "has to be the task's own"),
        ({"stages": STAGES, "loops": {"planner": True}}, "leave out one of the two"),
        ({"mode": "rl-only", "loops": {"planner": True}}, "asks no model"),
    ],
)
def test_stages_that_cannot_be_chained_are_refused_before_the_run(changes, words) -> None:
    base = {"name": "t", "goal": "g", "success": "terminated", "environment": {"id": "x"}}
    with pytest.raises(ValueError, match=words):
        Task.model_validate(base | changes)


ANYWHERE = {"id": "MountainCar-v0", "deterministic": False}
POLICY = Artifact(uri="file:///policy", sha256="2" * 64, media_type="application/vnd.rlgpt.policy+pytorch")


def test_where_nothing_can_be_repeated_the_next_stage_begins_behind_the_best_policy() -> None:
    log = Chain(environment=ANYWHERE)
    log.divide()
    assert log.learn(0.95, 1, 1, policy=POLICY) == (AskPlan(2, 2),)
    second = log.state.stage
    assert (second.environment.starts, second.held_out, second.environment.until_success) == (None, None, True)
    (lead,) = second.environment.lead
    assert (lead.name, lead.success, lead.policy) == ("fetch", "obs[1] > 0", POLICY)
    assert log.state.stages[0].environment.lead == ()


def test_a_third_stage_is_led_by_both_before_it() -> None:
    three = [STAGES[0], {"name": "turn", "goal": "turn", "success": "obs[0] > 0"}, STAGES[1]]
    log = Chain(environment=ANYWHERE, stages=three)
    log.divide()
    log.learn(0.95, 1, 1, policy=POLICY)
    log.learn(0.95, 2, 2, policy=POLICY.model_copy(update={"sha256": "3" * 64}))
    assert [(lead.name, lead.policy.sha256[0]) for lead in log.state.stage.environment.lead if lead.policy] == [
        ("fetch", "2"),
        ("turn", "3"),
    ]


def test_a_chain_where_nothing_can_be_repeated_is_scored_over_all_its_attempts() -> None:
    log = Chain(environment=ANYWHERE)
    log.divide()
    log.learn(0.95, 1, 1, policy=POLICY)
    # Of a hundred whole chains eighty got to the second stage, and forty through it.
    log.learn(0.5, 2, 2, episodes=80, policy=POLICY, lead_steps=500)
    assert log.state.score is not None
    assert (log.state.score.successes, log.state.score.episodes) == (40, 100)
    assert log.state.spent.learning_steps == 500 + sum(plan.result.env_steps for plan in log.state.plans.values() if plan.result)


def test_a_stage_that_never_succeeded_cannot_be_gone_on_from() -> None:
    log = Chain(environment=ANYWHERE, loops={"plans": 1})
    log.divide()
    (finish,) = log.learn(0.0, 1, 1, policy=POLICY)
    assert isinstance(finish, Finish)
    assert "no held-out episode succeeded, so the next stage cannot be reached" in finish.reason
