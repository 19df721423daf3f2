"""Who is here: hello, subscriptions, heartbeats, goodbye. Part of the core, without I/O.

A client is a name with a session (one life of one process). Connections come and go beneath it: a reconnecting client says hello again
with everything it has subscribed to and holds, so that neither a lost connection nor a restarted broker starts a job twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from rlgpt.bus.codec import PROTOCOL, Frame
from rlgpt.bus.consumer import MAX_CREDIT, Consumer, Member, Topics
from rlgpt.bus.feeds import Watcher
from rlgpt.bus.journal import ClientRow
from rlgpt.bus.messages import AgentJoined, AgentLeft
from rlgpt.bus.turn import Refusal

if TYPE_CHECKING:
    from rlgpt.bus.core import Core

MISSED = 3  # heartbeats until a client counts as lost


@dataclass(slots=True, eq=False)
class Client:
    """`peer` is its connection, None while it has none; `heard` when it last said anything; `answered` the frames to confirm this turn."""

    name: str
    session: str
    role: str
    host: str
    pid: int
    heartbeat_s: float
    heard: float
    peer: bytes | None = None
    user: str = ""
    present: bool = True
    members: dict[int, Member] = field(default_factory=dict)
    consumes: dict[int, str] = field(default_factory=dict)
    watchers: dict[int, Watcher] = field(default_factory=dict)
    answered: list[int] = field(default_factory=list)

    def row(self) -> ClientRow:
        return ClientRow(self.name, self.session, self.role, self.host, self.pid, self.heartbeat_s, self.present)


class Clients:
    def __init__(self, core: Core, rows: Sequence[ClientRow], now: float) -> None:
        self._core = core
        self._named = {row.name: Client(row.name, row.session, row.role, row.host, row.pid, row.heartbeat_s, now) for row in rows}
        for row in rows:  # those who were here have as long as a heartbeat may be missed to come back
            self._named[row.name].present = row.present
        self._at: dict[bytes, Client] = {}
        self._was_at: dict[bytes, Client] = {}  # connections that are gone, whose last words may still be on their way

    def at(self, peer: bytes) -> Client | None:
        return self._at.get(peer)

    def parting(self, peer: bytes) -> Client | None:
        """The client of a connection that is gone, unless it has come back over another."""
        return self._was_at.get(peer)

    def named(self, name: str) -> Client | None:
        return self._named.get(name)

    # ---------------------------------------------------------------- hello

    def hello(self, peer: bytes, frame: Frame, user: str, now: float) -> None:
        name = frame["name"]
        if frame["protocol"] != PROTOCOL:
            raise Refusal(
                "protocol", f"this broker speaks protocol {PROTOCOL}, {name} speaks {frame['protocol']}; use the same version of rlgpt"
            )
        why = self._core.gate.admit(user, name)
        if why:
            raise Refusal("forbidden", why)
        old = self._named.get(name)
        if old is not None and old.session != frame["session"]:
            if frame["again"]:
                raise Refusal("replaced", f"another process has taken the name {name!r}; names must be unique")
            if old.present:
                self._gone(old, "replaced", now)
            else:
                self._detach(old)
            old = None
        if other := self._at.get(peer):  # a second hello over one connection
            self._detach(other)
        client = old or Client(name, frame["session"], "", "", 0, 1.0, now)
        rejoins = old is not None and old.present
        self._detach(client)
        client.role, client.host, client.pid, client.user = frame["role"], frame["host"], frame["pid"], user
        client.heartbeat_s = min(max(frame["heartbeat_s"], 0.05), 60.0)
        client.peer, client.heard, client.present = peer, now, True
        self._named[name] = self._at[peer] = client
        if not rejoins:
            self._core.out.changes.clients.append(client.row())
            self._core.announce(AgentJoined(name=name, role=client.role, host=client.host, pid=client.pid))
            self._core.out.notes.append(("agent_joined", {"name": name, "role": client.role, "pid": client.pid}))
        self._welcome(client, frame["subs"], now)

    def _welcome(self, client: Client, subs: Sequence[Frame], now: float) -> None:
        """Take up its subscriptions and what it holds; what it was sent but never received goes back, without blame."""
        subbed, refused, stale = [], [], []
        for sub in subs:
            try:
                answer, gone = self._take_up(client, sub, now)
                subbed.append(answer)
                stale += gone
            except Refusal as refusal:
                refused.append([sub["sub"], refusal.code, str(refusal)])
        held = {(client.consumes[sub], seq, attempt) for sub, member in client.members.items() for seq, attempt in member.in_flight}
        for consumer in self._core.consumers.values():
            mine = [(seq, lease.attempt) for seq, lease in consumer.open.items() if lease.owner == client.name]
            owned = [seq for seq, attempt in mine if (consumer.name, seq, attempt) not in held]
            for seq in owned:
                consumer.give_back(seq, now, charge=False)
        head = self._core.log.head
        self._core.out.send(client.peer, {"op": "welcome", "head": head, "subs": subbed, "refused": refused, "stale": stale})

    # ---------------------------------------------------------------- subscriptions

    def subscribe(self, client: Client, frame: Frame, now: float) -> None:
        answer, _ = self._take_up(client, frame, now)
        self._core.out.send(client.peer, {"op": "subbed", **answer})

    def unsubscribe(self, client: Client, frame: Frame, now: float) -> None:
        sub = frame["sub"]
        member = client.members.pop(sub, None)
        if member is not None:
            consumer = self._core.consumers[client.consumes.pop(sub)]
            consumer.leave(member)
            for seq, attempt in member.in_flight:
                if consumer.is_current(seq, attempt, client.name):
                    consumer.give_back(seq, now, charge=False)
        if watcher := client.watchers.pop(sub, None):
            self._core.feeds.watchers.remove(watcher)

    def _take_up(self, client: Client, frame: Frame, now: float) -> tuple[dict[str, Any], list[list[int]]]:
        sub, credit = frame["sub"], min(max(frame["credit"], 1), MAX_CREDIT)
        if sub in client.members or sub in client.watchers:
            raise Refusal("sub", f"{client.name} has a subscription number {sub} already")
        why = self._core.gate.subscribe(client.user, client.name, frame["topics"])
        if why:
            raise Refusal("forbidden", why)
        named = {"first": 0, "new": self._core.log.head}
        start: int = named[frame["start"]] if isinstance(frame["start"], str) else frame["start"]
        if frame["consumer"] is None:
            client.watchers[sub] = watcher = Watcher(client, sub, Topics(frame["topics"]), start, credit)
            self._core.feeds.watchers.append(watcher)
            return {"sub": sub, "position": start, "credit": credit}, []
        consumer = self._consumer(frame, start)
        member = Member(client.name, client.peer or b"", sub, credit, frame["touch_s"])
        stale = []
        for seq, attempt in frame["holds"]:
            member.take(seq, attempt, 0)
            if consumer.readopt(seq, attempt, client.name):
                consumer.touch(seq, member, now)
            else:
                stale.append([sub, seq, attempt])
        consumer.join(member)
        client.members[sub], client.consumes[sub] = member, consumer.name
        return {"sub": sub, "position": consumer.position, "credit": credit}, stale

    def _consumer(self, frame: Frame, start: int) -> Consumer:
        """The named consumer, made at its first subscription."""
        name, topics, attempts = frame["consumer"], tuple(frame["topics"]), max(frame["max_attempts"], 1)
        consumer = self._core.consumers.get(name)
        if consumer is None:
            consumer = self._core.consumers[name] = Consumer(name, topics, start, attempts)
        elif set(consumer.topics.patterns) != set(topics):
            if consumer.members:
                have = sorted(consumer.topics.patterns)
                raise Refusal("topics", f"consumer {name!r} is at work on topics {have}, not {sorted(topics)}; use another consumer name")
            consumer.topics, consumer.dirty = Topics(topics), True
        if consumer.max_attempts != attempts:
            consumer.max_attempts, consumer.dirty = attempts, True
        return consumer

    # ---------------------------------------------------------------- leaving

    def bye(self, client: Client, frame: Frame, now: float) -> None:  # noqa: ARG002
        self._gone(client, "bye", now)

    def disconnected(self, peer: bytes) -> None:
        """The connection is gone. What the client holds stays its own until heartbeats are missing."""
        if client := self._at.get(peer):
            self._detach(client)
            self._was_at[peer] = client

    def choked(self, peer: bytes, now: float) -> None:
        """It does not read what it is sent, although credit bounds that: nothing more can be done for it."""
        if client := self._at.get(peer):
            self._gone(client, "lost", now)

    def sweep(self, now: float) -> None:
        for client in list(self._named.values()):
            if client.present and now - client.heard > MISSED * client.heartbeat_s:
                self._gone(client, "lost", now)
            elif client.peer is not None and (why := self._core.gate.admit(client.user, client.name)):  # its key was revoked
                self._core.out.send(client.peer, {"op": "error", "code": "forbidden", "why": why})
                self._gone(client, "lost", now)

    def postpone(self, gap: float) -> None:
        for client in self._named.values():
            client.heard += gap

    def _gone(self, client: Client, reason: Literal["bye", "lost", "replaced"], now: float) -> None:
        if reason == "replaced":
            self._core.out.send(
                client.peer,
                {"op": "error", "code": "replaced", "why": f"another process has taken the name {client.name!r}; names must be unique"},
            )
        for consumer in self._core.consumers.values():
            why = f"{client.name} was {reason} while it held this"
            self._core.bury(consumer, consumer.release(client.name, now, reason=why, lost=reason != "bye"))
        self._detach(client)
        client.present = False
        self._core.out.changes.clients.append(client.row())
        self._core.announce(AgentLeft(name=client.name, role=client.role, reason=reason))
        self._core.out.notes.append(("agent_left", {"name": client.name, "role": client.role, "reason": reason}))

    def _detach(self, client: Client) -> None:
        """Forget its connection and its subscriptions; its leases are not touched."""
        if client.peer is not None:
            self._at.pop(client.peer, None)
        client.peer = None
        for peer in [peer for peer, other in self._was_at.items() if other is client]:
            del self._was_at[peer]
        for sub, member in client.members.items():
            self._core.consumers[client.consumes[sub]].leave(member)
        for watcher in client.watchers.values():
            self._core.feeds.watchers.remove(watcher)
        client.members, client.consumes, client.watchers, client.answered = {}, {}, {}, []

    def confirm(self) -> None:
        """One confirmation a turn for everything a client had answered."""
        for client in self._at.values():
            if client.answered:
                self._core.out.send(client.peer, {"op": "acked", "n": client.answered})
                client.answered = []
