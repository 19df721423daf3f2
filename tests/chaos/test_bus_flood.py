"""Ten thousand hostile frames of every kind against a broker at work; and a slow consumer while others hurry."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator

import zmq
from bus_process import note
from world import SOON

from rlgpt.bus.codec import FROM_CLIENT, MAX_FRAME, encode, pack, unpack

FRAMES = 10_000
OVERSIZED = 10
"""Of the frames, those beyond the limit of 8 MiB: each costs its sender the connection."""


def garbage(chance: random.Random) -> bytes:
    return chance.randbytes(chance.randrange(200))


def nesting_bomb(chance: random.Random) -> bytes:
    return chance.choice([b"\x91", b"\x81\xa1a"]) * chance.randrange(1000, 100_000) + b"\xc0"


def length_bomb(chance: random.Random) -> bytes:
    """A few bytes that claim gigabytes: array, map, string, bytes and extension headers."""
    head = chance.choice([b"\xdd", b"\xdf", b"\xdb", b"\xc6", b"\xc9"])
    return chance.choice([b"", b"\x82\xa2op\xa3pub\xa6events"]) + head + chance.choice([b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff"])


def wrong_type(chance: random.Random) -> bytes:
    """A frame of a known op whose fields are anything."""
    op = chance.choice(sorted(FROM_CLIENT))
    anything = [None, True, -1, 2**63, 1e308, float("nan"), "", "x" * 300, "\n", b"", [], [[]], [[1, -1]], [None], {}, {"a": {}}]
    return pack({"op": op, **{field: chance.choice(anything) for field in FROM_CLIENT[op]}})


def damaged(chance: random.Random, good: bytes) -> bytes:
    data = bytearray(good)
    for _ in range(chance.randrange(1, 5)):
        data[chance.randrange(len(data))] = chance.randrange(256)
    return bytes(data[: chance.randrange(1, len(data) + 1)]) if chance.random() < 0.3 else bytes(data)


def overheard() -> list[bytes]:
    """What an honest client says, to be said again by somebody else: its jobs, its answers, its hello."""
    raws = [encode(note("job", f"job-{n}", "honest")) for n in range(10)]
    hello = {"op": "hello", "protocol": 1, "name": "honest", "session": "guessed", "again": True, "role": "", "host": "", "pid": 1}
    return [
        pack({"op": "pub", "n": 1, "events": raws, "lease": None}),
        pack({"op": "pub", "n": 1, "events": raws, "lease": ["work", 2, 1]}),
        pack({"op": "ack", "n": 2, "sub": 1, "attempt": 1, "seqs": list(range(50))}),
        pack({"op": "nack", "n": 3, "sub": 1, "seq": 2, "attempt": 1, "reason": "", "requeue": False, "delay_s": 0}),
        pack({"op": "touch", "sub": 1, "leases": [[seq, 1] for seq in range(50)]}),
        pack({**hello, "heartbeat_s": 1, "subs": []}),
    ]


class Attacker:
    """A bare socket that sends what it likes and counts what it is told."""

    def __init__(self, address: str) -> None:
        self.address, self.context, self.told = address, zmq.Context(), Counter[str]()
        self.socket = self._connect()
        self._hello()

    def _connect(self) -> zmq.Socket[bytes]:
        socket = self.context.socket(zmq.DEALER)
        socket.setsockopt(zmq.SNDTIMEO, 30_000)
        socket.setsockopt(zmq.LINGER, 2_000)
        socket.connect(self.address)
        return socket

    def _hello(self) -> None:
        hello = {"op": "hello", "protocol": 1, "name": "attacker", "session": "a", "again": False, "role": "", "host": "", "pid": 1}
        self.socket.send(pack({**hello, "heartbeat_s": 60, "subs": []}))

    def send(self, data: bytes) -> None:
        self.socket.send(data)
        self.listen(0)

    def send_over_a_connection_of_its_own(self, data: bytes) -> None:
        with self._connect() as socket:
            socket.send(data)

    def listen(self, timeout_ms: int) -> None:
        while self.socket.poll(timeout_ms):
            frame = unpack(self.socket.recv())
            self.told[frame.get("code", frame["op"])] += 1
            if frame.get("code") == "unknown":  # one of its frames was a goodbye
                self._hello()

    def close(self) -> None:
        self.context.destroy(linger=0)


def hostile(chance: random.Random, said: list[bytes]) -> Iterator[tuple[str, bytes]]:
    kinds: dict[str, Callable[[], bytes]] = {
        "garbage": lambda: garbage(chance),
        "nesting bomb": lambda: nesting_bomb(chance),
        "length bomb": lambda: length_bomb(chance),
        "wrong type": lambda: wrong_type(chance),
        "damaged": lambda: damaged(chance, chance.choice(said)),
        "replay": lambda: chance.choice(said),
    }
    for _ in range(FRAMES - OVERSIZED):
        kind = chance.choice(sorted(kinds))
        yield kind, kinds[kind]()


def test_ten_thousand_hostile_frames_of_every_kind_harm_nobody(world):
    chance = random.Random(0)
    broker = world.broker()
    honest = world.client("honest")
    work = honest.subscribe("work", ["model.asked"], credit=4)
    honest.publish(*(note("job", f"job-{n}", "honest") for n in range(10)))
    attacker = Attacker(world.address)
    before, sent, done, expected = world.memory_mb("broker"), Counter[str](), [], [f"job-{n}" for n in range(10)]
    for number, (kind, data) in enumerate(hostile(chance, overheard())):
        attacker.send(data)
        sent[kind] += 1
        if number % (FRAMES // OVERSIZED) == 0:
            attacker.send_over_a_connection_of_its_own(b"\0" * (MAX_FRAME + 1 + chance.randrange(1000)))
            sent["oversized"] += 1
        if number % 200 == 0:  # meanwhile, honest work
            expected.append(f"more-{number}")
            honest.publish(note("job", expected[-1], "honest"))
        if delivery := work.get(0):
            done.append(delivery.envelope.id)
            delivery.ack()
    while len(set(done)) < len(expected):
        delivery = work.get(SOON)
        assert delivery is not None, f"{set(expected) - set(done)} never came"
        done.append(delivery.envelope.id)
        delivery.ack()
    attacker.listen(500)
    print(f"{sent.total()} hostile frames {dict(sorted(sent.items()))}; answers {dict(sorted(attacker.told.items()))}")
    print(f"broker RSS {before:.0f} MB before, {world.memory_mb('broker'):.0f} MB after; {len(done)} honest jobs done")
    assert sent.total() == FRAMES
    assert broker.poll() is None
    assert done == expected
    assert world.stored("model.asked") == expected
    assert world.memory_mb("broker") - before < 150
    attacker.close()
    honest.close()


def test_slow_consumer_is_as_far_behind_as_it_likes_and_holds_nobody_up(world):
    world.broker()
    client, slow, quick = world.client("client"), world.client("slow"), world.client("quick")
    behind = slow.subscribe("slow", ["model.asked"], credit=1)
    ahead = quick.subscribe("quick", ["model.asked"], credit=256)
    events = 5000
    for n in range(events):
        client.publish_nowait(note("job", f"{n:05d}", "client"))
    for _ in range(events):
        ahead.get(SOON).ack()
    handled = [behind.get(SOON).envelope.id]
    print(f"{len(handled)} of {events} handled by the slow one when the quick one is done")
    client.flush(SOON)
    slow.close(0.2)
    # It leaves, comes back with another credit, and goes on where it was.
    slow = world.client("slow")
    behind = slow.subscribe("slow", ["model.asked"], credit=512)
    got = []
    for _ in range(events):
        delivery = behind.get(SOON)
        got.append(delivery.envelope.id)
        delivery.ack()
    assert got == [f"{n:05d}" for n in range(events)]
    for one in (client, slow, quick):
        one.close()
