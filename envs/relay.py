"""Hosts on another machine: a thread outside the lock carries bytes between workers' streams and `rlgpt host`; see hosting/serve.py."""

from __future__ import annotations

import contextlib
import queue
import socket
import threading
import time
from pathlib import Path
from typing import Any

import msgpack
import zmq

from rlgpt.bus.task import Environment, Host
from rlgpt.envs.errors import HostLost
from rlgpt.envs.hosting import curve
from rlgpt.envs.hosting.pipe import Pipe
from rlgpt.envs.hosting.serve import PING_S, SILENCE_S, VERSION


class RemoteLease:
    """A slot on the other machine. `end` is the worker's end of its stream."""

    def __init__(self, relay: Relay, end: socket.socket, ours: socket.socket, dealer: Any) -> None:
        self.end, self.pipe, self.dealer = end, Pipe(ours), dealer
        self._relay, self.why = relay, ""
        self.heard = time.monotonic()
        self.state = "opening"
        self.released = threading.Event()

    def lost(self) -> str:
        return self.why

    def release(self) -> None:
        self.end.close()
        self.released.set()
        self._relay.wake()


class Relay:
    """Lends slots of a host that is reached over ZeroMQ. One thread carries the bytes of all of them."""

    def __init__(self, environment: Environment, host: Host) -> None:
        """Raises HostLost if the keys cannot be used."""
        self._address, self._patience_s = host.address, host.start_s
        self._keys = Path(host.keys).expanduser() if host.keys else None
        self._wanted = msgpack.packb({"id": environment.id, "kwargs": environment.kwargs, "version": VERSION})
        self._context: Any = zmq.Context()
        self._new: queue.SimpleQueue[RemoteLease] = queue.SimpleQueue()
        self._bell, self._rung = socket.socketpair()
        self._bell.setblocking(False)
        self._rung.setblocking(False)
        self._stopped = False
        self._dealer().close(linger=0)  # so that keys that cannot be read are told now
        self._thread = threading.Thread(target=self._run, name="host-relay", daemon=True)
        self._thread.start()

    def lease(self) -> RemoteLease:
        """A connection; what is sent over it waits until the host has a slot. Raises HostLost."""
        end, ours = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            dealer = self._dealer()
        except HostLost:
            end.close()
            ours.close()
            raise
        lease = RemoteLease(self, end, ours, dealer)
        self._new.put(lease)
        self.wake()
        return lease

    def wake(self) -> None:
        """Have the thread look around."""
        with contextlib.suppress(BlockingIOError, OSError):
            self._bell.send(b"!")

    def close(self) -> None:
        self._stopped = True
        self.wake()
        self._thread.join(5)
        self._bell.close()
        self._context.destroy(linger=0)

    def _dealer(self) -> Any:
        dealer = self._context.socket(zmq.DEALER)
        dealer.setsockopt(zmq.LINGER, 500)
        if self._keys is not None:
            try:
                curve.secure_client(dealer, self._keys)
            except (curve.Refused, zmq.ZMQError) as refused:
                dealer.close(linger=0)
                raise HostLost(f"environment.host.keys: {refused}") from None
        return dealer

    def _run(self) -> None:
        leases: list[RemoteLease] = []
        pinged = 0.0
        while not self._stopped:
            self._wait(leases)
            while not self._new.empty():
                lease = self._new.get()
                lease.dealer.connect(self._address)
                lease.dealer.send_multipart([b"open", self._wanted])
                lease.heard = time.monotonic()
                leases.append(lease)
            now = time.monotonic()
            ping, pinged = (True, now) if now - pinged >= PING_S else (False, pinged)
            for lease in leases:
                self._serve(lease, now, ping)
            leases = [lease for lease in leases if lease.state != "over"]
        while not self._new.empty():
            leases.append(self._new.get())
        for lease in leases:
            _end(lease, "")

    def _wait(self, leases: list[RemoteLease]) -> None:
        poller: Any = zmq.Poller()
        poller.register(self._rung.fileno(), zmq.POLLIN)
        for lease in leases:
            poller.register(lease.dealer, zmq.POLLIN)
            # Until there is a slot, what the worker asks waits in its stream.
            events = (zmq.POLLIN if lease.state == "ready" else 0) | (zmq.POLLOUT if lease.pipe.pending else 0)
            if events:
                poller.register(lease.pipe.fileno(), events)
        poller.poll(PING_S * 1000)
        with contextlib.suppress(BlockingIOError, OSError):
            while self._rung.recv(4096):
                pass

    def _serve(self, lease: RemoteLease, now: float, ping: bool) -> None:
        try:
            self._from_host(lease)
            if lease.state == "over":
                return
            lease.pipe.flush()
            writable = bool(lease.dealer.getsockopt(zmq.EVENTS) & zmq.POLLOUT)
            data = lease.pipe.pull() if lease.state == "ready" and writable else b""
            if data:
                lease.dealer.send_multipart([b"data", data], zmq.NOBLOCK)
            elif ping and writable:
                lease.dealer.send_multipart([b"ping"], zmq.NOBLOCK)
        except OSError as error:
            _end(lease, "" if lease.released.is_set() else f"the connection to {self._address} broke: {error}")
            return
        if data is None or lease.released.is_set():
            _end(lease, "")
        elif now - lease.heard > (self._patience_s if lease.state == "opening" else SILENCE_S):
            how = "no slot became free" if lease.state == "waiting" else "no sign of life"
            _end(lease, f"{how} at {self._address} for {now - lease.heard:.0f} s (is `rlgpt host` running there, and is this key allowed?)")

    def _from_host(self, lease: RemoteLease) -> None:
        while lease.state != "over":
            try:
                kind, *rest = lease.dealer.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            lease.heard = time.monotonic()
            if kind == b"ready":
                lease.state = "ready"
            elif kind == b"data" and rest:
                lease.pipe.push(rest[0])
            elif kind in (b"lost", b"refused"):
                said = rest[0].decode("utf-8", "replace") if rest else ""
                _end(lease, f"{self._address}: {said}")


def _end(lease: RemoteLease, why: str) -> None:
    """The worker hears the end of its stream; what it had been sent before, it still reads."""
    lease.why, lease.state = lease.why or why, "over"
    with contextlib.suppress(OSError):
        lease.pipe.flush()
    lease.pipe.close()
    with contextlib.suppress(zmq.ZMQError):
        lease.dealer.send_multipart([b"bye"], zmq.NOBLOCK)
    lease.dealer.close()
