"""Where answers come from without asking: this run's transcript after a restart, and a scenario's recording offline."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys

import pytest
from asking import GOOD, QUESTION, SYSTEM, Answered
from model_server import answers, fails, says
from structlog.testing import capture_logs

from rlgpt.agents.llm.reading import AnswerRejected
from rlgpt.agents.llm.transcript import RECORDING, read_folder, record


def nobody(exchange):
    raise AssertionError("a question was asked that has an answer")


@pytest.fixture
def recording(asker, tmp_path):
    """A recording with an answered question `good` and a failed one `bad`."""
    asker.ask(answers(GOOD), key="good", price={"prompt": 1.0, "completion": 2.0})
    asker.fails(fails(400, "no"), key="bad")
    path = tmp_path / "scenario" / "transcript.jsonl"
    record(read_folder(asker.folder), path, run="mountain_car-1")
    asker.folder = tmp_path / "offline" / "transcript"
    asker.server.requests.clear()
    return path


# ---------------------------------------------------------------- restart


def test_a_restarted_agent_asks_no_question_twice(asker):
    first = asker.ask(answers(GOOD))
    again = asker.ask(nobody)
    assert again.answer == first.answer
    assert again.asked == first.asked.model_copy(update={"origin": "transcript"})
    assert len(asker.server.requests) == 1
    assert len(read_folder(asker.folder)) == 1


def test_a_restarted_agent_fails_where_it_failed(asker):
    first = asker.fails(fails(401, "no"))
    again = asker.fails(nobody)
    assert (again.outcome, again.reason, again.asked.origin) == (first.outcome, first.reason, "transcript")
    assert len(asker.server.requests) == 1


def test_work_taken_over_from_another_process_comes_with_its_answers(asker):
    successor = asker.questioner(transcript="critic-2")
    asker.ask(answers(GOOD))
    asker.server.plays(nobody)
    reply = asyncio.run(successor.ask("plan-1/critic", SYSTEM, QUESTION, Answered))
    assert reply.asked.origin == "transcript"


def test_a_question_that_changed_since_is_told_and_answered_all_the_same(asker):
    asker.ask(answers(GOOD))
    with capture_logs() as logs:
        reply = asker.ask(nobody, question="Did it really work?")
    assert reply.asked.drifted
    assert [entry["key"] for entry in logs if entry["event"] == "question_drifted"] == ["plan-1/critic"]


def test_an_answer_that_is_no_longer_possible_is_a_failure_and_not_asked_again(asker):
    def check(_answer):
        raise AnswerRejected("there is no such action any more")

    asker.ask(answers(GOOD))
    asker.check = check
    failure = asker.fails(nobody)
    assert (failure.outcome, failure.asked.outcome) == ("impossible", "impossible")
    assert "no such action any more" in failure.reason


# ---------------------------------------------------------------- offline


def test_recorded_answers_say_that_they_are_and_cost_nothing(asker, recording):
    reply = asker.ask(nobody, key="good", model="recorded", offline=recording)
    asked = reply.asked
    assert reply.answer.verdict == "accept"
    assert (asked.origin, asked.outcome, asked.model, asked.drifted) == ("recorded", "answered", "test-model", False)
    assert (asked.prompt_tokens, asked.completion_tokens, asked.usd, asked.seconds) == (100, 10, None, 0.0)
    [line] = read_folder(asker.folder)
    assert (line.origin, line.question, line.answer) == ("recorded", QUESTION, GOOD)


def test_a_restart_offline_still_says_recorded(asker, recording):
    asker.ask(nobody, key="good", model="recorded", offline=recording)
    assert asker.ask(nobody, key="good", model="recorded", offline=recording).asked.origin == "recorded"
    assert len(read_folder(asker.folder)) == 1


def test_a_recorded_failure_is_played_back_as_a_failure(asker, recording):
    failure = asker.fails(nobody, key="bad", model="recorded", offline=recording)
    assert (failure.outcome, failure.asked.origin) == ("bad_request", "recorded")


def test_a_question_without_recorded_answer_names_key_file_and_remedy_and_leaves_no_line(asker, recording):
    failure = asker.fails(nobody, key="plan-2/slow", model="recorded", offline=recording)
    assert failure.outcome == "not_recorded"
    for words in ("plan-2/slow", str(recording), "llm.model", "rlgpt record"):
        assert words in failure.reason
    assert read_folder(asker.folder) == []


def test_offline_without_any_recording_is_not_recorded(asker, tmp_path):
    for offline in (None, tmp_path / "there_is_none.jsonl"):
        assert asker.fails(nobody, model="recorded", offline=offline).outcome == "not_recorded"


def test_drift_of_a_recorded_question_names_the_file(asker, recording):
    with capture_logs() as logs:
        reply = asker.ask(nobody, key="good", question="Something else?", model="recorded", offline=recording)
    assert reply.asked.drifted
    assert [entry["file"] for entry in logs if entry["event"] == "question_drifted"] == [str(recording)]


def test_an_answer_that_was_given_to_no_question_does_not_drift(asker, tmp_path):
    path = tmp_path / "by_hand.jsonl"
    path.write_text(json.dumps({"key": "good", "role": "critic", "model": "hand-written", "outcome": "answered", "answer": GOOD}) + "\n")
    asked = asker.ask(nobody, key="good", question="Whatever?", model="recorded", offline=path).asked
    assert (asked.origin, asked.model, asked.drifted) == ("recorded", "hand-written", False)


def test_the_recording_in_a_runs_own_transcript_folder_is_not_taken_for_what_was_said(asker, recording):
    asker.folder.mkdir(parents=True)
    inside = asker.folder / RECORDING
    inside.write_bytes(recording.read_bytes())
    assert asker.ask(nobody, key="good", model="recorded", offline=inside).asked.origin == "recorded"
    assert [line.key for line in read_folder(asker.folder)] == ["good"]


def test_a_repaired_answer_is_replayed_as_the_answer_it_became(asker, tmp_path):
    asker.ask(says("nonsense"), answers(GOOD))
    path = tmp_path / "recorded.jsonl"
    record(read_folder(asker.folder), path)
    asker.folder = tmp_path / "offline"
    reply = asker.ask(nobody, model="recorded", offline=path)
    assert (reply.asked.outcome, reply.answer.verdict, reply.asked.prompt_tokens) == ("repaired", "accept", 200)


def test_a_process_that_only_replays_imports_neither_autogen_nor_an_http_client(recording, tmp_path):
    code = f"""
import asyncio, json, sys
from pathlib import Path
from pydantic import BaseModel
from rlgpt.agents.llm.questioner import Questioner
from rlgpt.agents.llm.transcript import Transcript
from rlgpt.bus.models import Model
class Answered(BaseModel):
    verdict: str
    why: str
questioner = Questioner("critic", Model(), Transcript(Path({str(tmp_path / "light")!r}), "critic"), Path({str(recording)!r}))
reply = asyncio.run(questioner.ask("good", {SYSTEM!r}, {QUESTION!r}, Answered))
heavy = [name for name in ("autogen", "openai", "httpx", "torch", "gymnasium", "numpy") if name in sys.modules]
print(json.dumps([reply.answer.verdict, heavy]))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=200)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == ["accept", []]
