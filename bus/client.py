"""The synchronous client: for trainers, workers, the command line. `aio` is the asyncio face over the same thread."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import structlog

from rlgpt.bus.calls import Asked, Call
from rlgpt.bus.codec import MAX_EVENTS, encode
from rlgpt.bus.envelope import Envelope
from rlgpt.bus.errors import (
    BusClosed,
    BusError,
    BusUnreachable,
    PublishTimeout,
    Refused,
    RequestFailed,
    RequestTimeout,
    StaleLease,
)
from rlgpt.bus.inbox import Inbox
from rlgpt.bus.link import Link
from rlgpt.bus.messages import DeadLettered
from rlgpt.bus.session import Session
from rlgpt.bus.subscription import Delivery, Event, Subscription, Watch

if TYPE_CHECKING:
    from rlgpt.bus.security import ClientKeys

__all__ = [
    "BusClient",
    "BusClosed",
    "BusError",
    "BusUnreachable",
    "DeadLetter",
    "Delivery",
    "Event",
    "PublishTimeout",
    "Refused",
    "RequestFailed",
    "RequestTimeout",
    "StaleLease",
    "Subscription",
    "Watch",
]

log = structlog.get_logger()

CALL_BYTES = 4 * 1024 * 1024  # envelopes journalled in one transaction
ONE = Call([b""])  # stands for any single envelope
ASK_S = 10.0  # deadline of what the broker answers at once


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """An event a consumer gave up on after `failures` failed of `attempts` attempts."""

    consumer: str
    seq: int
    attempts: int
    failures: int
    reason: str


class BusClient:
    def __init__(
        self,
        address: str,
        name: str,
        *,
        role: str = "",
        credentials: ClientKeys | None = None,
        window: int = 1024,
        heartbeat_s: float = 1.0,
    ) -> None:
        """`name` is the process's own, such as `trainer-1`, and unique: a second client of that name replaces the first.

        window       envelopes published and not yet acknowledged before `publish` blocks
        heartbeat_s  seconds between heartbeats; after three missing ones the broker gives this client's work to others
        """
        self.address, self.name = address, name
        self._window = window
        self._session = Session(name, role, heartbeat_s)
        self._link = Link(address, self._session, credentials)
        self._subs = itertools.count(1)

    def start(self, timeout_s: float = 10.0) -> None:
        """Connect and be welcomed. Raises BusUnreachable at the deadline, Refused if the broker does not want us."""
        self._link.start(timeout_s)

    @property
    def connected(self) -> bool:
        """Welcomed, and the broker has spoken within three heartbeats."""
        return self._session.up and self.silent_s < 3 * self._session.heartbeat_s

    @property
    def silent_s(self) -> float:
        """Seconds since the broker's last word (infinite before the first)."""
        heard = self._link.heard
        return float("inf") if heard is None else time.monotonic() - heard

    @property
    def head(self) -> int:
        """The log's last sequence number when the broker welcomed us: what came before is history."""
        return self._session.head

    # ---------------------------------------------------------------- publish

    def publish(self, *envelopes: Envelope, timeout_s: float = 30.0, lease: Delivery | None = None) -> list[int]:
        """Journal events; returns their sequence numbers (a repeat's are the original's) once all are on the broker's disk.

        Up to 4 MB and a window's worth go into one transaction: all of them are there after a crash, or none.
        Raises StaleLease if the `lease` is somebody else's by now, Refused, PublishTimeout, BusClosed.
        """
        deadline = time.monotonic() + timeout_s
        calls = list(self.calls(envelopes, lease))
        for call in calls:
            self._enqueue(call, deadline)
        with self._link.lock:
            self._link.changed.wait_for(lambda: all(call.done for call in calls), max(0.0, deadline - time.monotonic()))
            undone = sum(not call.done for call in calls)
        if undone:
            raise PublishTimeout(
                f"{len(envelopes)} event(s) not acknowledged by {self.address} within {timeout_s:g} s "
                f"(the broker's last word was {self.silent_s:.1f} s ago); publishing them again under the same ids is safe"
            )
        for call in calls:
            if call.error:
                raise call.error
        return [seq for call in calls for seq in call.seqs]

    def publish_nowait(self, *envelopes: Envelope, timeout_s: float = 30.0) -> None:
        """Hand events over without waiting; blocks while the window is full. What goes wrong is raised by the next call, or by `flush`."""
        raws = [encode(envelope) for envelope in envelopes]
        session = self._session
        with self._link.lock:
            if session.background:
                error, session.background = session.background, None
                raise error
            for raw in raws:
                if session.unacknowledged >= self._window or session.fatal:
                    self._wait_for_room(timeout_s)
                session.publish_nowait(raw)
            leaving = session.is_worth_sending()
        if leaving:
            self._link.wake()

    def flush(self, timeout_s: float = 30.0) -> None:
        """Wait until everything handed over is acknowledged. Raises PublishTimeout, or what went wrong in the background."""
        session = self._session
        with self._link.lock:
            done = self._link.changed.wait_for(lambda: not session.unacknowledged or session.fatal, timeout_s)
            unacknowledged, fatal = session.unacknowledged, session.fatal
        self._raise_background()
        if fatal and unacknowledged:
            raise fatal
        if not done:
            raise PublishTimeout(f"{unacknowledged} event(s) not acknowledged by {self.address} within {timeout_s:g} s")

    def calls(self, envelopes: Sequence[Envelope], lease: Delivery | None) -> Iterator[Call]:
        """Encoded and cut into transactions."""
        most = min(self._window, MAX_EVENTS)
        raws: list[bytes] = []
        size = 0
        fence = None if lease is None else (lease.consumer, lease.seq, lease.attempt)
        for envelope in envelopes:
            raw = encode(envelope)
            if raws and (len(raws) >= most or size + len(raw) > CALL_BYTES):
                yield Call(raws, fence, size)
                raws, size = [], 0
            raws.append(raw)
            size += len(raw)
        if raws:
            yield Call(raws, fence, size)

    def has_room(self, call: Call) -> bool:
        """Whether the window takes it (an empty window takes anything)."""
        unacknowledged = self._session.unacknowledged
        return not unacknowledged or unacknowledged + len(call.raws) <= self._window

    def _enqueue(self, call: Call, deadline: float) -> None:
        with self._link.lock:
            if not self.has_room(call) or self._session.fatal:
                self._wait_for_room(deadline - time.monotonic(), call)
            self._session.publish(call)
        self._link.wake()

    def _wait_for_room(self, timeout_s: float, call: Call = ONE) -> None:
        """Under the lock."""
        session = self._session
        self._link.wake()
        self._link.changed.wait_for(lambda: self.has_room(call) or session.fatal, max(0.0, timeout_s))
        if session.fatal:
            raise session.fatal
        if not self.has_room(call):
            raise PublishTimeout(f"the window of {self._window} unacknowledged events at {self.address} stayed full")

    def _raise_background(self) -> None:
        with self._link.lock:
            error, self._session.background = self._session.background, None
        if error:
            raise error

    # ---------------------------------------------------------------- subscribe

    def subscribe(
        self,
        consumer: str,
        topics: Sequence[str],
        *,
        start: Literal["first", "new"] | int = "first",
        credit: int = 64,
        max_attempts: int = 5,
        touch_s: float | None = None,
        timeout_s: float = ASK_S,
    ) -> Subscription:
        """Join the durable consumer of that name; the first to do so creates it at `start`, a number meaning: after that event.

        topics        exact names, `prefix.*`, or `*`; all members of a consumer use the same
        credit        events this member is given before it has answered
        max_attempts  failed attempts after which an event becomes a dead letter
        touch_s       an event neither answered nor touched for so long is given to somebody else; None: only when this process dies
        """
        inbox = Inbox(
            next(self._subs),
            self._link.lock,
            consumer=consumer,
            topics=topics,
            start=start,
            credit=credit,
            max_attempts=max_attempts,
            touch_s=touch_s,
        )
        self._open(inbox, timeout_s)
        return Subscription(self._link, inbox)

    def watch(self, topics: Sequence[str] = ("*",), *, after: int = 0, credit: int = 1024, timeout_s: float = ASK_S) -> Watch:
        """Look at the log: everything after number `after`, then what comes. Nothing is settled, nothing is remembered by the broker."""
        inbox = Inbox(next(self._subs), self._link.lock, consumer=None, topics=topics, start=after, credit=credit)
        self._open(inbox, timeout_s)
        return Watch(self._link, inbox)

    def _open(self, inbox: Inbox, timeout_s: float) -> None:
        session = self._session
        with self._link.lock:
            if session.fatal:
                raise session.fatal
            session.open(inbox)
            self._link.wake()
            self._link.changed.wait_for(lambda: inbox.ready or inbox.error, timeout_s)
            if inbox.ready:
                return
            error = inbox.error
            session.close(inbox)
        raise error or BusUnreachable(f"no answer from {self.address} to the subscription of {inbox.consumer or 'a watch'}")

    # ---------------------------------------------------------------- requests and dead letters

    def request(self, envelope: Envelope, *, reply: Sequence[str], timeout_s: float) -> Envelope:
        """Publish, and wait for the event of a `reply` topic that names this one as its cause.

        Always ends: with the reply, with RequestFailed (its receiver gave up; the text says why), or with RequestTimeout.
        """
        deadline = time.monotonic() + timeout_s
        seq = self.publish(envelope, timeout_s=timeout_s)[0]
        watch = self.watch((*reply, DeadLettered.TOPIC), after=seq, timeout_s=max(0.1, deadline - time.monotonic()))
        try:
            while (event := watch.get(max(0.0, deadline - time.monotonic()))) is not None:
                if event.envelope.causationid == envelope.id:
                    return event.envelope
                raise_if_dead(event, envelope)
        finally:
            watch.close()
        raise RequestTimeout(f"no reply to {envelope.type} {envelope.id} on {list(reply)} within {timeout_s:g} s")

    def dead_letters(self, timeout_s: float = ASK_S) -> list[DeadLetter]:
        """The newest thousand events that consumers gave up on."""
        answer = self._ask({"op": "dead"}, timeout_s).answer or {}
        return [DeadLetter(*letter) for letter in answer.get("letters", ())]

    def requeue(self, consumer: str, seq: int, timeout_s: float = ASK_S) -> None:
        """Give a dead letter to its consumer again, with all its attempts before it. Raises Refused if there is no such letter."""
        self._ask({"op": "requeue", "consumer": consumer, "seq": seq}, timeout_s)

    def _ask(self, frame: dict[str, object], timeout_s: float) -> Asked:
        with self._link.lock:
            if self._session.fatal:
                raise self._session.fatal
            asked = self._session.ask(frame)
            self._link.wake()
            if not self._link.changed.wait_for(lambda: asked.done, timeout_s):
                self._session.forget(asked)
        if asked.error:
            raise asked.error
        if not asked.done:
            raise BusUnreachable(f"no answer from {self.address} to {frame['op']!r} within {timeout_s:g} s")
        return asked

    # ---------------------------------------------------------------- end

    def close(self, timeout_s: float = 5.0) -> None:
        """Wait up to `timeout_s` for what was said to be confirmed, say goodbye, end the thread. Unanswered deliveries go to others."""
        session = self._session
        with self._link.lock:
            self._link.wake()
            done = self._link.changed.wait_for(lambda: session.is_idle() or session.fatal, timeout_s)
            unacknowledged = session.unacknowledged
        if not done:
            log.warning("bus_closed_unconfirmed", name=self.name, address=self.address, unacknowledged=unacknowledged)
        self._link.stop()

    @property
    def link(self) -> Link:
        """For the asyncio face."""
        return self._link


def raise_if_dead(event: Event, request: Envelope) -> None:
    """Raise RequestFailed if the event says that the request became a dead letter."""
    if event.envelope.type == DeadLettered.TYPE:
        letter = event.envelope.message()
        if isinstance(letter, DeadLettered) and letter.id == request.id:
            raise RequestFailed(
                f"{request.type} {request.id}: {letter.consumer} gave up after {letter.attempts} attempt(s): {letter.reason}"
            )
