"""`slot FD`: one process that holds one environment, for one player at a time; between players it is kept, and reset for the next.

FD is a SOCK_SEQPACKET socket to whoever started this process. The first packet says what to make; every further one brings a connected
stream socket, over which a player asks:

    {"n": 1, "do": "open", "limit", "step_s", "reset_s"}   -> {"n": 1, "spaces": ..., ...}
    {"n": k, "do": "reset", "seed"}                        -> {"n": k, "info", "rest"} and the observation's arrays
    {"n": k, "do": "step"} and the action's bytes          -> the same with "reward", "terminated", "truncated"
    {"n": k, "do": "snapshot"} / {"do": "restore"} and its bytes

An error is {"n": k, "error": text, "kind": its type}; with "lost": true this process ends. The player's end is read as hostile: it may hold
model-written code.
"""

from __future__ import annotations

import contextlib
import faulthandler
import os
import queue
import select
import socket
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import msgpack

from .adapter import Adapter, Unavailable
from .frames import FrameError, Stream, pack
from .processes import kill_below
from .spaces import Layout, read_action

PACKET = 1 << 16
CLOSE_S = 6.0  # an environment has to close itself within
LOOK_S = 0.25  # how often the watch looks at the time
STUCK_S = 20.0  # beyond the longest deadline: how long the interpreter may be held by code in C
MAX_TEXT = 4000
MAX_S = 86_400.0

Act = Callable[[dict[str, Any], bytearray], tuple[dict[str, Any], list[Any]]]


def main(arguments: list[str]) -> None:
    """Entry of the process."""
    control = socket.socket(fileno=int(arguments[0]))
    control.set_inheritable(False)
    config = msgpack.unpackb(control.recv(PACKET), raw=False)
    sys.path[:0] = [entry for entry in config["path"] if entry not in sys.path]
    watch = Watch(control)
    watch.begin("start", config["start_s"])
    try:
        adapter = Adapter(config["id"], config["kwargs"])
        room: Room | Closed = Room(adapter, config["id"], watch)
    except Unavailable as error:
        room = Closed(str(error))
    except Exception as error:
        room = Closed(f"environment {config['id']!r} failed when it was made: {type(error).__name__}: {error}"[:MAX_TEXT])
    watch.end()
    while True:
        end = watch.players.get()
        if end is None:
            break
        watch.stream = stream = Stream(end, PACKET << 8)
        with contextlib.suppress(FrameError):
            while True:
                head, body = stream.receive()
                answer, parts = room.answer(head, body)
                stream.send(pack(answer), parts)
        watch.stream = None
        stream.close()
        watch.say({"idle": True})
    room.close()
    kill_below(os.getpid())


class Watch:
    """A thread that takes new players, and ends this process with a reason when its starter is gone or the environment hangs."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._lock = threading.Lock()
        self._deadline, self._what, self._seconds, self._number = float("inf"), "", 0.0, 0
        self.longest = 60.0
        self.players: queue.SimpleQueue[socket.socket | None] = queue.SimpleQueue()
        self.stream: Stream | None = None
        threading.Thread(target=self._run, daemon=True).start()

    def begin(self, what: str, seconds: float, number: int = 0) -> None:
        """The environment is at work: `what` may take so many seconds; `number` is that of the request."""
        self._what, self._seconds, self._number = what, seconds, number
        self._deadline = time.monotonic() + seconds

    def end(self) -> None:
        """It has answered. Never returns once the watch has given it up."""
        with self._lock:
            self._deadline = float("inf")

    def say(self, message: dict[str, Any]) -> None:
        with contextlib.suppress(OSError):
            self._control.send(msgpack.packb(message), socket.MSG_DONTWAIT)

    def _run(self) -> None:
        poller = select.poll()
        poller.register(self._control, select.POLLIN)
        armed = 0.0
        while True:
            now = time.monotonic()
            if now - armed > 2:
                # This timer is in C and needs no interpreter lock: code in C that never gives the lock back ends here.
                faulthandler.dump_traceback_later(self.longest + STUCK_S, exit=True)
                armed = now
            if poller.poll(LOOK_S * 1000):
                self._hear()
            with self._lock:
                if time.monotonic() > self._deadline:
                    self._give_up()

    def _hear(self) -> None:
        try:
            data, descriptors, _, _ = socket.recv_fds(self._control, PACKET, 4)
        except OSError:
            data, descriptors = b"", []
        if data:
            for descriptor in descriptors:
                self.players.put(socket.socket(fileno=descriptor))
            return
        # The starter is gone. An environment that is at leisure is closed in good order; one that is not has a few seconds.
        self.players.put(None)
        stream = self.stream
        if stream is not None:
            stream.hang_up()
        time.sleep(CLOSE_S)
        kill_below(os.getpid())
        os._exit(0)

    def _give_up(self) -> None:
        text = f"no end of the environment's {self._what} within {self._seconds:g} s"
        faulthandler.dump_traceback(all_threads=True)
        self.say({"lost": text})
        stream = self.stream
        if stream is not None:
            with contextlib.suppress(FrameError):
                stream.send(pack({"n": self._number, "error": text, "lost": True}), (), time.monotonic() + 1)
        kill_below(os.getpid())
        os._exit(3)


class Room:
    """The environment, and what a player may ask of it."""

    def __init__(self, adapter: Adapter, name: str, watch: Watch) -> None:
        self._adapter, self._name, self._watch = adapter, name, watch
        self._observed, self._acted = adapter.spaces()
        self._layout = Layout(self._observed)
        self._step_s = self._reset_s = 60.0
        self._over = True
        self._acts: dict[str, Act] = {
            "step": self._step,
            "reset": self._reset,
            "open": self._open,
            "snapshot": self._snapshot,
            "restore": self._restore,
            "render": self._render,
        }

    def answer(self, head: dict[str, Any], body: bytearray) -> tuple[dict[str, Any], list[Any]]:
        """The answer to one request: its head and the parts of its body."""
        number, do = head.get("n"), head.get("do")
        act = self._acts.get(do) if isinstance(do, str) else None
        if act is None:
            return {"n": number, "error": "no request this host knows"}, []
        self._watch.begin(str(do), self._step_s if do == "step" else self._reset_s, number if isinstance(number, int) else 0)
        try:
            answer, parts = act(head, body)
        except Exception as error:
            self._watch.end()
            self._over = self._over or do != "render"
            return {"n": number, "error": str(error)[:MAX_TEXT], "kind": type(error).__name__}, []
        self._watch.end()
        return {"n": number, **answer}, parts

    def close(self) -> None:
        self._adapter.close()

    def _open(self, head: dict[str, Any], _: bytearray) -> tuple[dict[str, Any], list[Any]]:
        limit = head.get("limit")
        if limit is not None and not (isinstance(limit, int) and limit >= 1):
            raise ValueError("a time limit is a positive number of steps")
        self._adapter.set_limit(limit)
        self._step_s, self._reset_s = (min(MAX_S, max(0.01, float(head[key]))) for key in ("step_s", "reset_s"))
        self._watch.longest = max(self._step_s, self._reset_s)
        answer = {
            "spaces": [self._observed, self._acted],
            "id": self._adapter.id or self._name,
            "limit": self._adapter.limit,
            "library": self._adapter.library,
            "restorable": self._adapter.restorable,
            "renders": self._adapter.renders,
            "warnings": self._adapter.warnings,
        }
        return answer, []

    def _reset(self, head: dict[str, Any], _: bytearray) -> tuple[dict[str, Any], list[Any]]:
        obs, info = self._adapter.reset(int(head["seed"]))
        self._over = False
        answer, parts = self._seen(obs, info)
        answer["warnings"] = self._layout.oddities(obs)
        return answer, parts

    def _step(self, _: dict[str, Any], body: bytearray) -> tuple[dict[str, Any], list[Any]]:
        if self._over:
            raise RuntimeError("the episode is over; reset comes first")
        obs, reward, terminated, truncated, info = self._adapter.step(read_action(self._acted, body))
        self._over = terminated or truncated
        head, parts = self._seen(obs, info)
        head["reward"], head["terminated"], head["truncated"] = reward, terminated, truncated
        return head, parts

    def _snapshot(self, _: dict[str, Any], __: bytearray) -> tuple[dict[str, Any], list[Any]]:
        return {}, [self._adapter.snapshot()]

    def _restore(self, _: dict[str, Any], body: bytearray) -> tuple[dict[str, Any], list[Any]]:
        obs, info = self._adapter.restore(bytes(body))
        self._over = False
        return self._seen(obs, info)

    def _render(self, _: dict[str, Any], __: bytearray) -> tuple[dict[str, Any], list[Any]]:
        picture = self._adapter.render()
        return {"height": picture.shape[0], "width": picture.shape[1]}, [picture.reshape(-1)]

    def _seen(self, obs: Any, info: dict[str, Any]) -> tuple[dict[str, Any], list[Any]]:
        parts, rest = self._layout.flatten(obs)
        return {"info": info, "rest": rest}, parts


class Closed:
    """In place of an environment that could not be made: says why."""

    def __init__(self, why: str) -> None:
        self._why = why

    def answer(self, head: dict[str, Any], _: bytearray) -> tuple[dict[str, Any], list[Any]]:
        return {"n": head.get("n"), "error": self._why, "unavailable": True}, []

    def close(self) -> None:
        """Nothing was made."""
