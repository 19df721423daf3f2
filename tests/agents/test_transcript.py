"""The transcript on disk: whole lines only, however the process ended; recordings that can be read and compared."""

from __future__ import annotations

import json
import signal
import subprocess
import sys

import pytest
from structlog.testing import capture_logs

from rlgpt.agents.llm.transcript import (
    Line,
    Transcript,
    TranscriptError,
    Usage,
    export,
    holding,
    read_folder,
    read_recording,
    record,
    show,
    summary,
)

SOURCE = "def swing(obs, info):\n    yield 1\n"


def line(key: str, **fields) -> Line:
    given = {"role": "fast", "model": "m", "outcome": "answered", "answer": {"source": SOURCE}, "asked_at": f"2026-01-01T00:00:0{key[-1]}Z"}
    return Line.model_validate({"key": key, "system": "You write.", "question": "Write!", **given, **fields})


def test_a_line_that_was_being_written_when_the_process_died_is_cut_off_and_said(tmp_path):
    transcript = Transcript(tmp_path, "fast")
    transcript.add(line("q1"))
    transcript.add(line("q2"))
    transcript.close()
    whole = transcript.path.read_bytes()
    transcript.path.write_bytes(whole[:-20])
    with capture_logs() as logs:
        again = Transcript(tmp_path, "fast")
    assert again.find("q1") is not None
    assert again.find("q2") is None
    assert [entry["event"] for entry in logs] == ["transcript_torn_line_cut"]
    again.add(line("q2"))
    again.close()
    assert again.path.read_bytes() == whole


def test_another_process_may_be_writing_and_is_left_alone(tmp_path):
    other = Transcript(tmp_path, "slow")
    other.add(line("q1"))
    with other.path.open("ab") as file:
        file.write(b'{"key": "q2", "ro')
    mine = Transcript(tmp_path, "fast")
    assert mine.find("q1") is not None
    assert mine.find("q2") is None
    assert [found.key for found in read_folder(tmp_path)] == ["q1"]
    assert other.path.read_bytes().endswith(b'{"key": "q2", "ro')


def test_a_line_is_on_disk_when_add_returns_even_if_the_process_is_killed(tmp_path):
    code = f"""
import os, signal
from pathlib import Path
from rlgpt.agents.llm.transcript import Line, Transcript
transcript = Transcript(Path({str(tmp_path)!r}), "fast")
transcript.add(Line(key="q1", role="fast", model="m", outcome="answered", answer={{"a": 1}}))
os.kill(os.getpid(), signal.SIGKILL)
"""
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=200).returncode == -signal.SIGKILL
    assert [found.answer for found in read_folder(tmp_path)] == [{"a": 1}]


def test_the_first_end_of_a_question_stands(tmp_path):
    transcript = Transcript(tmp_path, "fast")
    transcript.add(line("q1"))
    transcript.add(line("q1", outcome="malformed", answer=None))
    assert transcript.find("q1").outcome == "answered"
    assert read_folder(tmp_path)[0].outcome == "answered"


def test_a_folder_that_cannot_be_written_is_said_with_its_path(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(TranscriptError, match=r"file/fast\.jsonl cannot be written"):
        Transcript(tmp_path / "file", "fast")


def test_a_recording_has_one_line_a_question_in_the_order_asked_with_the_answer_first(tmp_path):
    transcript = Transcript(tmp_path / "run", "fast")
    for key in ("q3", "q1", "q2"):
        transcript.add(line(key, usd=0.01, seconds=2.5, raw=("x",), usage=Usage(prompt_tokens=5, completion_tokens=2, requests=1)))
    to = tmp_path / "scenario" / "transcript.jsonl"
    assert record(read_folder(tmp_path / "run"), to, run="swing-1") == 3
    header, *lines = [json.loads(text) for text in to.read_text().splitlines()]
    assert header == {"rlgpt_transcript": 1, "run": "swing-1", "systems": [{"role": "fast", "text": "You write."}]}
    assert [entry["key"] for entry in lines] == ["q1", "q2", "q3"]
    assert list(lines[0])[:3] == ["key", "outcome", "answer"]
    assert not {"system", "raw", "usd", "seconds"} & lines[0].keys()
    assert not list(to.parent.glob("*.part"))


def test_recording_a_recording_changes_nothing(tmp_path):
    record([line("q1"), line("q2", outcome="refused", reason="no", answer=None)], tmp_path / "once.jsonl")
    again = read_recording(tmp_path / "once.jsonl").values()
    record([found.model_copy(update={"system": "You write.", "origin": "recorded"}) for found in again], tmp_path / "twice.jsonl")
    assert (tmp_path / "once.jsonl").read_bytes() == (tmp_path / "twice.jsonl").read_bytes()


def test_a_recording_that_cannot_be_read_says_which_line(tmp_path):
    path = tmp_path / "transcript.jsonl"
    path.write_text('{"key": "q1", "role": "slow", "model": "m", "outcome": "answered"}\n{"key": "q2", "role"\n')
    with pytest.raises(TranscriptError, match="line 2"):
        read_recording(path)
    with pytest.raises(TranscriptError, match=r"missing\.jsonl cannot be read"):
        read_recording(tmp_path / "missing.jsonl")


def test_text_that_is_no_utf8_can_be_written_and_read(tmp_path):
    transcript = Transcript(tmp_path, "fast")
    transcript.add(line("q1", answer=None, raw=("half a pair: \ud800", "\x00 \u2028")))
    assert read_folder(tmp_path)[0].raw == ("half a pair: \ud800", "\x00 \u2028")


def test_a_question_is_shown_with_its_code_as_code():
    text = show(line("q1"))
    assert f"```python\n{SOURCE}```" in text
    assert "## System\n\nYou write." in text
    assert summary(line("q1", usd=0.5)) == "q1  answered (m, live, 0 tokens, $0.5000)"


def test_a_line_can_be_found_while_others_write(tmp_path):
    mine, other = Transcript(tmp_path, "fast"), Transcript(tmp_path, "slow")
    assert mine.find("q1") is None
    other.add(line("q1"))
    assert mine.find("q1") is not None


def test_text_is_found_in_questions_answers_and_failures():
    asked = line("q1", question="Where is the Key?", answer={"plan": "behind the door"}, reason="")
    assert [holding(asked, text) for text in ("the key", "behind THE", "window")] == [True, True, False]


def test_export_holds_everything_as_markdown_and_as_lines(tmp_path):
    lines = [line("q1", question="first?"), line("q2", question="second?")]
    export(lines, tmp_path / "all.md")
    export(lines, tmp_path / "all.jsonl")
    assert (tmp_path / "all.md").read_text().count("## Question") == 2
    assert [Line.model_validate_json(text) for text in (tmp_path / "all.jsonl").read_text().splitlines()] == lines
    with pytest.raises(TranscriptError, match=r"as \.md or \.jsonl"):
        export(lines, tmp_path / "all.txt")
