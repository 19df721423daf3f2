"""What a model's tokens cost: by the scenario, by the user's own table, at last by AutoGen's."""

from __future__ import annotations

from rlgpt.agents.llm.interview import Tally
from rlgpt.agents.llm.providers import RECORDED, is_loopback
from rlgpt.bus.models import Model, Price


def price_of(settings: Model, called: str = "") -> tuple[Price | None, str]:
    """Price of a role's model, and where it stands; None if nobody knows it. `called`: the name by which the endpoint calls the model.

    `price` of the role itself; else `prices` (the scenario's, and the user's file), by either name; else, for a model that is at its
    maker's, AutoGen's table.
    """
    if settings.model == RECORDED:
        return Price(), "recorded"
    if settings.price is not None:
        return settings.price, "llm.price"
    for name in (called, settings.model):
        if name in settings.prices:
            return settings.prices[name], "llm.prices"
    if is_loopback(settings.base_url):
        return None, ""
    from rlgpt.agents.llm.conversation import price_in_autogen

    found = price_in_autogen(called, settings.model)
    return found, "AutoGen's table" if found else ""


def usd(settings: Model, tally: Tally) -> float | None:
    """Price of what a question used; None if it is not known. Tokens from a provider's cache count in full: it is an upper bound."""
    if tally.requests == 0:
        return 0.0
    price, _ = price_of(settings, tally.model)
    return None if price is None else cost(price, tally.prompt_tokens, tally.completion_tokens)


def cost(price: Price, prompt_tokens: int, completion_tokens: int = 0) -> float:
    """US dollars."""
    return (prompt_tokens * price.prompt + completion_tokens * price.completion) / 1e6
