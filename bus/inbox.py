"""What a client was delivered and has not handled yet; one for each subscription and each watch. No I/O.

Credit bounds it: the broker sends no more than `credit` events that were not answered.
"""

from __future__ import annotations

import itertools
import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence

from rlgpt.bus.codec import Frame
from rlgpt.bus.errors import BusError

Key = tuple[int, int]  # seq, attempt
Item = tuple[int, int, bytes]  # seq, attempt, envelope


class Inbox:
    """`consumer` None: a watch. Everything but `get` and `acks.append` happens under the link's lock."""

    def __init__(
        self,
        sub: int,
        lock: threading.Lock,
        *,
        consumer: str | None,
        topics: Sequence[str],
        start: int | str,
        credit: int,
        max_attempts: int = 1,
        touch_s: float | None = None,
    ) -> None:
        self.sub, self.consumer, self.topics, self.credit = sub, consumer, list(topics), credit
        self.start, self.max_attempts, self.touch_s = start, max_attempts, touch_s
        self.ready = False  # the broker has confirmed it
        self.error: BusError | None = None
        self.queue: deque[Item] = deque()
        self.acks: deque[Key] = deque()
        self.arrived = threading.Condition(lock)
        self.on_arrival: Callable[[], None] | None = None  # of the asyncio face; called by the I/O thread
        self.stale: set[Key] = set()
        self.unconfirmed = 0  # frames with answers on their way
        self._held: set[Key] = set()
        self._touches: set[Key] = set()
        self._last = 0  # newest event a watch was sent
        self._unreported = 0
        self._seen = 0

    def frame(self) -> Frame:
        """As the broker is told, at first and after a reconnect."""
        return {
            "sub": self.sub,
            "consumer": self.consumer,
            "topics": self.topics,
            "start": max(self._last, self.start) if isinstance(self.start, int) else (self._last or self.start),
            "credit": self.credit,
            "max_attempts": self.max_attempts,
            "touch_s": self.touch_s,
            "holds": [list(key) for key in sorted(self._held)],
        }

    def put(self, attempt: int, seqs: Sequence[int], events: Sequence[bytes]) -> None:
        fresh = list(zip(seqs, itertools.repeat(attempt), events, strict=False))
        if self.consumer is None:
            if seqs and seqs[0] <= self._last:
                fresh = [event for event in fresh if event[0] > self._last]
            self._last = max(self._last, *seqs, 0)
        else:
            keys = [(seq, attempt) for seq in seqs]
            if not self._held.isdisjoint(keys):
                fresh = [event for event in fresh if (event[0], attempt) not in self._held]
            self._held.update(keys)
            for earlier in range(1, attempt):  # handed to us again because an answer crossed with a hello: begin it once
                for seq, _, _ in fresh:
                    self.mark_stale((seq, earlier))
        self.queue.extend(fresh)
        self._notify()

    def fail(self, error: BusError) -> None:
        self.error = error
        self._notify()

    def _notify(self) -> None:
        self.arrived.notify_all()
        if self.on_arrival:
            self.on_arrival()

    # ---------------------------------------------------------------- answers

    def is_worth_telling(self) -> bool:
        """Whether acknowledgements should leave now: they gather while others are on their way to being confirmed."""
        return not self.unconfirmed or len(self.acks) * 4 >= self.credit

    def take_acks(self) -> list[tuple[int, list[int]]]:
        """What was acknowledged, by attempt."""
        acks: dict[int, list[int]] = {}
        while self.acks:
            seq, attempt = self.acks.popleft()
            acks.setdefault(attempt, []).append(seq)
        return list(acks.items())

    def confirmed(self, keys: Iterable[Key]) -> None:
        self.unconfirmed -= 1
        self._held.difference_update(keys)
        if self.stale:
            self.stale.difference_update(keys)

    def touch(self, key: Key) -> None:
        self._touches.add(key)

    def take_touches(self) -> list[Key]:
        touches = list(self._touches)
        self._touches.clear()
        return touches

    def mark_stale(self, key: Key) -> None:
        """Somebody else's by now. What the application has not begun it never sees; that is answered at once, which frees the credit."""
        if key not in self._held:
            return
        self.stale.add(key)
        for item in self.queue:
            if (item[0], item[1]) == key:
                self.queue.remove(item)
                self.acks.append(key)
                break

    def saw(self, seq: int) -> bool:
        """A watch's reader took an event; true if it is time to tell the broker, half its credit being used."""
        self._unreported += 1
        if self._unreported < max(1, self.credit // 2):
            return False
        self._unreported, self._seen = 0, seq
        return True

    def take_seen(self) -> int:
        seen, self._seen = self._seen, 0
        return seen
