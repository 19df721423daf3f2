"""Messages between a worker and its parent: msgpack maps over a SOCK_SEQPACKET pair, in packets of at most 64 KB.

A packet is `<message number: u32><last: u8><part>`. Messages are numbered from 1 in each direction, so that a stale, repeated or
interleaved message is noticed. Nothing is ever unpickled, and descriptors a worker might attach are discarded by the kernel,
because the parent receives without room for them.
"""

from __future__ import annotations

import select
import socket
import struct
import time
from typing import Any

import msgpack

_HEAD = struct.Struct("<IB")
PACKET = 60_000
MAX_MESSAGE = 16 << 20


class WireError(Exception):
    """The other side closed, was too slow, or sent something that is no message."""


class WireClosed(WireError):
    """The other side is gone."""


class WireTimeout(WireError):
    """The other side did not answer, or did not read, in time."""


class Channel:
    """One end. `limit` bounds the messages this end accepts, in bytes."""

    def __init__(self, end: socket.socket, limit: int = MAX_MESSAGE) -> None:
        self.socket = end
        self._limit = limit
        self._sent = 0
        self._received = 0

    def fileno(self) -> int:
        return self.socket.fileno()

    def send(self, message: dict[str, Any], timeout_s: float | None = None) -> None:
        """Send the whole message; raises WireError if the other end is gone or does not read within the time."""
        body = msgpack.packb(message)
        if len(body) > MAX_MESSAGE:
            raise WireError(f"a message of {len(body)} bytes; at most {MAX_MESSAGE}")
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        self._sent += 1
        for start in range(0, len(body), PACKET):
            part = body[start : start + PACKET]
            self._wait(select.POLLOUT, deadline)
            try:
                self.socket.send(_HEAD.pack(self._sent, start + PACKET >= len(body)) + part)
            except OSError as error:
                raise WireClosed(f"the other end is gone ({error})") from None

    def receive(self, timeout_s: float | None = None) -> dict[str, Any]:
        """The next message; raises WireError on the end, on a timeout, and on anything that is no message in its turn."""
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        self._received += 1
        parts, size, last = [], 0, False
        while not last:
            self._wait(select.POLLIN, deadline)
            packet = self._packet()
            number, last = _HEAD.unpack_from(packet)
            if number != self._received:
                raise WireError(f"message number {number} where {self._received} was due")
            size += len(packet) - _HEAD.size
            if size > self._limit:
                raise WireError(f"a message of more than {self._limit} bytes")
            parts.append(packet[_HEAD.size :])
        return _unpack(b"".join(parts))

    def close(self) -> None:
        self.socket.close()

    def _packet(self) -> bytes:
        try:
            packet = self._next()
        except OSError as error:
            raise WireClosed(f"the other end is gone ({error})") from None
        if not packet:
            raise WireClosed("the other end closed")
        if not _HEAD.size <= len(packet) <= PACKET + _HEAD.size:
            raise WireError(f"a packet of {len(packet)} bytes")
        return packet

    def _next(self) -> bytes:
        size = PACKET + _HEAD.size + 1
        try:
            return self.socket.recv(size)
        except ConnectionResetError:
            # The other end closed with something of ours unread. That is told once; then come the packets it had sent before.
            return self.socket.recv(size)

    def _wait(self, events: int, deadline: float | None) -> None:
        if deadline is None:
            return
        poller = select.poll()
        poller.register(self.socket, events)
        if not poller.poll(max(0.0, deadline - time.monotonic()) * 1000):
            raise WireTimeout("no answer in time")


def pair() -> tuple[socket.socket, socket.socket]:
    """Two connected ends that keep packets whole."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


def _unpack(body: bytes) -> dict[str, Any]:
    try:
        message = msgpack.unpackb(body, raw=False, strict_map_key=True, max_ext_len=0, unicode_errors="replace")
    except (ValueError, msgpack.UnpackException, RecursionError, OverflowError) as error:
        raise WireError(f"not a message: {type(error).__name__}: {error}") from None
    if not isinstance(message, dict):
        raise WireError(f"a message is a map, not {type(message).__name__}")
    return message
