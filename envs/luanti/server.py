"""The server as a partner in lock-step: requests and answers with deadlines. Whatever goes wrong ends it, with its log's last lines."""

from __future__ import annotations

import json
import socket
import struct
import subprocess
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from rlgpt.envs.luanti import wire
from rlgpt.envs.luanti.program import Process, Program, find

_TIMEVAL = struct.Struct("@ll")
START_TRIES = 3  # its UDP port may be taken by another in between


class LuantiLost(RuntimeError):
    """The server ended, failed or did not answer in time; the episode cannot go on, the next one has a fresh server."""


class Server:
    """One server for one agent. After every answer `facts` are its numbers, `arrays()` its arrays, and `sight()` what is seen."""

    def __init__(
        self,
        settings: dict[str, Any],
        world: int,
        codes: Callable[[list[list[Any]]], bytes],
        start_s: float = 60.0,
        program: Program | None = None,
    ) -> None:
        """`codes` gives what the mod is told of its nodes. Raises EnvironmentUnavailable, LuantiLost where it does not come up."""
        program = program or find()
        self._buffer = bytearray(wire.REPLY_BYTES + wire.SIGHT_BYTES + (1 << 18))
        self._bytes = memoryview(self._buffer)
        self.facts = wire.Facts(*(0,) * len(wire.Facts._fields))
        for left in range(START_TRIES - 1, -1, -1):
            self._process = Process(program, world, json.dumps(settings))
            self._patience_s = 0.0
            try:
                hello = self._text(wire.HELLO, b"", start_s)
                self._process.forget_folder()
                break
            except LuantiLost:
                if not left:
                    raise
        self.hello: dict[str, Any] = json.loads(hello)
        sizes = tuple(self.hello[part] for part in ("reply", "sight", "action", "picture"))
        if sizes != (wire.REPLY_BYTES, wire.SIGHT_BYTES, wire.ACTION.size, wire.PICTURE_BYTES):
            self.kill()
            raise LuantiLost(f"the mod's structures have {sizes} bytes; rlgpt/envs/luanti and its mod are of different versions")
        self._send(wire.CODES, codes(self.hello["nodes"]), start_s)

    @property
    def pid(self) -> int:
        return self._process.process.pid

    def memory(self) -> int:
        """Resident bytes."""
        return self._process.memory()

    def reset(self, area: int, seed: int, inventory: list[tuple[str, int]], picture: bool, wait_s: float) -> None:
        """Begin an episode; what is seen is in `view`. Raises LuantiLost."""
        order = {"area": area, "seed": seed, "inventory": inventory, "picture": picture}
        self._send(wire.RESET, json.dumps(order).encode(), wait_s)
        self._receive(wait_s)

    def step(self, parts: Sequence[int], ticks: int, picture: bool, wait_s: float) -> None:
        """`ticks` ticks with these eight parts (`envs/luanti/actions.py`). Raises LuantiLost."""
        if wait_s != self._patience_s:
            self._patience(wait_s)
        try:
            self._process.end.sendall(wire.ACTION.pack(wire.STEP, 0, *parts, ticks, picture))
        except OSError as error:
            raise self._lost(f"it takes no request ({error})") from None
        self._receive(wait_s)

    def arrays(self) -> bytearray:
        """The arrays of the last answer, bytes of a record of `wire.ARRAYS`; a copy."""
        return self._buffer[wire.ARRAYS_AT : wire.REPLY_BYTES]

    def sight(self) -> bytearray:
        """What is seen, where the last answer was `fresh` (see `sight.Sight`); a copy."""
        return self._buffer[wire.REPLY_BYTES : wire.REPLY_BYTES + wire.SIGHT_BYTES]

    def tail(self) -> bytes:
        """The text that came with the last answer, b"" if none did."""
        size = self.facts.tail
        return bytes(self._bytes[self._fixed : self._fixed + size]) if size else b""

    def picture(self) -> npt.NDArray[Any]:
        """The picture that came with the last answer, a record of `wire.PICTURE`."""
        start = self._fixed + self.facts.tail
        return np.frombuffer(bytes(self._bytes[start : start + wire.PICTURE.itemsize]), wire.PICTURE)

    @property
    def _fixed(self) -> int:
        return wire.REPLY_BYTES + wire.SIGHT_BYTES if self.facts.fresh else wire.REPLY_BYTES

    def probe(self, code: str, wait_s: float = 30.0) -> str:
        """What Lua code returns in the server; only where the setting `probe` is on, for tests."""
        return self._text(wire.PROBE, code.encode(), wait_s)

    def close(self) -> None:
        """End it."""
        self.kill()

    def kill(self) -> None:
        self._process.kill()

    def _text(self, command: int, body: bytes, wait_s: float) -> str:
        self._send(command, body, wait_s)
        deadline = time.monotonic() + wait_s
        head = self._some(4, deadline)
        return self._some(int.from_bytes(head, "little"), deadline).decode()

    def _send(self, command: int, body: bytes, wait_s: float) -> None:
        self._patience(wait_s)
        try:
            self._process.end.sendall(wire.REQUEST.pack(command, len(body)) + body)
        except OSError as error:
            raise self._lost(f"it takes no request ({error})") from None

    def _some(self, size: int, deadline: float) -> bytes:
        data = bytearray(size)
        got = 0
        while got < size:
            got += self._take(memoryview(data)[got:], deadline)
        return bytes(data)

    def _take(self, into: bytearray | memoryview, deadline: float) -> int:
        try:
            got = self._process.end.recv_into(into)
        except BlockingIOError:
            raise self._lost("it did not answer in time") from None
        except OSError as error:
            raise self._lost(str(error)) from None
        if not got:
            raise self._lost("it ended")
        if deadline and time.monotonic() > deadline:
            raise self._lost("it did not answer in time")
        return got

    def _patience(self, wait_s: float) -> None:
        """Of every send and receive. The kernel's own timeouts, since Python's cost a system call each time."""
        if wait_s != self._patience_s:
            self._patience_s = wait_s
            for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
                self._process.end.setsockopt(socket.SOL_SOCKET, option, _TIMEVAL.pack(int(wait_s), int(wait_s % 1 * 1e6)))

    def _receive(self, wait_s: float) -> None:
        """One answer into the buffer."""
        deadline, got = 0.0, 0
        while True:
            got += self._take(self._bytes[got:] if got else self._buffer, deadline)
            if got >= wire.FACTS.size:
                self.facts = facts = wire.Facts._make(wire.FACTS.unpack_from(self._buffer))
                if got == facts.total:
                    return
                if not wire.REPLY_BYTES <= facts.total <= len(self._buffer):
                    raise self._lost(f"an answer of {facts.total} bytes")
            deadline = deadline or time.monotonic() + wait_s

    def _lost(self, why: str) -> LuantiLost:
        code = self._ended()
        said = self._process.last_words()
        self.kill()
        how = "" if code is None else f"; it ended with status {code}"
        return LuantiLost(f"the Luanti server is lost: {why}{how}{'; its last words: ' + said if said else ''}")

    def _ended(self) -> int | None:
        """Its exit status, for which it has a moment if its end of the socket is closed."""
        try:
            return self._process.process.wait(0.5)
        except subprocess.TimeoutExpired:
            return None
