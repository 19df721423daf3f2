"""What the models are told: complete, bounded, and without anything left unfilled."""

from __future__ import annotations

import re

import pytest

from rlgpt.agents import fields
from rlgpt.agents.loops import RunState
from rlgpt.agents.prompts import PromptError, names, render, template, tokens
from rlgpt.agents.requests import CONTROLLER
from rlgpt.bus.messages import (
    Message,
    PlanProposed,
    PlanReviewed,
    SkillDrafted,
    SkillReviewed,
    SkillSettled,
    SkillTried,
    TaskDivided,
    TaskSubmitted,
    TrainingFinished,
    TrainingRequested,
)
from rlgpt.bus.parts import Artifact, Card, Point, Score, Skill, SubAction, TrialEpisode, Use
from rlgpt.bus.task import Learner, Mode, Task

SOURCE = "def climb(obs, info):\n    for _ in range(20):\n        obs, info = yield 1\n"
USES = (
    Use(name="up", offered=80, calls=40, steps=40, reward=4.0),
    Use(name="down", offered=80, calls=20, steps=20, reward=2.0),
    Use(name="climb", skill=True, offered=40, calls=20, failed=2, steps=90, reward=-5.0, fault="IndexError"),
)
SKILL = Skill(name="climb", source=SOURCE, max_steps=77)
STARTS = Artifact(uri="file:///x", sha256="0" * 64, media_type="x")
CARD = "# Environment `Ladder-v0`\n" + "x" * 2500


def episode(seed: int, *, success: bool, error: str = "") -> TrialEpisode:
    trace = tuple(f"{step}: UP -> height={step / 7:.4g}, reward 0" for step in range(40))
    ended = "error" if error else "returned"
    told = {"first": "height=0", "last": "height=5", "trace": trace, "error": error}
    return TrialEpisode.model_validate({"seed": seed, "success": success, "steps": 40, "episode_return": -40, "ended": ended, **told})


class Run:
    """A run of one plan, told event by event."""

    def __init__(self, mode: Mode = "rl-gpt", **task: object) -> None:
        base = {"name": "ladder", "goal": "Reach the roof.", "success": "obs[0] > 9", "environment": {"id": "Ladder-v0"}}
        self.task = Task.model_validate({**base, "mode": mode, "loops": {"skill_steps": 77, "trial_episodes": 4}, **task})
        self.state = RunState()
        self.seq = 0
        self.tell(TaskSubmitted(run="ladder-1", task=self.task, card=Card(text=CARD, kind="Discrete", actions=("up", "down"), version="1")))

    def tell(self, *messages: Message) -> None:
        for message in messages:
            self.seq += 1
            source = "critic" if isinstance(message, SkillReviewed | PlanReviewed) else "x"
            self.state.apply(self.seq, source, "2026-01-01T00:00:00Z", message)

    def plans(self) -> None:
        code = SubAction(name="climb", purpose="Climb ten rungs.", mode="code", success="obs[0] > 5")
        rl = SubAction(name="balance", purpose="Keep the balance.", mode="rl", reason="wind")
        self.tell(PlanProposed(plan=1, sub_actions=(code,) if self.task.mode == "code-only" else (code, rl), rationale="step by step"))

    def attempt(self, number: int, *, success: bool, error: str = "") -> None:
        env = self.task.environment
        self.tell(
            SkillDrafted(plan=1, attempt=number, skill=SKILL, success="obs[0] > 5", seeds=(1, 2), environment=env),
            SkillTried(
                plan=1, attempt=number, name="climb", success=success, env_steps=80, error=error,
                episodes=() if error else tuple(episode(seed, success=success) for seed in range(4)),
            ),
        )  # fmt: skip

    def reviewed(self, number: int, verdict: str, why: str, change: str = "") -> None:
        self.tell(
            SkillReviewed.model_validate({"plan": 1, "attempt": number, "name": "climb", "verdict": verdict, "why": why, "change": change})
        )

    def settled(self) -> None:
        self.tell(SkillSettled(plan=1, name="climb", accepted=True, attempts=2, reason="success test and review agree", skill=SKILL))

    def learned(self, *, controller: str | None = None, **more: object) -> TrainingFinished:
        task = self.task
        self.tell(
            TrainingRequested(
                plan=1, environment=task.environment, success=task.success, skills=(SKILL,), shaping="obs[0]", learner=Learner(),
                evaluation=task.evaluation, seed=0, reason="it helps", controller=controller,
            )
        )  # fmt: skip
        curve = tuple(Point(env_steps=1000 * n, episodes=5, success_rate=n / 50, mean_return=-n, steps_per_s=123.456) for n in range(1, 30))
        score = Score(
            episodes=100, successes=60, rate=0.6, low=0.5, high=0.69, mean_return=-120, mean_steps=150, actions="sampled", first_seed=1,
            env_steps=15000, verified=True, usage={"climb": 0.7, "up": 0.3},
        )  # fmt: skip
        finished = TrainingFinished(
            plan=1, env_steps=29000, score=score, policy=None, curve=curve, learned=USES, samples=(episode(9, success=False),), learn_s=12.5
        ).model_copy(update=more)
        self.tell(finished)
        return finished


def full_run() -> tuple[Run, TrainingFinished]:
    run = Run()
    run.plans()
    run.attempt(1, success=False)
    run.reviewed(1, "revise", "it slipped at step 12", "hold on in strong wind")
    run.attempt(2, success=True)
    run.reviewed(2, "accept", "fine")
    run.settled()
    return run, run.learned()


def questions() -> dict[str, str]:
    """Every question template, filled in from a run in its middle."""
    run, finished = full_run()
    plan = run.state.plans[1]
    coder = Run("code-only")
    coder.plans()
    trial = plan.inner["climb"].attempts[1].trial
    assert trial is not None
    return {
        "plan": render("plan", **fields.plan_fields(run.state, 2)),
        "skill": render("skill", **fields.skill_fields(run.state, plan, plan.inner["climb"])),
        "controller": render(
            "controller", **fields.skill_fields(coder.state, coder.state.plans[1], coder.state.plans[1].inner[CONTROLLER])
        ),
        "set_up": render("set_up", **fields.set_up_fields(run.state, plan)),
        "trial_review": render("trial_review", **fields.trial_fields(run.state, trial)),
        "plan_review": render("plan_review", **fields.plan_review_fields(run.state, finished)),
        "divide": render("divide", **fields.divide_fields(run.state)),
        "solo": render("solo", **fields.solo_fields(run.state, 2)),
    }


def staged_run() -> Run:
    """A run of two stages, in the second one, which has a plan."""
    stages = [{"name": "fetch", "goal": "Fetch the ladder.", "success": "obs[1] > 0"}]
    stages.append({"name": "go_up", "goal": "Go up.", "success": "obs[0] > 9"})
    run = Run(stages=stages, loops={"plans": 3, "skill_steps": 77}, evaluation={"target": 0.3})
    rl = SubAction(name="carry", purpose="Carry it.", mode="rl")
    run.tell(TaskDivided(sub_tasks=run.task.stages), PlanProposed(plan=1, stage=1, sub_actions=(rl,)))
    run.learned(reached=STARTS, held_out=STARTS, samples=(episode(9, success=False), episode(8, success=True)))
    run.tell(PlanReviewed(plan=1, why="good"))
    run.tell(PlanProposed(plan=2, stage=2, sub_actions=(SubAction(name="climb", purpose="Climb.", mode="code", success="obs[0] > 5"),)))
    return run


# ---------------------------------------------------------------- rendering


def test_a_hole_that_is_not_filled_and_a_value_without_hole_are_errors():
    with pytest.raises(PromptError, match=r"not filled in: \['reason'\]; not in it: \['raeson'\]"):
        render("again_impossible", raeson="x")


def test_an_unknown_prompt_names_the_nearest():
    with pytest.raises(PromptError, match="nearest: 'trial_review'"):
        render("trail_review")


def test_values_go_in_as_they_are():
    value = "{{reason}} {x} \\1 \\n\n\n\n    indented"
    assert value in render("again_impossible", reason=value)


def test_an_empty_value_takes_its_line_along():
    text = render("again_malformed", hint="", reason="r", json_schema="{}")
    assert "\n\n\n" not in text
    assert "{{" not in text


@pytest.mark.parametrize("name", names())
def test_no_prompt_speaks_of_the_demonstration_or_of_this_code(name):
    assert not re.search(r"mountain|\bcar\b|flag|valley|rlgpt|github", template(name), re.IGNORECASE)


# ---------------------------------------------------------------- content


@pytest.mark.parametrize("name", sorted(questions()))
def test_every_question_holds_task_card_and_form_of_the_answer_and_no_hole(name):
    text = questions()[name]
    assert "Reach the roof." in text
    assert CARD in text
    assert "# Your answer" in text
    assert "JSON object" in text
    assert not re.search(r"\{\{|\}\}|\bNone\b", text)


def test_a_first_plan_says_nothing_of_earlier_ones():
    run = Run()
    text = render("plan", **fields.plan_fields(run.state, 1))
    assert "Earlier plans" not in text
    assert "Plan 1 of at most 3, as" in text
    assert "within 77 steps" in text


def test_a_later_plan_gets_the_earlier_ones_with_score_and_review():
    run, _ = full_run()
    run.tell(PlanReviewed(plan=1, why="the wind was never met", advice="practise in wind"))
    text = render("plan", **fields.plan_fields(run.state, 2))
    for words in ("Climb ten rungs.", "success rate 60%", "the wind was never met", "practise in wind"):
        assert words in text


def test_where_nothing_is_learned_no_question_speaks_of_a_learner():
    run = Run("code-only")
    run.plans()
    run.attempt(1, success=False)
    run.reviewed(1, "give_up", "too windy")
    run.tell(SkillSettled(plan=1, name="climb", accepted=False, attempts=1, reason="the critic gave it up"))
    plan, climb = run.state.plans[1], run.state.plans[1].inner["climb"]
    trial = climb.attempts[0].trial
    assert trial is not None
    finished = run.learned(controller="climb")
    texts = [
        render("plan", **fields.plan_fields(run.state, 1)),
        render("solo", **fields.solo_fields(run.state, 1)),
        render("divide", **fields.divide_fields(run.state)),
        render("skill", **fields.skill_fields(run.state, plan, climb)),
        render("controller", **fields.skill_fields(run.state, plan, plan.inner[CONTROLLER])),
        render("trial_review", **fields.trial_fields(run.state, trial)),
        render("plan_review", **fields.plan_review_fields(run.state, finished)),
        *(render(f"{role}_system") for role in ("slow", "fast", "critic", "solo")),
    ]
    assert "Nothing is learned in this run" in texts[0]
    for text in texts:
        assert not re.search(r"learner|PPO|`rl`", text)


def test_share_of_episodes_that_is_enough_is_said_wherever_the_test_is():
    run = Run(loops={"skill_steps": 77, "trial_episodes": 20, "accept": 0.7})
    run.plans()
    plan = run.state.plans[1]
    for text in (
        render("plan", **fields.plan_fields(run.state, 2)),
        render("skill", **fields.skill_fields(run.state, plan, plan.inner["climb"])),
    ):
        assert "in at least 14 of these 20 episodes" in text
    assert "in EVERY one of these episodes" in questions()["skill"]


def test_a_test_that_could_not_be_evaluated_is_not_called_the_skills_failure():
    run = Run()
    run.plans()
    broken = episode(1, success=False, error="the success expression 'obs[7] > 5' failed: IndexError: index 7")
    run.tell(
        SkillDrafted(plan=1, attempt=1, skill=SKILL, success="obs[7] > 5", seeds=(1,), environment=run.task.environment),
        SkillTried(plan=1, attempt=1, name="climb", success=False, env_steps=1, episodes=(broken,)),
    )
    trial = run.state.plans[1].inner["climb"].attempts[0].trial
    assert trial is not None
    assert "the TEST could not be evaluated" in render("trial_review", **fields.trial_fields(run.state, trial))


def test_accepted_skills_of_earlier_plans_are_shown_with_their_sources():
    run, _ = full_run()
    run.tell(
        PlanReviewed(plan=1, why="windy"),
        PlanProposed(plan=2, sub_actions=(SubAction(name="hold", purpose="Hold on.", mode="code", success="obs[0] > 8"),)),
    )
    plan = run.state.plans[2]
    for text in (
        render("skill", **fields.skill_fields(run.state, plan, plan.inner["hold"])),
        render("solo", **fields.solo_fields(run.state, 2)),
    ):
        _, _, shown = text.partition("# Skills that earlier plans came to")
        assert SOURCE.strip() in shown


def test_what_interrupts_do_to_a_trial_is_said():
    run = Run(environment={"id": "Ladder-v0", "interrupts": {"gust": "info['wind'] > 3"}})
    run.plans()
    plan = run.state.plans[1]
    for text in (
        render("plan", **fields.plan_fields(run.state, 2)),
        render("skill", **fields.skill_fields(run.state, plan, plan.inner["climb"])),
    ):
        assert "A call that an interrupt ends is made again at once" in text
    assert "interrupt" not in questions()["plan"].replace(CARD, "")


def test_the_next_attempt_gets_the_source_the_trace_and_the_critics_words():
    run = Run()
    run.plans()
    run.attempt(1, success=False)
    run.reviewed(1, "revise", "it slipped at step 12", "hold on in strong wind")
    plan = run.state.plans[1]
    text = render("skill", **fields.skill_fields(run.state, plan, plan.inner["climb"]))
    for words in (SOURCE.strip(), "12: UP -> height=1.714", "it slipped at step 12", "hold on in strong wind", "Attempt 2 of 3"):
        assert words in text


def test_a_traceback_reaches_the_author_bounded_with_its_end():
    run = Run()
    run.plans()
    run.attempt(1, success=False, error="Traceback\n" + "  deep\n" * 2000 + "IndexError: line 3 of climb")
    plan = run.state.plans[1]
    text = render("skill", **fields.skill_fields(run.state, plan, plan.inner["climb"]))
    assert "IndexError: line 3 of climb" in text
    assert tokens(text) < 3000


def test_accepted_skills_are_shown_to_whoever_may_call_them():
    run, _ = full_run()
    plan = run.state.plans[1]
    rules = fields.skill_fields(run.state, plan, plan.inner["balance"])["rules"]
    assert "can be called: `climb`" in rules
    assert SOURCE.strip() in rules


def test_the_critic_is_told_the_verdict_of_the_success_test():
    text = questions()["trial_review"]
    assert "It PASSED its success test." in text
    assert SOURCE.strip() in text
    assert "it slipped at step 12" in text


def test_the_set_up_names_what_can_be_chosen():
    text = questions()["set_up"]
    for words in ("`climb`", "`up`, `down`", "`learning_rate` 0.0003 (1e-05 to 0.01)"):
        assert words in text


def arenas_run() -> Run:
    run = Run(arenas={"fight": {"purpose": "Fight the wind.", "success": "obs[0] > 1"}}, loops={"arenas": True, "skill_steps": 77})
    run.plans()
    return run


def test_arenas_are_spoken_of_only_where_there_are_some():
    plain, more = (render("plan", **fields.plan_fields(run.state, 1)) for run in (Run(), arenas_run()))
    assert "arena" not in plain
    assert "`fight`: Fight the wind." in more
    assert "set one up for any other" in more
    for name, text in questions().items():
        assert "arena" not in text, name


def test_the_question_for_an_arena_says_what_it_is_for_and_what_there_is():
    run = arenas_run()
    plan = run.state.plans[1]
    text = render("arena", **fields.arena_fields(run.state, plan, plan.inner["balance"]))
    for words in ("`balance`: Keep the balance.", "Reach the roof.", CARD, "at most 77", "100,000 environment steps", "`up`, `down`"):
        assert words in text


def test_an_earlier_plan_tells_what_came_of_an_arena():
    run = arenas_run()
    run.tell(SkillSettled(plan=1, name="balance", accepted=False, attempts=1, reason="it does not beat doing nothing"))
    run.tell(PlanReviewed(plan=1, why="the wind"))
    assert "Left to the learner: it does not beat doing nothing" in render("plan", **fields.plan_fields(run.state, 2))


def test_the_set_up_says_what_the_scenario_adds_to_the_reward():
    run = Run(shaping="0.5 * obs[0]")
    run.plans()
    text = render("set_up", **fields.set_up_fields(run.state, run.state.plans[1]))
    assert "Shaping: the scenario adds `0.5 * obs[0]` already. Yours is added to it: a Python expression" in text
    assert "Shaping: a Python expression that is added" in questions()["set_up"]


def test_the_plan_review_shows_curve_usage_and_samples():
    text = questions()["plan_review"]
    for words in ("success rate 60%", "climb 70%", "29,000 steps", "Seed 9: FAILED", "Shaping: `obs[0]`"):
        assert words in text
    assert "The target is a success rate of 90%. It is NOT reached." in text
    assert "| climb | learning | 50% of 80 decisions | 20 (25.0%) | 2 | 4.5 | -0.25 |" in text
    assert "| single actions | learning | 100% of 80 decisions | 60 (75.0%) | 0 | 1 | 0.1 |" in text
    assert "`climb` failed last with: IndexError" in text


def test_every_question_of_a_stage_says_which_it_is_where_it_begins_and_its_own_test():
    run = staged_run()
    plan = run.state.plans[2]
    skill = render("skill", **fields.skill_fields(run.state, plan, plan.inner["climb"]))
    for text in (render("plan", **fields.plan_fields(run.state, 3)), skill, render("set_up", **fields.set_up_fields(run.state, plan))):
        assert "This is stage 2 of 2 of a longer task: Reach the roof." in text
        assert "1. `fetch` (done): Fetch the ladder." in text
        assert "Its episodes begin where `fetch` succeeded, for example: height=5." in text
        assert "test holds: `obs[0] > 9`" in text
        assert "Go up." in text.partition("# The stage")[0]


def test_a_stage_is_told_of_its_own_plans_alone_and_how_many_it_may_have():
    text = render("plan", **fields.plan_fields(staged_run().state, 3))
    assert "Carry it." not in text
    assert "### Plan 1" in text
    assert "Plan 2 of at most 3 for stage 2" in text


def test_the_planner_of_stages_is_told_the_tasks_own_test_and_how_many_plans_a_stage_has():
    text = questions()["divide"]
    for words in ("up to 3 plans", "word for word: `obs[0] > 9`", "at most 8 stages"):
        assert words in text


def test_one_agent_is_asked_for_plan_and_code_at_once():
    text = questions()["solo"]
    for words in ("the programmer is you", "The fewest sub-actions", "has to `yield`", "`source` (for `code`"):
        assert words in text


def test_a_question_does_not_depend_on_the_clock():
    # A figure of time in a question would make every offline run drift from its recording.
    assert "123" not in questions()["plan_review"].replace(CARD, "")
    assert "12.5" not in questions()["plan_review"]


def test_token_cost_of_every_template_and_of_a_question_in_the_middle_of_a_run(capsys):
    rows = [(name, tokens(template(name)), tokens(questions().get(name, ""))) for name in names()]
    with capsys.disabled():
        print("\ntemplate              tokens  question in a run (card of 630 tokens)")
        for name, bare, filled in rows:
            print(f"{name:22}{bare:6}{filled or '':>8}")
    assert all(bare < 1500 and filled < 6000 for _, bare, filled in rows)
