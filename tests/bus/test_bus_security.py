"""Keys: who gets in, and what an authorised client that lies cannot do."""

from __future__ import annotations

import json
import stat

import pytest
import zmq

from rlgpt.bus.client import BusClient, BusUnreachable, Refused
from rlgpt.bus.codec import pack, unpack
from rlgpt.bus.envelope import seal
from rlgpt.bus.messages import AgentJoined, AgentLeft
from rlgpt.bus.security import ClientKeys, Security, grants, make_broker, make_client, revoke

SOON = 100.0


@pytest.fixture
def keys(tmp_path):
    folder = tmp_path / "keys"
    make_broker(folder)
    make_client(folder, "trainer-1", publish=["noted", "training.*"], subscribe=["noted"])
    make_client(folder, "admin", names=["admin", "admin-*"], admin=True)
    return folder


@pytest.fixture
def secure(bus, keys):
    """The bus on tcp with keys."""
    bus.stop()
    with zmq.Context() as context, context.socket(zmq.REP) as probe:
        port = probe.bind_to_random_port("tcp://127.0.0.1")
    bus.address = f"tcp://127.0.0.1:{port}"
    bus.security = Security(keys)
    bus.start()
    return bus


def client(bus, keys, key, name=""):
    return bus.client(name or key, credentials=ClientKeys.load(keys / f"{key}.json"))


def test_listed_key_gets_in_and_works(secure, keys):
    admin, trainer = client(secure, keys, "admin"), client(secure, keys, "trainer-1")
    work = trainer.subscribe("work", ["noted"])
    [seq] = admin.publish(secure.note("job", source="admin"))
    delivery = work.get(SOON)
    assert delivery.seq == seq
    trainer.publish(secure.note("result", source="trainer-1"), lease=delivery)
    delivery.ack()


def test_client_without_a_key_does_not_get_in(secure):
    with pytest.raises(BusUnreachable):
        BusClient(secure.address, "nobody").start(1.0)
    assert secure.log(AgentJoined.TOPIC) == []


def test_unlisted_key_is_refused_at_once(secure, keys):
    public, secret = (part.decode() for part in zmq.curve_keypair())
    stranger = ClientKeys(public, secret, ClientKeys.load(keys / "admin.json").server)
    with pytest.raises(Refused, match="does not know this client's key"):
        BusClient(secure.address, "admin", credentials=stranger).start(SOON)
    assert secure.log(AgentJoined.TOPIC) == []


def test_client_that_expects_another_brokers_key_does_not_talk_to_this_one(secure, keys):
    mine = ClientKeys.load(keys / "admin.json")
    other = zmq.curve_keypair()[0].decode()
    with pytest.raises(BusUnreachable):
        BusClient(secure.address, "admin", credentials=ClientKeys(mine.public, mine.secret, other)).start(1.0)


def test_key_stands_only_for_its_names(secure, keys):
    with pytest.raises(Refused, match=r"names \['trainer-1'\], not 'critic-1'"):
        client(secure, keys, "trainer-1", "critic-1")
    client(secure, keys, "admin", "admin-7")
    assert [one.message().name for one in secure.log(AgentJoined.TOPIC)] == ["admin-7"]


def test_topics_and_sources_are_bound_to_the_key(secure, keys):
    trainer = client(secure, keys, "trainer-1")
    with pytest.raises(Refused, match="under its own name as source, not as 'critic-1'"):
        trainer.publish(secure.note(source="critic-1"))
    with pytest.raises(Refused, match=r"may not publish to 'agent\.joined'"):
        trainer.publish(seal(AgentJoined(name="x", role="y"), id="forged", source="trainer-1"))
    with pytest.raises(Refused, match=r"may not read '\*'"):
        trainer.watch(["*"])
    with pytest.raises(Refused, match=r"may not read 'noted\.\*'"):
        trainer.subscribe("work", ["noted.*"])
    with pytest.raises(Refused, match="may not administer"):
        trainer.dead_letters()
    assert client(secure, keys, "admin").dead_letters() == []
    assert secure.log() == []


def test_replayed_message_of_another_is_refused(secure, keys):
    admin, trainer = client(secure, keys, "admin"), client(secure, keys, "trainer-1")
    admin.publish(secure.note("order", source="admin"))
    seen = trainer.watch(["noted"]).get(SOON)
    with pytest.raises(Refused, match="source"):
        trainer.publish(seen.envelope)


def test_anothers_delivery_cannot_be_claimed_or_answered(secure, keys):
    admin, trainer = client(secure, keys, "admin"), client(secure, keys, "trainer-1")
    held = admin.subscribe("work", ["noted"])
    admin.publish(secure.note(source="admin"))
    delivery = held.get(SOON)
    mine = trainer.subscribe("work", ["noted"])
    thief = ClientKeys.load(keys / "trainer-1.json")
    context = zmq.Context()
    try:
        socket = context.socket(zmq.DEALER)
        thief.secure_client(socket)
        socket.setsockopt(zmq.RCVTIMEO, 5000)
        socket.connect(secure.address)
        sub = {"sub": 1, "consumer": "work", "topics": ["noted"], "start": "first", "credit": 1, "max_attempts": 5, "touch_s": None}
        about = {"protocol": 1, "again": False, "role": "", "host": "", "pid": 1, "heartbeat_s": 1.0}
        holds = [[delivery.seq, delivery.attempt]]
        socket.send(pack({"op": "hello", "name": "trainer-1", "session": "thief", **about, "subs": [{**sub, "holds": holds}]}))
        assert unpack(socket.recv())["stale"] == [[1, delivery.seq, delivery.attempt]]
        socket.send(pack({"op": "ack", "n": 1, "sub": 1, "attempt": delivery.attempt, "seqs": [delivery.seq]}))
        assert unpack(socket.recv())["op"] == "acked"
    finally:
        context.destroy(linger=0)
    admin.publish(secure.note("still mine", source="admin"), lease=delivery)
    with pytest.raises(Refused, match="taken the name"):
        mine.get(SOON)


def test_revoked_key_is_thrown_out_and_does_not_get_in_again(secure, keys):
    admin, trainer = client(secure, keys, "admin"), client(secure, keys, "trainer-1")
    pair = ClientKeys.load(keys / "trainer-1.json")
    gone = admin.watch([AgentLeft.TOPIC])
    work = trainer.subscribe("work", ["noted"])
    revoke(keys, "trainer-1")
    assert gone.get(SOON).envelope.message().name == "trainer-1"
    with pytest.raises(Refused, match="no longer"):
        work.get(SOON)
    with pytest.raises(Refused):
        BusClient(secure.address, "trainer-1", credentials=pair).start(SOON)


def test_added_key_gets_in_without_a_restart(secure, keys):
    make_client(keys, "late")
    client(secure, keys, "late")


def test_secrets_are_for_their_owner_only_and_nowhere_else(secure, keys, tmp_path, capfd):
    admin = client(secure, keys, "admin")
    admin.publish(secure.note(source="admin"))
    secrets = [json.loads((keys / name).read_text())["secret"] for name in ("broker.json", "admin.json", "trainer-1.json")]
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in keys.iterdir())
    assert stat.S_IMODE(keys.stat().st_mode) == 0o700
    journal = b"".join(path.read_bytes() for path in tmp_path.glob("journal.sqlite*"))
    logged = "".join(capfd.readouterr())
    assert "agent_joined" in logged
    for secret in secrets:
        assert secret.encode() not in journal
        assert secret not in logged
        assert secret not in repr(ClientKeys.load(keys / "admin.json"))


@pytest.mark.parametrize("name", ["broker.json", "allowed.json", "admin.json"])
def test_file_readable_by_others_is_refused_with_the_cure(keys, name):
    (keys / name).chmod(0o640)
    with pytest.raises(Refused, match=f"chmod 600 .*{name}"):
        ClientKeys.load(keys / name) if name == "admin.json" else Security(keys)


def test_damaged_allow_list_lets_nobody_in(secure, keys):
    (keys / "allowed.json").write_text("{")
    with pytest.raises(Refused, match="does not know"):
        client(secure, keys, "admin")
    with pytest.raises(Refused, match="cannot be read"):
        grants(keys / "allowed.json")


def test_existing_key_is_not_overwritten(keys):
    with pytest.raises(Refused, match="exists"):
        make_client(keys, "admin")
