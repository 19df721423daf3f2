"""Which language models a task asks, and what they may cost."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from rlgpt.bus.parts import Part


class Price(Part):
    """US dollars per million tokens."""

    prompt: float = Field(0.0, ge=0)
    completion: float = Field(0.0, ge=0)


class Model(Part):
    """A language model. `model: recorded` answers from the scenario's transcript, offline.

    provider       openai stands for every OpenAI-compatible endpoint; others need AutoGen's extra of that name
    base_url       of an OpenAI-compatible endpoint
    api_key_env    name of the environment variable that holds the key; the key itself is never stored
    timeout_s      deadline of one request, seconds
    retries        requests repeated after a rate limit, a server error or a dropped connection
    repairs        times a malformed or impossible answer is asked for again
    output_tokens  limit of one reply, told to the endpoint; null leaves it to the endpoint
    price          of this model; else that of `prices` counts
    prices         by model name; those of the user's own file are added when a run is launched
    """

    model: str = Field("recorded", min_length=1)
    provider: Literal["openai", "anthropic", "gemini", "ollama"] = "openai"
    base_url: str | None = None
    api_key_env: str | None = None
    temperature: float | None = Field(None, ge=0)
    timeout_s: float = Field(120.0, gt=0)
    retries: int = Field(5, ge=0)
    repairs: int = Field(2, ge=0)
    output_tokens: int | None = Field(None, ge=1)
    price: Price | None = None
    prices: dict[str, Price] = Field({})


class Llm(Model):
    """The model of every role, and what differs by role: `roles: {critic: {model: ...}}`."""

    roles: dict[Literal["slow", "fast", "critic", "solo"], dict[str, Any]] = Field({})

    def of(self, role: str) -> Model:
        """The settings of one role: the common ones, overridden by its own."""
        common = {name: getattr(self, name) for name in Model.model_fields}
        own = next((fields for name, fields in self.roles.items() if name == role), {})
        return Model(**{**common, **own})

    @model_validator(mode="after")
    def _roles_are_models(self) -> Llm:
        for role in self.roles:
            self.of(role)
        return self


class RoleBudget(Part):
    """What one role may spend on questions to its model; null is unlimited. `minutes` are those spent waiting for its answers."""

    minutes: float | None = Field(None, gt=0)
    tokens: int | None = Field(None, ge=1)
    usd: float | None = Field(None, gt=0)


class Budgets(Part):
    """The run ends, with its best policy so far, when one of these is spent; null is unlimited.

    env_steps  environment steps of trials and learning; those of evaluation are counted on a line of their own
    roles      of each role alone. A critic that has spent its own is not asked any more, and the success test decides alone
    """

    env_steps: int | None = Field(None, ge=1)
    minutes: float | None = Field(None, gt=0)
    tokens: int | None = Field(None, ge=1)
    usd: float | None = Field(None, gt=0)
    roles: dict[Literal["slow", "fast", "critic", "solo"], RoleBudget] = Field({})
