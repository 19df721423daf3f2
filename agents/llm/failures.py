"""How a question to a language model can end, and which of these ends a provider's error is."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Literal

Outcome = Literal[
    "answered",  # at the first reply
    "repaired",  # after asking again
    "malformed",  # no reply held an answer of the asked form
    "impossible",  # well formed, but it cannot be right: an unknown name, code without the function
    "empty",  # no choices, or no text
    "refused",  # the model or a filter would not answer
    "truncated",  # cut off at the model's output limit
    "too_long",  # longer than anything we asked for
    "rate_limited",  # also: the account's quota is used up
    "server_error",  # 5xx, or a reply that is not one of this API
    "timeout",  # of one request, or the deadline of the whole question
    "unreachable",  # no connection, or it was dropped
    "unauthorised",  # no key, or a wrong one
    "context_too_long",  # the question is longer than the model takes
    "bad_request",  # the endpoint says the request itself is wrong: no such model, say
    "unusable",  # the model cannot be asked at all as configured: a provider's package is missing
    "not_recorded",  # offline, and the recording has no answer under this key
    "over_budget",  # not asked: the prompt alone would go beyond what is left
]

RETRIED: frozenset[Outcome] = frozenset({"rate_limited", "server_error", "unreachable", "empty"})
"""What may pass by itself. A request that timed out has already cost its deadline and would cost it again."""

_CONTEXT = re.compile(
    r"context.?(length|window|size)|maximum context|too many tokens|prompt is too long|reduce the length|exceeds? the .{0,40}token", re.I
)
_SCHEMA = re.compile(r"response_format|json_schema|structured output|output_config|guided|grammar", re.I)
_PICTURES = re.compile(r"image|picture|vision|multi-?modal|mmproj", re.I)
_QUOTA = re.compile(r"insufficient_quota|exceeded your current quota|credit balance|billing", re.I)


class RequestFailed(Exception):
    """A question, or one request of it, ended badly.

    outcome        its name
    reason         in words, with what the endpoint said
    retry_after_s  how long the endpoint asked us to wait, seconds
    again          whether the same request may be worth repeating
    no_schema      the endpoint does not take `response_format`
    no_pictures    the endpoint, or the model, does not take pictures
    """

    def __init__(
        self,
        outcome: Outcome,
        reason: str,
        *,
        retry_after_s: float | None = None,
        again: bool | None = None,
        no_schema: bool = False,
        no_pictures: bool = False,
    ) -> None:
        super().__init__(reason)
        self.outcome: Outcome = outcome
        self.reason = reason
        self.retry_after_s = retry_after_s
        self.again = outcome in RETRIED if again is None else again
        self.no_schema = no_schema
        self.no_pictures = no_pictures


def failure_of(error: BaseException) -> RequestFailed:
    """The named end that an exception of an SDK, of httpx or of AutoGen's reading of a reply stands for.

    Providers' SDKs name their errors alike (`status_code`, `response`, `body`), so none of them has to be imported here.
    """
    import httpx  # here, so that a process that only replays does without

    for cause in _chain(error):
        if isinstance(cause, RequestFailed):
            return cause
    status = next((code for name in ("status_code", "code") if isinstance(code := getattr(error, name, None), int)), None)
    if status is not None and status >= 400:
        headers = getattr(getattr(error, "response", None), "headers", {})
        return of_status(status, _said(error), headers)
    for cause in _chain(error):
        if isinstance(cause, httpx.ConnectTimeout):
            return RequestFailed("unreachable", "no connection within the time allowed")
        if isinstance(cause, httpx.TimeoutException | TimeoutError):
            return RequestFailed("timeout", "no reply within the time allowed for one request")
    for cause in reversed(list(_chain(error))):
        if isinstance(cause, httpx.TransportError | OSError):
            return RequestFailed("unreachable", f"{type(cause).__name__}: {cause}")
    return RequestFailed("server_error", f"the reply could not be read as one of this API: {type(error).__name__}: {_short(str(error))}")


def of_status(status: int, said: str, headers: Mapping[str, str]) -> RequestFailed:
    """The named end of an HTTP error status."""
    reason = f"HTTP {status}: {_short(said)}"
    match status:
        case 401 | 403:
            return RequestFailed("unauthorised", reason)
        case 413:
            return RequestFailed("context_too_long", reason)
        case 429:
            return RequestFailed("rate_limited", reason, retry_after_s=retry_after(headers), again=not _QUOTA.search(said))
        case 408 | 409:
            return RequestFailed("server_error", reason)
        case _ if status >= 500:
            of_schema, of_pictures = bool(_SCHEMA.search(said)), bool(_PICTURES.search(said))
            again = None if not of_pictures else False  # a model that cannot see will not see at the next try
            wait = retry_after(headers)
            return RequestFailed("server_error", reason, retry_after_s=wait, again=again, no_schema=of_schema, no_pictures=of_pictures)
    if _CONTEXT.search(said):
        return RequestFailed("context_too_long", reason)
    return RequestFailed("bad_request", reason, no_schema=bool(_SCHEMA.search(said)), no_pictures=bool(_PICTURES.search(said)))


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds until a request is welcome again (RFC 9110, 10.2.3: a number or a date); None if the headers do not say."""
    if (milliseconds := _number(headers.get("retry-after-ms"))) is not None:
        return milliseconds / 1000
    value = headers.get("retry-after")
    if value is None or (seconds := _number(value)) is not None:
        return None if value is None else seconds
    try:
        at = parsedate_to_datetime(value)
    except ValueError:
        return None
    return max(0.0, ((at if at.tzinfo else at.replace(tzinfo=UTC)) - datetime.now(UTC)).total_seconds())


def _number(value: str | None) -> float | None:
    try:
        number = float(value or "")
    except ValueError:
        return None
    return number if 0 <= number < float("inf") else None


def _chain(error: BaseException | None) -> list[BaseException]:
    """The error and its causes, outermost first."""
    chain: list[BaseException] = []
    while error is not None and error not in chain:
        chain.append(error)
        error = error.__cause__ or error.__context__
    return chain


def _said(error: BaseException) -> str:
    """The endpoint's own words. SDKs keep the parsed body in `body`, without the outer `error` where there is one."""
    body: Any = getattr(error, "body", None)
    if isinstance(body, dict):
        inner = body.get("error", body)
        if isinstance(inner, dict):
            return " ".join(str(inner[name]) for name in ("message", "type", "code") if inner.get(name)) or str(inner)
        return str(inner)
    return str(body or error)


def _short(text: str, length: int = 500) -> str:
    text = " ".join(text.split())
    return text if len(text) <= length else f"{text[:length]}… ({len(text)} characters)"
