"""The log as the core reads it: the newest events in memory, within bounds, everything older from the journal in pages.

A slow consumer is an old position here, never memory of the broker.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from rlgpt.bus.ids import Run, runs
from rlgpt.bus.journal import PAGE, Changes
from rlgpt.bus.segments import Row

TAIL_ROWS = 8192
TAIL_BYTES = 32 * 1024 * 1024


class Reader(Protocol):
    """What the core asks of a journal."""

    head: int

    def page(self, after: int, limit: int = PAGE) -> list[Row]: ...
    def body(self, seq: int) -> Row | None: ...
    def known(self, runs: Iterable[Run]) -> dict[str, int]: ...


class Log:
    def __init__(self, journal: Reader) -> None:
        self._journal = journal
        self.head = journal.head
        self._tail: list[Row] = []
        self._bytes = 0
        self._fresh: dict[str, int] = {}  # ids of this turn, which the journal does not have yet

    def append(self, ids: Sequence[str], topics: Sequence[str], bodies: Sequence[bytes], changes: Changes) -> list[int]:
        """The events' numbers. Those whose ids are new are added to the log, and to what the journal writes in this turn."""
        new = list(runs(ids))
        known = self._journal.known(new)
        if not known and self._fresh.keys().isdisjoint(ids) and (len(ids) == 1 or len(set(ids)) == len(ids)):
            return self._add(new, ids, topics, bodies, changes)
        numbers = []
        for id, topic, body in zip(ids, topics, bodies, strict=True):
            seq = self._fresh.get(id) or known.get(id) or self._add(list(runs([id])), [id], [topic], [body], changes)[0]
            numbers.append(seq)
        return numbers

    def _add(self, new: Sequence[Run], ids: Sequence[str], topics: Sequence[str], bodies: Sequence[bytes], changes: Changes) -> list[int]:
        first = self.head + 1
        numbers = list(range(first, first + len(ids)))
        rows = list(zip(numbers, topics, bodies, strict=True))
        self._fresh.update(zip(ids, numbers, strict=True))
        self._tail += rows
        self._bytes += sum(map(len, bodies))
        changes.events += rows
        for run in new:
            changes.ids.append((run, first))
            first += run.many
        self.head = numbers[-1]
        return numbers

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
