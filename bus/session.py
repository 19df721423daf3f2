"""The client's side of the protocol without I/O: what to say, what to say again after a reconnect, what an answer means.

Not thread-safe: `link.Link` holds its lock around every call. Frame numbers `n` count up over the session's life, so that a repeat after a
reconnect carries the number of the original.
"""

from __future__ import annotations

import os
import secrets
import socket
from collections import deque
from collections.abc import Callable, Iterator, Sequence

from rlgpt.bus.calls import Asked, Call
from rlgpt.bus.codec import PROTOCOL, Frame, check, pack, unpack
from rlgpt.bus.errors import BusClosed, BusError, Refused, StaleLease
from rlgpt.bus.inbox import Inbox, Key

FRAME_EVENTS, FRAME_BYTES = 256, 256 * 1024  # small publications travel together up to this
FATAL = ("replaced", "protocol", "forbidden")
HELLO_AGAIN_S = 2.0  # an unanswered hello is said again


class Session:
    def __init__(self, name: str, role: str, heartbeat_s: float) -> None:
        self.name, self.role, self.heartbeat_s = name, role, heartbeat_s
        self.up = False  # welcomed over the present connection
        self.head = 0  # the log's last number at that moment
        self.fatal: BusError | None = None
        self.inboxes: dict[int, Inbox] = {}
        self.unacknowledged = 0  # envelopes in the publisher's window
        self.background: BusError | None = None  # of publications nobody waits for
        self.on_room: list[Callable[[], None]] = []  # who waits for room in the window
        self._id = secrets.token_hex(8)
        self._again = False
        self._greeted: float | None = None
        self._pinged = 0.0
        self._n = 0
        self._unsent: deque[Call] = deque()
        self._waiting = 0  # envelopes in it
        self._awaited = False  # somebody waits for one of them
        self._sent: dict[int, list[Call]] = {}
        self._asked: dict[int, Asked] = {}
        self._say: list[bytes] = []
        check(self._hello())

    # ---------------------------------------------------------------- connection

    def connected(self) -> None:
        """A new connection: nothing counts as said over it until the broker has welcomed us."""
        self.up = False
        self._greeted = 0.0

    def disconnected(self) -> None:
        self.up = False
        self._greeted = None
        self._say.clear()

    def _hello(self) -> Frame:
        subs = [inbox.frame() for inbox in self.inboxes.values()]
        return {
            "op": "hello",
            "protocol": PROTOCOL,
            "name": self.name,
            "session": self._id,
            "again": self._again,
            "role": self.role,
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "heartbeat_s": self.heartbeat_s,
            "subs": subs,
        }

    def _welcomed(self, frame: Frame) -> None:
        self.up, self._again = True, True
        self.head = frame["head"]
        for answer in frame["subs"]:
            self._subbed(answer["sub"])
        for sub, code, why in frame["refused"]:
            self._sub_failed(sub, _error(code, why))
        self._mark_stale(frame["stale"])
        said = {n: pack(self._pub(n, calls)) for n, calls in self._sent.items()} | {n: asked.data for n, asked in self._asked.items()}
        self._say = [said[n] for n in sorted(said)]

    # ---------------------------------------------------------------- what the application wants said

    def publish(self, call: Call) -> None:
        self.unacknowledged += len(call.raws)
        self._waiting += len(call.raws)
        self._awaited = True
        self._unsent.append(call)

    def publish_nowait(self, raw: bytes) -> None:
        """One envelope whose outcome nobody waits for; it joins the last such publication if that has not left yet."""
        last = self._unsent[-1] if self._unsent else None
        if last is None or last.awaited or len(last.raws) >= FRAME_EVENTS or last.size + len(raw) > FRAME_BYTES:
            last = Call([], awaited=False)
            self._unsent.append(last)
        last.raws.append(raw)
        last.size += len(raw)
        self.unacknowledged += 1
        self._waiting += 1

    def open(self, inbox: Inbox) -> None:
        """Raises Malformed if the broker could not understand it."""
        check({"op": "sub", **inbox.frame()})
        self.inboxes[inbox.sub] = inbox
        if self.up:  # otherwise the hello will say it
            self._say.append(pack({"op": "sub", **inbox.frame()}))

    def close(self, inbox: Inbox) -> None:
        if self.inboxes.pop(inbox.sub, None):
            self._collect(inbox, closing=True)
            inbox.queue.clear()
            inbox.fail(BusClosed(f"the subscription to {inbox.consumer or inbox.topics} is closed"))
            if self.up:
                self._say.append(pack({"op": "unsub", "sub": inbox.sub}))

    def ask(self, frame: Frame, inbox: Inbox | None = None, keys: Sequence[Key] = ()) -> Asked:
        n = self._number()
        frame = {**frame, "n": n}
        if inbox is None:
            check(frame)
        asked = self._asked[n] = Asked(pack(frame), inbox, keys)
        if inbox is not None:
            inbox.unconfirmed += 1
        if self.up:
            self._say.append(asked.data)
        return asked

    def forget(self, asked: Asked) -> None:
        """Nobody waits for the answer any more."""
        self._asked = {n: other for n, other in self._asked.items() if other is not asked}

    def bye(self) -> bytes:
        return pack({"op": "bye"})

    def is_idle(self) -> bool:
        """Everything said is confirmed."""
        waiting = any(inbox.acks for inbox in self.inboxes.values())
        return not (self._unsent or self._sent or self._asked or waiting)

    # ---------------------------------------------------------------- frames out

    def is_worth_sending(self) -> bool:
        """Whether publications should leave now. Those nobody waits for gather while others are on their way: large frames cost least."""
        return not self._sent or self._awaited or self._waiting >= FRAME_EVENTS

    def outgoing(self, now: float) -> list[bytes]:
        if self._greeted is not None and not self.up and self.fatal is None:
            if self._greeted and now - self._greeted < HELLO_AGAIN_S:
                return []
            self._greeted = now
            return [pack(self._hello())]
        if not self.up:
            return []
        # Publications before acknowledgements: results must not be overtaken by the `ack` of what they are results of.
        if self.is_worth_sending():
            self._say += (pack(self._pub(n, calls)) for n, calls in self._coalesced())
        for inbox in self.inboxes.values():
            self._collect(inbox)
        frames, self._say = self._say, []
        if now - self._pinged >= self.heartbeat_s:
            self._pinged = now
            frames.append(pack({"op": "ping", "n": self._number()}))
        return frames

    def _collect(self, inbox: Inbox, *, closing: bool = False) -> None:
        for attempt, seqs in inbox.take_acks() if inbox.is_worth_telling() or closing else ():
            self.ask({"op": "ack", "sub": inbox.sub, "attempt": attempt, "seqs": seqs}, inbox, [(seq, attempt) for seq in seqs])
        if touches := inbox.take_touches():
            self._say.append(pack({"op": "touch", "sub": inbox.sub, "leases": touches}))
        if seen := inbox.take_seen():
            self._say.append(pack({"op": "seen", "sub": inbox.sub, "seq": seen}))

    def _coalesced(self) -> Iterator[tuple[int, list[Call]]]:
        """The unsent publications, as few frames as possible; a publication is never split."""
        self._waiting, self._awaited = 0, False
        while self._unsent:
            calls = [self._unsent.popleft()]
            events, size = len(calls[0].raws), calls[0].size
            while self._unsent and calls[0].lease is None and self._unsent[0].lease is None:
                more = self._unsent[0]
                events, size = events + len(more.raws), size + more.size
                if events > FRAME_EVENTS or size > FRAME_BYTES:
                    break
                calls.append(self._unsent.popleft())
            n = self._number()
            self._sent[n] = calls
            yield n, calls

    @staticmethod
    def _pub(n: int, calls: Sequence[Call]) -> Frame:
        lease = calls[0].lease
        return {"op": "pub", "n": n, "events": [raw for call in calls for raw in call.raws], "lease": list(lease) if lease else None}

    def _number(self) -> int:
        self._n += 1
        return self._n

    # ---------------------------------------------------------------- frames in

    def receive(self, data: bytes) -> None:
        frame = unpack(data)
        match frame["op"]:
            case "deliver":
                if inbox := self.inboxes.get(frame["sub"]):
                    inbox.put(frame["attempt"], frame["seqs"], frame["events"])
            case "puback":
                self._published(frame)
            case "acked":
                for n in frame["n"]:
                    self._confirmed(n)
            case "dead":
                self._confirmed(frame["n"], frame)
            case "welcome":
                self._welcomed(frame)
            case "subbed":
                self._subbed(frame["sub"])
            case "error":
                self._refused(frame)

    def _published(self, frame: Frame) -> None:
        refused = {index: _error(code, why) for index, code, why in frame["refused"]}
        first = 0
        for call in self._sent.pop(frame["n"], ()):
            last = first + len(call.raws)
            call.seqs = frame["seqs"][first:last]
            self.unacknowledged -= len(call.raws)
            self._end(call, next((error for index, error in refused.items() if first <= index < last), None))
            first = last

    def _end(self, call: Call, error: BusError | None) -> None:
        if error and not call.awaited:
            self.background = error
        call.end(error)
        if self.on_room:
            self._tell_room()

    def _tell_room(self) -> None:
        waiting, self.on_room = self.on_room, []
        for tell in waiting:
            tell()

    def _confirmed(self, n: int, answer: Frame | None = None, error: BusError | None = None) -> None:
        if asked := self._asked.pop(n, None):
            asked.answer, asked.error, asked.done = answer, error, True
            if asked.inbox:
                asked.inbox.confirmed(asked.keys)

    def _subbed(self, sub: int) -> None:
        if inbox := self.inboxes.get(sub):
            inbox.ready = True

    def _sub_failed(self, sub: int, error: BusError) -> None:
        if inbox := self.inboxes.pop(sub, None):
            inbox.fail(error)

    def _mark_stale(self, leases: Sequence[tuple[int, int, int]]) -> None:
        for sub, seq, attempt in leases:
            if inbox := self.inboxes.get(sub):
                inbox.mark_stale((seq, attempt))

    def _refused(self, frame: Frame) -> None:
        code, error = frame["code"], _error(frame["code"], frame["why"])
        if code == "unknown":
            # The broker has lost us (it was restarted, or we were silent too long): introduce ourselves again, then say all this again.
            self.connected()
        elif "leases" in frame:
            self._mark_stale(frame["leases"])
        elif frame.get("n") in self._sent:
            for call in self._sent.pop(frame["n"]):
                self.unacknowledged -= len(call.raws)
                self._end(call, error)
        elif frame.get("n") in self._asked:
            self._confirmed(frame["n"], error=error)
        elif "sub" in frame:
            self._sub_failed(frame["sub"], error)
        elif code in FATAL:
            self.end(error)

    def end(self, error: BusError) -> None:
        """Over: everybody who waits learns why."""
        self.fatal, self.up = error, False
        calls = [call for some in self._sent.values() for call in some] + list(self._unsent)
        self._sent.clear()
        self._unsent.clear()
        for call in calls:
            call.end(error)
        self._tell_room()
        for asked in self._asked.values():
            asked.error, asked.done = error, True
        self._asked.clear()
        for inbox in self.inboxes.values():
            inbox.fail(error)


def _error(code: str, why: str) -> BusError:
    return StaleLease(why) if code == "stale" else Refused(f"{code}: {why}")
