"""Who may do what. The broker asks a gate; `Open` is the one for an ipc socket in a private folder, `security.Allowed` the one for keys."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

BROKER = "broker"  # the source of what the broker itself publishes


class Gate(Protocol):
    """Every answer is "" for yes, or the reason why not. `user` is the public key the connection proved, "" without keys."""

    def admit(self, user: str, name: str) -> str: ...
    def publish(self, user: str, name: str, source: str, topic: str) -> str: ...
    def subscribe(self, user: str, name: str, topics: Sequence[str]) -> str: ...
    def administer(self, user: str, name: str) -> str: ...


class Open:
    """Whoever can open the socket may do everything but speak as the broker."""

    def admit(self, user: str, name: str) -> str:  # noqa: ARG002
        return f"the name {BROKER!r} is the broker's own" if name == BROKER else ""

    def publish(self, user: str, name: str, source: str, topic: str) -> str:  # noqa: ARG002
        return f"the source {BROKER!r} is the broker's own; {name} may not use it" if source == BROKER else ""

    def subscribe(self, user: str, name: str, topics: Sequence[str]) -> str:  # noqa: ARG002
        return ""

    def administer(self, user: str, name: str) -> str:  # noqa: ARG002
        return ""
