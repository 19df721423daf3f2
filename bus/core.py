"""The broker without I/O: frames in, frames and journal rows out. Time comes in as an argument.

A turn is a transaction: `receive` any number of frames, `step` once, write `Turn.changes` to disk, tell the core so (`committed`), and only
then send `Turn.frames`. If the write fails, nothing of the turn has left the broker.

`core` takes part in the exchange (publish, acknowledge, dead letters), `clients` knows who is here, `feeds` hands events out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

from rlgpt.bus.clients import Client, Clients
from rlgpt.bus.codec import MAX_ENVELOPE, Attributes, Frame, attributes, encode, unpack_from_client
from rlgpt.bus.consumer import Consumer, Failed
from rlgpt.bus.envelope import fresh_ids, seal
from rlgpt.bus.errors import Malformed
from rlgpt.bus.feeds import Feeds
from rlgpt.bus.gate import BROKER, Gate, Open
from rlgpt.bus.journal import Changes, ClientRow, ConsumerRow, DeadRow
from rlgpt.bus.log import Log, Reader
from rlgpt.bus.messages import DeadLettered, Message
from rlgpt.bus.turn import Outcome, Refusal, Turn

SWEEP_S = 0.1  # how often silence and overdue work are looked for
STALL_S = 1.0  # a longer gap between two steps means that the broker itself was not running
LISTED = 1000  # dead letters in one answer


class State(Reader, Protocol):
    """A journal, as the core is restored from it."""

    def consumers(self) -> list[ConsumerRow]: ...
    def clients(self) -> list[ClientRow]: ...
    def dead(self) -> list[DeadRow]: ...


class Core:
    def __init__(self, journal: State, *, now: float, gate: Gate | None = None, ids: Iterator[str] | None = None) -> None:
        self.log = Log(journal)
        self.consumers = {row.name: Consumer.restore(row) for row in journal.consumers()}
        self.out = Outcome()
        self.gate = gate or Open()
        self.feeds = Feeds(self.log, self.consumers)
        self.clients = Clients(self, journal.clients(), now)
        self._dead = {(row.consumer, row.seq): row for row in journal.dead()}
        self._ids = ids or fresh_ids()
        self._stepped = self._swept = now
        self._handlers: dict[str, Callable[[Client, Frame, float], None]] = {
            "sub": self.clients.subscribe,
            "unsub": self.clients.unsubscribe,
            "pub": self._publish,
            "ack": self._acknowledge,
            "seen": self._seen,
            "nack": self._refuse,
            "touch": self._touch,
            "dead": self._list_dead,
            "requeue": self._requeue,
            "ping": self._ping,
            "bye": self.clients.bye,
        }

    # ---------------------------------------------------------------- a turn

    def receive(self, peer: bytes, data: bytes, now: float, user: str = "") -> None:
        """One frame from a connection; `user` is the public key it proved."""
        if now - self._stepped > STALL_S:  # before anybody is heard: what is said from now on is not part of the silence
            self._stalled(now)
        try:
            frame = unpack_from_client(data)
        except Malformed as error:
            self.out.send(peer, {"op": "error", "code": "malformed", "why": str(error)})
            return
        client = self.clients.at(peer)
        if client is None and frame["op"] == "bye":
            # A process that ends closes its socket behind its goodbye: an answer to it may meet the closed connection first.
            client = self.clients.parting(peer)
        try:
            if frame["op"] == "hello":
                self.clients.hello(peer, frame, user, now)
            elif client is None:
                raise Refusal("unknown", "say hello first")
            else:
                client.heard = now
                self._handlers[frame["op"]](client, frame, now)
        except Refusal as refusal:
            about: Frame = {key: frame[key] for key in ("n", "sub") if key in frame}
            self.out.send(peer, {"op": "error", "code": refusal.code, "why": str(refusal), **about})

    def step(self, now: float) -> Turn:
        """End the turn: look for silence and overdue work, hand out what there is credit for."""
        if now - self._stepped > STALL_S:
            self._stalled(now)
        self._stepped = now
        if now >= self._swept + SWEEP_S:
            self._swept = now
            self.clients.sweep(now)
            self._sweep_overdue(now)
        again = self.feeds.run(now, self.out)
        self.clients.confirm()
        for consumer in self.consumers.values():
            if consumer.dirty or consumer.position - consumer.saved >= 4096:
                self.out.changes.consumers.append(consumer.row())
                consumer.dirty, consumer.saved = False, consumer.position
        turn = Turn(self.out.changes, self.out.frames, self.out.notes, again)
        self.out.changes, self.out.frames, self.out.notes = Changes(), [], []
        return turn

    def committed(self) -> None:
        self.log.committed()

    def _stalled(self, now: float) -> None:
        """The broker was stopped, swapped out, or had a slow disk: that silence was its own."""
        gap, self._stepped = now - self._stepped, now
        self.clients.postpone(gap)
        for consumer in self.consumers.values():
            consumer.postpone(gap)

    # ---------------------------------------------------------------- publish

    def _publish(self, client: Client, frame: Frame, now: float) -> None:  # noqa: ARG002
        if frame["lease"] is not None:
            name, seq, attempt = frame["lease"]
            consumer = self.consumers.get(name)
            if consumer is None or not consumer.is_current(seq, attempt, client.name):
                raise Refusal("stale", f"{client.name} does not hold attempt {attempt} of event {seq} of {name!r} (any more)")
        allowed: set[tuple[str, str]] = set()
        refused: list[list[Any]] = []
        ids, topics, raws = [], [], []
        for index, raw in enumerate(frame["events"]):
            try:
                if len(raw) > MAX_ENVELOPE:
                    raise Refusal("too_large", f"an event of {len(raw)} bytes; the limit is {MAX_ENVELOPE}")
                event = attributes(raw)
                if (event.source, event.topic) not in allowed:
                    self._permit(client, event)
                    allowed.add((event.source, event.topic))
            except Malformed as error:
                refused.append([index, "malformed", str(error)])
            except Refusal as refusal:
                refused.append([index, refusal.code, str(refusal)])
            else:
                ids.append(event.id)
                topics.append(event.topic)
                raws.append(raw)
        seqs: list[int | None] = [*self.log.append(ids, topics, raws, self.out.changes)] if ids else []
        for index, _, _ in refused:  # in ascending order
            seqs.insert(index, None)
        self.out.send(client.peer, {"op": "puback", "n": frame["n"], "seqs": seqs, "refused": refused})

    def _permit(self, client: Client, event: Attributes) -> None:
        why = self.gate.publish(client.user, client.name, event.source, event.topic)
        if why:
            raise Refusal("forbidden", why)

    def announce(self, message: Message) -> None:
        """Publish something of the broker's own."""
        envelope = seal(message, id=next(self._ids), source=BROKER)
        self.log.append([envelope.id], [envelope.topic], [encode(envelope)], self.out.changes)

    # ---------------------------------------------------------------- answers of consumers

    def _acknowledge(self, client: Client, frame: Frame, now: float) -> None:  # noqa: ARG002
        client.answered.append(frame["n"])
        member = client.members.get(frame["sub"])
        if member is None:
            return
        self.consumers[client.consumes[frame["sub"]]].acknowledge(frame["seqs"], frame["attempt"], member)

    def _refuse(self, client: Client, frame: Frame, now: float) -> None:
        client.answered.append(frame["n"])
        member = client.members.get(frame["sub"])
        if member is None:
            return
        consumer = self.consumers[client.consumes[frame["sub"]]]
        seq, attempt = frame["seq"], frame["attempt"]
        member.answer(seq, attempt)
        if consumer.is_current(seq, attempt, client.name):
            final = not frame["requeue"]
            failed = consumer.give_back(seq, now, reason=frame["reason"], charge=True, delay_s=frame["delay_s"], final=final)
            self.bury(consumer, [failed] if failed else [])

    def _touch(self, client: Client, frame: Frame, now: float) -> None:
        member = client.members.get(frame["sub"])
        stale = []
        for seq, attempt in frame["leases"]:
            consumer = self.consumers[client.consumes[frame["sub"]]] if member else None
            if member and consumer and consumer.is_current(seq, attempt, client.name):
                consumer.touch(seq, member, now)
            else:
                stale.append([frame["sub"], seq, attempt])
        self._tell_stale(client, stale)

    def _seen(self, client: Client, frame: Frame, now: float) -> None:  # noqa: ARG002
        self.feeds.seen(client, frame["sub"], frame["seq"])

    def _ping(self, client: Client, frame: Frame, now: float) -> None:  # noqa: ARG002
        self.out.send(client.peer, {"op": "pong", "n": frame["n"]})

    def _sweep_overdue(self, now: float) -> None:
        for consumer in self.consumers.values():
            for seq in consumer.overdue(now):
                lease = consumer.open[seq]
                owner = self.clients.named(lease.owner)
                self.out.notes.append(
                    ("lease_overdue", {"consumer": consumer.name, "seq": seq, "attempt": lease.attempt, "client": lease.owner})
                )
                if owner:
                    subs = [sub for sub, member in owner.members.items() if (seq, lease.attempt) in member.in_flight]
                    self._tell_stale(owner, [[sub, seq, lease.attempt] for sub in subs])
                reason = f"no progress reported in time by {lease.owner}"
                failed = consumer.give_back(seq, now, reason=reason, charge=True)
                self.bury(consumer, [failed] if failed else [])

    def _tell_stale(self, client: Client, leases: Sequence[list[int]]) -> None:
        if leases:
            why = "these deliveries belong to somebody else by now"
            self.out.send(client.peer, {"op": "error", "code": "stale", "why": why, "leases": list(leases)})

    # ---------------------------------------------------------------- dead letters

    def bury(self, consumer: Consumer, failed: Sequence[Failed]) -> None:
        """Set aside what a consumer gave up on, and say so."""
        for letter in failed:
            row = DeadRow(consumer.name, letter.seq, letter.attempt, letter.failures, letter.reason)
            self._dead[consumer.name, letter.seq] = row
            self.out.changes.dead.append(row)
            self.out.notes.append(("dead_lettered", {"consumer": consumer.name, "seq": letter.seq, "reason": letter.reason}))
            event = self.log.get(letter.seq)
            id, kind = (found.id, found.type) if event and (found := attributes(event[2])) else ("", "")
            # A consumer that fails on everything would otherwise be fed with its own failures for ever.
            if kind != DeadLettered.TYPE:
                self.announce(
                    DeadLettered(
                        consumer=consumer.name,
                        seq=letter.seq,
                        id=id,
                        type=kind,
                        attempts=letter.failures,
                        reason=letter.reason,
                    )
                )

    def _list_dead(self, client: Client, frame: Frame, now: float) -> None:  # noqa: ARG002
        self._administer(client)
        rows = list(self._dead.values())[-LISTED:]
        letters = [[row.consumer, row.seq, row.attempt, row.failures, row.reason[:1000]] for row in rows]
        self.out.send(client.peer, {"op": "dead", "n": frame["n"], "letters": letters})

    def _requeue(self, client: Client, frame: Frame, now: float) -> None:  # noqa: ARG002
        self._administer(client)
        row = self._dead.pop((frame["consumer"], frame["seq"]), None)
        if row is None:
            raise Refusal("no_letter", f"event {frame['seq']} is no dead letter of {frame['consumer']!r}")
        self.consumers[row.consumer].put_back(row.seq, row.attempt)
        self.out.changes.revived.append((row.consumer, row.seq))
        client.answered.append(frame["n"])

    def _administer(self, client: Client) -> None:
        why = self.gate.administer(client.user, client.name)
        if why:
            raise Refusal("forbidden", why)
