"""What an application holds: a subscription with its deliveries, or a watch with its events."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rlgpt.bus.codec import decode
from rlgpt.bus.envelope import Envelope
from rlgpt.bus.errors import StaleLease
from rlgpt.bus.inbox import Inbox, Item

if TYPE_CHECKING:
    from rlgpt.bus.link import Link

TOUCH_EVERY_S = 0.25  # more frequent touches are free: they are not sent


@dataclass(frozen=True, slots=True)
class Event:
    """An event of the log, only looked at."""

    seq: int
    envelope: Envelope


class Delivery:
    """An event to handle, leased to this client until it is answered: ack, nack, or the loss of the process. Thread-safe.

    attempt    times it has been handed out; 2 or more: somebody may have worked on it before
    is_stale   it belongs to somebody else by now; results published with it as `lease` are refused
    """

    __slots__ = ("_inbox", "_link", "_touched", "attempt", "consumer", "envelope", "seq")

    def __init__(self, link: Link, inbox: Inbox, seq: int, attempt: int, envelope: Envelope) -> None:
        self._link, self._inbox = link, inbox
        self.seq, self.attempt, self.envelope = seq, attempt, envelope
        self.consumer = inbox.consumer or ""
        self._touched = 0.0

    @property
    def is_stale(self) -> bool:
        return (self.seq, self.attempt) in self._inbox.stale

    def ack(self) -> None:
        """Handled. Returns at once; it is said again until the broker has confirmed it."""
        self._inbox.acks.append((self.seq, self.attempt))
        if self._inbox.is_worth_telling():
            self._link.wake()

    def nack(self, reason: str, requeue: bool = True, delay_s: float = 0.0) -> None:
        """Not handled, for `reason`: hand it out again after `delay_s` seconds, or with `requeue` False set it aside as a dead letter."""
        key = (self.seq, self.attempt)
        frame = {"op": "nack", "sub": self._inbox.sub, "seq": self.seq, "attempt": self.attempt, "reason": reason[:65_536]}
        with self._link.lock:
            self._link.session.ask({**frame, "requeue": requeue, "delay_s": delay_s}, self._inbox, [key])
        self._link.wake()

    def touch(self) -> None:
        """Still making progress. Cheap enough for an inner loop. Raises StaleLease if the work was given to somebody else."""
        if self.is_stale:
            raise StaleLease(
                f"attempt {self.attempt} of event {self.seq} of {self.consumer!r} was given to somebody else; stop working on it"
            )
        now = time.monotonic()
        every = min(TOUCH_EVERY_S, self._inbox.touch_s / 4) if self._inbox.touch_s else TOUCH_EVERY_S
        if now - self._touched >= every:
            self._touched = now
            with self._link.lock:
                self._inbox.touch((self.seq, self.attempt))
            self._link.wake()

    def __repr__(self) -> str:
        return f"Delivery(seq={self.seq}, attempt={self.attempt}, consumer={self.consumer!r}, type={self.envelope.type!r})"


class _Reader:
    """What subscriptions and watches share: taking from an inbox."""

    def __init__(self, link: Link, inbox: Inbox) -> None:
        self.link, self.inbox = link, inbox

    def take(self, timeout_s: float | None) -> Item | None:
        """The next event, or None when the time is up (0: do not wait, None: wait for ever). Raises what ended the subscription."""
        inbox = self.inbox
        try:
            return inbox.queue.popleft()  # atomic: the usual case needs no lock
        except IndexError:
            pass
        with self.link.lock:
            inbox.arrived.wait_for(lambda: inbox.queue or inbox.error, timeout_s)
            if inbox.queue:
                return inbox.queue.popleft()
            if inbox.error:
                raise inbox.error
        return None

    def close(self) -> None:
        """End it; what was delivered and not answered goes to the consumer's other members, or waits for the next one."""
        with self.link.lock:
            self.link.session.close(self.inbox)
        self.link.wake()


class Subscription(_Reader):
    """A member of a named consumer."""

    def get(self, timeout_s: float | None = None) -> Delivery | None:
        """The next event to handle; None when `timeout_s` is over."""
        while True:
            item = self.take(timeout_s)
            if item is None:
                return None
            seq, attempt, raw = item
            if (seq, attempt) not in self.inbox.stale:
                return Delivery(self.link, self.inbox, seq, attempt, decode(raw))
            self.inbox.acks.append((seq, attempt))  # taken back while we took it: only the credit is to be returned
            self.link.wake()


class Watch(_Reader):
    """A look at the log: history, then live, in order, without gaps or repeats."""

    def get(self, timeout_s: float | None = None) -> Event | None:
        """The next event; None when `timeout_s` is over."""
        item = self.take(timeout_s)
        if item is None:
            return None
        seq, _, raw = item
        self.saw(seq)
        return Event(seq, decode(raw))

    def saw(self, seq: int) -> None:
        with self.link.lock:
            report = self.inbox.saw(seq)
        if report:
            self.link.wake()
