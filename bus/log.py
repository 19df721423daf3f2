"""The log as the core reads it: the newest events in memory, within bounds, everything older from the journal in pages.

A slow consumer is an old position here, never memory of the broker.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from rlgpt.bus.journal import PAGE, Row

TAIL_ROWS = 8192
TAIL_BYTES = 32 * 1024 * 1024


class Reader(Protocol):
    """What the core asks of a journal."""

    head: int

    def page(self, after: int, limit: int = PAGE) -> list[Row]: ...
    def body(self, seq: int) -> Row | None: ...
    def known(self, ids: Sequence[str]) -> dict[str, int]: ...


class Log:
    def __init__(self, journal: Reader) -> None:
        self._journal = journal
        self.head = journal.head
        self._tail: list[Row] = []
        self._bytes = 0
        self._fresh: dict[str, int] = {}  # ids of this turn, which the journal does not have yet

    def append(self, id: str, topic: str, body: bytes) -> int:
        """Number an event; the caller has the journal write it in this turn."""
        self.head += 1
        self._tail.append((self.head, topic, body))
        self._bytes += len(body)
        self._fresh[id] = self.head
        return self.head

    def known(self, ids: Sequence[str]) -> dict[str, int]:
        """Sequence numbers of those ids that are in the log already."""
        found = self._journal.known(ids)
        if self._fresh:
            found.update((id, self._fresh[id]) for id in ids if id in self._fresh)
        return found

    def after(self, position: int, limit: int) -> list[Row]:
        """At most `limit` events after `position`, in order; at most a page at a time."""
        limit = min(limit, PAGE)
        first = self.head - len(self._tail) + 1
        if position + 1 < first:
            return self._journal.page(position, limit)
        index = position + 1 - first
        return self._tail[index : index + limit]

    def get(self, seq: int) -> Row | None:
        """One event; None if it was compacted away."""
        first = self.head - len(self._tail) + 1
        return self._tail[seq - first] if seq >= first else self._journal.body(seq)

    def committed(self) -> None:
        """The turn is on disk: the tail may be cut to its bounds."""
        self._fresh.clear()
        if len(self._tail) > 2 * TAIL_ROWS or self._bytes > 2 * TAIL_BYTES:
            keep, size = 0, 0
            for _, _, body in reversed(self._tail[-TAIL_ROWS:]):
                if size + len(body) > TAIL_BYTES:
                    break
                keep, size = keep + 1, size + len(body)
            self._tail = self._tail[len(self._tail) - keep :]
            self._bytes = size
