"""`serve ENVIRONMENT`: lends slots to players on other machines, over ZeroMQ.

Frames from a player to the host, the first of them its kind:

    open, <msgpack {"id", "kwargs"}>   it wants a slot; answered by `ready`, `wait` (all are taken, it is in line) or `refused`, <why>
    data, <bytes of the stream>        the stream of frames.py, in pieces of any size; the host sends the same
    ping                               answered by `pong`; who hears nothing for SILENCE_S has lost the other side
    bye                                it needs the slot no longer

and `lost`, <why> from the host: the slot's process is gone. Over tcp beyond this machine keys are required (curve.py).
"""

from __future__ import annotations

import argparse
import contextlib
import json
import signal
import sys
import time
from collections import deque
from pathlib import Path
from typing import Any

import msgpack
import zmq

from . import curve
from .frames import FrameError, Stream, pack
from .pipe import Pipe
from .slots import HostFailed, Lease, Slots

PING_S, SILENCE_S, TICK_S = 1.0, 15.0, 0.5
VERSION = 1


class Player:
    """A connected player: `heard` is when it last gave a sign of life, `lease` and `pipe` its slot once it has one."""

    def __init__(self, identity: bytes) -> None:
        self.identity, self.heard = identity, time.monotonic()
        self.lease: Lease | None = None
        self.pipe: Pipe | None = None


class Server:
    """One environment's slots behind one socket."""

    def __init__(self, slots: Slots, name: str, kwargs: dict[str, Any], silence_s: float = SILENCE_S) -> None:
        self._slots, self._name, self._kwargs, self._silence_s = slots, name, kwargs, silence_s
        self._context: Any = zmq.Context()
        self._router = self._context.socket(zmq.ROUTER)
        self._router.setsockopt(zmq.LINGER, 200)
        # A player that is gone must not stop the others; what cannot be delivered raises instead of vanishing.
        self._router.setsockopt(zmq.ROUTER_MANDATORY, 1)
        self._guard: curve.Guard | None = None
        self._poller: Any = zmq.Poller()
        self._players: dict[bytes, Player] = {}
        self._line: deque[bytes] = deque()
        self._stopped = False

    def bind(self, address: str, keys: Path | None) -> str:
        """Listen; returns the address with its port. Raises curve.Refused or zmq.ZMQError."""
        if keys is None and curve.needs_keys(address):
            raise curve.Refused(f"{address} can be reached from other machines, so that it needs keys: --keys FOLDER")
        if keys is not None:
            self._guard = curve.Guard(self._context, keys)
            curve.secure_server(self._router, keys)
            self._poller.register(self._guard.socket, zmq.POLLIN)
        self._router.bind(address)
        self._poller.register(self._router, zmq.POLLIN)
        endpoint: Any = self._router.getsockopt(zmq.LAST_ENDPOINT)
        return str(endpoint.decode().rstrip("\0"))

    def stop(self, *_: object) -> None:
        """Have `run` return."""
        self._stopped = True

    def run(self) -> None:
        """Serve until stopped."""
        looked = 0.0
        while not self._stopped:
            ready = dict(self._poller.poll(TICK_S * 1000))
            if self._guard is not None and self._guard.socket in ready:
                self._guard.answer()
            if self._router in ready:
                self._hear()
            for player in list(self._players.values()):
                if player.pipe is not None and player.pipe.fileno() in ready:
                    self._carry(player, ready[player.pipe.fileno()])
            if time.monotonic() - looked >= TICK_S:
                looked = time.monotonic()
                self._look_around(looked)

    def close(self) -> None:
        for player in list(self._players.values()):
            self._say(player.identity, b"lost", b"the host was stopped")
            self._drop(player)
        self._slots.close()
        self._router.close()
        if self._guard is not None:
            self._guard.socket.close(linger=0)
        self._context.term()

    def _hear(self) -> None:
        while True:
            try:
                identity, kind, *rest = self._router.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            player = self._players.get(identity)
            if player is not None:
                player.heard = time.monotonic()
            if kind == b"open" and player is None and rest:
                self._open(identity, rest[0])
            elif player is None:
                self._say(identity, b"lost", b"the host knows nothing of this connection, perhaps because it was started anew")
            elif kind == b"data" and rest and player.pipe is not None:
                with contextlib.suppress(OSError):  # the slot's end of the stream is heard of in `_carry`
                    player.pipe.push(rest[0])
                self._watch(player)
            elif kind == b"ping":
                self._say(identity, b"pong")
            elif kind == b"bye":
                self._drop(player)

    def _open(self, identity: bytes, body: bytes) -> None:
        try:
            wanted = msgpack.unpackb(body, raw=False)
            name, kwargs, version = wanted["id"], wanted["kwargs"], wanted["version"]
        except (ValueError, TypeError, KeyError, msgpack.UnpackException):
            self._say(identity, b"refused", b"what was asked for is no environment")
            return
        if (name, kwargs) != (self._name, self._kwargs) or version != VERSION:
            served = f"this host serves {self._name!r} with kwargs {self._kwargs!r} (protocol {VERSION})"
            self._say(identity, b"refused", f"{served}, not {name!r} with {kwargs!r} (protocol {version!r})".encode()[:4000])
            return
        self._players[identity] = Player(identity)
        self._line.append(identity)
        self._serve_line()

    def _serve_line(self) -> None:
        """Slots for those in line, in its order."""
        # A slot that still settles is no free one: waiting for it would stop everybody else.
        while self._line and self._slots.free():
            player = self._players.get(self._line.popleft())
            if player is None:
                continue
            try:
                player.lease = self._slots.lease()
            except HostFailed as failed:
                self._say(player.identity, b"refused", str(failed).encode()[:4000])
                self._drop(player)
                continue
            player.pipe = Pipe(player.lease.end)
            self._watch(player)
            self._say(player.identity, b"ready")
        for identity in self._line:
            self._say(identity, b"wait")

    def _carry(self, player: Player, event: int) -> None:
        """Bytes between a player and its slot."""
        pipe = player.pipe
        if pipe is None:
            return
        try:
            if event & zmq.POLLOUT:
                pipe.flush()
            data = pipe.pull() if event & zmq.POLLIN else b""
        except OSError:
            data = None
        if data is None:
            why = player.lease.lost() if player.lease else ""
            self._say(player.identity, b"lost", (why or "its connection closed").encode()[:4000])
            self._drop(player)
            return
        if data:
            self._say(player.identity, b"data", data)
        self._watch(player)

    def _watch(self, player: Player) -> None:
        if player.pipe is not None and player.identity in self._players:
            self._poller.register(player.pipe.fileno(), zmq.POLLIN | (zmq.POLLOUT if player.pipe.pending else 0))

    def _look_around(self, now: float) -> None:
        for player in list(self._players.values()):
            if now - player.heard > self._silence_s:
                self._drop(player)
        self._serve_line()

    def _drop(self, player: Player) -> None:
        self._players.pop(player.identity, None)
        if player.pipe is not None:
            self._poller.unregister(player.pipe.fileno())
        if player.lease is not None:
            player.lease.release()

    def _say(self, identity: bytes, *frames: bytes) -> None:
        try:
            self._router.send_multipart([identity, *frames], zmq.NOBLOCK)
        except zmq.ZMQError:
            # Gone, or so slow that its queue is full: either way it is not played with any more.
            player = self._players.get(identity)
            if player is not None:
                self._drop(player)


def main(arguments: list[str]) -> None:
    """Entry of the command."""
    options = _options(arguments)
    kwargs = json.loads(options.kwargs)
    slots = Slots(
        options.python,
        options.environment,
        kwargs,
        path=[str(Path(folder).absolute()) for folder in options.path],
        start_s=options.start_s,
        settle_s=options.settle_s,
        most=options.slots,
    )
    server = Server(slots, options.environment, kwargs, options.silence_s)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, server.stop)
    try:
        address = server.bind(options.bind, options.keys)
        library = _try_out(slots, options.start_s)
        sys.stdout.write(f"serving {options.environment} ({library}) at {address}, {options.slots} slots\n")
        sys.stdout.flush()
        server.run()
    except (curve.Refused, HostFailed, FrameError, zmq.ZMQError) as error:
        sys.exit(f"cannot serve {options.environment!r} at {options.bind}: {error}")
    finally:
        server.close()


def _try_out(slots: Slots, start_s: float) -> str:
    """Make the environment once, so that what is wrong is said now. Returns its library. Raises HostFailed or FrameError."""
    lease = slots.lease()
    stream = Stream(lease.end)
    try:
        stream.send(pack({"n": 1, "do": "open", "limit": None, "step_s": 60.0, "reset_s": 60.0}))
        opened, _ = stream.receive(time.monotonic() + start_s + 5)
    except FrameError as error:
        raise HostFailed(lease.lost() or str(error)) from None
    finally:
        lease.release()
    if "error" in opened:
        raise HostFailed(str(opened["error"]))
    return str(opened["library"])


def _options(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="hosting serve", description="Serve an environment to other machines.")
    parser.add_argument("environment", help="an id, module:Id or module:factory")
    parser.add_argument("--kwargs", default="{}", help="JSON")
    parser.add_argument("--bind", default="tcp://127.0.0.1:0")
    parser.add_argument("--keys", type=Path, help="folder with broker.json and allowed.json")
    parser.add_argument("--slots", type=int, default=1, help="environments side by side, a process each")
    parser.add_argument("--python", default=sys.executable, help="interpreter of the environments")
    parser.add_argument("--path", action="append", default=["."], help="folder to import from (repeatable)")
    parser.add_argument("--start-s", type=float, default=300.0)
    parser.add_argument("--settle-s", type=float, default=60.0)
    parser.add_argument("--silence-s", type=float, default=SILENCE_S, help="a player who gives no sign of life for so long loses its slot")
    return parser.parse_args(arguments)
