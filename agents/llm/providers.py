"""Which language models can be reached from here: the provider's package, the key, and what is wrong if something is missing."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from urllib.parse import urlsplit

from rlgpt.agents.llm.failures import RequestFailed
from rlgpt.bus.models import Model

HAND_WRITTEN = "hand-written"
"""The model named in a transcript's answers that no model gave."""
RECORDED = "recorded"
"""The model name that stands for the scenario's own transcript: no network, no key."""


@dataclass(frozen=True)
class Provider:
    """package: what AutoGen's class for it imports; key_env: where its key is by default, None if it takes no key."""

    package: str
    key_env: str | None


PROVIDERS: dict[str, Provider] = {
    "openai": Provider("openai", "OPENAI_API_KEY"),
    "anthropic": Provider("anthropic", "ANTHROPIC_API_KEY"),
    "gemini": Provider("google.genai", "GEMINI_API_KEY"),
    "ollama": Provider("ollama", None),
}


def is_loopback(url: str | None) -> bool:
    """Whether an address is on this machine."""
    try:
        host = urlsplit(url or "").hostname or ""
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def key_variable(settings: Model) -> str | None:
    """Name of the environment variable that holds the key. An endpoint on this machine gets one only if the scenario names it."""
    if settings.api_key_env:
        return settings.api_key_env
    return None if is_loopback(settings.base_url) else PROVIDERS[settings.provider].key_env


def key_of(settings: Model, environ: Mapping[str, str] | None = None) -> str | None:
    name = key_variable(settings)
    return ((os.environ if environ is None else environ).get(name) or "").strip() or None if name else None


def problem_with(settings: Model, environ: Mapping[str, str] | None = None) -> RequestFailed | None:
    """Why this model cannot be asked as configured, and what to do; None if it can. Asks nobody and imports no provider."""
    if settings.model == RECORDED:
        return None
    provider = PROVIDERS[settings.provider]
    if not _installed(provider.package):
        return RequestFailed(
            "unusable",
            f"provider {settings.provider!r} needs the package {provider.package!r}: pip install 'autogen[{settings.provider}]'"
            f" (or use the provider's OpenAI-compatible endpoint: provider: openai, base_url: ...)",
        )
    if settings.provider == "gemini" and settings.base_url:
        return RequestFailed("unusable", "provider 'gemini' takes no base_url; for an OpenAI-compatible endpoint say provider: openai")
    name = key_variable(settings)
    key = key_of(settings, environ)
    if name and key is None:
        words = f"model {settings.model!r} needs a key: set the environment variable {name} (or name another one with llm.api_key_env)"
        return RequestFailed("unauthorised", words)
    if key and not (key.isascii() and key.isprintable()):
        return RequestFailed("unauthorised", f"the key in {name} holds characters that no HTTP header can carry; was it copied whole?")
    return None


def _installed(package: str) -> bool:
    try:
        return find_spec(package) is not None
    except ModuleNotFoundError:
        return False
