"""The two loops, without sockets, models or environments: what each event asks for."""

import itertools

import pytest

from rlgpt.agents.loops import RunState
from rlgpt.agents.requests import (
    CONTROLLER,
    AskPlan,
    AskPlanReview,
    AskSetUp,
    AskSkill,
    AskTrialReview,
    Finish,
    Settle,
)
from rlgpt.agents.rollout import passed
from rlgpt.bus.messages import (
    AgentJoined,
    AgentLeft,
    BudgetSpent,
    DeadLettered,
    Message,
    ModelAsked,
    PlanFailed,
    PlanProposed,
    PlanReviewed,
    ReviewMissed,
    RunFinished,
    SkillDrafted,
    SkillFailed,
    SkillReviewed,
    SkillSettled,
    SkillTried,
    TaskSubmitted,
    TrainingFinished,
    TrainingProgressed,
    TrainingRequested,
)
from rlgpt.bus.parts import Card, Point, Score, Skill, SubAction, TrialEpisode
from rlgpt.bus.task import Task


class Log:
    """Feeds messages to a RunState as the bus would, numbered and with their source."""

    def __init__(self, **settings: object) -> None:
        self.state = RunState()
        self.numbers = itertools.count(1)
        self.events: list[tuple[int, str, str, Message]] = []
        base = {"name": "t", "goal": "reach the goal", "success": "terminated", "environment": {"id": "CartPole-v1"}}
        self.task = Task.model_validate(base | settings)

    def say(self, message: Message, source: str = "", second: int = 0):
        seq = next(self.numbers)
        time = f"2026-01-01T00:{second // 60:02d}:{second % 60:02d}.000000Z"
        self.events.append((seq, source, time, message))
        return self.state.apply(seq, source, time, message)

    def begin(self, *sub_actions: tuple[str, str]):
        self.say(TaskSubmitted(run="t-1", task=self.task, card=Card(text="card", kind="Discrete", version="1")))
        return self.plan(1, *sub_actions) if sub_actions else None

    def plan(self, number: int, *sub_actions: tuple[str, str]):
        subs = tuple(SubAction(name=name, purpose="p", mode=mode, success="True") for name, mode in sub_actions)
        return self.say(PlanProposed(plan=number, sub_actions=subs), "slow")

    def draft(self, name: str, attempt: int, plan: int = 1):
        skill = Skill(name=name, source=f"def {name}(obs, info): yield {attempt}", max_steps=10)
        return self.say(
            SkillDrafted(plan=plan, attempt=attempt, skill=skill, success="True", seeds=(1,), environment=self.task.environment),
            "fast",
        )

    def tried(self, name: str, attempt: int, success: bool, steps: int = 10, plan: int = 1, wins: int | None = None):
        wins = int(success) if wins is None else wins
        episodes = tuple(
            TrialEpisode(seed=i, success=i < wins, steps=1, episode_return=0, ended="returned", first="", last="") for i in range(5)
        )
        return self.say(SkillTried(plan=plan, attempt=attempt, name=name, success=success, episodes=episodes, env_steps=steps), "rollout")

    def reviewed(self, name: str, attempt: int, verdict: str, source: str = "critic", plan: int = 1):
        return self.say(SkillReviewed(plan=plan, attempt=attempt, name=name, verdict=verdict, why="because"), source)

    def settled(self, settle: Settle):
        accepted = settle.skill is not None
        return self.say(
            SkillSettled(
                plan=settle.plan, name=settle.name, accepted=accepted, attempts=settle.attempts, reason=settle.reason, skill=settle.skill
            ),
            "fast",
        )

    def train(self, plan: int = 1, seed: int = 0):
        return self.say(
            TrainingRequested(
                plan=plan,
                environment=self.task.environment,
                success="terminated",
                learner=self.task.trainer,
                evaluation=self.task.evaluation,
                seed=seed,
            ),
            "fast",
        )

    def trained(self, rate: float | None, plan: int = 1, steps: int = 100, *, seed: int = 0, episodes: int = 100, **more: object):
        finished = {"plan": plan, "seed": seed, "env_steps": steps, "score": score(rate, episodes), "policy": None, **more}
        return self.say(TrainingFinished.model_validate(finished), "trainer")


def score(rate: float | None, episodes: int = 100) -> Score | None:
    if rate is None:
        return None
    return Score(
        episodes=episodes,
        successes=round(episodes * rate),
        rate=rate,
        low=0,
        high=1,
        mean_return=0,
        mean_steps=1,
        actions="sampled",
        first_seed=0,
        env_steps=50,
        verified=True,
    )


def test_a_task_asks_for_the_first_plan() -> None:
    log = Log()
    card = Card(text="card", kind="Discrete", version="1")
    assert log.say(TaskSubmitted(run="t-1", task=log.task, card=card)) == (AskPlan(1),)


def test_code_sub_actions_are_drafted_one_after_the_other_in_the_plan_order() -> None:
    log = Log()
    assert log.begin(("swing", "code"), ("climb", "rl"), ("brake", "code")) == (AskSkill(1, "swing", 1),)
    log.draft("swing", 1)
    assert log.tried("swing", 1, True) == (AskTrialReview(1, "swing", 1),)
    (settle,) = log.reviewed("swing", 1, "accept")
    assert log.settled(settle) == (AskSkill(1, "brake", 1),)


def test_a_plan_without_code_goes_straight_to_the_learning_set_up() -> None:
    assert Log().begin(("climb", "rl")) == (AskSetUp(1),)


def test_an_accepted_skill_is_settled_with_its_source() -> None:
    log = Log()
    log.begin(("swing", "code"))
    log.draft("swing", 1)
    log.tried("swing", 1, True)
    (settle,) = log.reviewed("swing", 1, "accept")
    assert isinstance(settle, Settle)
    assert settle.skill
    assert "yield 1" in settle.skill.source
    assert log.settled(settle) == (AskSetUp(1),)
    assert [skill.name for skill in log.state.plans[1].skills] == ["swing"]


def test_a_failed_trial_is_repaired_even_if_the_critic_accepts_it() -> None:
    log = Log()
    log.begin(("swing", "code"))
    log.draft("swing", 1)
    log.tried("swing", 1, False)
    assert log.reviewed("swing", 1, "accept") == (AskSkill(1, "swing", 2),)


def test_a_skill_out_of_attempts_falls_to_the_learner_with_the_reason() -> None:
    log = Log(loops={"attempts": 2})
    log.begin(("swing", "code"))
    for attempt in (1, 2):
        log.draft("swing", attempt)
        log.tried("swing", attempt, False)
        requests = log.reviewed("swing", attempt, "revise")
    (settle,) = requests
    assert isinstance(settle, Settle)
    assert settle.skill is None
    assert "because" in settle.reason
    assert log.settled(settle) == (AskSetUp(1),)


def test_a_test_that_cannot_be_evaluated_ends_the_inner_loop_at_once_and_is_named() -> None:
    log = Log()
    log.begin(("climb", "code"))
    log.draft("climb", 1)
    error = "the success expression 'obs[9]' failed: IndexError"
    broken = TrialEpisode(seed=1, success=False, steps=1, episode_return=0, ended="error", first="", last="", error=error)
    said = SkillTried(plan=1, attempt=1, name="climb", success=False, episodes=(broken,), env_steps=1)
    (request,) = log.say(said, "rollout")
    assert isinstance(request, Settle)
    assert request.skill is None
    assert request.reason == f"its success test cannot be evaluated: {error}"


def test_a_draft_needs_as_many_successes_as_the_scenario_says_and_all_its_episodes() -> None:
    def episodes(wins: int, of: int = 10) -> list[TrialEpisode]:
        return [TrialEpisode(seed=i, success=i < wins, steps=1, episode_return=0, ended="returned", first="", last="") for i in range(of)]

    log = Log(loops={"trial_episodes": 10, "accept": 0.7})
    assert log.task.loops.needed == 7
    skill = Skill(name="climb", source="", max_steps=10)
    draft = SkillDrafted(plan=1, attempt=1, skill=skill, success="True", seeds=tuple(range(10)), needed=7, environment=log.task.environment)
    assert passed(draft, episodes(7))
    assert not passed(draft, episodes(6))
    assert not passed(draft, episodes(9, of=9))
    every = draft.model_copy(update={"needed": None})
    assert passed(every, episodes(10))
    assert not passed(every, episodes(9))


def test_a_draft_the_model_could_not_give_counts_as_an_attempt() -> None:
    log = Log(loops={"attempts": 2})
    log.begin(("swing", "code"))
    failed = SkillFailed(plan=1, attempt=1, name="swing", reason="timeout")
    assert log.say(failed, "fast") == (AskSkill(1, "swing", 2),)


def test_a_skill_the_critic_gives_up_is_not_tried_again() -> None:
    log = Log(loops={"attempts": 5})
    log.begin(("swing", "code"))
    log.draft("swing", 1)
    log.tried("swing", 1, False)
    (settle,) = log.reviewed("swing", 1, "give_up")
    assert isinstance(settle, Settle)
    assert settle.skill is None


def test_the_success_test_has_the_last_word_when_the_attempts_are_spent() -> None:
    log = Log(loops={"attempts": 1})
    log.begin(("swing", "code"))
    log.draft("swing", 1)
    log.tried("swing", 1, True)
    (settle,) = log.reviewed("swing", 1, "revise")
    assert isinstance(settle, Settle)
    assert settle.skill is not None
    assert "disagreed" in settle.reason


def test_without_a_critic_the_success_test_decides_alone() -> None:
    log = Log(critic={"enabled": False})
    log.begin(("swing", "code"))
    log.draft("swing", 1)
    assert log.tried("swing", 1, False) == (AskSkill(1, "swing", 2),)
    log.draft("swing", 2)
    (settle,) = log.tried("swing", 2, True)
    assert isinstance(settle, Settle)
    assert settle.skill is not None


def test_only_named_reviewers_count_and_the_first_one_decides() -> None:
    log = Log(critic={"reviewers": ["critic", "mine"]})
    log.begin(("swing", "code"))
    log.draft("swing", 1)
    log.tried("swing", 1, True)
    assert log.reviewed("swing", 1, "accept", source="stranger") == ()
    (settle,) = log.reviewed("swing", 1, "accept", source="mine")
    assert isinstance(settle, Settle)
    assert log.reviewed("swing", 1, "revise", source="critic") == ()


def test_a_review_nobody_gives_is_replaced_by_the_success_test_and_says_so() -> None:
    log = Log(critic={"reviewers": ["mine"]})
    log.begin(("swing", "code"))
    log.draft("swing", 1)
    log.tried("swing", 1, True)
    (settle,) = log.say(ReviewMissed(seq=log.state.seq, waited_s=9.0), "launcher")
    assert isinstance(settle, Settle)
    assert settle.skill is not None
    review = log.state.plans[1].inner["swing"].attempts[0].review
    assert review
    assert "no counted review (mine)" in review.why
    log.settled(settle)
    log.train()
    log.trained(0.1)
    assert log.say(ReviewMissed(seq=log.state.seq, waited_s=9.0), "launcher") == (AskPlan(2),)


def test_a_review_that_came_in_time_is_not_missed() -> None:
    log = Log()
    log.begin(("swing", "code"))
    log.draft("swing", 1)
    log.tried("swing", 1, True)
    tried = log.state.seq
    log.reviewed("swing", 1, "revise")
    assert log.say(ReviewMissed(seq=tried, waited_s=9.0), "launcher") == ()


def test_the_target_ends_the_run() -> None:
    log = Log(evaluation={"target": 0.9})
    log.begin(("climb", "rl"))
    log.train()
    assert log.trained(0.95) == (AskPlanReview(1),)
    (finish,) = log.say(PlanReviewed(plan=1, why="fine"), "critic")
    assert isinstance(finish, Finish)
    assert finish.outcome == "target_reached"


def test_below_the_target_the_slow_agent_plans_again_until_plans_are_used_and_the_best_is_kept() -> None:
    log = Log(loops={"plans": 2}, evaluation={"target": 0.9})
    log.begin(("climb", "rl"))
    log.train()
    log.trained(0.5)
    assert log.say(PlanReviewed(plan=1, why="weak"), "critic") == (AskPlan(2),)
    log.plan(2, ("climb", "rl"))
    log.train(2)
    log.trained(0.3, plan=2)
    (finish,) = log.say(PlanReviewed(plan=2, why="weaker"), "critic")
    assert isinstance(finish, Finish)
    assert finish.outcome == "below_target"
    assert log.state.best == 1


def test_plans_that_never_come_end_the_run_as_given_up() -> None:
    log = Log(loops={"plans": 2})
    log.begin()
    assert log.say(PlanFailed(plan=1, reason="unreachable"), "slow") == (AskPlan(2),)
    (finish,) = log.say(PlanFailed(plan=2, reason="unreachable"), "slow")
    assert isinstance(finish, Finish)
    assert finish.outcome == "gave_up"
    assert "unreachable" in finish.reason


def test_rl_only_plans_once_and_asks_no_critic() -> None:
    log = Log(mode="rl-only", loops={"plans": 3})
    log.begin(("all", "rl"))
    log.train()
    (finish,) = log.trained(0.0)
    assert isinstance(finish, Finish)
    assert finish.outcome == "below_target"


def test_code_only_ends_the_plan_with_a_controller() -> None:
    log = Log(mode="code-only", critic={"enabled": False})
    log.begin(("swing", "code"))
    log.draft("swing", 1)
    (settle,) = log.tried("swing", 1, True)
    assert log.settled(settle) == (AskSkill(1, CONTROLLER, 1),)


def test_the_best_controller_is_kept_when_none_succeeds_everywhere() -> None:
    log = Log(mode="code-only", critic={"enabled": False}, loops={"attempts": 2})
    log.begin(("swing", "rl"))
    log.draft(CONTROLLER, 1)
    log.tried(CONTROLLER, 1, False, wins=4)
    log.draft(CONTROLLER, 2)
    (settle,) = log.tried(CONTROLLER, 2, False, wins=2)
    assert isinstance(settle, Settle)
    assert settle.skill
    assert "yield 1" in settle.skill.source


def test_code_only_without_a_controller_that_runs_learns_nothing_and_plans_again() -> None:
    log = Log(mode="code-only", critic={"enabled": False}, loops={"attempts": 1, "plans": 2})
    log.begin(("swing", "rl"))
    (settle,) = log.say(SkillFailed(plan=1, attempt=1, name=CONTROLLER, reason="refused"), "fast")
    assert isinstance(settle, Settle)
    assert log.settled(settle) == (AskPlan(2),)


@pytest.mark.parametrize(
    ("budgets", "spend"),
    [
        ({"env_steps": 10}, lambda log: log.tried("swing", 1, False, steps=10)),
        ({"tokens": 5}, lambda log: log.tried("swing", 1, False)),
        ({"usd": 0.5}, lambda log: log.tried("swing", 1, False)),
    ],
)
def test_a_spent_budget_ends_the_run_before_the_next_draft(budgets, spend) -> None:
    log = Log(budgets=budgets, critic={"enabled": False})
    log.begin(("swing", "code"))
    log.say(
        ModelAsked(role="fast", key="k", model="m", origin="live", outcome="answered", prompt_tokens=3, completion_tokens=2, usd=0.5),
        "fast",
    )
    log.draft("swing", 1)
    (finish,) = spend(log)
    assert isinstance(finish, Finish)
    assert finish.outcome == "budget_spent"
    assert next(iter(budgets)) in finish.reason


def test_the_time_between_a_stop_and_a_resume_is_not_spent() -> None:
    log = Log()
    log.say(TaskSubmitted(run="t-1", task=log.task, card=Card(text="card", kind="Discrete", version="1")), "launcher", second=0)
    log.say(PlanFailed(plan=1, reason="x"), "slow", second=10)
    log.say(AgentLeft(name="slow", role="slow", reason="lost"), "broker", second=600)
    log.say(AgentJoined(name="launcher", role="launcher"), "broker", second=601)
    log.say(PlanFailed(plan=2, reason="x"), "slow", second=605)
    assert log.state.spent.seconds == 14


def test_minutes_end_the_run_when_the_launcher_says_so() -> None:
    log = Log(budgets={"minutes": 1})
    log.begin(("swing", "code"))
    (finish,) = log.say(BudgetSpent(budget="minutes", limit=1, used=1), "launcher")
    assert isinstance(finish, Finish)
    assert finish.outcome == "budget_spent"


def test_steps_used_up_by_learning_still_allow_the_review_and_the_target() -> None:
    log = Log(budgets={"env_steps": 100}, evaluation={"target": 0.9})
    log.begin(("climb", "rl"))
    log.train()
    assert log.trained(0.95, steps=100) == (AskPlanReview(1),)
    (finish,) = log.say(PlanReviewed(plan=1, why="fine"), "critic")
    assert isinstance(finish, Finish)
    assert finish.outcome == "target_reached"


def test_recorded_answers_cost_nothing_and_a_question_counts_once() -> None:
    log = Log()
    log.begin()
    asked = ModelAsked(role="fast", key="k", model="m", origin="live", outcome="answered", prompt_tokens=3, completion_tokens=2)
    log.say(asked, "fast")
    log.say(asked, "fast")
    log.say(asked.model_copy(update={"key": "other", "origin": "recorded"}), "fast")
    assert log.state.spent.tokens == 5


def test_a_trial_nobody_could_run_is_a_failed_attempt() -> None:
    log = Log()
    log.begin(("swing", "code"))
    log.draft("swing", 1)
    seq = log.state.seq
    letter = DeadLettered(consumer="rollout", seq=seq, id="x", type="rlgpt.skill.drafted.v1", attempts=3, reason="killed")
    assert log.say(letter, "broker") == (AskSkill(1, "swing", 2),)


def test_a_training_nobody_could_run_leads_to_the_next_plan() -> None:
    log = Log()
    log.begin(("climb", "rl"))
    log.train()
    seq = log.state.seq
    letter = DeadLettered(consumer="trainer", seq=seq, id="x", type="rlgpt.training.requested.v1", attempts=3, reason="no memory")
    assert log.say(letter, "broker") == (AskPlan(2),)
    assert "no memory" in log.state.plans[1].failure


def test_an_agent_that_cannot_handle_an_event_ends_the_run_with_the_reason() -> None:
    log = Log()
    log.begin()
    letter = DeadLettered(consumer="slow", seq=1, id="task", type="rlgpt.task.submitted.v1", attempts=3, reason="KeyError: 'x'")
    (finish,) = log.say(letter, "broker")
    assert isinstance(finish, Finish)
    assert finish.outcome == "gave_up"
    assert "KeyError" in finish.reason


def test_nothing_is_asked_for_after_the_end() -> None:
    log = Log()
    log.begin(("climb", "rl"))
    log.say(BudgetSpent(budget="minutes", limit=1, used=1), "launcher")
    log.say(RunFinished(outcome="budget_spent", reason="minutes"), "slow")
    log.train()
    assert log.trained(1.0) == ()


def test_curve_points_said_again_after_a_checkpoint_stand_once() -> None:
    log = Log()
    log.begin(("climb", "rl"))
    log.train()
    for steps, rate in ((100, 0.1), (200, 0.2), (100, 0.15)):
        point = Point(env_steps=steps, episodes=1, success_rate=rate, mean_return=0, steps_per_s=1)
        log.say(TrainingProgressed(plan=1, point=point), "trainer")
    assert [(p.env_steps, p.success_rate) for p in log.state.plans[1].curve] == [(100, 0.15)]


def test_the_log_folded_again_gives_the_same_requests_and_state() -> None:
    log = Log(loops={"plans": 1})
    asked = []
    log.begin(("swing", "code"))
    log.draft("swing", 1)
    log.tried("swing", 1, True)
    (settle,) = log.reviewed("swing", 1, "accept")
    log.settled(settle)
    log.train()
    log.trained(0.2)
    asked.append(log.say(PlanReviewed(plan=1, why="w"), "critic"))
    again = RunState()
    requests = [again.apply(*event) for event in log.events]
    assert requests[-1] == asked[-1]
    assert again == log.state


def test_what_waits_for_an_answer_is_known_to_a_late_joiner() -> None:
    log = Log()
    log.begin(("swing", "code"))
    log.draft("swing", 1)
    log.tried("swing", 1, True)
    tried = log.state.seq
    assert log.state.awaiting[tried] == "trial review"
    log.reviewed("swing", 1, "accept")
    assert tried not in log.state.awaiting
