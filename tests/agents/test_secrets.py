"""A planted key must not be found in anything that is written or raised."""

from __future__ import annotations

import json

import pytest
from asking import GOOD
from model_server import answers, fails, says
from structlog.testing import capture_logs

from rlgpt.agents.llm.providers import key_of, key_variable, problem_with
from rlgpt.agents.llm.redact import MARK, Redactor
from rlgpt.agents.llm.transcript import read_folder, record
from rlgpt.bus.models import Model

KEY = "planted-0123456789-secret"


@pytest.fixture
def planted(monkeypatch):
    monkeypatch.setenv("MY_MODELS_OWN", KEY)
    return {"api_key_env": "MY_MODELS_OWN"}


def everything_written(asker, logs):
    return "".join(path.read_text() for path in asker.folder.iterdir()) + json.dumps(logs, default=str)


def test_the_key_goes_to_the_endpoint_and_nowhere_else(asker, planted):
    with capture_logs() as logs:
        asker.ask(answers(GOOD), **planted)
    assert asker.server.keys == [f"Bearer {KEY}"]
    assert KEY not in everything_written(asker, logs)


@pytest.mark.parametrize("status", [400, 401, 429, 500])
def test_an_endpoint_that_echoes_the_key_in_its_error_does_not_spread_it(asker, planted, status):
    with capture_logs() as logs:
        failure = asker.fails(fails(status, f"Incorrect API key provided: {KEY}."), retries=1, **planted)
    assert KEY not in str(failure) + failure.reason + repr(failure.asked)
    assert MARK in failure.reason
    assert KEY not in everything_written(asker, logs)


def test_a_model_that_says_the_key_does_not_get_it_into_the_transcript_or_the_log(asker, planted, tmp_path):
    with capture_logs() as logs:
        asker.ask(says(f"Your key is {KEY}"), answers({"verdict": KEY, "why": f"because {KEY}"}), **planted)
    assert KEY not in everything_written(asker, logs)
    record(read_folder(asker.folder), tmp_path / "recorded.jsonl")
    assert KEY not in (tmp_path / "recorded.jsonl").read_text()


def test_a_model_that_says_the_key_does_not_get_it_into_the_messages_that_its_answer_becomes(asker, planted):
    said = {"verdict": KEY, "why": f"because {KEY}"}
    live = asker.ask(answers(said), **planted)
    again = asker.ask(answers(said), **planted)
    assert live.answer == again.answer
    assert (live.answer.verdict, live.answer.why) == (MARK, f"because {MARK}")
    assert again.asked.origin == "transcript"


def test_a_key_in_the_question_is_not_written(asker, planted):
    asker.ask(answers(GOOD), question=f"Is {KEY} a good key?", **planted)
    assert KEY not in everything_written(asker, [])


def test_no_key_is_a_failure_that_names_the_variable(asker, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    failure = asker.fails(base_url="https://models.example/v1")
    assert failure.outcome == "unauthorised"
    assert "OPENAI_API_KEY" in failure.reason


def test_an_endpoint_on_this_machine_needs_no_key_and_is_not_given_the_general_one(asker, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    asker.ask(answers(GOOD))
    assert asker.server.keys == ["Bearer none"]


def test_a_key_with_a_line_break_at_its_end_is_the_key(monkeypatch):
    settings = Model(model="m", api_key_env="K")
    assert key_of(settings, {"K": f"{KEY}\n"}) == KEY
    assert problem_with(settings, {"K": f"{KEY}\n"}) is None


def test_a_key_no_header_can_carry_is_refused_without_showing_it():
    problem = problem_with(Model(model="m", api_key_env="K"), {"K": "gehéim-und-kaputt"})
    assert problem.outcome == "unauthorised"
    assert "gehéim" not in str(problem)


def test_a_missing_provider_package_says_what_to_install():
    problem = problem_with(Model(model="m", provider="anthropic"), {"ANTHROPIC_API_KEY": "k" * 8})
    if problem is None:
        pytest.skip("the extra is installed here")
    assert problem.outcome == "unusable"
    assert "pip install 'autogen[anthropic]'" in str(problem)


def test_every_provider_has_its_own_key_variable():
    names = [key_variable(Model(model="m", provider=name)) for name in ("openai", "anthropic", "gemini", "ollama")]
    assert names == ["OPENAI_API_KEY", "ANTHROPIC_API_KEY", "GEMINI_API_KEY", None]


def test_the_longer_of_two_secrets_is_hidden_whole():
    redactor = Redactor({"A_KEY": "abcdef-ghijkl", "B_TOKEN": "abcdef-ghijkl-and-more", "HOME": "/home/somebody"})
    assert redactor.text("x abcdef-ghijkl-and-more y abcdef-ghijkl z /home/somebody") == f"x {MARK} y {MARK} z /home/somebody"


def test_a_short_value_found_by_its_name_alone_does_not_tear_words_apart():
    redactor = Redactor({"SORT_KEY": "steps"})
    assert redactor.text("120 steps") == "120 steps"


def test_what_looks_like_a_key_is_hidden_though_nobody_named_it():
    assert Redactor({}).data({"a": ["sk-proj-0123456789abcdefghij", 7]}) == {"a": [MARK, 7]}
    assert Redactor({}).text("Authorization: Bearer abcdefgh.ijkl") == f"Authorization: Bearer {MARK}"
