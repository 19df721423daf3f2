"""What a watcher and a reader of a run are told, from a log made by hand."""

import io
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from rich.console import Console

from rlgpt.bus.envelope import seal
from rlgpt.bus.messages import (
    AgentJoined,
    Card,
    Message,
    ModelAsked,
    PlanProposed,
    Point,
    RunFinished,
    Score,
    Skill,
    SkillDrafted,
    SkillReviewed,
    SkillSettled,
    SkillTried,
    SubAction,
    TaskSubmitted,
    TrainingFinished,
    TrainingProgressed,
    TrainingRequested,
    TrialEpisode,
)
from rlgpt.bus.task import Environment, Evaluation, Learner, Task
from rlgpt.runtime import report
from rlgpt.runtime.narrate import narrate
from rlgpt.runtime.run import RunFolder
from rlgpt.runtime.story import Story
from rlgpt.runtime.view import LiveView, PlainView, ProcessLine, plan_tree

T0 = datetime(2026, 1, 31, 12, tzinfo=UTC)
EVIL = "\x1b[2J\x07owned\r\n[bold]not markup[/bold]"
ENVIRONMENT = Environment(id="MountainCar-v0")
TASK = Task(name="car", goal=f"Reach the flag. {EVIL}", success="terminated", environment=ENVIRONMENT, critic={"enabled": True})
SKILL = Skill(name="swing", source="def swing(obs, info):\n    yield 0\n", max_steps=9)
SCORE = Score(
    episodes=10, successes=9, rate=0.9, low=0.6, high=0.98, mean_return=-100, mean_steps=100, actions="sampled", first_seed=5,
    env_steps=1000, verified=True, usage={"swing": 0.25, "push": 0.75},
)  # fmt: skip
POINT = Point(env_steps=500, episodes=3, success_rate=0.5, mean_return=-120, steps_per_s=1000)


def episode(seed: int, *, success: bool) -> TrialEpisode:
    return TrialEpisode(seed=seed, success=success, steps=7, episode_return=-7, ended="returned", first="x=0", last=f"x=1 {EVIL}")


def trial(attempt: int, *, success: bool) -> SkillTried:
    episodes = (episode(1, success=True), episode(2, success=success))
    return SkillTried(plan=1, attempt=attempt, name="swing", success=success, episodes=episodes, env_steps=14)


def review(attempt: int, verdict: str) -> SkillReviewed:
    return SkillReviewed(plan=1, attempt=attempt, name="swing", verdict=verdict, why=f"because {EVIL}", change="more")


def draft(attempt: int) -> SkillDrafted:
    return SkillDrafted(plan=1, attempt=attempt, skill=SKILL, success="True", seeds=(1, 2), environment=ENVIRONMENT)


# Seconds since the beginning, who says it, what.
LOG: list[tuple[float, str, Message]] = [
    (0, "launcher", TaskSubmitted(run="car-1", task=TASK, card=Card(text="", kind="Discrete", version="1"))),
    (3, "slow", ModelAsked(role="slow", key="plan", model="recorded", origin="recorded", outcome="answered")),
    (
        4,
        "slow",
        PlanProposed(
            plan=1,
            sub_actions=(
                SubAction(name="swing", purpose="gain height", mode="code", success="True"),
                SubAction(name="climb", purpose="reach the flag", mode="rl"),
            ),
            rationale=f"first back {EVIL}",
        ),
    ),
    (6, "fast", draft(1)),
    (7, "rollout-1", trial(1, success=False)),
    (10, "critic", review(1, "revise")),
    (11, "fast", draft(2)),
    (12, "rollout-1", trial(2, success=True)),
    (13, "critic", review(2, "accept")),
    (14, "fast", SkillSettled(plan=1, name="swing", accepted=True, attempts=2, reason="good", skill=SKILL)),
    (15, "fast", TrainingRequested(plan=1, environment=ENVIRONMENT, success="terminated", skills=(SKILL,), learner=Learner(env_steps=1000), evaluation=Evaluation(), seed=0)),  # noqa: E501
    (20, "trainer-1", TrainingProgressed(plan=1, point=POINT)),
    # An hour's pause: killed, resumed later.
    (3620, "broker", AgentJoined(name="launcher", role="launcher")),
    (3625, "trainer-1", TrainingFinished(plan=1, env_steps=1000, score=SCORE, policy=None, curve=(POINT,), evaluate_s=2.0, learn_s=8.0)),
    (3626, "slow", RunFinished(outcome="below_target", reason=f"enough {EVIL}", plan=1, score=SCORE)),
]  # fmt: skip


def told(upto: int = len(LOG)) -> tuple[Story, list[str]]:
    """The story after so many events, and the lines told on the way."""
    story, lines = Story(), []
    for seq, (second, source, message) in enumerate(LOG[:upto], start=1):
        sealed = seal(message, id=str(seq), source=source)
        time = (T0 + timedelta(seconds=second)).isoformat()
        taken = story.take(seq, type(sealed)(**{name: getattr(sealed, name) for name in sealed.__slots__} | {"time": time}))
        assert taken is not None
        lines += narrate(taken, story.state)
    return story, lines


def test_time_is_charged_to_what_it_was_spent_on_and_pauses_to_nobody():
    story, _ = told()
    assert story.phases == {"planning": 5.0, "writing": 5.0, "trials": 2.0, "learning": 8.0, "evaluation": 2.0, "reviews": 4.0}
    assert story.wall_s == 26.0


def test_lines_tell_the_attempts_with_their_reasons():
    _, lines = told()
    text = "\n".join(lines)
    for words in (
        "1. [code] swing: gain height",
        "swing, attempt 1: 1 of 2 episodes succeed (seed 2: returned after 7 steps",
        "swing, attempt 1: review says revise: because",
        "swing, attempt 2: 2 of 2 episodes succeed",
        "swing: accepted as a skill after 2 attempts (good)",
        "learning for 1,000 environment steps; skills: swing; primitive actions: all",
        "500 of 1,000 steps: success 50%, return -120.0",
        "success 90% [60%, 98%] in 10 held-out episodes (sampled)",
        "finished: below target: enough",
    ):
        assert words in text


def test_words_of_models_command_neither_the_terminal_nor_rich():
    for upto in range(1, len(LOG) + 1):
        story, lines = told(upto)
        out = io.StringIO()
        Console(file=out, width=200, force_terminal=False).print(plan_tree(story))
        for text in (out.getvalue(), *lines):
            assert "\x1b" not in text
            assert "\x07" not in text
        assert "[bold]not markup[/bold]" in out.getvalue()


@pytest.mark.parametrize(
    ("upto", "words"),
    [
        (1, ["the slow agent plans"]),
        (3, ["[code] swing", "[rl] climb"]),
        (4, ["attempt 1: being tried"]),
        (10, ["attempt 1: 1 of 2", "revise: because", "attempt 2: 2 of 2", "✓"]),
        (12, ["learning", "500 of 1,000 steps"]),
        (15, ["success 90% [60%, 98%]", "below target: enough"]),
    ],
)
def test_picture_shows_how_far_the_run_is(upto: int, words: list[str]):
    story, _ = told(upto)
    out = io.StringIO()
    Console(file=out, width=200).print(plan_tree(story))
    for word in words:
        assert word in out.getvalue()


def test_live_view_leaves_its_last_picture_with_processes_and_cost():
    out = io.StringIO()
    view = LiveView(Console(file=out, width=200, height=60, force_terminal=True, color_system=None))
    story, _ = told()
    view.refresh(story, {"slow": ProcessLine("slow", "up", restarts=1, peak_kb=46 * 1024)})
    view.close()
    for words in ("slow up 46 MB (1 restarts)", "1 questions (0 live)", "28 trial + 1,000 learning steps", "below target"):
        assert words in out.getvalue()


def test_plain_view_writes_a_line_at_once_for_each_thing_that_happens():
    out = io.StringIO()
    view = PlainView(Console(file=out, width=80))
    story, _ = told(3)
    view.event(LOG[2][2], story)
    assert [line.split("s  ", 1)[1] for line in out.getvalue().splitlines()][1:] == [
        "  1. [code] swing: gain height",
        "  2. [rl] climb: reach the flag",
    ]


def test_summary_and_comparison_state_interval_steps_time_origin_and_what_to_type(tmp_path: Path):
    run = RunFolder.create(tmp_path, "car")
    story, _ = told()
    weights = {"slow": report.Weight(46 * 1024, 0, 0), "trainer-1": report.Weight(350 * 1024, 90 * 1024, 2)}
    summary = report.Summary(run, story, running=False, weights=weights, first_plan_s=4.2)
    text = "\n".join(report.summary_lines(summary))
    for words in (
        "90.0% (95 % interval 60.0% to 98.0%; 9 of 10 held-out episodes, sampled; verified by replay), plan 1",
        "push 75%, swing 25%",
        "1,000 learning, 28 trials, 1,000 evaluation",
        "26 s: planning 5.0 s, writing 5.0 s, trials 2.0 s, learning 8.0 s, evaluation 2.0 s, reviews 4.0 s",
        "4.2 s after the launch",
        "1 recorded (offline)",
        "none: no live model was asked",
        "slow 46 MB, trainer-1 350 MB (+ 90 MB workers) (2 restarts)",
        str(run.path),
    ):
        assert words in text
    assert report.next_steps(summary)[0].startswith(f"rlgpt tail {run.path} ")
    out = io.StringIO()
    Console(file=out, width=120).print(report.compare([summary, summary]))
    assert out.getvalue().count("90% [60%, 98%]") == 2
    assert "trials" in out.getvalue()


def test_score_that_the_replay_did_not_confirm_is_said_to_be_unconfirmed(tmp_path: Path):
    story, _ = told()
    result = story.state.plans[1].result
    assert result is not None
    story.state.plans[1].result = result.model_copy(update={"score": SCORE.model_copy(update={"verified": False})})
    text = "\n".join(report.summary_lines(report.Summary(RunFolder.create(tmp_path, "car"), story, running=False)))
    assert "NOT confirmed by the replay" in text


def test_run_that_did_not_end_says_how_to_go_on(tmp_path: Path):
    story, _ = told(12)
    summary = report.Summary(RunFolder.create(tmp_path, "car"), story, running=False, ended_by="interrupted")
    assert summary.outcome == "interrupted"
    assert report.next_steps(summary)[0].startswith(f"rlgpt resume {summary.run.path} ")
