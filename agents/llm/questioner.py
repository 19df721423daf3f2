"""Language models: ask a question, get a typed answer or a named failure. The only module that knows AutoGen (`autogen.beta`).

Answers come from this run's transcript, from a scenario's recording, or live. Whatever the outcome, it is in the transcript, on disk,
before it is used, and reported as a `ModelAsked`. A question that has ended, well or badly, is not asked again in the same run: a restarted
agent goes the way it went before. AutoGen brings 60 MB and a second of start-up, so it is imported when the first live question is asked.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar, cast

import structlog
from pydantic import BaseModel

from rlgpt.agents.llm.failures import RequestFailed
from rlgpt.agents.llm.interview import Demand, Tally, Turn, accept, interview
from rlgpt.agents.llm.providers import RECORDED, is_loopback, key_of, problem_with
from rlgpt.agents.llm.reading import AnswerRejected, Malformed
from rlgpt.agents.llm.transcript import Line, Transcript, Usage, question_sha256, read_recording
from rlgpt.bus.envelope import now
from rlgpt.bus.messages import ModelAsked
from rlgpt.bus.task import Model

if TYPE_CHECKING:
    from rlgpt.agents.llm.endpoint import Backoff, Endpoint

A = TypeVar("A", bound=BaseModel)
Origin = Literal["live", "recorded", "transcript"]

OUTPUT_TOKENS = 16_000
"""Limit given to providers that demand one (Anthropic)."""
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
    """

    def __init__(
        self, role: str, settings: Model, transcript: Transcript, offline: Path | None = None, *, backoff: Backoff | None = None
    ) -> None:
        self.role = role
        self.settings = settings
        self.transcript = transcript
        self._offline = offline
        self._backoff = backoff
        self._log: structlog.stdlib.BoundLogger = structlog.get_logger()
        self._recording: dict[str, Line] | None = None
        self._endpoint: Endpoint | None = None
        if key := key_of(settings):
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
    ) -> Reply[A]:
        """The answer to a question, as `answer`.

        key         the question's logical name: asked before in this run under it, the same answer comes back and nothing is spent
        check       raises AnswerRejected, whose words the model is told when it is asked again
        pictures    PNG files, for models that can see
        deadline_s  for the whole question, waits and repetitions included; by default twice the time its requests may take

        Raises QuestionFailed. Cancelled, it leaves nothing behind.
        """
        sha256 = question_sha256(system, question, pictures)
        line = self.transcript.find(key)
        if line is None and self.settings.model == RECORDED:
            line = self._recorded(key, system, question)
            self.transcript.add(line)
        if line is not None:
            return self._replay(line, sha256, answer, check)
        demand = Demand(
            key, answer, cast("Callable[[BaseModel], None] | None", check), self.settings.repairs, self.transcript.redactor.text
        )
        asked = Line(
            key=key, role=self.role, model=self.settings.model, outcome="", system=system, question=question, question_sha256=sha256
        )
        line, found = await self._live(asked, demand, pictures, deadline_s)
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
        drifted = line.question_sha256 != sha256
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

    async def _live(self, line: Line, demand: Demand, pictures: Sequence[bytes], deadline_s: float | None) -> tuple[Line, BaseModel | None]:
        """Put the question of `line` to the model; returns the line with how it ended, and the answer if there is one."""
        asked_at, began = now(), time.monotonic()
        deadline = deadline_s or 2 * self.settings.timeout_s * (1 + self.settings.repairs)
        tally, replies = Tally(), list[str]()
        found: BaseModel | None = None
        reason = ""
        try:
            if problem := problem_with(self.settings):
                raise problem
            # In a thread: importing AutoGen takes seconds on a busy machine, in which this process should still be able to stop.
            partner = _Conversation(await asyncio.to_thread(self._connected), tally, self.role, line.system, demand.answer)
            async with asyncio.timeout(deadline):
                found = await interview(partner, line.question, pictures, demand, replies)
            outcome = "answered" if len(replies) == 1 else "repaired"
        except TimeoutError:
            trouble = f"; last: {tally.trouble}" if tally.trouble else ""
            outcome, reason = "timeout", f"no usable answer within {deadline:g} s{trouble}"
        except RequestFailed as failure:
            outcome, reason = failure.outcome, failure.reason
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

    def _connected(self) -> Endpoint:
        """The process's one connection: AutoGen would build an SDK client for every conversation, and never close it."""
        from rlgpt.agents.llm.endpoint import Backoff, Endpoint

        if self._endpoint is None:
            endpoint = Endpoint(self.settings, self._backoff or Backoff(), self.transcript.redactor)
            try:
                endpoint.client = _config(self.settings, key_of(self.settings), endpoint).create()
            except Exception as error:
                # A provider's package that does not fit, an address that is none: whatever an SDK finds wrong when it is set up.
                raise RequestFailed("unusable", f"provider {self.settings.provider!r} cannot be set up: {error}") from error
            self._endpoint = endpoint
        return self._endpoint

    # ------------------------------------------------------------ accounts

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


class _Conversation:
    """A question and what follows it; AutoGen keeps the history."""

    def __init__(self, endpoint: Endpoint, tally: Tally, role: str, system: str, answer: type[BaseModel]) -> None:
        from autogen.beta import Agent
        from autogen.beta.response import PromptedSchema, ResponseSchema

        from rlgpt.agents.llm.endpoint import Requests

        requests = Requests(endpoint, tally, PromptedSchema(answer))
        self._agent: Any = Agent(role, system, config=cast("Any", requests), response_schema=ResponseSchema(answer))
        self._reply: Any = None

    async def say(self, text: str, pictures: Sequence[bytes] = ()) -> Turn:
        from autogen.beta.events import ImageInput

        from rlgpt.agents.llm.endpoint import CUT_OFF

        images = [ImageInput(data=picture, media_type="image/png") for picture in pictures]
        ask = self._agent.ask if self._reply is None else self._reply.ask
        self._reply = await ask(text, *images)
        return Turn(self._reply.body, self._reply.response.finish_reason in CUT_OFF)


def _config(settings: Model, key: str | None, endpoint: Endpoint) -> Any:
    """AutoGen's description of a model. The SDKs' own retries are off, or attempts would multiply."""
    from autogen.beta import config

    common: dict[str, Any] = {"model": settings.model}
    if settings.temperature is not None:
        common["temperature"] = settings.temperature
    ours: dict[str, Any] = {"timeout": settings.timeout_s, "max_retries": 0, "http_client": endpoint.http}
    match settings.provider:
        case "openai":
            # The SDK insists on a key, also where the endpoint does not ask for one.
            return config.OpenAIConfig(**common, **ours, api_key=key or "none", base_url=settings.base_url)
        case "anthropic":
            return config.AnthropicConfig(**common, **ours, api_key=key, base_url=settings.base_url, max_tokens=OUTPUT_TOKENS)
        case "gemini":
            return config.GeminiConfig(**common, api_key=key, http_client=endpoint.http)
        case "ollama":
            host: dict[str, Any] = {"host": settings.base_url} if settings.base_url else {}
            return config.OllamaConfig(**common, **host)


def usd(settings: Model, tally: Tally) -> float | None:
    """Price of what was used: the scenario's own, else AutoGen's table, which knows models at their makers; None if neither does.

    Tokens from a provider's cache count in full, so the figure is an upper bound.
    """
    if settings.price is not None:
        return (tally.prompt_tokens * settings.price.prompt + tally.completion_tokens * settings.price.completion) / 1e6
    if tally.requests == 0:
        return 0.0
    if is_loopback(settings.base_url):
        return None
    from autogen.oai.openai_utils import OAI_PRICE1K

    known = (OAI_PRICE1K[name] for name in (tally.model, settings.model) if name in OAI_PRICE1K)
    price: Any = next(known, None)
    if price is None:
        return None
    prompt, completion = price if isinstance(price, tuple | list) else (price, price)
    return float(tally.prompt_tokens * prompt + tally.completion_tokens * completion) / 1e3


def _bounded(text: str) -> str:
    return text if len(text) <= RAW_LENGTH else f"{text[:RAW_LENGTH]}… ({len(text):,} characters in all)"
