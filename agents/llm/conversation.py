"""Talking through AutoGen: our own conversations with a model, and those with an agent that a user wrote. The only module that imports it.

AutoGen brings 60 MB and a second of start-up, so this is used, and AutoGen imported, when the first live question is asked.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, cast

from pydantic import BaseModel

from rlgpt.agents.llm.failures import RequestFailed, failure_of
from rlgpt.agents.llm.interview import Partner, Tally, Turn
from rlgpt.bus.models import Model, Price

if TYPE_CHECKING:
    from rlgpt.agents.llm.endpoint import Endpoint

OUTPUT_TOKENS = 16_000
"""Limit of a reply for providers that demand one (Anthropic), where the scenario names none."""


class Conversation:
    """A question and what follows it; AutoGen keeps the history."""

    def __init__(self, endpoint: Endpoint, tally: Tally, role: str, system: str, answer: type[BaseModel]) -> None:
        from autogen.beta import Agent
        from autogen.beta.response import PromptedSchema, ResponseSchema

        from rlgpt.agents.llm.endpoint import Requests

        requests = Requests(endpoint, tally, PromptedSchema(answer))
        self._agent: Any = Agent(role, system, config=cast("Any", requests), response_schema=ResponseSchema(answer))
        self._reply: Any = None

    async def say(self, text: str, pictures: Sequence[bytes] = ()) -> Turn:
        from rlgpt.agents.llm.endpoint import CUT_OFF

        ask = self._agent.ask if self._reply is None else self._reply.ask
        self._reply = await ask(text, *_images(pictures))
        return Turn(self._reply.body, self._reply.response.finish_reason in CUT_OFF)


def client_of(settings: Model, key: str | None, endpoint: Endpoint) -> Any:
    """AutoGen's client of a model. The SDKs' own retries are off, or attempts would multiply."""
    from autogen.beta import config

    common: dict[str, Any] = {"model": settings.model}
    if settings.temperature is not None:
        common["temperature"] = settings.temperature
    limit: dict[str, Any] = {} if settings.output_tokens is None else {"max_tokens": settings.output_tokens}
    ours: dict[str, Any] = {"timeout": settings.timeout_s, "max_retries": 0, "http_client": endpoint.http}
    match settings.provider:
        case "openai":
            # Of the two names of the limit, OpenAI's newer models take the new one alone, and other makers' endpoints often the old one.
            limit = limit if settings.base_url or not limit else {"max_completion_tokens": settings.output_tokens}
            # The SDK insists on a key, also where the endpoint does not ask for one.
            made: Any = config.OpenAIConfig(**common, **ours, **limit, api_key=key or "none", base_url=settings.base_url)
        case "anthropic":
            limit = {"max_tokens": settings.output_tokens or OUTPUT_TOKENS}
            made = config.AnthropicConfig(**common, **ours, **limit, api_key=key, base_url=settings.base_url)
        case "gemini":
            limit = {"max_output_tokens": settings.output_tokens} if settings.output_tokens else {}
            made = config.GeminiConfig(**common, **limit, api_key=key, http_client=endpoint.http)
        case "ollama":
            host: dict[str, Any] = {"host": settings.base_url} if settings.base_url else {}
            made = config.OllamaConfig(**common, **host, **limit)
    return made.create()


# ---------------------------------------------------------------- agents of users


class Guest:
    """A plain AutoGen agent of a user, as it is: its own system text, model, key and tools. Each question is a conversation of its own."""

    def __init__(self, agent: Any) -> None:
        self._agent = agent
        listed = getattr(getattr(agent, "llm_config", None), "config_list", ())
        self._configs: list[Any] = [config for config in (getattr(agent, "config", None), *listed) if config is not None]

    @property
    def model(self) -> str:
        """Name of its model, the first if there are several, as far as it says."""
        return next(self._settings("model"), type(self._agent).__name__)

    @property
    def base_url(self) -> str | None:
        """Of its model's endpoint; None: the maker's own."""
        return next(self._settings("base_url"), None)

    @property
    def secrets(self) -> list[str]:
        """Its keys, to be kept out of everything that is written."""
        return list(self._settings("api_key"))

    def partner(self, tally: Tally, system: str) -> Partner:
        """A new conversation. `system`, what the questions take for granted, goes before the first one: its own system text stays."""
        return (_ClassicTalk if _is_classic(self._agent) else _Talk)(self._agent, tally, system)

    def _settings(self, name: str) -> Iterator[str]:
        """What its models say of themselves under this name, those that say anything."""
        for config in self._configs:
            value = getattr(config, name, None)
            if value:
                yield str(value.get_secret_value() if hasattr(value, "get_secret_value") else value)


def guest(found: Any) -> Guest | None:
    """The AutoGen agent in `found`, a new one or a classic one, or a function that makes one; None if it is neither."""
    from autogen import ConversableAgent
    from autogen.beta import Agent

    made = found() if callable(found) and not isinstance(found, Agent | ConversableAgent) else found
    return Guest(made) if isinstance(made, Agent | ConversableAgent) else None


def _is_classic(agent: Any) -> bool:
    from autogen import ConversableAgent

    return isinstance(agent, ConversableAgent)


class _Talk:
    """With an `autogen.beta.Agent`."""

    def __init__(self, agent: Any, tally: Tally, system: str) -> None:
        self._agent, self._tally, self._system = agent, tally, system
        self._reply: Any = None

    async def say(self, text: str, pictures: Sequence[bytes] = ()) -> Turn:
        from autogen.beta.middleware import Middleware

        from rlgpt.agents.llm.endpoint import CUT_OFF

        first = self._reply is None
        ask, words = (self._agent.ask, f"{self._system}\n\n{text}") if first else (self._reply.ask, text)
        counter = Middleware(_counter(), tally=self._tally)
        try:
            # Without a schema: one of the agent's own would shape another answer than the question asks for.
            self._reply = await ask(words, *_images(pictures), middleware=[counter], response_schema=None)
        except Exception as error:
            raise failure_of(error) from None
        return _turn(self._reply.body, self._reply.response.finish_reason in CUT_OFF)


def _counter() -> type[Any]:
    """A middleware that counts every request an agent makes, tools' rounds and its own repetitions included."""
    from autogen.beta.middleware import BaseMiddleware

    class Counter(BaseMiddleware):
        def __init__(self, event: Any, context: Any, tally: Tally) -> None:
            super().__init__(event, context)
            self._tally = tally

        async def on_llm_call(self, call_next: Any, events: Any, context: Any) -> Any:
            self._tally.requests += 1
            reply = await call_next(events, context)
            if reply.usage:
                self._tally.prompt_tokens += int(reply.usage.prompt_tokens or 0)
                self._tally.completion_tokens += int(reply.usage.completion_tokens or 0)
            self._tally.model = reply.model or self._tally.model
            return reply

    return Counter


class _ClassicTalk:
    """With a classic `ConversableAgent`, such as an `AssistantAgent`: it is handed the conversation and says what comes next."""

    def __init__(self, agent: Any, tally: Tally, system: str) -> None:
        self._agent, self._tally, self._system = agent, tally, system
        self._messages: list[dict[str, Any]] = []

    async def say(self, text: str, pictures: Sequence[bytes] = ()) -> Turn:
        words = text if self._messages else f"{self._system}\n\n{text}"
        urls = [f"data:image/png;base64,{base64.b64encode(picture).decode()}" for picture in pictures]
        parts: list[Any] = [{"type": "text", "text": words}, *({"type": "image_url", "image_url": {"url": url}} for url in urls)]
        self._messages.append({"role": "user", "content": parts if urls else words})
        before = self._used()
        self._tally.requests += 1
        try:
            reply = await self._agent.a_generate_reply(messages=self._messages)
        except Exception as error:
            raise failure_of(error) from None
        finally:
            used = self._used()
            self._tally.prompt_tokens += used[0] - before[0]
            self._tally.completion_tokens += used[1] - before[1]
            self._tally.model = self.model or self._tally.model
        said = reply.get("content") if isinstance(reply, dict) else reply
        turn = _turn(said, cut_off=False)
        self._messages.append({"role": "assistant", "content": turn.text})
        return turn

    @property
    def model(self) -> str:
        return next((name for name in self._agent.get_actual_usage() or {} if name != "total_cost"), "")

    def _used(self) -> tuple[int, int]:
        """Prompt and completion tokens since the agent was made."""
        models = [numbers for numbers in (self._agent.get_actual_usage() or {}).values() if isinstance(numbers, dict)]
        return sum(int(one["prompt_tokens"]) for one in models), sum(int(one["completion_tokens"]) for one in models)


def _turn(text: Any, cut_off: bool) -> Turn:
    if not isinstance(text, str) or not text.strip():
        raise RequestFailed("truncated" if cut_off else "empty", "the agent's reply holds no text")
    return Turn(text, cut_off)


def _images(pictures: Sequence[bytes]) -> list[Any]:
    from autogen.beta.events import ImageInput

    return [ImageInput(data=picture, media_type="image/png") for picture in pictures]


# ---------------------------------------------------------------- prices


def price_in_autogen(*names: str) -> Price | None:
    """Of the first of these models that AutoGen's own table has, which is as old as the installed release."""
    from autogen.oai.openai_utils import OAI_PRICE1K

    price: Any = next((OAI_PRICE1K[name] for name in names if name in OAI_PRICE1K), None)
    if price is None:
        return None
    prompt, completion = price if isinstance(price, tuple | list) else (price, price)
    return Price(prompt=1e3 * float(prompt), completion=1e3 * float(completion))
