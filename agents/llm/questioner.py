"""Language models: ask a question, get a typed answer or a named failure.

Answers come from this run's transcript, from a scenario's recording, or live. Whatever the outcome, it is in the transcript, on disk,
before it is used, and reported as a `ModelAsked`. A question that has ended, well or badly, is not asked again in the same run: a restarted
agent goes the way it went before.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Generic, Literal, TypeVar, cast

import structlog
from pydantic import BaseModel, ValidationError

from rlgpt.agents.llm.failures import RequestFailed
from rlgpt.agents.llm.interview import Demand, Partner, Tally, accept, interview
from rlgpt.agents.llm.prices import cost, price_of, usd
from rlgpt.agents.llm.providers import RECORDED, key_of, problem_with
from rlgpt.agents.llm.reading import AnswerRejected, Malformed
from rlgpt.agents.llm.transcript import Line, Transcript, Usage, picture_sha256, question_sha256, read_recording
from rlgpt.agents.prompts import tokens
from rlgpt.bus.envelope import now
from rlgpt.bus.messages import ModelAsked
from rlgpt.bus.models import Model

if TYPE_CHECKING:
    from rlgpt.agents.llm.conversation import Guest
    from rlgpt.agents.llm.endpoint import Backoff, Endpoint

A = TypeVar("A", bound=BaseModel)
Origin = Literal["live", "recorded", "transcript"]
Afford = Callable[[int, float | None], str]
"""Why a prompt of so many tokens and US dollars (None: unknown) is beyond the budget; "" if it is not."""

NOT_SHOWN = "(The pictures could not be shown to you: judge by the words alone.)"
PICTURE_TOKENS = 250
"""What a picture of ours costs, roughly: they are at most 384 pixels wide and high."""
RAW_REPLIES, RAW_LENGTH = 4, 20_000
"""Replies kept in the transcript where they were not simply the answer, and characters of each."""


@dataclass(frozen=True)
class Reply(Generic[A]):
    """A usable answer, and what it took."""

    answer: A
    asked: ModelAsked


class QuestionFailed(Exception):
    """A question that ended without a usable answer. `outcome` is one of `failures.Outcome`; `asked` says what it cost."""

    def __init__(self, key: str, outcome: str, reason: str, asked: ModelAsked) -> None:
        super().__init__(f"question {key}: {outcome}: {reason}")
        self.key = key
        self.outcome = outcome
        self.reason = reason
        self.asked = asked


class Questioner:
    """Asks the questions of one role; one per process.

    settings  the role's model, `Llm.of(role)`
    offline   the scenario's recorded answers, used if `settings.model` is `recorded`
    backoff   waits between repeated requests
    guest     a user's own AutoGen agent to ask, instead of the model of `settings`
    """

    def __init__(
        self,
        role: str,
        settings: Model,
        transcript: Transcript,
        offline: Path | None = None,
        *,
        backoff: Backoff | None = None,
        guest: Guest | None = None,
    ) -> None:
        self.role = role
        self.settings = settings
        self.transcript = transcript
        self._offline = offline
        self._backoff = backoff
        self._guest = guest
        self._takes_pictures = True
        self._log: structlog.stdlib.BoundLogger = structlog.get_logger()
        self._recording: dict[str, Line] | None = None
        self._endpoint: Endpoint | None = None
        for key in guest.secrets if guest else filter(None, [key_of(settings)]):
            transcript.redactor.hide(key)

    async def ask(
        self,
        key: str,
        system: str,
        question: str,
        answer: type[A],
        *,
        check: Callable[[A], None] | None = None,
        pictures: Sequence[bytes] = (),
        deadline_s: float | None = None,
        afford: Afford | None = None,
    ) -> Reply[A]:
        """The answer to a question, as `answer`.

        key         the question's logical name: asked before in this run under it, the same answer comes back and nothing is spent
        check       raises AnswerRejected, whose words the model is told when it is asked again
        pictures    PNG files, for models that can see
        deadline_s  for the whole question, waits and repetitions included; by default twice the time its requests may take
        afford      asked before each prompt of a live question, which is not put if it is beyond the budget

        Raises QuestionFailed. Cancelled, it leaves nothing behind.
        """
        sha256 = question_sha256(system, question, pictures)
        line = self.transcript.find(key)
        if line is None and self.settings.model == RECORDED:
            line = self._recorded(key, system, question)
            self.transcript.add(line)
        if line is not None:
            return self._replay(line, sha256, answer, check)
        tally = Tally()
        within = partial(self._within, afford, tally) if afford else lambda _tokens: ""
        checked = cast("Callable[[BaseModel], None] | None", check)
        demand = Demand(key, answer, checked, self.settings.repairs, self.transcript.redactor.text, within)
        asked = Line(
            key=key,
            role=self.role,
            model=self.settings.model,
            outcome="",
            system=system,
            question=question,
            question_sha256=sha256,
            pictures=tuple(map(picture_sha256, pictures)),
        )
        line, found = await self._live(asked, demand, tally, pictures, deadline_s)
        if line.outcome != "over_budget":  # which is no end of the question: it was not asked
            self.transcript.add(line)
        if found is None:
            raise self._failed(line.outcome, line.reason, self._asked(line, "live"))
        return Reply(cast("A", found), self._asked(line, "live"))

    async def close(self) -> None:
        self.transcript.close()
        if self._endpoint is not None:
            await self._endpoint.close()
            self._endpoint = None

    # ------------------------------------------------------------ answers that exist already

    def _recorded(self, key: str, system: str, question: str) -> Line:
        """The recorded end of a question, as a line of this run: the question as put now, the hash of the one that was answered."""
        if self._recording is None:
            self._recording = read_recording(self._offline) if self._offline and self._offline.exists() else {}
        line = self._recording.get(key)
        if line is None:
            reason = (
                f"{self._offline or 'the scenario'} has no answer under {key!r} ({len(self._recording)} recorded). "
                f"Ask a live model (--set llm.model=...), and keep that run's answers with `rlgpt record <run>`"
            )
            asked = ModelAsked(role=self.role, key=key, model=RECORDED, origin="recorded", outcome="not_recorded")
            raise self._failed("not_recorded", reason, asked)
        put = {"role": self.role, "system": system, "question": question, "asked_at": now()}
        return line.model_copy(update={**put, "origin": "recorded", "usd": None, "seconds": 0.0})

    def _replay(self, line: Line, sha256: str, answer: type[A], check: Callable[[A], None] | None) -> Reply[A]:
        origin: Origin = "recorded" if line.origin == "recorded" else "transcript"
        drifted = line.question_sha256 not in ("", sha256)  # answers written by hand were given to no question
        if drifted:
            where = self._offline if origin == "recorded" else self.transcript.folder
            self._log.warning(
                "question_drifted", key=line.key, origin=origin, file=str(where), why="the answer was given to another question"
            )
        asked = self._asked(line, origin, drifted=drifted)
        if line.answer is None:
            raise self._failed(line.outcome, line.reason, asked)
        try:
            return Reply(accept(json.dumps(line.answer), answer, check), asked)
        except (Malformed, AnswerRejected) as error:
            outcome = "impossible" if isinstance(error, AnswerRejected) else "malformed"
            reason = f"the {origin} answer does not fit this question (any more): {error}"
            raise self._failed(outcome, reason, asked.model_copy(update={"outcome": outcome})) from None

    # ------------------------------------------------------------ live

    async def _live(
        self, line: Line, demand: Demand, tally: Tally, pictures: Sequence[bytes], deadline_s: float | None
    ) -> tuple[Line, BaseModel | None]:
        """Put the question of `line` to the model; returns the line with how it ended, and the answer if there is one."""
        asked_at, began = now(), time.monotonic()
        deadline = deadline_s or 2 * self.settings.timeout_s * (1 + self.settings.repairs)
        replies = list[str]()
        found: BaseModel | None = None
        reason = ""
        try:
            if problem := problem_with(self.settings) if self._guest is None else None:
                raise problem
            if self._guest is None:
                # In a thread: importing AutoGen takes seconds on a busy machine, in which this process should still be able to stop.
                await asyncio.to_thread(self._connected)
            schema = json.dumps(demand.answer.model_json_schema())
            if beyond := demand.afford(sum(map(tokens, (line.system, line.question, schema))) + PICTURE_TOKENS * len(pictures)):
                raise RequestFailed("over_budget", f"not asked: {beyond}")
            async with asyncio.timeout(deadline):
                found = await self._converse(line, demand, tally, pictures, replies)
            # What is used is what a restarted agent reads back: without secrets.
            found = type(found).model_validate(self.transcript.redactor.data(found.model_dump(mode="json")))
            outcome = "answered" if len(replies) == 1 else "repaired"
        except TimeoutError:
            trouble = f"; last: {tally.trouble}" if tally.trouble else ""
            outcome, reason = "timeout", f"no usable answer within {deadline:g} s{trouble}"
        except RequestFailed as failure:
            outcome, reason = failure.outcome, failure.reason
        except ValidationError:
            found, outcome, reason = None, "impossible", "the answer holds a secret where none can stand"
        ended = {
            "outcome": outcome,
            "reason": self.transcript.redactor.text(reason),
            "answer": found.model_dump(mode="json") if found is not None else None,
            "raw": tuple(_bounded(text) for text in replies[-RAW_REPLIES:]) if outcome != "answered" else (),
            "usage": Usage(prompt_tokens=tally.prompt_tokens, completion_tokens=tally.completion_tokens, requests=tally.requests),
            "usd": usd(self.settings, tally),
            "seconds": round(time.monotonic() - began, 3),
            "asked_at": asked_at,
        }
        return line.model_copy(update=ended), found

    async def _converse(self, line: Line, demand: Demand, tally: Tally, pictures: Sequence[bytes], replies: list[str]) -> BaseModel:
        """The answer, with pictures as far as the model takes any. Raises RequestFailed."""
        shown = pictures if self._takes_pictures else ()
        try:
            return await interview(self._partner(line, demand, tally), line.question, shown, demand, replies)
        except RequestFailed as failure:
            if not (shown and failure.no_pictures):
                raise
            self._takes_pictures = False
            why = self.transcript.redactor.text(failure.reason)
            self._log.warning("pictures_rejected", key=line.key, model=line.model, why=why, now="words alone")
        return await interview(self._partner(line, demand, tally), f"{line.question}\n\n{NOT_SHOWN}", (), demand, replies)

    def _partner(self, line: Line, demand: Demand, tally: Tally) -> Partner:
        from rlgpt.agents.llm.conversation import Conversation

        if self._guest is not None:
            return self._guest.partner(tally, line.system)
        return Conversation(self._connected(), tally, self.role, line.system, demand.answer)

    def _connected(self) -> Endpoint:
        """The process's one connection: AutoGen would build an SDK client for every conversation, and never close it."""
        from rlgpt.agents.llm.conversation import client_of
        from rlgpt.agents.llm.endpoint import Backoff, Endpoint

        if self._endpoint is None:
            endpoint = Endpoint(self.settings, self._backoff or Backoff(), self.transcript.redactor)
            try:
                endpoint.client = client_of(self.settings, key_of(self.settings), endpoint)
            except Exception as error:
                # A provider's package that does not fit, an address that is none: whatever an SDK finds wrong when it is set up.
                raise RequestFailed("unusable", f"provider {self.settings.provider!r} cannot be set up: {error}") from error
            self._endpoint = endpoint
        return self._endpoint

    # ------------------------------------------------------------ accounts

    def _within(self, afford: Afford, tally: Tally, prompt_tokens: int) -> str:
        """Why a further prompt is beyond the budget, with what this question has used already."""
        price, _ = price_of(self.settings, tally.model)
        used = tally.prompt_tokens + tally.completion_tokens
        dollars = None if price is None else cost(price, tally.prompt_tokens + prompt_tokens, tally.completion_tokens)
        return afford(used + prompt_tokens, dollars)

    def _asked(self, line: Line, origin: Origin, *, drifted: bool = False) -> ModelAsked:
        """The account of a question. From the transcript it is the original's, which a crash may have kept from being published."""
        return ModelAsked(
            role=self.role,
            key=line.key,
            model=line.model,
            origin=origin,
            outcome=line.outcome,
            prompt_tokens=line.usage.prompt_tokens,
            completion_tokens=line.usage.completion_tokens,
            usd=line.usd,
            seconds=line.seconds,
            drifted=drifted,
        )

    def _failed(self, outcome: str, reason: str, asked: ModelAsked) -> QuestionFailed:
        return QuestionFailed(asked.key, outcome, self.transcript.redactor.text(reason), asked)


def _bounded(text: str) -> str:
    return text if len(text) <= RAW_LENGTH else f"{text[:RAW_LENGTH]}… ({len(text):,} characters in all)"
