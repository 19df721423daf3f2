"""What the broker makes of clients that do not keep to the protocol, and of its own disk failing."""

from __future__ import annotations

import random
import sqlite3
import subprocess
import sys
import threading

import pytest
import zmq
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rlgpt.bus.broker import Broker
from rlgpt.bus.codec import MAX_FRAME, encode, pack, unpack
from rlgpt.bus.compaction import compact
from rlgpt.bus.errors import JournalFailed
from rlgpt.bus.journal import Journal
from rlgpt.bus.messages import AgentLeft

SOON = 100.0


@pytest.fixture
def raw(bus):
    """A bare DEALER at the broker's address."""
    context = zmq.Context()
    sockets = []

    def connect(identity: bytes = b"") -> zmq.Socket:
        socket = context.socket(zmq.DEALER)
        if identity:
            socket.setsockopt(zmq.ROUTING_ID, identity)
        socket.setsockopt(zmq.RCVTIMEO, 5000)
        socket.connect(bus.address)
        sockets.append(socket)
        return socket

    yield connect
    for socket in sockets:
        socket.close(linger=0)
    context.destroy(linger=0)


def hello(name: str = "raw", **fields) -> bytes:
    defaults = {"protocol": 1, "session": name, "again": False, "role": "", "host": "", "pid": 1, "heartbeat_s": 1.0, "subs": []}
    return pack({"op": "hello", "name": name, **defaults, **fields})


def test_broker_survives_garbage_and_says_what_was_wrong(bus, raw):
    socket = raw()
    for data in (b"", b"garbage", b"\x91" * 50_000, pack({"op": "ping", "n": "x"}), pack({"op": "ping", "n": 1})):
        socket.send(data)
    socket.send_multipart([b"two", b"parts"])
    errors = [unpack(socket.recv()) for _ in range(5)]
    assert [error["code"] for error in errors] == ["malformed"] * 4 + ["unknown"]
    bus.client("honest").publish(bus.note())


def test_broker_survives_an_oversized_frame_and_drops_its_sender(bus, raw):
    raw().send(b"\0" * (MAX_FRAME + 1))
    bus.client("honest").publish(bus.note())
    assert len(bus.log()) == 1


def test_frames_of_a_client_that_chose_its_routing_id_are_not_heard(bus, raw):
    """Trap 6: with ids of their own choice one client could pass for another's connection."""
    chosen = raw(identity=b"\x01chosen")
    chosen.send(hello("liar"))
    honest = raw()
    honest.send(hello("honest"))
    assert unpack(honest.recv())["op"] == "welcome"
    chosen.setsockopt(zmq.RCVTIMEO, 0)
    with pytest.raises(zmq.Again):
        chosen.recv()


def test_hello_full_of_impossible_subscriptions_is_answered_one_by_one(raw, sub_frame):
    socket = raw()
    subs = [
        sub_frame(1, "a"),
        sub_frame(1, "b"),
        sub_frame(2, None, credit=10**9, start=2**50),
        sub_frame(3, "c", holds=[[99, 1], [99, 1]]),
    ]
    socket.send(hello(subs=subs))
    welcome = unpack(socket.recv())
    assert [(one["sub"], one["credit"]) for one in welcome["subs"]] == [(1, 10), (2, 4096), (3, 10)]
    assert [one[:2] for one in welcome["refused"]] == [[1, "sub"]]
    assert welcome["stale"] == [[3, 99, 1], [3, 99, 1]]


OPS = ["hello", "sub", "unsub", "pub", "ack", "seen", "nack", "touch", "dead", "requeue", "ping", "bye"]
small = st.integers(0, 6)
leases = st.lists(st.lists(small, min_size=2, max_size=2), max_size=3)
names = st.sampled_from(["a", "b", "raw", "x" * 256])
subs = st.fixed_dictionaries(
    {
        "sub": small,
        "consumer": st.none() | names,
        "topics": st.lists(st.sampled_from(["noted", "*", "agent.*", "."]), min_size=1, max_size=2),
        "start": st.sampled_from(["first", "new", 0, 3, 2**52]),
        "credit": small,
        "max_attempts": small,
        "touch_s": st.none() | st.sampled_from([0, 0.0, 1e-9, 5]),
        "holds": leases,
    }
)
frames = st.one_of(
    st.fixed_dictionaries(
        {
            "op": st.just("hello"),
            "protocol": st.just(1),
            "name": names,
            "session": names,
            "again": st.booleans(),
            "role": st.text(max_size=3),
            "host": st.just(""),
            "pid": small,
            "heartbeat_s": st.sampled_from([0, 0.1, 1, 1e8]),
            "subs": st.lists(subs, max_size=3),
        }
    ),
    subs.map(lambda sub: {"op": "sub", **sub}),
    st.fixed_dictionaries({"op": st.just("unsub"), "sub": small}),
    st.fixed_dictionaries(
        {
            "op": st.just("pub"),
            "n": small,
            "events": st.lists(st.sampled_from([b"", b"\x80", b"good-1", b"good-2"]), min_size=1, max_size=3),
            "lease": st.none() | st.tuples(names, small, small).map(list),
        }
    ),
    st.fixed_dictionaries({"op": st.just("ack"), "n": small, "sub": small, "attempt": small, "seqs": st.lists(small, max_size=5)}),
    st.fixed_dictionaries({"op": st.just("seen"), "sub": small, "seq": small}),
    st.fixed_dictionaries(
        {
            "op": st.just("nack"),
            "n": small,
            "sub": small,
            "seq": small,
            "attempt": small,
            "reason": st.just("r"),
            "requeue": st.booleans(),
            "delay_s": st.sampled_from([0, 1]),
        }
    ),
    st.fixed_dictionaries({"op": st.just("touch"), "sub": small, "leases": leases}),
    st.fixed_dictionaries({"op": st.sampled_from(["dead", "ping"]), "n": small}),
    st.fixed_dictionaries({"op": st.just("requeue"), "n": small, "consumer": names, "seq": small}),
    st.just({"op": "bye"}),
    st.sampled_from([{"op": "turn"}, {"op": "restart"}]),
)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(0, 2), frames), max_size=40))
def test_any_sequence_of_wellformed_frames_leaves_the_core_sound(tmp_path_factory, new_stage, script):
    """Stateful fuzzing: three connections say anything in any order, with turns, silence and restarts between."""
    stage = new_stage(tmp_path_factory.mktemp("fuzz") / "journal.sqlite")
    stage.journal._db.execute("PRAGMA synchronous=OFF")
    good = {name: encode(stage.note(id=name.decode())) for name in (b"good-1", b"good-2")}
    peers = [stage.peer() for _ in range(3)]
    for number, frame in script:
        if frame["op"] == "restart":
            stage.turn()
            stage.restart()
            stage.journal._db.execute("PRAGMA synchronous=OFF")
            peers = [stage.peer() for _ in range(3)]
        elif frame["op"] == "turn":
            stage.turn(0.9)
        else:
            if frame["op"] == "pub":
                frame = {**frame, "events": [good.get(raw, raw) for raw in frame["events"]]}
            peers[number].raw(pack(frame))
    stage.turn()
    numbers = [seq for seq, _ in Journal.read(stage.path)]
    assert numbers == list(range(1, len(numbers) + 1))
    for consumer in stage.core.consumers.values():
        for lease in consumer.open.values():
            assert not lease.owner or stage.core.clients.named(lease.owner).present
        for member in consumer.members:
            assert stage.core.clients.at(member.peer).members[member.sub] is member
            assert member.size == sum(member.in_flight.values())
    restored = {row.name: row for row in stage.journal.consumers()}
    assert restored == {name: consumer.row() for name, consumer in stage.core.consumers.items()}
    stage.journal.close()


def test_ten_thousand_hostile_frames_leave_the_broker_serving(bus, raw):
    chance = random.Random(0)
    socket = raw()
    socket.setsockopt(zmq.RCVTIMEO, 0)
    socket.send(hello())
    for n in range(10_000):
        good = bytearray(pack({"op": chance.choice(OPS), "n": n, "sub": 1, "attempt": 1, "seqs": [1], "events": [b"x"], "lease": None}))
        for _ in range(chance.randrange(4)):
            good[chance.randrange(len(good))] = chance.randrange(256)
        socket.send(bytes(good))
        while socket.poll(0):
            socket.recv()
    bus.client("honest").publish(bus.note())
    assert len(bus.log()) == 1


# ---------------------------------------------------------------- the disk


def test_journal_that_cannot_be_written_stops_the_broker_and_acknowledges_nothing(bus, monkeypatch):
    client = bus.client("publisher")
    client.publish(bus.note("safe"))
    commit = Journal.commit

    def fail(self, changes):
        if changes.events:
            self._db.execute("PRAGMA query_only=ON")
        commit(self, changes)

    monkeypatch.setattr(Journal, "commit", fail)
    client.publish_nowait(bus.note("lost?"))
    bus._thread.join(SOON)
    assert isinstance(bus.failure, JournalFailed)
    assert "cannot be written" in str(bus.failure)
    assert client._session.unacknowledged == 1
    assert [one.message().text for one in bus.log()] == ["safe"]
    monkeypatch.undo()
    bus.start()
    client.flush(SOON)
    assert [one.message().text for one in bus.log()] == ["safe", "lost?"]


def test_damaged_journal_is_named_and_not_served(tmp_path):
    path = tmp_path / "journal.sqlite"
    path.write_bytes(b"this is no database, whatever its name says" * 100)
    with pytest.raises(JournalFailed, match=r"journal\.sqlite.*damaged"):
        Broker(f"ipc://{tmp_path}/bus", path).run(threading.Event())


def test_journal_of_a_newer_format_is_refused(tmp_path):
    Journal(tmp_path / "j").close()
    db = sqlite3.connect(tmp_path / "j")
    db.execute("PRAGMA user_version=99")
    db.close()
    with pytest.raises(JournalFailed, match="format 99"):
        Journal(tmp_path / "j")


def test_journal_whose_broker_is_just_making_it_is_empty_and_is_made_by_the_next_one(tmp_path):
    path = tmp_path / "journal.sqlite"
    db = sqlite3.connect(path)
    db.execute("PRAGMA journal_mode=WAL")  # as far as a broker had come when it was killed
    assert list(Journal.read(path)) == []
    db.close()
    assert list(Journal.read(path)) == []
    Journal(path).close()
    assert list(Journal.read(path)) == []


def test_compacted_journal_keeps_its_numbers_and_goes_on(bus):
    client = bus.client("publisher")
    work = client.subscribe("work", ["noted"], credit=2)
    last = client.publish(*(bus.note("x" * 1000) for _ in range(2000)))[-1]
    work.get(SOON)
    client.close()
    bus.stop()
    before = bus.journal.stat().st_size
    assert compact(bus.journal, drop=["noted"]) == 2000
    assert bus.journal.stat().st_size < before / 10
    bus.start()
    client = bus.client("publisher")
    work = client.subscribe("work", ["noted"], credit=2)
    [number] = client.publish(bus.note("new"))
    assert number > last
    assert work.get(SOON).envelope.message().text == "new"


def test_compacted_journal_reads_as_before_and_knows_its_ids(bus):
    client = bus.client("publisher")
    events = [bus.note(f"text {n} " * 20) for n in range(600)]
    numbers = [client.publish(event)[0] for event in events]
    client.close()
    bus.stop()
    before, size = list(Journal.read(bus.journal)), bus.journal.stat().st_size
    assert compact(bus.journal) == 0
    assert bus.journal.stat().st_size < size / 2
    assert list(Journal.read(bus.journal)) == before
    assert list(Journal.read(bus.journal, after=400)) == before[400:]
    bus.start()
    client = bus.client("publisher")
    assert client.publish(*events) == numbers
    watch = client.watch(["noted"])
    assert [watch.get(SOON).envelope for _ in events] == events


# ---------------------------------------------------------------- traps that concern how it is built


def test_router_reports_what_it_cannot_deliver(tmp_path):
    """Trap 1."""
    context = zmq.Context()
    try:
        router = Broker(f"ipc://{tmp_path}/bus", tmp_path / "j")._bind(context)
        with pytest.raises(zmq.ZMQError, match="unreachable"):
            router.send_multipart([b"\0nobody", b"hello"])
    finally:
        context.destroy(linger=0)


def test_no_client_uses_zmq_asyncio():
    """Trap 2: four times the CPU, and its shadow sockets swallow readiness."""
    script = "import sys, rlgpt.bus.aio, rlgpt.bus.broker, rlgpt.bus.security; sys.exit('zmq.asyncio' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


def test_client_that_does_not_read_is_given_up_and_its_work_handed_on(bus, raw, sub_frame, monkeypatch):
    monkeypatch.setattr("rlgpt.bus.broker.SEND_QUEUE", 64)
    bus.stop()
    bus.start()
    deaf = raw()
    deaf.setsockopt(zmq.RCVHWM, 1)
    looks = [sub_frame(n, None, credit=4096) for n in range(2, 8)]
    deaf.send(hello("deaf", heartbeat_s=60.0, subs=[sub_frame(1, "work", credit=1), *looks]))
    assert unpack(deaf.recv())["op"] == "welcome"
    honest = bus.client("honest")
    gone = honest.subscribe("gone", [AgentLeft.TOPIC])
    work = honest.subscribe("work", ["noted"])
    for n in range(100):
        honest.publish(bus.note(str(n) + "x" * 100_000))
    assert gone.get(SOON).envelope.message() == AgentLeft(name="deaf", role="", reason="lost")
    got = set()
    while len(got) < 100:
        delivery = work.get(SOON)
        delivery.ack()
        got.add(delivery.envelope.message().text.strip("x"))
    assert got == {str(n) for n in range(100)}
