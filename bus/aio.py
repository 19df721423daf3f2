"""The asyncio client: the same thread, session and names as the synchronous one, awaited."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Literal, TypeVar

from rlgpt.bus.calls import Call
from rlgpt.bus.client import ASK_S, BusClient, DeadLetter
from rlgpt.bus.envelope import Envelope
from rlgpt.bus.errors import PublishTimeout
from rlgpt.bus.subscription import Delivery, Event, Subscription, Watch

if TYPE_CHECKING:
    from rlgpt.bus.security import ClientKeys

T = TypeVar("T")


class AsyncBusClient:
    """For one event loop. `sync` is the client below it; its blocking methods may be used from other threads."""

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
        self.sync = BusClient(address, name, role=role, credentials=credentials, window=window, heartbeat_s=heartbeat_s)

    async def start(self, timeout_s: float = 10.0) -> None:
        await asyncio.to_thread(self.sync.start, timeout_s)

    @property
    def connected(self) -> bool:
        return self.sync.connected

    @property
    def silent_s(self) -> float:
        return self.sync.silent_s

    async def publish(self, *envelopes: Envelope, timeout_s: float = 30.0, lease: Delivery | None = None) -> list[int]:
        """As `BusClient.publish`. Cancelled or late, the events may still be journalled: the same ids are safe to publish again."""
        loop = asyncio.get_running_loop()
        calls = list(self.sync.calls(envelopes, lease))
        ends: list[asyncio.Future[None]] = []
        try:
            async with asyncio.timeout(timeout_s):
                for call in calls:
                    end = loop.create_future()
                    ends.append(end)
                    call.then = functools.partial(_call_soon, loop, functools.partial(_resolve, end))
                    await self._enqueue(call)
                for end in ends:
                    await end
        except TimeoutError:
            raise PublishTimeout(
                f"{len(envelopes)} event(s) not acknowledged by {self.sync.address} within {timeout_s:g} s "
                f"(the broker's last word was {self.silent_s:.1f} s ago); publishing them again under the same ids is safe"
            ) from None
        for call in calls:
            if call.error:
                raise call.error
        return [seq for call in calls for seq in call.seqs]

    async def _enqueue(self, call: Call) -> None:
        link = self.sync.link
        while True:
            with link.lock:
                if link.session.fatal:
                    raise link.session.fatal
                if self.sync.has_room(call):
                    link.session.publish(call)
                    break
                room = asyncio.get_running_loop().create_future()
                link.session.on_room.append(functools.partial(_call_soon, asyncio.get_running_loop(), functools.partial(_resolve, room)))
            await room
        link.wake()

    async def subscribe(
        self,
        consumer: str,
        topics: Sequence[str],
        *,
        start: Literal["first", "new"] | int = "first",
        credit: int = 64,
        max_attempts: int = 5,
        touch_s: float | None = None,
        timeout_s: float = ASK_S,
    ) -> AsyncSubscription:
        subscribe = functools.partial(self.sync.subscribe, start=start, credit=credit, max_attempts=max_attempts, touch_s=touch_s)
        return AsyncSubscription(await asyncio.to_thread(subscribe, consumer, topics, timeout_s=timeout_s))

    async def watch(self, topics: Sequence[str] = ("*",), *, after: int = 0, credit: int = 1024, timeout_s: float = ASK_S) -> AsyncWatch:
        return AsyncWatch(await asyncio.to_thread(self.sync.watch, topics, after=after, credit=credit, timeout_s=timeout_s))

    async def request(self, envelope: Envelope, *, reply: Sequence[str], timeout_s: float) -> Envelope:
        return await asyncio.to_thread(self.sync.request, envelope, reply=reply, timeout_s=timeout_s)

    async def dead_letters(self) -> list[DeadLetter]:
        return await asyncio.to_thread(self.sync.dead_letters)

    async def requeue(self, consumer: str, seq: int) -> None:
        await asyncio.to_thread(self.sync.requeue, consumer, seq)

    async def close(self, timeout_s: float = 5.0) -> None:
        await asyncio.to_thread(self.sync.close, timeout_s)


class _Arrivals:
    """Wakes the event loop when an inbox has something, once until it was looked at."""

    def __init__(self, reader: Subscription | Watch) -> None:
        self._inbox, self._link = reader.inbox, reader.link
        self._loop = asyncio.get_running_loop()
        self._waiting: set[asyncio.Future[None]] = set()
        with self._link.lock:
            self._inbox.on_arrival = self._arrived

    def _arrived(self) -> None:
        if self._waiting:
            _call_soon(self._loop, self._wake)

    def _wake(self) -> None:
        for future in self._waiting:
            _resolve(future)

    async def wait(self, timeout_s: float | None) -> None:
        """Until something is there, the subscription has ended, or the time is up."""
        future = self._loop.create_future()
        with self._link.lock:
            if self._inbox.queue or self._inbox.error:
                return
            self._waiting.add(future)
        try:
            await asyncio.wait([future], timeout=timeout_s)
        finally:
            with self._link.lock:
                self._waiting.discard(future)


class AsyncSubscription:
    def __init__(self, sync: Subscription) -> None:
        self.sync = sync
        self._arrivals = _Arrivals(sync)

    async def get(self, timeout_s: float | None = None) -> Delivery | None:
        """The next event to handle; None when `timeout_s` is over. A cancelled `get` loses nothing."""
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        while (delivery := self.sync.get(0)) is None:
            left = None if deadline is None else deadline - time.monotonic()
            if left is not None and left <= 0:
                return None
            await self._arrivals.wait(left)
        return delivery

    def close(self) -> None:
        self.sync.close()


class AsyncWatch:
    def __init__(self, sync: Watch) -> None:
        self.sync = sync
        self._arrivals = _Arrivals(sync)

    async def get(self, timeout_s: float | None = None) -> Event | None:
        """The next event; None when `timeout_s` is over."""
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        while (event := self.sync.get(0)) is None:
            left = None if deadline is None else deadline - time.monotonic()
            if left is not None and left <= 0:
                return None
            await self._arrivals.wait(left)
        return event

    def close(self) -> None:
        self.sync.close()


def _call_soon(loop: asyncio.AbstractEventLoop, function: Callable[[], None]) -> None:
    with contextlib.suppress(RuntimeError):  # the loop is closed: the application ended before its last acknowledgement arrived
        loop.call_soon_threadsafe(function)


def _resolve(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
