"""One end of a stream that is never waited for: what cannot be written now waits here, up to a bound."""

from __future__ import annotations

import socket

from .frames import MAX_BODY, MAX_HEAD

CHUNK = 1 << 20
MOST = MAX_HEAD + MAX_BODY + CHUNK


class Pipe:
    """`pending` is what the other side has not taken yet; beyond MOST bytes of it, it is not taking anything: OSError."""

    def __init__(self, end: socket.socket) -> None:
        self.end = end
        self.end.setblocking(False)
        self.pending = bytearray()

    def fileno(self) -> int:
        return self.end.fileno()

    def push(self, data: bytes) -> None:
        """Write, now or later. Raises OSError if the other side is gone or does not read."""
        self.pending += data
        self.flush()
        if len(self.pending) > MOST:
            raise OSError("the other side does not read")

    def flush(self) -> None:
        """Write what can be written. Raises OSError."""
        while self.pending:
            try:
                sent = self.end.send(self.pending[:CHUNK])
            except BlockingIOError:
                return
            del self.pending[:sent]

    def pull(self) -> bytes | None:
        """What has come, None at the end of the stream."""
        try:
            return self.end.recv(CHUNK) or None
        except BlockingIOError:
            return b""
        except OSError:
            return None

    def close(self) -> None:
        self.end.close()
