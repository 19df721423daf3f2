"""What a turn of the broker produces, and how it says no."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from rlgpt.bus.codec import Frame, pack
from rlgpt.bus.journal import Changes


class Refusal(Exception):
    """The broker's no to one frame: a code for programs, words for people."""

    def __init__(self, code: str, why: str) -> None:
        super().__init__(why)
        self.code = code


@dataclass(slots=True)
class Turn:
    """changes to write, frames (peer, bytes) to send afterwards, notes (event, fields) to log; `again`: there is more to do at once."""

    changes: Changes
    frames: list[tuple[bytes, bytes]]
    notes: list[tuple[str, dict[str, Any]]]
    again: bool


@dataclass(slots=True)
class Outcome:
    """What the current turn has produced so far; shared by the parts of the core."""

    changes: Changes = field(default_factory=Changes)
    frames: list[tuple[bytes, bytes]] = field(default_factory=list)
    notes: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def send(self, peer: bytes | None, frame: Frame) -> None:
        if peer is not None:
            self.frames.append((peer, pack(frame)))
