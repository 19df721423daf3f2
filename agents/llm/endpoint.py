"""The endpoint of a language model as it behaves: what it sends is read within bounds, what fails is named, and repeated where that helps.

Providers' SDKs sit between this module's HTTP client (which sees the bytes) and its `Requests` (which sees AutoGen's replies and errors).
Nothing here imports either.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import httpx
import structlog

from rlgpt.agents.llm.failures import RequestFailed, failure_of
from rlgpt.agents.llm.interview import Tally
from rlgpt.agents.llm.providers import is_loopback
from rlgpt.agents.llm.redact import Redactor
from rlgpt.bus.models import Model

LONGEST_BODY = 8_000_000
"""Bytes of a response that are read at all; whatever sends more would fill the memory."""

CUT_OFF = frozenset({"length", "max_tokens", "MAX_TOKENS"})
REFUSED = frozenset({"content_filter", "refusal", "SAFETY", "PROHIBITED_CONTENT", "BLOCKLIST", "RECITATION", "SPII"})

log = structlog.get_logger()


@dataclass(frozen=True)
class Backoff:
    """How long to wait before a request is repeated, seconds: `first_s` doubled each time up to `most_s`, give or take half of it.

    longest_s  the longest wait an endpoint may ask for (Retry-After); beyond it the question has failed
    """

    first_s: float = 1.0
    most_s: float = 30.0
    longest_s: float = 60.0
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep

    def wait_s(self, repeated: int, retry_after_s: float | None) -> float | None:
        """The wait before repetition number `repeated` (from 1); None: not worth waiting for."""
        spread = random.uniform(0.5, 1.5)  # noqa: S311 - no secret, only so that processes do not come back all at once
        own = min(self.first_s * (1 << min(repeated - 1, 20)), self.most_s) * spread
        if retry_after_s is None:
            return own
        return max(own, retry_after_s) if retry_after_s <= self.longest_s else None


@dataclass
class _Seen:
    """What the wire carried in one request, since AutoGen drops a refusal, and the usage of replies it cannot read."""

    usage: dict[str, Any] = field(default_factory=dict)
    refusal: str = ""


_SEEN: ContextVar[_Seen | None] = ContextVar("seen", default=None)


class Endpoint:
    """What all questions of a process share: one HTTP client, and what has been learned of the endpoint.

    takes_schema  whether it accepts `response_format`; unlearned by its first rejection
    client        AutoGen's client of it, set by whoever makes this
    """

    client: Callable[..., Awaitable[Any]]

    def __init__(self, settings: Model, backoff: Backoff, redactor: Redactor) -> None:
        self.settings = settings
        self.backoff = backoff
        self.redactor = redactor
        self.takes_schema = True
        self.http = httpx.AsyncClient(
            timeout=httpx.Timeout(settings.timeout_s, connect=min(10.0, settings.timeout_s)),
            follow_redirects=True,
            headers={"Accept-Encoding": "identity"},  # a compressed body of a few bytes could fill the memory
            trust_env=not is_loopback(settings.base_url),  # a proxy of the environment cannot reach this machine's loopback
            event_hooks={"response": [_watch]},
        )

    async def close(self) -> None:
        await self.http.aclose()


class Requests:
    """AutoGen's model configuration and client in one, for one question: repeats requests where that may help, names how they failed.

    prompted  the answer's schema as words in the prompt, for an endpoint that takes no `response_format`
    """

    def __init__(self, endpoint: Endpoint, tally: Tally, prompted: Any) -> None:
        self._endpoint = endpoint
        self._tally = tally
        self._prompted = prompted

    def copy(self) -> Requests:
        return self

    def create(self) -> Requests:
        return self

    async def __call__(self, messages: Sequence[Any], context: Any, *, response_schema: Any, **options: Any) -> Any:
        endpoint, redact, repeated = self._endpoint, self._endpoint.redactor.text, 0
        while True:
            schema = response_schema if endpoint.takes_schema else self._prompted
            try:
                return await self._once(messages, context, response_schema=schema, **options)
            except RequestFailed as failure:
                if failure.no_schema and schema is not self._prompted:
                    endpoint.takes_schema = False
                    log.warning("response_format_rejected", model=endpoint.settings.model, why=redact(failure.reason), now="prompted")
                    continue
                repeated += 1
                self._tally.trouble = f"{failure.outcome}, {failure.reason}"
                wait = self._wait_s(failure, repeated)
                if wait is None:
                    raise
                log.warning(
                    "request_repeated", outcome=failure.outcome, why=redact(failure.reason), repeated=repeated, wait_s=round(wait, 2)
                )
            await endpoint.backoff.sleep(wait)

    def _wait_s(self, failure: RequestFailed, repeated: int) -> float | None:
        settings = self._endpoint.settings
        # An empty reply was paid for, so it is repeated as often as a bad answer, not as often as an error.
        most = settings.repairs if failure.outcome == "empty" else settings.retries
        return self._endpoint.backoff.wait_s(repeated, failure.retry_after_s) if failure.again and repeated <= most else None

    async def _once(self, messages: Sequence[Any], context: Any, **options: Any) -> Any:
        """One request. Raises RequestFailed, whatever went wrong."""
        seen = _Seen()
        token = _SEEN.set(seen)
        reply = None
        try:
            # The timeouts of HTTP clients are per read; an endpoint that drips would keep them content for ever.
            async with asyncio.timeout(self._endpoint.settings.timeout_s):
                reply = await self._endpoint.client(messages, context, **options)
        except Exception as error:
            raise failure_of(error) from None
        finally:
            _SEEN.reset(token)
            self._count(reply, seen)
        return _checked(reply, seen)

    def _count(self, reply: Any, seen: _Seen) -> None:
        tally, usage = self._tally, reply.usage if reply is not None and reply.usage else None
        tally.requests += 1
        if usage is not None:
            # Anthropic reports tokens read from and written to its cache beside the prompt's, not within.
            cached = (usage.cache_read_input_tokens, usage.cache_creation_input_tokens)
            beside = cached if self._endpoint.settings.provider == "anthropic" else ()
            tally.prompt_tokens += sum(int(part or 0) for part in (usage.prompt_tokens, *beside))
            tally.completion_tokens += int(usage.completion_tokens or 0)
        else:
            tally.prompt_tokens += _whole(seen.usage, "prompt_tokens", "input_tokens")
            tally.completion_tokens += _whole(seen.usage, "completion_tokens", "output_tokens")
        tally.model = (reply.model if reply is not None else None) or tally.model


def _checked(reply: Any, seen: _Seen) -> Any:
    """The reply if it holds text; RequestFailed otherwise."""
    if seen.refusal:
        raise RequestFailed("refused", f"the model refused: {seen.refusal[:500]}")
    if reply is None:
        raise RequestFailed("empty", "the reply holds no choices")
    text, finish = reply.content, reply.finish_reason
    if finish in REFUSED:
        raise RequestFailed("refused", f"the provider stopped the answer: {finish}")
    if not isinstance(text, str) or not text.strip():
        if finish in CUT_OFF:
            raise RequestFailed("truncated", f"the output limit was reached before any text (finish reason {finish!r})")
        raise RequestFailed("empty", f"the reply holds no text (finish reason {finish!r})")
    return reply


class _Bounded(httpx.AsyncByteStream):
    """A response's body that fails once it is longer than LONGEST_BODY."""

    def __init__(self, stream: httpx.AsyncByteStream) -> None:
        self._stream = stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        length = 0
        async for chunk in self._stream:
            length += len(chunk)
            if length > LONGEST_BODY:
                raise RequestFailed("too_long", f"the response is longer than {LONGEST_BODY:,} bytes")
            yield chunk

    async def aclose(self) -> None:
        await self._stream.aclose()


async def _watch(response: httpx.Response) -> None:
    """Read a response whole, within bounds, before the SDK does, and note what the layers above would lose."""
    if (encoding := response.headers.get("content-encoding", "identity").lower()) != "identity":
        raise RequestFailed("server_error", f"the response is compressed ({encoding[:40]}), which was not asked for")
    if isinstance(response.stream, httpx.AsyncByteStream):
        response.stream = _Bounded(response.stream)
    body = await response.aread()
    try:
        data = json.loads(body.decode())
    except (ValueError, RecursionError) as error:
        if response.status_code < 300:
            _note(_in_spite(body))
            raise RequestFailed("server_error", f"HTTP {response.status_code} with a body that is not JSON: {error}") from None
        return
    _note(data)


def _note(data: Any) -> None:
    seen = _SEEN.get()
    if seen is None or not isinstance(data, dict):
        return
    seen.usage = data["usage"] if isinstance(data.get("usage"), dict) else {}
    for choice in _list(data.get("choices")):
        message = choice.get("message") if isinstance(choice, dict) else None
        if isinstance(message, dict) and isinstance(message.get("refusal"), str):
            seen.refusal = message["refusal"]


def _in_spite(body: bytes) -> Any:
    """What can be read of a body in spite of broken characters: its answer is of no use, but was paid for."""
    try:
        return json.loads(body.decode(errors="replace"))
    except (ValueError, RecursionError):
        return None


def _list(value: Any) -> Iterable[Any]:
    return value if isinstance(value, list) else ()


def _whole(usage: dict[str, Any], *names: str) -> int:
    """The first of these figures that is a count; endpoints have sent strings, floats and nulls."""
    values = (usage.get(name) for name in names)
    return next((int(value) for value in values if isinstance(value, int | float) and 0 <= value < 1e9), 0)
