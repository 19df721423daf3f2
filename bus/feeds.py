"""Handing events out: to members of consumers, who settle them, and to watchers, who only look. Part of the core, without I/O."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence, Sized
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rlgpt.bus.consumer import IN_FLIGHT_BYTES, Batch, Consumer, Member, Topics
from rlgpt.bus.log import Log
from rlgpt.bus.segments import Row
from rlgpt.bus.turn import Outcome

if TYPE_CHECKING:
    from rlgpt.bus.clients import Client

PAGES = 8  # of the log, for one consumer in one turn: a late joiner must not hold up the others
BATCH_EVENTS, BATCH_BYTES = 256, 512 * 1024  # of one deliver frame


@dataclass(slots=True, eq=False)
class Watcher:
    """A look at the log that nobody settles: `unseen` is what was sent and not yet seen, as (seq, bytes)."""

    client: Client
    sub: int
    topics: Topics
    position: int
    credit: int
    unseen: deque[tuple[int, int]] = field(default_factory=deque)
    size: int = 0
    batch: Batch = field(default_factory=Batch)

    @property
    def in_flight(self) -> Sized:
        return self.unseen

    def is_free(self) -> bool:
        return len(self.unseen) < self.credit and (self.size < IN_FLIGHT_BYTES or not self.unseen)

    def take_all(self, rows: Sequence[Row]) -> None:
        self.unseen.extend((row[0], len(row[2])) for row in rows)
        self.size += sum(len(row[2]) for row in rows)


class Feeds:
    def __init__(self, log: Log, consumers: dict[str, Consumer]) -> None:
        self._log = log
        self._consumers = consumers
        self.watchers: list[Watcher] = []
        self._batches: list[tuple[bytes, Member | Watcher]] = []  # those that have something in this turn

    def seen(self, client: Client, sub: int, seq: int) -> None:
        """A watcher has looked at everything up to `seq`."""
        watcher = client.watchers.get(sub)
        while watcher and watcher.unseen and watcher.unseen[0][0] <= seq:
            watcher.size -= watcher.unseen.popleft()[1]

    def run(self, now: float, out: Outcome) -> bool:
        """Hand out what there is credit for; true if there is more that could be handed out at once."""
        again = False
        for consumer in self._consumers.values():
            again |= self._feed(consumer, now, out)
        for watcher in self.watchers:
            again |= self._show(watcher, out)
        for peer, to in self._batches:
            _send(peer, to, out)
        self._batches.clear()
        return again

    def _feed(self, consumer: Consumer, now: float, out: Outcome) -> bool:
        credit = consumer.free_credit()
        if not credit:
            return False
        while (waiting := consumer.waiting(now)) is not None:
            row = self._log.get(waiting)
            if row is None:  # compacted away
                consumer.settle(waiting)
            elif not self._hand_out(consumer, row, now, out):
                return False
        limit = max(16, 2 * credit)
        for _ in range(PAGES):
            rows = self._log.after(consumer.position, limit)
            if not rows:
                return False
            wanted = _matching(rows, consumer.topics)
            given = self._hand_out_first(consumer, wanted, now, out)
            if given < len(wanted):
                consumer.position = wanted[given][0] - 1
                return False
            consumer.position = rows[-1][0]
            limit *= 2
        return True

    def _hand_out_first(self, consumer: Consumer, rows: Sequence[Row], now: float, out: Outcome) -> int:
        """Hand out events that nobody had before, as far as there is credit; returns how many."""
        if len(consumer.members) == 1:
            member = consumer.members[0]
            given = _affordable(rows, member)
            if given:
                consumer.hand_out_first(given, member, now)
                self._add(member.peer, member, given, 1, out)
            return len(given)
        for number, row in enumerate(rows):
            if not self._hand_out(consumer, row, now, out):
                return number
        return len(rows)

    def _hand_out(self, consumer: Consumer, row: Row, now: float, out: Outcome) -> bool:
        member = consumer.next_member()
        if member is None:
            return False
        attempt = consumer.hand_out(row[0], len(row[2]), member, now)
        self._add(member.peer, member, (row,), attempt, out)
        return True

    def _show(self, watcher: Watcher, out: Outcome) -> bool:
        limit = max(16, 2 * (watcher.credit - len(watcher.unseen)))
        for _ in range(PAGES):
            if not watcher.is_free() or watcher.client.peer is None:
                return False
            rows = self._log.after(watcher.position, limit)
            if not rows:
                return False
            wanted = _matching(rows, watcher.topics)
            given = _affordable(wanted, watcher)
            if given:
                watcher.take_all(given)
                self._add(watcher.client.peer, watcher, given, 0, out)
            if len(given) < len(wanted):
                watcher.position = wanted[len(given)][0] - 1
                return False
            watcher.position = rows[-1][0]
            limit *= 2
        return True

    def _add(self, peer: bytes, to: Member | Watcher, rows: Sequence[Row], attempt: int, out: Outcome) -> None:
        size = sum([len(row[2]) for row in rows])
        if len(rows) > 1 and (len(rows) > BATCH_EVENTS or size > BATCH_BYTES):
            half = len(rows) // 2
            self._add(peer, to, rows[:half], attempt, out)
            self._add(peer, to, rows[half:], attempt, out)
            return
        batch = to.batch
        full = len(batch.seqs) + len(rows) > BATCH_EVENTS or batch.size + size > BATCH_BYTES
        if batch.seqs and (full or batch.attempt != attempt):
            _send(peer, to, out)
        elif not batch.seqs:
            self._batches.append((peer, to))
        batch.attempt = attempt
        batch.seqs += [row[0] for row in rows]
        batch.events += [row[2] for row in rows]
        batch.size += size


def _matching(rows: list[Row], topics: Topics) -> list[Row]:
    match = {topic: topics.match(topic) for topic in {row[1] for row in rows}}
    return rows if all(match.values()) else [row for row in rows if match[row[1]]]


def _affordable(rows: Sequence[Row], to: Member | Watcher) -> Sequence[Row]:
    """As many of them, from the first on, as there is credit for."""
    rows = rows[: max(0, to.credit - len(to.in_flight))]
    size = to.size
    if size + sum([len(row[2]) for row in rows]) <= IN_FLIGHT_BYTES:
        return rows
    for number, row in enumerate(rows):
        if size >= IN_FLIGHT_BYTES and (number or to.in_flight):
            return rows[:number]
        size += len(row[2])
    return rows


def _send(peer: bytes, to: Member | Watcher, out: Outcome) -> None:
    batch = to.batch
    out.send(peer, {"op": "deliver", "sub": to.sub, "attempt": batch.attempt, "seqs": batch.seqs, "events": batch.events})
    batch.seqs, batch.events, batch.size = [], [], 0
