"""What a watcher and a reader of a run are told, from a log made by hand."""

import io
from pathlib import Path

import pytest
from rich.console import Console
from told_run import LOG, SCORE, review, told

from rlgpt.agents.llm.providers import HAND_WRITTEN
from rlgpt.runtime import report
from rlgpt.runtime.run import RunFolder
from rlgpt.runtime.view import LiveView, PlainView, ProcessLine, plan_tree


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


def test_summary_says_where_the_critic_and_the_success_test_disagree(tmp_path: Path):
    log = [(at, source, review(1, "accept") if message == review(1, "revise") else message) for at, source, message in LOG]
    summary = report.Summary(RunFolder.create(tmp_path, "car"), told(log=log)[0], running=False)
    assert "  disagreed  swing, attempt 1: the critic accepts what failed its success test" in report.summary_lines(summary)
    agreed = report.Summary(RunFolder.create(tmp_path, "car"), told()[0], running=False)
    assert not any("disagreed" in line for line in report.summary_lines(agreed))


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


def test_answers_written_by_hand_are_called_that_and_no_models(tmp_path: Path):
    story, _ = told()
    questions = story.state.spent.questions
    for key, asked in questions.items():
        questions[key] = asked.model_copy(update={"model": HAND_WRITTEN})
    summary = report.Summary(RunFolder.create(tmp_path, "car"), story, running=False)
    assert report.origin(summary) == "1 written by hand (offline), by no model"
