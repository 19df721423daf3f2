"""Handing events out: to members of consumers, who settle them, and to watchers, who only look. Part of the core, without I/O."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rlgpt.bus.consumer import IN_FLIGHT_BYTES, Batch, Consumer, Member, Topics
from rlgpt.bus.journal import Row
from rlgpt.bus.log import Log
from rlgpt.bus.turn import Outcome

if TYPE_CHECKING:
    from rlgpt.bus.clients import Client

PAGES = 8  # of the log, for one consumer in one turn: a late joiner must not hold up the others
BATCH_EVENTS, BATCH_BYTES = 256, 256 * 1024  # of one deliver frame


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

    def is_free(self) -> bool:
        return len(self.unseen) < self.credit and (self.size < IN_FLIGHT_BYTES or not self.unseen)


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
            for row in rows:
                if consumer.topics.match(row[1]) and not self._hand_out(consumer, row, now, out):
                    return False
                consumer.position = row[0]
            limit *= 2
        return True

    def _hand_out(self, consumer: Consumer, row: Row, now: float, out: Outcome) -> bool:
        member = consumer.next_member()
        if member is None:
            return False
        attempt = consumer.hand_out(row[0], len(row[2]), member, now)
        self._add(member.peer, member, row, attempt, out)
        return True

    def _show(self, watcher: Watcher, out: Outcome) -> bool:
        limit = max(16, 2 * (watcher.credit - len(watcher.unseen)))
        for _ in range(PAGES):
            if not watcher.is_free() or watcher.client.peer is None:
                return False
            rows = self._log.after(watcher.position, limit)
            if not rows:
                return False
            for row in rows:
                if watcher.topics.match(row[1]):
                    if not watcher.is_free():
                        return False
                    watcher.unseen.append((row[0], len(row[2])))
                    watcher.size += len(row[2])
                    self._add(watcher.client.peer, watcher, row, 0, out)
                watcher.position = row[0]
            limit *= 2
        return True

    def _add(self, peer: bytes, to: Member | Watcher, row: Row, attempt: int, out: Outcome) -> None:
        batch = to.batch
        if not batch.events:
            self._batches.append((peer, to))
        elif len(batch.events) >= BATCH_EVENTS or batch.size + len(row[2]) > BATCH_BYTES:
            _send(peer, to, out)
        batch.events.append([row[0], attempt, row[2]])
        batch.size += len(row[2])


def _send(peer: bytes, to: Member | Watcher, out: Outcome) -> None:
    out.send(peer, {"op": "deliver", "sub": to.sub, "events": to.batch.events})
    to.batch.events, to.batch.size = [], 0
