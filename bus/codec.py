"""Bytes: frames and envelopes, checked before anybody acts on them. See docs/protocol.md.

A frame is one msgpack map with `op`. An envelope travels inside it as bytes of its own (a msgpack map with CloudEvents names), so that
the broker forwards and journals exactly the bytes it was given.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import msgpack

from rlgpt.bus.envelope import CONTENT_TYPE, SPEC_VERSION, Envelope
from rlgpt.bus.envelope import pack as pack_event
from rlgpt.bus.errors import Malformed

PROTOCOL = 1
MAX_FRAME = 8 * 1024 * 1024  # bytes; libzmq closes the connection of whoever sends more
MAX_ENVELOPE = MAX_FRAME - 4096  # leaves room for the frame around it
MAX_EVENTS = 1024  # envelopes in one frame
MAX_INT = 2**53  # integers every language's number type holds, well inside SQLite's
MAX_LEASES = 65_536
OPTIONAL = ("time", "subject", "correlationid", "causationid", "traceparent")

Frame = dict[str, Any]
Check = tuple[Callable[[Any], bool], str]


def _is_number(value: Any) -> bool:
    return type(value) is int and 0 <= value < MAX_INT


def _is_seconds(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value) and 0 <= value < 1e9


def is_name(value: Any) -> bool:
    return type(value) is str and 0 < len(value) <= 256 and value.isprintable()


def _is_text(value: Any) -> bool:
    return type(value) is str and len(value) <= 65_536


def _is_leases(value: Any) -> bool:
    return type(value) is list and all(type(lease) is list and len(lease) == 2 and all(map(_is_number, lease)) for lease in value)


def _optional(check: Check) -> Check:
    return (lambda value: value is None or check[0](value)), f"{check[1]} or nil"


NUMBER: Check = (_is_number, "an integer in 0..2**53-1")
SECONDS: Check = (_is_seconds, "seconds, 0 or more")
NAME: Check = (is_name, "a printable string of 1 to 256 characters")
TEXT: Check = (_is_text, "a string of at most 65536 characters")
FLAG: Check = ((lambda value: type(value) is bool), "true or false")
LEASES: Check = (_is_leases, "a list of [seq, attempt]")
TOPICS: Check = ((lambda value: type(value) is list and 0 < len(value) <= 256 and all(map(is_name, value))), "a list of 1 to 256 topics")
EVENTS: Check = (
    (lambda value: type(value) is list and 0 < len(value) <= MAX_EVENTS and all(type(raw) is bytes for raw in value)),
    f"a list of 1 to {MAX_EVENTS} envelopes (bin)",
)
LEASE: Check = (
    (lambda value: type(value) is list and len(value) == 3 and is_name(value[0]) and _is_number(value[1]) and _is_number(value[2])),
    "[consumer, seq, attempt]",
)
START: Check = (
    (lambda value: value in ("first", "new") if type(value) is str else _is_number(value)),
    "'first', 'new' or a sequence number",
)
SUBS: Check = (
    (lambda value: type(value) is list and len(value) <= 1024 and all(type(sub) is dict for sub in value)),
    "a list of subscriptions",
)

SUB_FIELDS: dict[str, Check] = {
    "sub": NUMBER,
    "consumer": _optional(NAME),  # nil: a watch
    "topics": TOPICS,
    "start": START,
    "credit": NUMBER,
    "max_attempts": NUMBER,
    "touch_s": _optional(SECONDS),
    "holds": LEASES,
}
FROM_CLIENT: dict[str, dict[str, Check]] = {
    "hello": {
        "protocol": NUMBER,
        "name": NAME,
        "session": NAME,
        "again": FLAG,
        "role": TEXT,
        "host": TEXT,
        "pid": NUMBER,
        "heartbeat_s": SECONDS,
        "subs": SUBS,
    },
    "sub": SUB_FIELDS,
    "unsub": {"sub": NUMBER},
    "pub": {"n": NUMBER, "events": EVENTS, "lease": _optional(LEASE)},
    "ack": {"n": NUMBER, "sub": NUMBER, "acks": LEASES},
    "seen": {"sub": NUMBER, "seq": NUMBER},
    "nack": {"n": NUMBER, "sub": NUMBER, "seq": NUMBER, "attempt": NUMBER, "reason": TEXT, "requeue": FLAG, "delay_s": SECONDS},
    "touch": {"sub": NUMBER, "leases": LEASES},
    "dead": {"n": NUMBER},
    "requeue": {"n": NUMBER, "consumer": NAME, "seq": NUMBER},
    "ping": {"n": NUMBER},
    "bye": {},
}

# A 5-byte header may claim four billion elements: msgpack would allocate the list before it finds them missing.
_unpack_frame = {"raw": False, "strict_map_key": True, "max_array_len": MAX_LEASES, "max_map_len": 64, "max_ext_len": 0}
_unpack_envelope = {"raw": False, "strict_map_key": True, "max_array_len": 64, "max_map_len": 64, "max_ext_len": 0}


def pack(frame: Frame) -> bytes:
    data: bytes = msgpack.packb(frame, use_bin_type=True)
    return data


def unpack(data: bytes) -> Frame:
    """A map with a string `op`; raises Malformed."""
    frame = _map(data, _unpack_frame, "frame")
    if type(frame.get("op")) is not str:
        raise Malformed(f"frame without a string 'op': {_show(frame)}")
    return frame


def unpack_from_client(data: bytes) -> Frame:
    """A frame a client may send, every field of the right type; raises Malformed."""
    frame = unpack(data)
    check(frame)
    return frame


def check(frame: Frame) -> None:
    """Raises Malformed unless it is a frame a client may send."""
    fields = FROM_CLIENT.get(frame["op"])
    if fields is None:
        raise Malformed(f"unknown op {frame['op'][:64]!r}; this broker knows {sorted(FROM_CLIENT)} (protocol {PROTOCOL})")
    _check(frame, fields)
    for sub in frame["subs"] if frame["op"] == "hello" else ():
        _check(sub, SUB_FIELDS)


def _check(frame: Frame, fields: dict[str, Check]) -> None:
    for field, (holds, expected) in fields.items():
        if field not in frame:
            raise Malformed(f"{frame.get('op', 'subscription')}: field {field!r} is missing; expected {expected}")
        if not holds(frame[field]):
            raise Malformed(f"{frame.get('op', 'subscription')}: {field} must be {expected}, not {_show(frame[field])}")


def encode(envelope: Envelope) -> bytes:
    """An envelope as CloudEvents attributes; optional ones are left out where empty. Raises Malformed if it is larger than MAX_ENVELOPE."""
    fields: dict[str, Any] = {
        "specversion": SPEC_VERSION,
        "id": envelope.id,
        "source": envelope.source,
        "type": envelope.type,
        "datacontenttype": CONTENT_TYPE,
        "topic": envelope.topic,
    }
    if envelope.time:
        fields["time"] = envelope.time
    if envelope.subject:
        fields["subject"] = envelope.subject
    if envelope.correlationid:
        fields["correlationid"] = envelope.correlationid
    if envelope.causationid:
        fields["causationid"] = envelope.causationid
    if envelope.traceparent:
        fields["traceparent"] = envelope.traceparent
    fields["data"] = envelope.data
    data = pack_event(fields)
    if len(data) > MAX_ENVELOPE:
        raise Malformed(
            f"event {envelope.id} ({envelope.type}) is {len(data)} bytes, more than the {MAX_ENVELOPE} a frame holds; "
            f"store large things as an Artifact and publish that"
        )
    return data


def attributes(raw: bytes) -> dict[str, Any]:
    """The attributes of an encoded envelope, `data` left as bytes; raises Malformed. What the broker looks at."""
    fields = _map(raw, _unpack_envelope, "envelope")
    get = fields.get
    for name in ("id", "source", "type", "topic"):
        value = get(name)
        if not (type(value) is str and 0 < len(value) <= 256 and value.isprintable()):  # `is_name`, in line: this runs for every event
            raise Malformed(f"envelope: {name} must be {NAME[1]}, not {_show(value)}")
    if "*" in fields["topic"]:
        raise Malformed(f"envelope {fields['id']}: the topic {fields['topic']!r} is a pattern, which only a subscription may have")
    if type(get("data")) is not bytes:
        raise Malformed(f"envelope {fields['id']}: data must be bin, not {_show(get('data'))}")
    if get("specversion") != SPEC_VERSION or get("datacontenttype") != CONTENT_TYPE:
        raise Malformed(
            f"envelope {fields['id']}: specversion must be {SPEC_VERSION!r} and datacontenttype {CONTENT_TYPE!r}, "
            f"not {_show(get('specversion'))} and {_show(get('datacontenttype'))}"
        )
    for name in OPTIONAL:
        if name in fields and type(fields[name]) is not str:
            raise Malformed(f"envelope {fields['id']}: {name} must be a string, not {_show(fields[name])}")
    return fields


def decode(raw: bytes) -> Envelope:
    """The envelope of its bytes, which a broker has checked; attributes this version does not know are ignored. Raises Malformed."""
    fields = _map(raw, _unpack_envelope, "envelope")
    get = fields.get
    try:
        return Envelope(
            fields["id"],
            fields["source"],
            fields["type"],
            fields["topic"],
            fields["data"],
            get("time", ""),
            get("subject", ""),
            get("correlationid", ""),
            get("causationid", ""),
            get("traceparent", ""),
        )
    except KeyError as missing:
        raise Malformed(f"envelope without {missing}") from None


def _map(data: bytes, limits: dict[str, Any], what: str) -> dict[str, Any]:
    try:
        value = msgpack.unpackb(data, **limits)
    except (ValueError, TypeError, RecursionError, MemoryError) as error:  # ValueError: every error msgpack itself raises
        raise Malformed(f"{what} of {len(data)} bytes is not msgpack within the limits: {type(error).__name__} {error}"[:300]) from None
    if type(value) is not dict:  # a key that is no string is none of ours, and is not looked at
        raise Malformed(f"{what} must be a map, not {_show(value)}")
    return value


def _show(value: Any) -> str:
    """A value in an error message: bounded, however large it is."""
    if type(value) in (str, bytes):
        return repr(value[:64])
    if type(value) in (list, dict):
        return f"a {type(value).__name__} of {len(value)}"
    return repr(value)[:64]
