"""Every way we know for a model or its endpoint to misbehave, through real HTTP and the real autogen and openai packages."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import socket
import time
from email.utils import formatdate
from functools import partial

import pytest
from asking import GOOD, QUESTION, SYSTEM, Answered, Asker
from model_server import (
    USAGE,
    answers,
    completion,
    drips,
    drops_connection,
    fails,
    never_replies,
    says,
    sends,
    stops_in_the_middle,
)

from rlgpt.agents.answers import (
    PlanAnswer,
    PlanReviewAnswer,
    SetUpAnswer,
    SkillAnswer,
    check_plan,
    check_plan_review,
    check_set_up,
)
from rlgpt.agents.llm.interview import Tally
from rlgpt.agents.llm.prices import usd
from rlgpt.agents.llm.questioner import QuestionFailed
from rlgpt.agents.llm.reading import AnswerRejected
from rlgpt.agents.llm.transcript import read_folder
from rlgpt.agents.source_check import check_source
from rlgpt.bus.models import Model


def outcome_in_transcript(asker: Asker) -> str:
    [line] = read_folder(asker.folder)
    return line.outcome


# ---------------------------------------------------------------- good answers


def test_a_good_answer_is_typed_counted_and_on_disk(asker):
    reply = asker.ask(answers(GOOD))
    assert reply.answer.verdict == "accept"
    assert (reply.asked.outcome, reply.asked.origin, reply.asked.prompt_tokens, reply.asked.completion_tokens) == (
        "answered",
        "live",
        100,
        10,
    )
    [line] = read_folder(asker.folder)
    assert (line.answer, line.system, line.question, line.raw) == (GOOD, SYSTEM, QUESTION, ())
    assert len(asker.server.requests) == 1


@pytest.mark.parametrize(
    "text",
    [
        "```json\n" + json.dumps(GOOD) + "\n```",
        "Let me think about {obs}. Here it is:\n" + json.dumps(GOOD) + "\nHope that helps {you}!",
        '<think>{"verdict": "revise", "why": "a first idea"}</think>' + json.dumps(GOOD),
        '{"verdict": "accept", "why": "it works", "confidence": 0.9}',
    ],
)
def test_an_answer_in_a_fence_in_prose_or_after_thinking_aloud_needs_no_second_request(asker, text):
    reply = asker.ask(says(text))
    assert (reply.answer.verdict, reply.asked.outcome, len(asker.server.requests)) == ("accept", "answered", 1)


def test_real_line_breaks_inside_a_json_string_are_taken_as_they_are(asker):
    reply = asker.ask(says('{"verdict": "accept", "why": "def f():\n\tyield 1\n"}'))
    assert reply.answer.why == "def f():\n\tyield 1\n"


def test_pictures_reach_the_model(asker):
    asker.ask(answers(GOOD), pictures=[b"\x89PNG picture"])
    parts = asker.server.requests[0]["messages"][1]["content"]
    assert [part["type"] for part in parts] == ["text", "image_url"]
    assert parts[1]["image_url"]["url"].startswith("data:image/png;base64,")


# ---------------------------------------------------------------- bad content


def test_a_malformed_answer_is_asked_for_again_in_the_same_conversation_with_the_reason(asker):
    reply = asker.ask(says('{"verdict": "accept", "why": '), answers(GOOD))
    assert (reply.asked.outcome, reply.asked.prompt_tokens, reply.asked.completion_tokens) == ("repaired", 200, 20)
    second = asker.server.requests[1]["messages"]
    assert [message["role"] for message in second] == ["system", "user", "assistant", "user"]
    assert "not valid JSON" in second[3]["content"]
    assert '"verdict"' in second[3]["content"], "the schema is repeated"
    [line] = read_folder(asker.folder)
    assert line.raw[0] == '{"verdict": "accept", "why": '


def test_a_missing_field_is_named_to_the_model(asker):
    asker.ask(answers({"verdict": "accept"}), answers(GOOD))
    assert "why: Field required" in asker.server.requests[1]["messages"][3]["content"]


def test_an_answer_that_stays_malformed_fails_after_the_repairs_and_everything_is_counted(asker):
    failure = asker.fails(says("I would rather talk about the weather."), repairs=2)
    assert (failure.outcome, failure.asked.prompt_tokens, len(asker.server.requests)) == ("malformed", 300, 3)
    assert "weather" in failure.reason
    assert outcome_in_transcript(asker) == "malformed"


def test_an_impossible_answer_is_asked_for_again_with_the_words_of_the_check(asker):
    def check(answer):
        if answer.verdict != "revise":
            raise AnswerRejected("`accept` is not possible here, use `revise`")

    asker.check = check
    reply = asker.ask(answers(GOOD), answers({"verdict": "revise", "why": "so"}))
    assert (reply.answer.verdict, reply.asked.outcome) == ("revise", "repaired")
    assert "use `revise`" in asker.server.requests[1]["messages"][3]["content"]
    failure = asker.fails(answers(GOOD), key="another", repairs=1)
    assert (failure.outcome, failure.reason) == ("impossible", "`accept` is not possible here, use `revise`")


def test_no_repairs_means_one_request(asker):
    assert asker.fails(says("no"), repairs=0).outcome == "malformed"
    assert len(asker.server.requests) == 1


def test_half_a_surrogate_pair_is_malformed_not_a_crash(asker):
    assert asker.fails(says('{"verdict": "accept", "why": "\\ud800"}'), repairs=0).outcome == "malformed"


def test_brackets_nested_without_end_are_malformed_not_a_crash(asker):
    assert asker.fails(says('{"a": ' + "[" * 30_000), repairs=0).outcome == "malformed"


def test_an_answer_cut_off_at_the_output_limit_is_truncated_and_the_model_is_told_to_be_brief(asker):
    failure = asker.fails(says('{"verdict": "acc', finish="length"), repairs=1)
    assert failure.outcome == "truncated"
    assert "more briefly" in asker.server.requests[1]["messages"][3]["content"]


def test_of_an_object_cut_off_inside_the_words_are_not_about_its_parts(asker):
    whole = json.dumps({"rationale": "so", "sub_actions": [SUB_ACTION, SUB_ACTION]}, indent=2)
    failure = asker.fails(says(whole[: whole.rindex("purpose") + 15], finish="length"), repairs=0)
    assert failure.outcome == "truncated"
    assert "the text ends before the object does" in failure.reason
    assert "Field required" not in failure.reason


def test_output_limit_reached_while_thinking_is_truncated(asker):
    assert asker.fails(says("", finish="length")).outcome == "truncated"
    assert len(asker.server.requests) == 1


def test_a_million_characters_are_too_long_and_not_sent_back(asker):
    failure = asker.fails(says("la " * 350_000))
    assert (failure.outcome, failure.asked.prompt_tokens, len(asker.server.requests)) == ("too_long", 100, 1)
    assert (asker.folder / "critic.jsonl").stat().st_size < 100_000


def test_endless_repetition_is_not_sent_back_to_be_repaired(asker):
    assert asker.fails(says('{"verdict": "' + "again " * 10_000)).outcome == "malformed"
    assert len(asker.server.requests) == 1


def test_more_bytes_than_any_answer_has_are_not_read(asker):
    assert asker.fails(says("x" * 9_000_000)).outcome == "too_long"


def test_a_refusal_is_named_and_not_argued_with(asker):
    failure = asker.fails(says(None, refusal="I can't help with that."))
    assert (failure.outcome, len(asker.server.requests), failure.asked.completion_tokens) == ("refused", 1, 10)
    assert "can't help" in failure.reason


def test_a_filtered_answer_is_refused(asker):
    assert asker.fails(says('{"verdict"', finish="content_filter")).outcome == "refused"


@pytest.mark.parametrize("behaviour", [sends(completion([])), says(None), says("   \n"), sends(completion([], usage=None))])
def test_a_reply_without_text_is_asked_for_again_then_empty(asker, behaviour):
    failure = asker.fails(behaviour, repairs=2)
    assert (failure.outcome, len(asker.server.requests)) == ("empty", 3)


def test_usage_of_replies_without_choices_is_counted(asker):
    reply = asker.ask(sends(completion([])), answers(GOOD))
    assert (reply.asked.outcome, reply.asked.prompt_tokens) == ("answered", 2 * USAGE["prompt_tokens"])


@pytest.mark.parametrize(
    "body",
    [
        b"<html>502 from a proxy, with status 200</html>",
        b'{"choices": [{"message": {"content": "\xff\xfe"}}]}',
        b'{"choices": "none"}',
        b'{"choices": [null]}',
        b"[]",
        b"null",
        b"",
        b"[" * 100_000,
    ],
)
def test_a_body_that_is_not_of_this_api_is_a_named_failure(asker, body):
    failure = asker.fails(sends(body), retries=1, repairs=1)
    assert failure.outcome in {"server_error", "empty"}
    assert len(asker.server.requests) == 2


def test_invalid_utf8_is_a_server_error_that_says_so(asker):
    failure = asker.fails(sends(b'{"choices": [{"message": {"content": "\xff"}}]}'), retries=0)
    assert failure.outcome == "server_error"
    assert "utf-8" in failure.reason


def test_usage_of_a_reply_with_invalid_utf8_is_counted(asker):
    body = completion([{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "X"}}]).replace(b"X", b"\xff\xfe")
    failure = asker.fails(sends(body), retries=0)
    assert (failure.outcome, failure.asked.prompt_tokens) == ("server_error", USAGE["prompt_tokens"])


def test_a_compressed_body_that_nobody_asked_for_is_not_unpacked(asker):
    bomb = gzip.compress(b" " * 100_000_000)
    failure = asker.fails(lambda exchange: exchange.send(200, bomb, headers={"Content-Encoding": "gzip"}), retries=0)
    assert failure.outcome == "server_error"
    assert "compressed (gzip)" in failure.reason


# ---------------------------------------------------------------- right form, impossible content


SUB_ACTION = {"name": "swing", "purpose": "gain height", "mode": "code", "success": "obs[0] > 0", "reason": "a rule"}
PLAN = {"rationale": "first swing", "sub_actions": [SUB_ACTION]}
SOURCE = "def swing(obs, info):\n    obs, info = yield 0\n"
SKILL = {"explanation": "push", "source": SOURCE}
SET_UP = {"primitives": ["push_left"], "skills": ["swing"], "shaping": "", "ppo": None, "reason": "so"}
REVIEW = {"sub_actions": [{"name": "swing", "worked": True, "why": "seen"}], "why": "good", "advice": ""}
CHECKS = {
    PlanAnswer: partial(check_plan, mode="rl-gpt"),
    SkillAnswer: lambda answer: check_source(answer.source, "swing", ("math",)),
    SetUpAnswer: partial(check_set_up, skills=("swing",), primitives=("push_left", "coast")),
    PlanReviewAnswer: partial(check_plan_review, names=["swing"]),
}
PROSE = "Push left first, then right. I would write a loop for it."


@pytest.mark.parametrize(
    ("kind", "good", "bad", "told"),
    [
        (PlanAnswer, PLAN, {**PLAN, "sub_actions": []}, "no sub-actions"),
        (PlanAnswer, PLAN, {**PLAN, "sub_actions": [SUB_ACTION, SUB_ACTION]}, "the name `swing` is taken"),
        (PlanAnswer, PLAN, {**PLAN, "sub_actions": [{**SUB_ACTION, "success": "obs[0] >"}]}, "success test of `swing`"),
        (PlanAnswer, PLAN, {**PLAN, "sub_actions": [{**SUB_ACTION, "mode": "magic"}]}, "mode"),
        (SkillAnswer, SKILL, {**SKILL, "source": PROSE}, "line 1"),
        (SkillAnswer, SKILL, {**SKILL, "source": "x = 1\n"}, "swing"),
        (SkillAnswer, SKILL, {**SKILL, "source": SOURCE.replace("swing", "sway")}, "swing"),
        (SkillAnswer, SKILL, {**SKILL, "source": "def swing(obs, info):\n    return 0\n"}, "yield"),
        (SkillAnswer, SKILL, {**SKILL, "source": "import os\n" + SOURCE}, "os"),
        (SetUpAnswer, SET_UP, {**SET_UP, "primitives": ["push_lefft"]}, "no primitive action `push_lefft`"),
        (SetUpAnswer, SET_UP, {**SET_UP, "skills": ["swim"]}, "no skill `swim`"),
        (SetUpAnswer, SET_UP, {**SET_UP, "shaping": "__import__('os')"}, "shaping"),
        (PlanReviewAnswer, REVIEW, {**REVIEW, "sub_actions": [{"name": "swim", "worked": True, "why": "x"}]}, "no sub-action `swim`"),
    ],
)
def test_impossible_content_is_named_to_the_model_and_repaired_or_fails_by_name(asker, kind, good, bad, told):
    repaired = asker.put(kind, CHECKS[kind], answers(bad), answers(good))
    assert repaired.asked.outcome == "repaired"
    assert told in asker.server.requests[1]["messages"][3]["content"]
    with pytest.raises(QuestionFailed) as caught:
        asker.put(kind, CHECKS[kind], answers(bad), key="again", repairs=1)
    assert caught.value.outcome in {"impossible", "malformed"}
    assert caught.value.asked.prompt_tokens == 200


def test_code_in_a_fence_or_beside_the_object_is_still_an_answer_or_a_repair(asker):
    fenced = {**SKILL, "source": f"```python\n{SOURCE}```"}
    assert asker.put(SkillAnswer, CHECKS[SkillAnswer], answers(fenced)).answer.source.strip() == SOURCE.strip()
    beside = f"Here is the code:\n```python\n{SOURCE}```\nIt pushes."
    reply = asker.put(SkillAnswer, CHECKS[SkillAnswer], says(beside), answers(SKILL), key="beside")
    assert reply.asked.outcome == "repaired"


@pytest.mark.parametrize("repeated", ["again ", '{"verdict": "accept"', '{"verdict": ', "\n", "[", '"why": "so", '])
def test_endless_repetition_of_anything_ends_in_a_name_and_soon(asker, repeated):
    failure = asker.fails(says(repeated * (30_000 // len(repeated)), finish="length"), repairs=1)
    assert failure.outcome in {"truncated", "empty"}
    assert len(asker.server.requests) <= 2
    assert failure.asked.completion_tokens == 10 * len(asker.server.requests)


@pytest.mark.parametrize(
    ("behaviour", "outcome"),
    [
        (says('{"verdict": "acc', finish="length"), "truncated"),
        (says("", finish="length"), "truncated"),
        (says(None, refusal="no"), "refused"),
        (says('{"verdict"', finish="content_filter"), "refused"),
        (says("la " * 350_000), "too_long"),
        (says("never"), "malformed"),
        (says(None), "empty"),
    ],
)
def test_whatever_failed_is_paid_for_and_counted_in_tokens_and_money(asker, behaviour, outcome):
    failure = asker.fails(behaviour, repairs=0, price={"prompt": 1, "completion": 1})
    assert (failure.outcome, failure.asked.prompt_tokens, failure.asked.completion_tokens) == (outcome, 100, 10)
    assert failure.asked.usd == pytest.approx(110 / 1e6)
    [line] = read_folder(asker.folder)
    assert (line.usage.prompt_tokens, line.usage.completion_tokens, line.usage.requests) == (100, 10, 1)


# ---------------------------------------------------------------- bad endpoints


def test_a_rate_limit_is_waited_out_as_long_as_the_endpoint_asks(asker):
    reply = asker.ask(fails(429, "slow down", headers={"Retry-After": "7"}), fails(429, "slow down"), answers(GOOD))
    assert reply.asked.outcome == "answered"
    assert asker.waits[0] == 7
    assert 1 <= asker.waits[1] <= 3


def test_a_rate_limit_with_a_date_is_understood(asker):
    asker.ask(fails(429, "slow down", headers={"Retry-After": formatdate(time.time() + 30, usegmt=True)}), answers(GOOD))
    assert 25 < asker.waits[0] <= 30


def test_an_overloaded_server_is_given_the_time_it_asks_for(asker):
    asker.ask(fails(503, "overloaded", headers={"Retry-After": "9"}), answers(GOOD))
    assert asker.waits == [9]


@pytest.mark.parametrize("value", ["soon", "-5", "1e999", "", "nan", "Sun, 99 Nov 2026"])
def test_a_wait_that_says_nothing_is_ours_to_choose(asker, value):
    asker.ask(fails(429, "slow down", headers={"Retry-After": value}), answers(GOOD))
    assert 0.5 <= asker.waits[0] <= 1.5


def test_a_wait_that_nobody_would_wait_for_is_a_failure_at_once(asker):
    failure = asker.fails(fails(429, "come back tomorrow", headers={"Retry-After": "86400"}))
    assert (failure.outcome, asker.waits, len(asker.server.requests)) == ("rate_limited", [], 1)


def test_a_rate_limit_without_end_fails_after_the_retries_with_growing_waits(asker):
    failure = asker.fails(fails(429, "slow down"), retries=4)
    assert (failure.outcome, len(asker.server.requests)) == ("rate_limited", 5)
    assert asker.waits[3] > asker.waits[0]


def test_a_used_up_quota_is_not_retried(asker):
    failure = asker.fails(fails(429, "You exceeded your current quota", code="insufficient_quota"))
    assert (failure.outcome, len(asker.server.requests)) == ("rate_limited", 1)


@pytest.mark.parametrize("status", [500, 502, 503, 529])
def test_a_server_error_is_retried(asker, status):
    assert asker.ask(fails(status, "oops"), answers(GOOD)).asked.outcome == "answered"
    assert asker.fails(fails(status, "oops"), key="again", retries=1).outcome == "server_error"


@pytest.mark.parametrize("behaviour", [drops_connection, stops_in_the_middle])
def test_a_dropped_connection_is_retried_then_unreachable(asker, behaviour):
    assert asker.ask(behaviour, answers(GOOD)).asked.outcome == "answered"
    assert asker.fails(behaviour, key="again", retries=1).outcome == "unreachable"


def test_nobody_listening_is_unreachable(asker):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        failure = asker.fails(base_url=f"http://127.0.0.1:{taken.getsockname()[1]}/v1", retries=2)
    assert failure.outcome == "unreachable"
    assert len(asker.waits) == 2


@pytest.mark.parametrize("url", ["http://[bad", "no address at all", "ftp://127.0.0.1/v1"])
def test_an_address_that_is_none_is_a_named_failure(asker, url, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "k" * 20)
    assert asker.fails(base_url=url, retries=0).outcome in {"unusable", "unreachable"}


@pytest.mark.parametrize("behaviour", [never_replies, drips])
def test_a_request_without_end_times_out_and_is_not_repeated(asker, behaviour):
    failure = asker.fails(behaviour, timeout_s=0.3)
    assert (failure.outcome, len(asker.server.requests)) == ("timeout", 1)


def test_the_deadline_of_a_question_covers_its_repetitions(asker):
    async def really_wait(_seconds):
        await asyncio.sleep(0.05)

    asker.sleep = really_wait
    failure = asker.fails(fails(503, "busy"), retries=10_000, deadline_s=2.0)
    assert failure.outcome == "timeout"
    assert "HTTP 503: busy" in failure.reason


@pytest.mark.parametrize("status", [401, 403])
def test_a_wrong_key_is_unauthorised_without_a_second_try(asker, status):
    failure = asker.fails(fails(status, "Incorrect API key provided"))
    assert (failure.outcome, len(asker.server.requests)) == ("unauthorised", 1)


@pytest.mark.parametrize(
    "behaviour",
    [
        fails(400, "This model's maximum context length is 8192 tokens", code="context_length_exceeded"),
        fails(400, "prompt is too long: 210000 tokens > 200000 maximum"),
        fails(400, "the request exceeds the available context size"),
        fails(413, "Request too large"),
    ],
)
def test_a_question_longer_than_the_model_takes_is_named(asker, behaviour):
    failure = asker.fails(behaviour)
    assert (failure.outcome, len(asker.server.requests)) == ("context_too_long", 1)


def test_an_unknown_model_is_a_bad_request_with_the_endpoints_words(asker):
    failure = asker.fails(fails(404, "The model `test-model` does not exist"))
    assert (failure.outcome, len(asker.server.requests)) == ("bad_request", 1)
    assert "does not exist" in failure.reason


def test_an_endpoint_without_response_format_gets_the_schema_in_the_prompt_from_then_on(asker):
    asker.server.plays(fails(400, "Unrecognized request argument supplied: response_format"), answers(GOOD))
    questioner = asker.questioner()

    async def go():
        first = await questioner.ask("1", SYSTEM, QUESTION, Answered)
        await questioner.ask("2", SYSTEM, QUESTION, Answered)
        await questioner.close()
        return first

    assert asyncio.run(go()).asked.outcome == "answered"
    first, second, third = asker.server.requests
    assert "response_format" in first
    assert "response_format" not in second
    assert "response_format" not in third
    assert '"verdict"' in third["messages"][0]["content"]
    assert asker.waits == []


def test_an_endpoint_that_rejects_the_schema_in_either_form_is_a_bad_request(asker):
    failure = asker.fails(fails(400, "response_format: I do not like it"))
    assert (failure.outcome, len(asker.server.requests)) == ("bad_request", 2)


# ---------------------------------------------------------------- resources, cancellation


def test_open_files_do_not_grow_with_the_questions(asker):
    asker.server.plays(answers(GOOD))
    questioner = asker.questioner()

    async def go():
        counts = []
        for number in range(60):
            await questioner.ask(f"q{number}", SYSTEM, QUESTION, Answered)
            counts.append(len(os.listdir("/proc/self/fd")))
        await questioner.close()
        return counts

    counts = asyncio.run(go())
    assert len(asker.server.requests) == 60
    assert counts[-1] == counts[2]


def test_a_cancelled_question_leaves_no_line_and_is_asked_again(asker):
    asker.server.plays(never_replies, answers(GOOD))
    questioner = asker.questioner()

    async def go():
        task = asyncio.create_task(questioner.ask("k", SYSTEM, QUESTION, Answered))
        while not asker.server.requests:
            await asyncio.sleep(0.005)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert read_folder(asker.folder) == []
        reply = await questioner.ask("k", SYSTEM, QUESTION, Answered)
        await questioner.close()
        return reply

    assert asyncio.run(go()).asked.outcome == "answered"


def test_a_failure_says_its_key_and_outcome(asker):
    failure = asker.fails(fails(401, "no"))
    assert isinstance(failure, QuestionFailed)
    assert str(failure) == "question plan-1/critic: unauthorised: HTTP 401: no some_error"


# ---------------------------------------------------------------- money


def test_the_scenarios_price_counts_failed_answers_too(asker):
    failure = asker.fails(says("no"), repairs=1, price={"prompt": 2.0, "completion": 10.0})
    assert failure.asked.usd == pytest.approx((200 * 2 + 20 * 10) / 1e6)


def test_a_price_nobody_knows_is_none_not_nothing(asker):
    assert asker.ask(answers(GOOD)).asked.usd is None


def test_known_models_are_priced_by_autogens_table_at_their_makers_only():
    tally = Tally(prompt_tokens=1000, completion_tokens=1000, requests=1)
    assert usd(Model(model="gpt-4o"), tally) == pytest.approx(0.005 + 0.015)
    assert usd(Model(model="gpt-4o", base_url="http://localhost:8000/v1"), tally) is None
    assert usd(Model(model="nobody-knows-it"), tally) is None
