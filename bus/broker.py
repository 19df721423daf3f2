"""The broker's process: sockets, the clock and the journal around the core. One thread, one poll loop."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import ipaddress
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import structlog
import zmq

from rlgpt.bus.codec import MAX_FRAME
from rlgpt.bus.core import Core
from rlgpt.bus.errors import AddressInUse, BusError, Refused
from rlgpt.bus.journal import Journal
from rlgpt.bus.turn import Turn

if TYPE_CHECKING:
    from rlgpt.bus.security import Guard, Security

log = structlog.get_logger()

TURN_FRAMES = 512  # frames taken in one turn, and so in one transaction
TURN_BYTES = 4 * 1024 * 1024
IDLE_MS = 100  # the longest a turn waits for frames: overdue work is noticed within it
LINGER_MS = 200  # for the last answers when it is stopped
SEND_QUEUE = 4096  # frames libzmq holds for one client; credit keeps an honest one far below


class Broker:
    def __init__(
        self, address: str, journal: Path, *, security: Security | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`address` is `ipc://PATH` or `tcp://HOST:PORT`. Without `security`, tcp is only served on a loopback host (Refused otherwise)."""
        _check_address(address, secured=security is not None)
        self.address = address
        self.journal_path = Path(journal)
        self._security = security
        self._clock = clock
        self.ready = threading.Event()  # set while it serves

    def run(self, stop: threading.Event) -> None:
        """Serve until `stop` is set. Raises AddressInUse, JournalInUse, or JournalFailed, whereupon nothing more is acknowledged."""
        with contextlib.ExitStack() as cleanup:
            cleanup.callback(self.ready.clear)
            cleanup.enter_context(_own_address(self.address))
            journal = Journal(self.journal_path)
            cleanup.callback(journal.close)
            context = zmq.Context()
            cleanup.callback(context.destroy, linger=LINGER_MS)
            guard = cleanup.enter_context(self._security.guard(context)) if self._security else None
            router = self._bind(context)
            core = Core(journal, now=self._clock(), gate=self._security.gate if self._security else None)
            log.info("broker_started", address=self.address, journal=str(self.journal_path), head=journal.head)
            self.ready.set()
            self._serve(router, guard, core, journal, stop)
            log.info("broker_stopped", address=self.address, head=journal.head)

    def _bind(self, context: zmq.Context[zmq.Socket[bytes]]) -> zmq.Socket[bytes]:
        router = context.socket(zmq.ROUTER)
        # A default ROUTER drops what it cannot deliver and reports success: 17 of 2,000 sends arrived. MANDATORY raises instead.
        router.setsockopt(zmq.ROUTER_MANDATORY, 1)
        router.setsockopt(zmq.MAXMSGSIZE, MAX_FRAME)
        router.setsockopt(zmq.SNDHWM, SEND_QUEUE)
        router.setsockopt(zmq.RCVHWM, SEND_QUEUE)
        if self._security is not None:
            self._security.secure_server(router)
        try:
            router.bind(self.address)
        except zmq.ZMQError as error:
            if error.errno == errno.EADDRINUSE:
                raise AddressInUse(f"{self.address} is in use by another program; stop it, or choose another address") from None
            raise BusError(f"cannot listen at {self.address}: {error}") from error
        if self.address.startswith("ipc://"):
            Path(self.address.removeprefix("ipc://")).chmod(0o600)
        return router

    def _serve(self, router: zmq.Socket[bytes], guard: Guard | None, core: Core, journal: Journal, stop: threading.Event) -> None:
        poller = zmq.Poller()
        poller.register(router, zmq.POLLIN)
        if guard is not None:
            poller.register(guard.socket, zmq.POLLIN)
        again, ending = False, False
        while not ending:
            ending = stop.is_set()  # one more turn: what has arrived is still handled
            poller.poll(0 if again or ending else IDLE_MS)
            if guard is not None:
                guard.answer()
            self._take(router, core)
            turn = core.step(self._clock())
            if turn.changes:
                journal.commit(turn.changes)
            core.committed()
            self._send(router, core, turn)
            again = turn.again

    def _take(self, router: zmq.Socket[bytes], core: Core) -> None:
        """Everything that has arrived, up to a turn's worth."""
        size = 0
        now = self._clock()
        for _ in range(TURN_FRAMES):
            try:
                if self._security is None:
                    parts, user = router.recv_multipart(zmq.NOBLOCK), ""
                else:
                    frames = router.recv_multipart(zmq.NOBLOCK, copy=False)
                    parts, user = [frame.bytes for frame in frames], str(frames[-1].get("User-Id"))
            except zmq.Again:
                return
            # Ids that ROUTER made begin with a zero byte. A client that chose its own could pass for another connection.
            if len(parts) == 2 and parts[0][:1] == b"\0":
                core.receive(parts[0], parts[1], now, user)
                size += len(parts[1])
            if size > TURN_BYTES:
                return

    def _send(self, router: zmq.Socket[bytes], core: Core, turn: Turn) -> None:
        for event, fields in turn.notes:
            log.info(event, **fields)
        for peer, frame in turn.frames:
            try:
                router.send_multipart((peer, frame), zmq.NOBLOCK)
            except zmq.Again:
                log.warning("client_does_not_read", frames=SEND_QUEUE)
                core.clients.choked(peer, self._clock())
            except zmq.ZMQError as error:
                if error.errno != errno.EHOSTUNREACH:
                    raise
                core.clients.disconnected(peer)


def _check_address(address: str, *, secured: bool) -> None:
    scheme, _, rest = address.partition("://")
    if scheme == "ipc" and rest:
        if len(os.fsencode(rest)) > 100:
            raise Refused(f"the socket path {rest} is longer than the 100 bytes a Unix socket may have; use a shorter folder")
        return
    host = rest.rpartition(":")[0]
    if scheme != "tcp" or not host:
        raise Refused(f"address {address!r} is neither ipc://PATH nor tcp://HOST:PORT")
    if not secured and not _is_loopback(host):
        raise Refused(
            f"{address} can be reached from other machines and has no keys; make some with `rlgpt keys`, or use ipc:// or 127.0.0.1"
        )


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:  # a name or an interface: it may be anywhere
        return False


@contextlib.contextmanager
def _own_address(address: str) -> Iterator[None]:
    """libzmq's bind silently takes an ipc socket over from a live listener. A lock beside it, freed by the kernel, tells live from dead."""
    if not address.startswith("ipc://"):
        yield
        return
    path = Path(address.removeprefix("ipc://"))
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    handle = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise AddressInUse(f"another broker listens at {address}; stop it, or choose another address") from None
        if _is_listened_to(path):
            raise AddressInUse(f"another program listens at {address}; stop it, or choose another address")
        yield
        path.unlink(missing_ok=True)
    finally:
        os.close(handle)


def _is_listened_to(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except OSError:  # no such file, or nobody behind it: what a dead broker leaves
            return False
        return True
