"""Bytes: frames and envelopes, checked before anybody acts on them. See docs/protocol.md.

A frame is one msgpack map with `op`. An envelope travels inside it as bytes of its own (a msgpack map with CloudEvents names), so that
the broker forwards and journals exactly the bytes it was given.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Annotated, Any, Literal

import msgpack
import msgspec

from rlgpt.bus.envelope import CONTENT_TYPE, SPEC_VERSION, Envelope
from rlgpt.bus.envelope import pack as pack_event
from rlgpt.bus.errors import Malformed

PROTOCOL = 1
MAX_FRAME = 8 * 1024 * 1024  # bytes; libzmq closes the connection of whoever sends more
MAX_ENVELOPE = MAX_FRAME - 4096  # leaves room for the frame around it
MAX_EVENTS = 1024  # envelopes in one frame
MAX_INT = 2**53  # integers every language's number type holds, well inside SQLite's
MAX_LEASES = 65_536

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


def _are_numbers(value: Any) -> bool:
    return type(value) is list and (not value or (set(map(type, value)) == {int} and min(value) >= 0 and max(value) < MAX_INT))


def _is_leases(value: Any) -> bool:
    return type(value) is list and all(type(lease) is list and len(lease) == 2 and all(map(_is_number, lease)) for lease in value)


def _optional(check: Check) -> Check:
    return (lambda value: value is None or check[0](value)), f"{check[1]} or nil"


NUMBER: Check = (_is_number, "an integer in 0..2**53-1")
SECONDS: Check = (_is_seconds, "seconds, 0 or more")
NAME: Check = (is_name, "a printable string of 1 to 256 characters")
TEXT: Check = (_is_text, "a string of at most 65536 characters")
FLAG: Check = ((lambda value: type(value) is bool), "true or false")
NUMBERS: Check = (_are_numbers, "a list of integers in 0..2**53-1")
LEASES: Check = (_is_leases, "a list of [seq, attempt]")
TOPICS: Check = ((lambda value: type(value) is list and 0 < len(value) <= 256 and all(map(is_name, value))), "a list of 1 to 256 topics")
EVENTS: Check = (
    (lambda value: type(value) is list and 0 < len(value) <= MAX_EVENTS and set(map(type, value)) == {bytes}),
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
    "ack": {"n": NUMBER, "sub": NUMBER, "attempt": NUMBER, "seqs": NUMBERS},
    "seen": {"sub": NUMBER, "seq": NUMBER},
    "nack": {"n": NUMBER, "sub": NUMBER, "seq": NUMBER, "attempt": NUMBER, "reason": TEXT, "requeue": FLAG, "delay_s": SECONDS},
    "touch": {"sub": NUMBER, "leases": LEASES},
    "dead": {"n": NUMBER},
    "requeue": {"n": NUMBER, "consumer": NAME, "seq": NUMBER},
    "ping": {"n": NUMBER},
    "bye": {},
}


Name = Annotated[str, msgspec.Meta(min_length=1, max_length=256)]


class Attributes(msgspec.Struct, gc=False):
    """What a broker reads of an envelope. `data` stays where it is; of the optional attributes only the type is looked at."""

    id: Name
    source: Name
    type: Name
    topic: Name
    specversion: Literal["1.0"]
    datacontenttype: Literal["application/msgpack"]
    data: memoryview
    time: str = ""
    subject: str = ""
    correlationid: str = ""
    causationid: str = ""
    traceparent: str = ""


_read_attributes = msgspec.msgpack.Decoder(Attributes).decode
_read_envelope = msgspec.msgpack.Decoder(Envelope).decode
_UNREADABLE = (msgspec.MsgspecError, ValueError, RecursionError, MemoryError)  # ValueError: no UTF-8

# What is the same in every envelope: put before the others as bytes. A map's first byte is 0x80 + the number of its pairs.
_FIXED = pack_event({"specversion": SPEC_VERSION, "datacontenttype": CONTENT_TYPE})
_HEADS = {0x80 + pairs: bytes([_FIXED[0] + pairs]) + _FIXED[1:] for pairs in range(14)}

# A 5-byte header may claim four billion elements: msgpack would allocate the list before it finds them missing.
_unpack_frame = {"raw": False, "strict_map_key": True, "max_array_len": MAX_LEASES, "max_map_len": 64, "max_ext_len": 0}


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
    fields = pack_event(envelope)
    data = _HEADS[fields[0]] + fields[1:]
    if len(data) > MAX_ENVELOPE:
        raise Malformed(
            f"event {envelope.id} ({envelope.type}) is {len(data)} bytes, more than the {MAX_ENVELOPE} a frame holds; "
            f"store large things as an Artifact and publish that"
        )
    return data


def attributes(raw: bytes) -> Attributes:
    """The attributes of an encoded envelope that a broker looks at, checked; raises Malformed."""
    try:
        found: Attributes = _read_attributes(raw)
    except _UNREADABLE as error:
        raise Malformed(f"envelope of {len(raw)} bytes: {type(error).__name__} {error}"[:300]) from None
    if not (found.id.isprintable() and found.source.isprintable() and found.type.isprintable() and found.topic.isprintable()):
        names = [name[:64] for name in (found.id, found.source, found.type, found.topic)]
        raise Malformed(f"envelope: id, source, type and topic must be printable, not {names}")
    pairs = (
        7 + (found.time != "") + (found.subject != "") + (found.correlationid != "") + (found.causationid != "") + (found.traceparent != "")
    )
    if raw[0] != 0x80 + pairs:  # the map has others, which were skipped
        _check_others(raw)
    if "*" in found.topic:
        raise Malformed(f"envelope {found.id}: the topic {found.topic!r} is a pattern, which only a subscription may have")
    return found


def _check_others(raw: bytes) -> None:
    """Attributes of a newer version are let in unless they nest: how deep a reader can follow depends on its own stack."""
    nested = [name for name, value in _map(raw, _unpack_frame, "envelope").items() if type(value) in (dict, list)]
    if nested:
        raise Malformed(f"envelope: the attribute {nested[0][:64]!r} must be a plain value, as CloudEvents demands, not a map or a list")


def decode(raw: bytes) -> Envelope:
    """The envelope of its bytes, which a broker has checked; attributes this version does not know are ignored. Raises Malformed."""
    try:
        envelope: Envelope = _read_envelope(raw)
    except _UNREADABLE as error:
        raise Malformed(f"envelope of {len(raw)} bytes: {type(error).__name__} {error}"[:300]) from None
    return envelope


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
