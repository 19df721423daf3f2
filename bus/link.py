"""The client's one I/O thread: socket, heartbeat and reconnection around a session.

Applications' threads leave work under the lock and wake it through an eventfd; no zmq socket is touched by two threads. (`zmq.asyncio`
costs four times the CPU, and a shadow of its socket swallows the edge-triggered readiness.)
"""

from __future__ import annotations

import contextlib
import os
import struct
import threading
import time
from collections import deque
from typing import TYPE_CHECKING

import structlog
import zmq

from rlgpt.bus.codec import MAX_FRAME
from rlgpt.bus.errors import BusClosed, BusUnreachable, Malformed, Refused
from rlgpt.bus.session import Session

if TYPE_CHECKING:
    from rlgpt.bus.security import ClientKeys

log = structlog.get_logger()

RECONNECT_MS, RECONNECT_MAX_MS = 50, 500
EVENTS = (
    zmq.EVENT_HANDSHAKE_SUCCEEDED
    | zmq.EVENT_DISCONNECTED
    | zmq.EVENT_CONNECT_RETRIED
    | zmq.EVENT_HANDSHAKE_FAILED_AUTH
    | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
    | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
)


class Link:
    def __init__(self, address: str, session: Session, credentials: ClientKeys | None) -> None:
        self.address = address
        self.session = session
        self.lock = threading.Lock()
        self.changed = threading.Condition(self.lock)  # something was answered, or the connection changed
        self.heard: float | None = None
        self.trouble = "nothing listens there"
        self._credentials = credentials
        self._wakeup = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._woken = False
        self._stopping = False
        self._unsendable: deque[bytes] = deque()  # accepted by nobody yet: the queue to the broker is full
        self._thread = threading.Thread(target=self._run, name=f"bus-{session.name}", daemon=True)

    def start(self, timeout_s: float) -> None:
        self._thread.start()
        with self.lock:
            self.changed.wait_for(lambda: self.session.up or self.session.fatal, timeout_s)
            up, fatal = self.session.up, self.session.fatal
        if not up:
            self.stop()
            if fatal:
                raise fatal
            raise BusUnreachable(f"no broker answered at {self.address} within {timeout_s:g} s: {self.trouble}. Is the run's broker alive?")

    def wake(self) -> None:
        if not self._woken:  # one wake-up is enough for everything left until the thread runs
            self._woken = True
            with contextlib.suppress(OSError):  # closed
                os.eventfd_write(self._wakeup, 1)

    def stop(self) -> None:
        """Say goodbye and end the thread."""
        self._stopping = True
        if self._thread.is_alive():
            self.wake()
            self._thread.join(5.0)
        elif self._thread.ident is None and not self._woken:  # never started
            self._woken = True
            os.close(self._wakeup)

    # ---------------------------------------------------------------- the I/O thread

    def _run(self) -> None:
        context = zmq.Context()
        dealer = context.socket(zmq.DEALER)
        try:
            monitor = self._connect(dealer)
            self._loop(dealer, monitor)
        except Exception as error:
            log.exception("bus_thread_failed", address=self.address)
            with self.lock:
                self.session.end(BusClosed(f"the bus thread ended: {type(error).__name__}: {error}"))
        finally:
            dealer.disable_monitor()
            context.destroy(linger=500)
            with self.lock:
                if self.session.fatal is None:
                    self.session.end(BusClosed(f"client {self.session.name} is closed"))
                self.changed.notify_all()
                self._woken = True  # nobody may write to a closed (and perhaps reused) file descriptor
            os.close(self._wakeup)

    def _connect(self, dealer: zmq.Socket[bytes]) -> zmq.Socket[bytes]:
        dealer.setsockopt(zmq.IMMEDIATE, 1)  # no queue to a connection that does not exist: what it held would overtake what is sent again
        dealer.setsockopt(zmq.RECONNECT_IVL, RECONNECT_MS)
        dealer.setsockopt(zmq.RECONNECT_IVL_MAX, RECONNECT_MAX_MS)
        dealer.setsockopt(zmq.MAXMSGSIZE, MAX_FRAME)
        dealer.setsockopt(zmq.LINGER, 500)
        if self.address.startswith("tcp://"):  # a pulled cable says nothing: let libzmq find out
            dealer.setsockopt(zmq.HEARTBEAT_IVL, 2000)
            dealer.setsockopt(zmq.HEARTBEAT_TIMEOUT, 6000)
        if self._credentials is not None:
            self._credentials.secure_client(dealer)
        monitor = dealer.get_monitor_socket(EVENTS)
        dealer.connect(self.address)
        return monitor

    def _loop(self, dealer: zmq.Socket[bytes], monitor: zmq.Socket[bytes]) -> None:
        poller = zmq.Poller()
        poller.register(monitor, zmq.POLLIN)
        poller.register(self._wakeup, zmq.POLLIN)
        tick_ms = max(10, int(min(self.session.heartbeat_s, 1.0) * 500))
        while not self._stopping:
            poller.register(dealer, zmq.POLLIN | (zmq.POLLOUT if self._unsendable else 0))
            poller.poll(tick_ms)
            with contextlib.suppress(BlockingIOError):
                os.eventfd_read(self._wakeup)
            self._woken = False  # only after the read: whatever is left from here on wakes the next turn
            # Frames before news of the connection: what an old connection still delivered has to be in the next hello.
            self._receive(dealer)
            while monitor.poll(0):
                self._connection(monitor.recv_multipart()[0])
            with self.lock:
                frames = [] if self._unsendable else self.session.outgoing(time.monotonic())
            self._send(dealer, frames)
        with self.lock:
            frames = [self.session.bye()] if self.session.up else []
        self._send(dealer, frames)

    def _receive(self, dealer: zmq.Socket[bytes]) -> None:
        frames = []
        with contextlib.suppress(zmq.Again):
            while True:
                frames.append(dealer.recv(zmq.NOBLOCK))
        if not frames:
            return
        self.heard = time.monotonic()
        with self.lock:
            for frame in frames:
                try:
                    self.session.receive(frame)
                except (Malformed, KeyError, TypeError, ValueError) as error:
                    log.error("bus_frame_not_understood", address=self.address, error=repr(error))
            self.changed.notify_all()

    def _connection(self, news: bytes) -> None:
        """News of the socket's monitor: event (16 bits), value (32 bits). pyzmq's own parser would import `zmq.asyncio`."""
        event, _ = struct.unpack("=HI", news)
        with self.lock:
            match event:
                case zmq.EVENT_HANDSHAKE_SUCCEEDED:
                    self._unsendable.clear()
                    self.session.connected()
                case zmq.EVENT_DISCONNECTED:
                    self.trouble = "the connection was closed"
                    self._unsendable.clear()
                    self.session.disconnected()
                case zmq.EVENT_HANDSHAKE_FAILED_AUTH:
                    self.session.end(Refused(f"the broker at {self.address} does not know this client's key; add it with `rlgpt keys`"))
                case zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL:
                    self.trouble = "the handshake failed (one side uses keys and the other does not, or the broker's key is another one)"
            self.changed.notify_all()

    def _send(self, dealer: zmq.Socket[bytes], frames: list[bytes]) -> None:
        self._unsendable.extend(frames)
        try:
            while self._unsendable:
                dealer.send(self._unsendable[0], zmq.NOBLOCK)
                self._unsendable.popleft()
        except zmq.Again:
            pass  # the queue is full or the connection gone: the rest stays here, or is said again after the next welcome
