"""A stage for the core without sockets, and a broker in a thread for real ones."""

from __future__ import annotations

import contextlib
import itertools
import threading
from pathlib import Path

import pytest

from rlgpt.bus.aio import AsyncBusClient
from rlgpt.bus.broker import Broker
from rlgpt.bus.client import BusClient
from rlgpt.bus.codec import decode, encode, pack, unpack
from rlgpt.bus.core import Core
from rlgpt.bus.envelope import Envelope, fresh_ids, seal
from rlgpt.bus.journal import Journal
from rlgpt.bus.messages import Message


class Noted(Message):
    """A message for tests."""

    text: str = ""


class Peer:
    """One connection to the core."""

    def __init__(self, stage: Stage, number: int) -> None:
        self.stage, self.id, self.inbox = stage, b"\0" + number.to_bytes(4, "big"), []
        self.numbers = itertools.count(1)
        self.name, self.session, self.user = "", "", ""

    def hello(
        self, name: str, *, session: str = "", again: bool = False, subs=(), heartbeat_s: float = 1.0, role: str = "tester", protocol=1
    ):
        self.name, self.session = name, session or f"{name}@{self.id.hex()}"
        self.says(
            "hello",
            protocol=protocol,
            name=name,
            session=self.session,
            again=again,
            role=role,
            host="here",
            pid=7,
            heartbeat_s=heartbeat_s,
            subs=list(subs),
        )
        return self

    def says(self, op: str, **fields) -> None:
        self.raw(pack({"op": op, **fields}))

    def raw(self, data: bytes) -> None:
        self.stage.core.receive(self.id, data, self.stage.now, self.user)

    def subscribe(self, consumer: str | None = "work", topics=("noted",), **fields) -> None:
        self.says("sub", **sub(1, consumer, topics, **fields))

    def publish(self, *envelopes: Envelope, lease=None) -> int:
        n = next(self.numbers)
        self.says("pub", n=n, events=[encode(one) for one in envelopes], lease=lease)
        return n

    def ack(self, *deliveries, sub: int = 1) -> None:
        for attempt in {one[1] for one in deliveries}:
            self.says("ack", n=next(self.numbers), sub=sub, attempt=attempt, seqs=[one[0] for one in deliveries if one[1] == attempt])

    def nack(self, delivery, *, reason="no", requeue=True, delay_s=0.0) -> None:
        self.says(
            "nack", n=next(self.numbers), sub=1, seq=delivery[0], attempt=delivery[1], reason=reason, requeue=requeue, delay_s=delay_s
        )

    def heard(self, op: str) -> list[dict]:
        """Frames of this op since the last time of asking."""
        found = [frame for frame in self.inbox if frame["op"] == op]
        self.inbox = [frame for frame in self.inbox if frame["op"] != op]
        return found

    def delivered(self) -> list[tuple[int, int, str]]:
        """(seq, attempt, id) of what was delivered since the last time of asking."""
        return [
            (seq, frame["attempt"], decode(raw).id)
            for frame in self.heard("deliver")
            for seq, raw in zip(frame["seqs"], frame["events"], strict=True)
        ]


def sub(number: int, consumer: str | None, topics=("noted",), **fields) -> dict:
    defaults = {"start": "first", "credit": 10, "max_attempts": 3, "touch_s": None, "holds": []}
    return {"sub": number, "consumer": consumer, "topics": list(topics), **defaults, **fields}


class Stage:
    """The core with a journal and a hand-turned clock."""

    def __init__(self, path: Path, gate=None) -> None:
        self.path, self.gate, self.now = path, gate, 1000.0
        self.ids = fresh_ids()
        self.peers: dict[bytes, Peer] = {}
        self.start()

    def start(self) -> None:
        self.journal = Journal(self.path)
        self.core = Core(self.journal, now=self.now, gate=self.gate, ids=(f"broker-{self.journal.head}-{n}" for n in itertools.count(1)))

    def restart(self) -> None:
        """The broker dies and comes back: connections are gone, the disk stays."""
        self.journal.close()
        self.peers.clear()
        self.start()

    def peer(self) -> Peer:
        number = len(self.peers) + 1 + int(self.now * 1000)
        peer = Peer(self, number)
        self.peers[peer.id] = peer
        return peer

    def turn(self, passed_s: float = 0.0) -> None:
        """Time passes, then the broker takes turns until there is nothing left to hand out."""
        self.now += passed_s
        for _ in range(1000):
            turn = self.core.step(self.now)
            self.journal.commit(turn.changes)
            self.core.committed()
            for peer, frame in turn.frames:
                if peer in self.peers:
                    self.peers[peer].inbox.append(unpack(frame))
            if not turn.again:
                return
        raise AssertionError("the core always has more to do")

    def pass_time(self, seconds: float, *alive: Peer) -> None:
        """Time passes in small steps, as it does; the peers in `alive` send their heartbeats."""
        for _ in range(round(seconds / 0.5)):
            for peer in alive:
                peer.says("ping", n=0)
            self.turn(0.5)

    def note(self, text: str = "", id: str = "", source: str = "tester") -> Envelope:
        return seal(Noted(text=text), id=id or next(self.ids), source=source)

    def log(self, topic: str = "") -> list[Envelope]:
        return [envelope for _, envelope in Journal.read(self.path) if not topic or envelope.topic == topic]


@pytest.fixture
def stage(tmp_path):
    stage = Stage(tmp_path / "journal.sqlite")
    yield stage
    stage.journal.close()


@pytest.fixture(scope="session")
def new_stage():
    """For a test that needs many: `new_stage(path)`."""
    return Stage


class Bus:
    """A broker in a thread, and its clients; everything ends with the test."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.journal = folder / "journal.sqlite"
        self.address = f"ipc://{folder}/bus"
        self.ids = fresh_ids()
        self.security = None
        self._cleanup = contextlib.ExitStack()
        self._thread: threading.Thread | None = None
        self.failure: BaseException | None = None

    def start(self) -> None:
        self._stop = threading.Event()
        broker = Broker(self.address, self.journal, security=self.security)
        self._thread = threading.Thread(target=self._run, args=(broker,))
        self._thread.start()
        assert broker.ready.wait(100), self.failure

    def _run(self, broker: Broker) -> None:
        try:
            broker.run(self._stop)
        except BaseException as error:
            self.failure = error

    def stop(self) -> None:
        if self._thread:
            self._stop.set()
            self._thread.join(100)
            assert not self._thread.is_alive()
            self._thread = None

    def client(self, name: str, **options) -> BusClient:
        client = BusClient(self.address, name, **options)
        client.start()
        self._cleanup.callback(client.close, 0.2)
        return client

    async def aclient(self, name: str, **options) -> AsyncBusClient:
        client = AsyncBusClient(self.address, name, **options)
        await client.start()
        self._cleanup.callback(client.sync.close, 0.2)
        return client

    def note(self, text: str = "", source: str = "tester", **options) -> Envelope:
        return seal(Noted(text=text), id=options.pop("id", "") or next(self.ids), source=source, **options)

    def log(self, topic: str = "noted") -> list[Envelope]:
        return [envelope for _, envelope in Journal.read(self.journal) if envelope.topic == topic]

    def close(self) -> None:
        self._cleanup.close()
        self.stop()


@pytest.fixture
def bus(tmp_path):
    bus = Bus(tmp_path)
    bus.start()
    yield bus
    bus.close()


@pytest.fixture
def sub_frame():
    return sub
