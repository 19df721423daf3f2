"""Plain AutoGen agents of users, new and classic, asked through real HTTP: whatever they do ends in an answer or a named failure."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from asking import GOOD, QUESTION, SYSTEM, Answered
from autogen import AssistantAgent
from autogen.beta import Agent
from autogen.beta.config import OpenAIConfig
from model_server import ModelServer, answers, completion, drops_connection, fails, never_replies, says, sends

from rlgpt.agents.guest import critic_of
from rlgpt.agents.llm.conversation import guest
from rlgpt.agents.llm.questioner import Questioner, QuestionFailed, Reply
from rlgpt.agents.llm.redact import MARK
from rlgpt.agents.llm.transcript import Transcript
from rlgpt.bus.models import Model

KEY = "planted-key-0123456789"
THEIRS = "You are somebody else's agent."


class Other(Agent):
    """An agent class of a user's own."""


def beta(server: ModelServer, timeout: float = 100.0, **more: Any) -> Agent:
    config = OpenAIConfig("their-model", base_url=server.url, api_key=KEY, timeout=timeout, max_retries=0)
    return Other("reviewer", THEIRS, config=config, **more)


def classic(server: ModelServer, timeout: float = 100.0) -> AssistantAgent:
    config = {"model": "their-model", "base_url": server.url, "api_key": KEY, "timeout": timeout, "max_retries": 0, "price": [0.0, 0.0]}
    return AssistantAgent("reviewer", system_message=THEIRS, llm_config={"config_list": [config], "cache_seed": None})


KINDS = pytest.mark.parametrize("kind", [beta, classic])


def ask(asker: Any, agent: Any, *script: Any, pictures: tuple[bytes, ...] = (), **settings: Any) -> Reply[Answered]:
    asker.server.plays(*script)
    found = guest(agent)
    model = Model.model_validate({"model": found.model, "base_url": found.base_url, **settings})
    questioner = Questioner("critic", model, Transcript(asker.folder, "guest"), guest=found)

    async def go() -> Reply[Answered]:
        try:
            return await questioner.ask("k", SYSTEM, QUESTION, Answered, pictures=pictures)
        finally:
            await questioner.close()

    return asyncio.run(go())


def failing(asker: Any, agent: Any, *script: Any, **settings: Any) -> QuestionFailed:
    with pytest.raises(QuestionFailed) as caught:
        ask(asker, agent, *script, **settings)
    return caught.value


@KINDS
def test_an_agent_keeps_its_own_words_and_key_and_its_answer_is_typed_and_counted(asker, kind):
    reply = ask(asker, kind(asker.server), answers(GOOD), price={"prompt": 1, "completion": 1})
    assert (reply.answer.verdict, reply.asked.outcome, reply.asked.model) == ("accept", "answered", "their-model")
    assert (reply.asked.prompt_tokens, reply.asked.completion_tokens, reply.asked.usd) == (100, 10, pytest.approx(110 / 1e6))
    system, question = asker.server.requests[0]["messages"]
    assert THEIRS in json.dumps(system["content"])
    assert all(words in json.dumps(question["content"]) for words in (SYSTEM, QUESTION))
    assert asker.server.keys == [f"Bearer {KEY}"]


@KINDS
def test_a_malformed_answer_is_repaired_in_the_same_conversation(asker, kind):
    reply = ask(asker, kind(asker.server), says("Fine, I think."), answers(GOOD))
    assert (reply.asked.outcome, reply.asked.prompt_tokens, len(asker.server.requests)) == ("repaired", 200, 2)
    roles = [message["role"] for message in asker.server.requests[1]["messages"]]
    assert roles == ["system", "user", "assistant", "user"]
    assert '\\"verdict\\"' in json.dumps(asker.server.requests[1]["messages"][3]), "the schema is told"


@KINDS
@pytest.mark.parametrize(
    ("behaviour", "outcomes"),
    [
        (says("no"), {"malformed"}),
        (fails(401, f"Incorrect API key provided: {KEY}"), {"unauthorised"}),
        (fails(429, "slow down"), {"rate_limited"}),
        (fails(400, "This model's maximum context length is 8192 tokens"), {"context_too_long"}),
        (fails(500, "oops"), {"server_error"}),
        (drops_connection, {"unreachable"}),
        (says(None), {"empty"}),
        (sends(completion([])), {"empty", "server_error"}),
        (sends(b"<html>"), {"server_error", "empty", "malformed"}),
        (says("la " * 350_000), {"too_long"}),
    ],
)
def test_an_agent_whose_model_misbehaves_fails_by_name_and_shows_no_key(asker, kind, behaviour, outcomes):
    failure = failing(asker, kind(asker.server), behaviour, repairs=1)
    assert failure.outcome in outcomes, failure
    assert KEY not in str(failure) + repr(failure.asked) + "".join(path.read_text() for path in asker.folder.iterdir())
    if "unauthorised" in outcomes:
        assert MARK in failure.reason


@KINDS
def test_an_agent_that_never_answers_ends_at_its_own_timeout(asker, kind):
    assert failing(asker, kind(asker.server, timeout=0.3), never_replies).outcome == "timeout"


@KINDS
def test_usage_of_failed_answers_is_counted(asker, kind):
    failure = failing(asker, kind(asker.server), says("no"), repairs=2)
    assert (failure.asked.prompt_tokens, failure.asked.completion_tokens) == (300, 30)


@KINDS
def test_an_agent_that_can_see_is_shown_the_pictures(asker, kind):
    ask(asker, kind(asker.server), answers(GOOD), pictures=(b"\x89PNG picture",))
    parts = asker.server.requests[0]["messages"][1]["content"]
    assert [part["type"] for part in parts] == ["text", "image_url"]
    assert parts[1]["image_url"]["url"].startswith("data:image/png;base64,")


def test_a_schema_of_the_agents_own_does_not_shape_the_answer(asker):
    ask(asker, beta(asker.server, response_schema=dict[str, int]), answers(GOOD))
    assert "response_format" not in asker.server.requests[0]


def test_tools_of_an_agent_are_used_and_every_request_is_counted(asker):
    def gravity() -> float:
        """How strong the engine is."""
        return 0.0025

    call = {"id": "c1", "type": "function", "function": {"name": "gravity", "arguments": "{}"}}
    reply = ask(asker, beta(asker.server, tools=[gravity]), says(None, finish="tool_calls", tool_calls=[call]), answers(GOOD))
    assert (reply.asked.outcome, reply.asked.prompt_tokens, len(asker.server.requests)) == ("answered", 200, 2)
    assert "0.0025" in json.dumps(asker.server.requests[1]["messages"])


@KINDS
def test_a_function_that_makes_an_agent_will_do_and_other_things_will_not(asker, kind):
    assert critic_of(lambda: kind(asker.server)).guest.secrets == [KEY]
    assert critic_of(kind(asker.server)).guest.model == "their-model"
    assert critic_of("an agent") is None
    assert critic_of(lambda: 7) is None
