"""One question until its answer is good: read the reply, check it, and say what was wrong with it, a bounded number of times."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

import structlog
from pydantic import BaseModel

from rlgpt.agents.llm.failures import RequestFailed
from rlgpt.agents.llm.reading import AnswerRejected, Malformed, read
from rlgpt.agents.prompts import render, tokens

A = TypeVar("A", bound=BaseModel)

LONGEST_ANSWER = 200_000
"""Characters of a reply that are looked at; no answer of ours is a tenth of it."""
LONGEST_REPAIRED = 40_000
"""Characters of a bad reply that are worth sending back, since the whole conversation is paid again."""

log = structlog.get_logger()


@dataclass(frozen=True)
class Turn:
    """One reply of a model: its text, and whether it was cut off at the output limit."""

    text: str
    cut_off: bool


@dataclass
class Tally:
    """What the requests of one question have used so far; `model` as the endpoint named it, `trouble` what last went wrong."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    requests: int = 0
    model: str = ""
    trouble: str = ""


class Partner(Protocol):
    """Somebody to talk to, who remembers what was said."""

    async def say(self, text: str, pictures: Sequence[bytes] = ()) -> Turn:
        """The next reply. Raises RequestFailed."""


@dataclass(frozen=True)
class Demand:
    """What a question asks for.

    key      its name, for the log
    answer   the schema of its answer
    check    raises AnswerRejected where a well-formed answer cannot be right
    repairs  times a bad answer is asked for again
    redact   takes secrets out of what is logged
    afford   says why a further prompt of so many tokens would be beyond the budget, "" if it is not
    """

    key: str
    answer: type[BaseModel]
    check: Callable[[BaseModel], None] | None
    repairs: int
    redact: Callable[[str], str]
    afford: Callable[[int], str] = lambda _tokens: ""


async def interview(partner: Partner, question: str, pictures: Sequence[bytes], demand: Demand, replies: list[str]) -> BaseModel:
    """The answer to a question. Every reply is appended to `replies`. Raises RequestFailed with what was wrong last."""
    turn = await partner.say(question, pictures)
    for repairs_left in range(demand.repairs, -1, -1):
        replies.append(turn.text)
        if len(turn.text) > LONGEST_ANSWER:
            raise RequestFailed("too_long", f"the reply has {len(turn.text):,} characters; {LONGEST_ANSWER:,} are read at most")
        try:
            return accept(turn.text, demand.answer, demand.check)
        except Malformed as error:
            failure = RequestFailed("truncated" if turn.cut_off else "malformed", str(error))
        except AnswerRejected as error:
            failure = RequestFailed("impossible", str(error))
        if not repairs_left or len(turn.text) > LONGEST_REPAIRED:
            break
        again = _again(failure, demand.answer)
        if beyond := demand.afford(sum(map(tokens, (question, *replies, again)))):
            failure.reason += f"; not asked again: {beyond}"
            break
        log.warning("answer_rejected", key=demand.key, outcome=failure.outcome, why=demand.redact(failure.reason))
        turn = await partner.say(again)
    raise failure


def accept(text: str, answer: type[A], check: Callable[[A], None] | None) -> A:
    """The answer in `text`, checked. Raises Malformed or AnswerRejected."""
    found = read(text, answer)
    if check is not None:
        check(found)
    return found


def _again(failure: RequestFailed, answer: type[BaseModel]) -> str:
    """What the model is told of its last reply. Where the form was wrong, the schema follows: the endpoint may not have passed it on."""
    if failure.outcome == "impossible":
        return render("again_impossible", reason=failure.reason)
    hint = "Your reply was cut off at the output limit. Answer much more briefly." if failure.outcome == "truncated" else ""
    return render("again_malformed", hint=hint, reason=failure.reason, json_schema=json.dumps(answer.model_json_schema(), indent=1))
