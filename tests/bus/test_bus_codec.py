"""Bytes: golden vectors for clients in other languages, and what the codec makes of hostile ones."""

from __future__ import annotations

import re
from pathlib import Path

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlgpt.bus.codec import FROM_CLIENT, MAX_ENVELOPE, attributes, decode, encode, pack, unpack, unpack_from_client
from rlgpt.bus.envelope import Envelope
from rlgpt.bus.errors import Malformed

ENVELOPE = Envelope(
    id="6f1c2a3b4d5e-1",
    source="critic-1",
    type="rlgpt.skill.reviewed.v1",
    topic="skill.reviewed",
    data=msgpack.packb({"why": "ok"}),
    time="2026-01-02T03:04:05.000006Z",
    subject="mountain_car-1",
    correlationid="6f1c2a3b4d5e-1",
    causationid="17/critic/0",
)

# docs/protocol.md shows the same bytes. They never change within a protocol version.
GOLDEN_ENVELOPE = bytes.fromhex(
    "8b"  # a map of 11
    "ab7370656376657273696f6e" "a3312e30"
    "af64617461636f6e74656e7474797065" "b36170706c69636174696f6e2f6d73677061636b"
    "a26964" "ae3666316332613362346435652d31"
    "a6736f75726365" "a86372697469632d31"
    "a474797065" "b7726c6770742e736b696c6c2e72657669657765642e7631"
    "a5746f706963" "ae736b696c6c2e7265766965776564"
    "a464617461" "c408" "81a3776879a26f6b"
    "a474696d65" "bb323032362d30312d30325430333a30343a30352e3030303030365a"
    "a77375626a656374" "ae6d6f756e7461696e5f6361722d31"
    "ad636f7272656c6174696f6e6964" "ae3666316332613362346435652d31"
    "ab636175736174696f6e6964" "ab31372f6372697469632f30"
)  # fmt: skip

FRAMES = {
    "pub": (
        {"op": "pub", "n": 3, "events": [b"\x80"], "lease": ["rollout", 17, 1]},
        "84a26f70a3707562a16e03a66576656e747391c40180a56c6561736593a7726f6c6c6f75741101",
    ),
    "ack": (
        {"op": "ack", "n": 4, "sub": 1, "attempt": 1, "seqs": [17, 18]},
        "85a26f70a361636ba16e04a373756201a7617474656d707401a473657173921112",
    ),
    "ping": ({"op": "ping", "n": 5}, "82a26f70a470696e67a16e05"),
    "bye": ({"op": "bye"}, "81a26f70a3627965"),
}  # fmt: skip


def test_envelope_has_its_golden_bytes():
    assert encode(ENVELOPE).hex() == GOLDEN_ENVELOPE.hex()
    assert decode(GOLDEN_ENVELOPE) == ENVELOPE


@pytest.mark.parametrize("op", FRAMES)
def test_frame_has_its_golden_bytes(op):
    frame, golden = FRAMES[op]
    assert pack(frame).hex() == golden
    assert unpack_from_client(bytes.fromhex(golden)) == frame


def test_attributes_of_a_newer_version_are_ignored():
    newer = msgpack.packb({**msgpack.unpackb(GOLDEN_ENVELOPE), "partitionkey": "x"})
    assert decode(newer) == ENVELOPE
    assert attributes(newer).id == ENVELOPE.id


@pytest.mark.parametrize("value", [[], {}, [[1]], {"a": {}}])
def test_attribute_that_nests_is_refused_because_readers_differ_in_how_deep_they_follow(value):
    with pytest.raises(Malformed, match="'partitionkey' must be a plain value"):
        attributes(msgpack.packb({**msgpack.unpackb(GOLDEN_ENVELOPE), "partitionkey": value}))
    deep = GOLDEN_ENVELOPE.replace(b"\x8b", b"\x8c", 1) + b"\xacpartitionkey" + b"\x91" * 900 + b"\xc0"
    with pytest.raises(Malformed):
        attributes(deep)


def test_empty_attributes_are_left_out_as_cloudevents_demands():
    bare = Envelope("1", "a", "t", "x", b"")
    assert sorted(msgpack.unpackb(encode(bare))) == ["data", "datacontenttype", "id", "source", "specversion", "topic", "type"]
    assert decode(encode(bare)) == bare


def test_oversized_event_is_refused_with_its_size_and_what_to_do():
    with pytest.raises(Malformed, match=r"more than the .* Artifact"):
        encode(Envelope("1", "a", "t", "x", b"x" * MAX_ENVELOPE))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"id": 5}, "id"),
        ({"id": ""}, "id"),
        ({"id": "a\nb"}, "id"),
        ({"id": "x" * 257}, "id"),
        ({"source": None}, "source"),
        ({"topic": "skill.*"}, "pattern"),
        ({"data": "text"}, "data"),
        ({"specversion": "2.0"}, "specversion"),
        ({"datacontenttype": "application/json"}, "datacontenttype"),
        ({"subject": 5}, "subject"),
    ],
)
def test_envelope_with_a_wrong_attribute_is_refused_by_name(change, words):
    with pytest.raises(Malformed, match=words):
        attributes(msgpack.packb({**msgpack.unpackb(GOLDEN_ENVELOPE), **change}))


HOSTILE = {
    "nothing": b"",
    "garbage": b"\xc1\xff\x00garbage",
    "text": b"hello",
    "no map": b"\x93\x01\x02\x03",
    "no op": b"\x81\xa1n\x01",
    "op of a wrong type": b"\x81\xa2op\x05",
    "unknown op": pack({"op": "format c:"}),
    "nesting bomb": b"\x91" * 100_000,
    "map nesting bomb": b"\x81\xa1a" * 100_000,
    "array length bomb": b"\xdd\xff\xff\xff\xff",
    "map length bomb": b"\xdf\xff\xff\xff\xff",
    "string length bomb": b"\xdb\xff\xff\xff\xff",
    "bin length bomb": b"\xc6\xff\xff\xff\xff",
    "nested length bombs": b"\xdd\x00\x01\x00\x00" * 1000,
    "extension": b"\xc9\x00\x00\x00\x04\x01abcd",
    "timestamp": b"\x82\xa2op\xa3bye\xa1n\xd6\xff\x00\x00\x00\x00",
    "invalid utf-8": b"\x81\xa2op\xa2\xff\xfe",
    "trailing bytes": pack({"op": "bye"}) + b"\x00",
    "integer beyond 64 bits would be": b"\x82\xa2op\xa4ping\xa1n\xcf\xff\xff\xff\xff\xff\xff\xff\xff",
    "negative": pack({"op": "ping", "n": -1}),
    "true for a number": pack({"op": "ping", "n": True}),
    "not a number": pack({"op": "nack", "n": 1, "sub": 1, "seq": 1, "attempt": 1, "reason": "", "requeue": True, "delay_s": float("nan")}),
    "infinite": pack({"op": "nack", "n": 1, "sub": 1, "seq": 1, "attempt": 1, "reason": "", "requeue": True, "delay_s": float("inf")}),
    "missing field": pack({"op": "ack", "n": 1}),
    "no events": pack({"op": "pub", "n": 1, "events": [], "lease": None}),
    "events of a wrong type": pack({"op": "pub", "n": 1, "events": ["text"], "lease": None}),
    "start beyond SQLite": pack(
        {
            "op": "sub",
            "sub": 1,
            "consumer": "c",
            "topics": ["a"],
            "start": 2**63,
            "credit": 1,
            "max_attempts": 1,
            "touch_s": None,
            "holds": [],
        }
    ),
    "lease of a wrong shape": pack({"op": "touch", "sub": 1, "leases": [[1, 2, 3]]}),
    "number of a wrong type": pack({"op": "ack", "n": 1, "sub": 1, "attempt": 1, "seqs": [1, True]}),
    "negative among numbers": pack({"op": "ack", "n": 1, "sub": 1, "attempt": 1, "seqs": [1, -1]}),
    "too large among numbers": pack({"op": "ack", "n": 1, "sub": 1, "attempt": 1, "seqs": [1, 2**53]}),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_frame_is_malformed_and_nothing_worse(name):
    with pytest.raises(Malformed) as refused:
        unpack_from_client(HOSTILE[name])
    assert len(str(refused.value)) < 1000


@given(st.binary(max_size=200))
def test_any_bytes_are_a_frame_or_malformed(data):
    try:
        unpack_from_client(data)
    except Malformed:
        return
    assert unpack(data)["op"]


values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text(max_size=5) | st.binary(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(sorted(FROM_CLIENT)), st.data())
def test_fields_of_any_type_are_accepted_or_malformed_and_never_reach_the_broker_otherwise(op, data):
    frame = {"op": op, **{field: data.draw(values) for field in FROM_CLIENT[op]}}
    try:
        checked = unpack_from_client(pack(frame))
    except Malformed:
        return
    for field, (holds, _) in FROM_CLIENT[op].items():
        assert holds(checked[field])


@given(st.dictionaries(st.text(max_size=8), values, max_size=8) | values)
def test_any_value_is_an_envelope_or_malformed(value):
    try:
        fields = attributes(msgpack.packb(value))
    except Malformed:
        return
    assert isinstance(fields.data, memoryview)


def test_protocol_document_shows_the_golden_bytes_and_names_every_op_and_field():
    text = (Path(__file__).parents[2] / "docs" / "protocol.md").read_text()
    shown = "".join(
        re.match(r"(?:[0-9a-f]+ +)+", line.strip() + " ")[0] for line in text.splitlines() if re.match(r"    [0-9a-f]{2,}( |$)", line)
    ).replace(" ", "")
    assert GOLDEN_ENVELOPE.hex() in shown
    assert all(golden in shown for _, golden in FRAMES.values())
    for op, fields in FROM_CLIENT.items():
        assert f"| `{op}` |" in text
        assert all(f"`{field}`" in text for field in fields)
