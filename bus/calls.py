"""What a client has said and waits to hear of: publications, and everything else that is answered."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from rlgpt.bus.codec import Frame
from rlgpt.bus.errors import BusError
from rlgpt.bus.inbox import Inbox, Key


@dataclass(slots=True, eq=False)
class Call:
    """One publication: its envelopes are journalled together, in one transaction."""

    raws: list[bytes]
    lease: tuple[str, int, int] | None = None
    size: int = 0  # bytes
    seqs: list[int] = field(default_factory=list)
    error: BusError | None = None
    done: bool = False
    awaited: bool = True  # somebody waits for the outcome
    then: Callable[[], None] | None = None  # called by the I/O thread when done

    def end(self, error: BusError | None = None) -> None:
        self.error, self.done = error, True
        if self.then:
            self.then()


@dataclass(slots=True, eq=False)
class Asked:
    """Something said that is said again until the broker confirms it; `answer` is a reply that carries more than a confirmation."""

    data: bytes
    inbox: Inbox | None = None
    keys: Sequence[Key] = ()
    answer: Frame | None = None
    error: BusError | None = None
    done: bool = False
