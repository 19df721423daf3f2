"""The server as a partner in lock-step: requests and answers with deadlines. Whatever goes wrong ends it, with its log's last lines."""

from __future__ import annotations

import json
import socket
import struct
import subprocess
import time
from typing import Any

import numpy as np
import numpy.typing as npt

from rlgpt.envs.luanti import wire
from rlgpt.envs.luanti.program import Process, Program, find

START_TRIES = 3  # its UDP port may be taken by another in between


class LuantiLost(RuntimeError):
    """The server ended, failed or did not answer in time; the episode cannot go on, the next one has a fresh server."""


class Server:
    """One server for one agent. `view` is the last answer (a record of `wire.REPLY`); its arrays are overwritten by the next."""

    def __init__(self, settings: dict[str, Any], world: int, start_s: float = 60.0, program: Program | None = None) -> None:
        """Raises EnvironmentUnavailable where there is no server, LuantiLost where it does not come up."""
        program = program or find()
        self._buffer = bytearray(wire.REPLY_BYTES + (1 << 18))
        self._bytes = memoryview(self._buffer)
        self.view: npt.NDArray[Any] = np.frombuffer(self._buffer, wire.REPLY, 1)[0:1]
        self._total = np.frombuffer(self._buffer, "<i4", 1)
        self._action = np.zeros(1, wire.ACTION)
        self._action["command"] = wire.STEP
        self._parts, self._ticks, self._picture = (self._action[name] for name in ("parts", "ticks", "picture"))
        self._sent = self._action.view(np.uint8).data
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
        sizes = (self.hello["reply"], self.hello["action"], self.hello["picture"])
        if sizes != (wire.REPLY_BYTES, wire.ACTION.itemsize - 8, wire.PICTURE_BYTES):
            self.kill()
            raise LuantiLost(f"the mod's structures have {sizes} bytes; rlgpt/envs/luanti and its mod are of different versions")

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

    def step(self, parts: Any, ticks: int, picture: bool, wait_s: float) -> None:
        """`ticks` ticks with these eight parts (`envs/luanti/actions.py`). Raises LuantiLost."""
        self._patience(wait_s)
        self._parts[0] = parts
        self._ticks[0], self._picture[0] = ticks, picture
        try:
            self._process.end.sendall(self._sent)
        except OSError as error:
            raise self._lost(f"it takes no request ({error})") from None
        self._receive(wait_s)

    def tail(self) -> bytes:
        """The text that came with the last answer, b"" if none did."""
        size = int(self.view["tail"][0])
        return bytes(self._bytes[wire.REPLY_BYTES : wire.REPLY_BYTES + size]) if size else b""

    def picture(self) -> npt.NDArray[Any]:
        """The picture that came with the last answer, a record of `wire.PICTURE`."""
        start = wire.REPLY_BYTES + int(self.view["tail"][0])
        return np.frombuffer(bytes(self._bytes[start : start + wire.PICTURE.itemsize]), wire.PICTURE)

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
        return self._some(struct.unpack("<i", head)[0], deadline).decode()

    def _send(self, command: int, body: bytes, wait_s: float) -> None:
        self._patience(wait_s)
        try:
            self._process.end.sendall(struct.pack("<ii", command, len(body)) + body)
        except OSError as error:
            raise self._lost(f"it takes no request ({error})") from None

    def _some(self, size: int, deadline: float) -> bytes:
        data = bytearray(size)
        got = 0
        while got < size:
            got += self._take(memoryview(data)[got:], deadline)
        return bytes(data)

    def _take(self, into: memoryview, deadline: float) -> int:
        try:
            got = self._process.end.recv_into(into)
        except BlockingIOError:
            raise self._lost("it did not answer in time") from None
        except OSError as error:
            raise self._lost(str(error)) from None
        if not got:
            raise self._lost("it ended")
        if time.monotonic() > deadline:
            raise self._lost("it did not answer in time")
        return got

    def _patience(self, wait_s: float) -> None:
        """Of every send and receive. The kernel's own timeouts, since Python's cost a system call each time."""
        if wait_s != self._patience_s:
            self._patience_s = wait_s
            for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
                self._process.end.setsockopt(socket.SOL_SOCKET, option, struct.pack("@ll", int(wait_s), int(wait_s % 1 * 1e6)))

    def _receive(self, wait_s: float) -> None:
        """One answer into the buffer."""
        deadline = time.monotonic() + wait_s
        got, total = 0, wire.REPLY_BYTES
        while got < total:
            got += self._take(self._bytes[got:], deadline)
            if got >= 4:
                total = int(self._total[0])
                if not wire.REPLY_BYTES <= total <= len(self._buffer):
                    raise self._lost(f"an answer of {total} bytes")

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
