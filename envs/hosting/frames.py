"""Messages on a byte stream: <size of head: u32><size of body: u32><head: a msgpack map><body: raw arrays>.

Both sides read the other as hostile: sizes are bounded before anything is allocated, msgpack carries plain data and arrays of numbers,
and nothing is ever unpickled. Every wait has a deadline, in time.monotonic()'s seconds.
"""

from __future__ import annotations

import contextlib
import math
import re
import select
import socket
import struct
import time
from collections.abc import Sequence
from typing import Any

import msgpack
import numpy as np

MAX_HEAD, MAX_BODY = 8 << 20, 256 << 20
ARRAY, WORDS = 1, 2  # msgpack extension types: an array of numbers, an array of texts

_SIZES = struct.Struct("<II")
_NUMBERS = re.compile(r"[<>|=]?[biufc]\d{1,2}")
_SMALL = 1 << 16


class FrameError(Exception):
    """The other side is gone, too slow, or sent something that is no message."""


class Gone(FrameError):
    """The other side closed."""


class Late(FrameError):
    """No message, or nobody who reads one, within the time."""


class Stream:
    """Messages over one end of a connected stream socket.

    max_body  bytes of arrays this end accepts in a message
    """

    def __init__(self, end: socket.socket, max_body: int = MAX_BODY) -> None:
        self._end, self._max_body = end, max_body
        self._poller = select.poll()
        self._poller.register(end, select.POLLIN)
        self._writable = select.poll()
        self._writable.register(end, select.POLLOUT)
        self._spare = bytearray()

    def send(self, head: bytes, body: Sequence[Any] = (), deadline: float | None = None) -> None:
        """`head` as `pack` gives it, `body` a list of bytes-like parts. Raises FrameError."""
        size = sum(memoryview(part).nbytes for part in body)
        if len(head) > MAX_HEAD or size > MAX_BODY:
            raise FrameError(f"a message of {len(head)} + {size} bytes; at most {MAX_HEAD} + {MAX_BODY}")
        start = _SIZES.pack(len(head), size) + head
        if size < _SMALL:
            self._write(b"".join((start, *body)), deadline)
            return
        self._write(start, deadline)
        for part in body:
            self._write(memoryview(part).cast("B"), deadline)

    def receive(self, deadline: float | None = None) -> tuple[dict[str, Any], bytearray]:
        """The next message's head and body; the body is memory of its own. Raises FrameError."""
        while len(self._spare) < _SIZES.size:
            self._more(deadline)
        head_size, body_size = _SIZES.unpack_from(self._spare)
        if head_size > MAX_HEAD or body_size > self._max_body:
            raise FrameError(f"a message of {head_size} + {body_size} bytes; at most {MAX_HEAD} + {self._max_body}")
        whole = _SIZES.size + head_size
        while len(self._spare) < whole:
            self._more(deadline)
        head = unpack(bytes(memoryview(self._spare)[_SIZES.size : whole]))
        body = bytearray(body_size)
        got = min(body_size, len(self._spare) - whole)
        body[:got] = self._spare[whole : whole + got]
        del self._spare[: whole + got]
        # The rest of a picture goes straight to where it stays.
        view = memoryview(body)
        while got < body_size:
            self._wait(self._poller, deadline)
            got += self._read_into(view[got:])
        return head, body

    def close(self) -> None:
        self._end.close()

    def hang_up(self) -> None:
        """Have a `receive` that waits, perhaps in another thread, end now."""
        with contextlib.suppress(OSError):
            self._end.shutdown(socket.SHUT_RDWR)

    def _more(self, deadline: float | None) -> None:
        self._wait(self._poller, deadline)
        try:
            part = self._end.recv(_SMALL)
        except OSError as error:
            raise Gone(f"the other end is gone ({error})") from None
        if not part:
            raise Gone("the other end closed")
        self._spare += part

    def _read_into(self, view: memoryview) -> int:
        try:
            size = self._end.recv_into(view)
        except OSError as error:
            raise Gone(f"the other end is gone ({error})") from None
        if not size:
            raise Gone("the other end closed in the middle of a message")
        return size

    def _write(self, data: Any, deadline: float | None) -> None:
        view = memoryview(data)
        while view:
            try:
                view = view[self._end.send(view, socket.MSG_DONTWAIT) :]
            except BlockingIOError:
                self._wait(self._writable, deadline)
            except OSError as error:
                raise Gone(f"the other end is gone ({error})") from None

    def _wait(self, poller: select.poll, deadline: float | None) -> None:
        if not poller.poll(None if deadline is None else max(0.0, deadline - time.monotonic()) * 1000):
            raise Late("no answer in time")


def pack(head: dict[str, Any]) -> bytes:
    """A head as bytes. numpy's numbers and arrays travel as such; any other object as its type's name in angle brackets."""
    packed: bytes = msgpack.packb(head, default=_plain)
    return packed


def unpack(data: bytes) -> dict[str, Any]:
    """`pack` undone. Raises FrameError."""
    try:
        head = msgpack.unpackb(data, raw=False, strict_map_key=False, unicode_errors="replace", ext_hook=_extension)
    except (ValueError, TypeError, msgpack.UnpackException, RecursionError, OverflowError) as error:
        raise FrameError(f"not a message: {type(error).__name__}: {error}") from None
    if not isinstance(head, dict):
        raise FrameError(f"a message is a map, not {type(head).__name__}")
    return head


def _plain(value: object) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        if value.dtype.kind in "biufc":
            array = np.ascontiguousarray(value)
            return msgpack.ExtType(ARRAY, msgpack.packb([array.dtype.str, list(value.shape), array.tobytes()]))
        if value.dtype.kind in "US":
            return msgpack.ExtType(WORDS, msgpack.packb([list(value.shape), value.astype(str).ravel().tolist()]))
    if isinstance(value, (set, frozenset)):
        return sorted(value, key=repr)
    return f"<{type(value).__name__}>"


def _extension(code: int, data: bytes) -> Any:
    parts = msgpack.unpackb(data, raw=False)
    if code == ARRAY:
        dtype, shape, raw = parts
        if not _NUMBERS.fullmatch(dtype) or not isinstance(raw, bytes):
            raise ValueError(f"an array of type {str(dtype)[:20]!r}")
        return np.frombuffer(raw, np.dtype(dtype)).reshape(_shape(shape))
    if code == WORDS:
        shape, texts = parts
        if not all(isinstance(text, str) for text in texts):
            raise ValueError("an array of texts holds something else")
        # A numpy array of texts has room for the longest in every place.
        if max(map(len, texts), default=0) * len(texts) > MAX_HEAD:
            raise ValueError("an array of texts is too large")
        return np.array(texts, dtype=str).reshape(_shape(shape))
    raise ValueError(f"extension type {code}")


def _shape(shape: Any) -> tuple[int, ...]:
    if not isinstance(shape, list) or len(shape) > 16 or not all(isinstance(n, int) and n >= 0 for n in shape):
        raise ValueError("an array's shape is not a list of sizes")
    if math.prod(shape) > MAX_HEAD:
        raise ValueError(f"an array of shape {shape} does not belong in a message's head")
    return tuple(shape)
