"""A named consumer, without I/O: what is settled, what is leased to whom, what waits to be handed out again.

Every consumer is a group. `position` says how far the log has been looked at; `open` holds the events up to there that are not settled.
An event up to `position` that is not in `open` is settled, or was not for this consumer.
"""

from __future__ import annotations

import heapq
import itertools
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from typing import NamedTuple

from rlgpt.bus.journal import ConsumerRow, OpenEntry
from rlgpt.bus.segments import Row

_lease = itemgetter(1)
MAX_CREDIT = 4096
IN_FLIGHT_BYTES = 8 * 1024 * 1024  # a member is given no more than this at a time, but always one event


class Topics:
    """A filter: exact names, `prefix.*`, or `*`."""

    def __init__(self, patterns: Iterable[str]) -> None:
        self.patterns = tuple(patterns)
        self._seen: dict[str, bool] = {}

    def match(self, topic: str) -> bool:
        hit = self._seen.get(topic)
        if hit is None:
            hit = any(covers(pattern, topic) for pattern in self.patterns)
            if len(self._seen) < 4096:  # topics are the publishers' choice: a bound keeps a hostile one from filling the memory
                self._seen[topic] = hit
        return hit


def covers(pattern: str, topic: str) -> bool:
    """Whether `pattern` (a name, `prefix.*` or `*`) includes `topic`, itself a name or a pattern."""
    if pattern in ("*", topic):
        return True
    return pattern.endswith(".*") and topic.startswith(pattern[:-1]) and topic != "*"


class Lease(NamedTuple):
    """An unsettled event. Never changed, only replaced: events that were handed out together share one.

    attempt   times it was handed out; the number that fences late results
    failures  attempts charged against `max_attempts`: refused (nack), overdue, or in hand when its process died
    owner     name of the client that has it, "" while it waits
    lost_by   the client that was declared dead with it: if that one returns before anybody else has it, it simply goes on
    """

    attempt: int
    failures: int
    owner: str
    deadline: float | None = None
    lost_by: str = ""


@dataclass(slots=True, eq=False)
class Batch:
    """What one turn delivers to one subscription and has not sent yet; all of one attempt."""

    attempt: int = 0
    seqs: list[int] = field(default_factory=list)
    events: list[bytes] = field(default_factory=list)
    size: int = 0


@dataclass(slots=True, eq=False)
class Member:
    """A subscription of a client, over its connection `peer`. `in_flight` was given and not answered: (seq, attempt) -> bytes."""

    client: str
    peer: bytes
    sub: int
    credit: int
    touch_s: float | None
    in_flight: dict[tuple[int, int], int] = field(default_factory=dict)
    size: int = 0
    batch: Batch = field(default_factory=Batch)

    def is_free(self) -> bool:
        return len(self.in_flight) < self.credit and (self.size < IN_FLIGHT_BYTES or not self.in_flight)

    def take(self, seq: int, attempt: int, size: int) -> None:
        self.in_flight[seq, attempt] = size
        self.size += size

    def take_all(self, rows: Sequence[Row], attempt: int) -> None:
        sizes = [len(row[2]) for row in rows]
        self.in_flight.update(zip([(row[0], attempt) for row in rows], sizes, strict=True))
        self.size += sum(sizes)

    def answer(self, seq: int, attempt: int) -> None:
        self.size -= self.in_flight.pop((seq, attempt), 0)


@dataclass(frozen=True, slots=True)
class Failed:
    """An event this consumer gave up on."""

    seq: int
    attempt: int
    failures: int
    reason: str


class Consumer:
    def __init__(self, name: str, topics: Sequence[str], position: int, max_attempts: int) -> None:
        self.name = name
        self.topics = Topics(topics)
        self.position = position
        self.max_attempts = max_attempts
        self.open: dict[int, Lease] = {}
        self.members: deque[Member] = deque()
        self.dirty = True
        self.saved = position
        self._waiting: list[tuple[float, int]] = []  # heap of (ready at, seq); stale entries are skipped

    # ---------------------------------------------------------------- disk

    @classmethod
    def restore(cls, row: ConsumerRow) -> Consumer:
        consumer = cls(row.name, row.topics, row.position, row.max_attempts)
        consumer.dirty = False
        for owner, leases in row.open.items():
            for entry in leases:
                seq, attempt, failures = (entry, 1, 0) if isinstance(entry, int) else entry
                consumer.open[seq] = Lease(attempt, failures, owner)
                if not owner:
                    heapq.heappush(consumer._waiting, (0.0, seq))
        return consumer

    def row(self) -> ConsumerRow:
        held: dict[str, list[OpenEntry]] = {}
        for lease, entries in itertools.groupby(self.open.items(), _lease):
            mine = held.setdefault(lease.owner, [])
            if lease.attempt == 1 and not lease.failures:
                mine += [seq for seq, _ in entries]
            else:
                mine += [[seq, lease.attempt, lease.failures] for seq, _ in entries]
        return ConsumerRow(self.name, self.topics.patterns, self.position, self.max_attempts, held)

    # ---------------------------------------------------------------- members

    def join(self, member: Member) -> None:
        self.members.append(member)

    def leave(self, member: Member) -> None:
        self.members.remove(member)

    def next_member(self) -> Member | None:
        """The next one in turn that has credit."""
        if len(self.members) == 1:
            return self.members[0] if self.members[0].is_free() else None
        for _ in range(len(self.members)):
            member = self.members[0]
            self.members.rotate(-1)
            if member.is_free():
                return member
        return None

    def free_credit(self) -> int:
        return sum(max(0, member.credit - len(member.in_flight)) for member in self.members if member.is_free())

    # ---------------------------------------------------------------- leases

    def waiting(self, now: float) -> int | None:
        """The lowest event that may be handed out again now."""
        while self._waiting:
            ready_at, seq = self._waiting[0]
            lease = self.open.get(seq)
            if lease is None or lease.owner:
                heapq.heappop(self._waiting)
            else:
                return seq if ready_at <= now else None
        return None

    def hand_out(self, seq: int, size: int, member: Member, now: float) -> int:
        """Lease an event to a member; returns the attempt's number."""
        before = self.open.get(seq)
        attempt, failures = (before.attempt + 1, before.failures) if before else (1, 0)
        self.open[seq] = Lease(attempt, failures, member.client, None if member.touch_s is None else now + member.touch_s)
        member.take(seq, attempt, size)
        self.dirty = True
        return attempt

    def hand_out_first(self, rows: Sequence[Row], member: Member, now: float) -> None:
        """Lease events that nobody had before to a member: their first attempt."""
        lease = Lease(1, 0, member.client, None if member.touch_s is None else now + member.touch_s)
        self.open.update(dict.fromkeys([row[0] for row in rows], lease))
        member.take_all(rows, 1)
        self.dirty = True

    def is_current(self, seq: int, attempt: int, client: str) -> bool:
        lease = self.open.get(seq)
        return lease is not None and lease.attempt == attempt and lease.owner == client

    def settle(self, seq: int) -> None:
        """Done with: acknowledged, or given up."""
        self.open.pop(seq, None)
        self.dirty = True

    def acknowledge(self, seqs: Iterable[int], attempt: int, member: Member) -> None:
        """Handled, as far as this is still the member's attempt; its credit is returned in any case."""
        leases, in_flight, client = self.open, member.in_flight, member.client
        size = 0
        for seq in seqs:
            size += in_flight.pop((seq, attempt), 0)
            lease = leases.get(seq)
            if lease is not None and lease.attempt == attempt and lease.owner == client:
                del leases[seq]
        member.size -= size
        self.dirty = True

    def touch(self, seq: int, member: Member, now: float) -> None:
        if member.touch_s is not None:
            self.open[seq] = self.open[seq]._replace(deadline=now + member.touch_s)

    def give_back(
        self, seq: int, now: float, *, reason: str = "", charge: bool, delay_s: float = 0.0, final: bool = False
    ) -> Failed | None:
        """Take an event from its owner, to be handed out again; or, its attempts spent, returns it as failed and settled."""
        lease = self.open[seq]
        lease = self.open[seq] = lease._replace(failures=lease.failures + charge, owner="", deadline=None)
        self.dirty = True
        if final or (charge and lease.failures >= self.max_attempts):
            del self.open[seq]
            return Failed(seq, lease.attempt, lease.failures, reason)
        heapq.heappush(self._waiting, (now + delay_s if delay_s else 0.0, seq))
        return None

    def readopt(self, seq: int, attempt: int, client: str) -> bool:
        """Whether `client`, back again, may go on with what it holds."""
        if self.is_current(seq, attempt, client):
            return True
        lease = self.open.get(seq)
        if lease is None or lease.attempt != attempt or lease.owner or lease.lost_by != client:
            return False
        self.open[seq] = lease._replace(owner=client, lost_by="")
        self.dirty = True
        return True

    def release(self, client: str, now: float, *, reason: str, lost: bool) -> list[Failed]:
        """Take everything from a client that left.

        If it was lost, the oldest event of each of its subscriptions is charged with the failure: that is the one it was working on. The
        others had only been sent ahead, and must not follow a poisonous one to the dead letters.
        """
        held = {seq for seq, lease in self.open.items() if lease.owner == client}
        mine = [member for member in self.members if member.client == client]
        at_work = {next((seq for seq, attempt in member.in_flight if self.is_current(seq, attempt, client)), 0) for member in mine} - {0}
        if held and not at_work:  # after the broker's own restart it does not know the order any more
            at_work = {min(held)}
        failed = []
        for seq in sorted(held):
            gone = self.give_back(seq, now, reason=reason, charge=lost and seq in at_work)
            if gone:
                failed.append(gone)
            elif lost:
                self.open[seq] = self.open[seq]._replace(lost_by=client)
        return failed

    def overdue(self, now: float) -> list[int]:
        return [seq for seq, lease in self.open.items() if lease.deadline is not None and lease.deadline <= now]

    def postpone(self, gap: float) -> None:
        """Time the broker itself was not running is nobody's fault."""
        for seq, lease in self.open.items():
            if lease.deadline is not None:
                self.open[seq] = lease._replace(deadline=lease.deadline + gap)

    def put_back(self, seq: int, attempt: int) -> None:
        """A dead letter gets another life; attempts are counted on, so that results of earlier ones stay fenced off."""
        self.open[seq] = Lease(attempt, 0, "")
        heapq.heappush(self._waiting, (0.0, seq))
        self.dirty = True
