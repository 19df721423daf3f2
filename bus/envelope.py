"""What travels: a message's body with its CloudEvents 1.0 attributes.

Attribute names are those of CloudEvents (https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/spec.md), plus the extensions
`topic`, `correlationid`, `causationid` and `traceparent`. The body `data` is msgpack bytes, which the broker never decodes.
"""

from __future__ import annotations

import functools
import itertools
import re
import secrets
import time
from collections.abc import Iterator
from datetime import UTC, datetime

import msgspec

from rlgpt.bus.messages import Message, message_class

SPEC_VERSION = "1.0"
CONTENT_TYPE = "application/msgpack"

pack = msgspec.msgpack.Encoder().encode
unpack = msgspec.msgpack.Decoder().decode


class Envelope(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """One event of the log. A msgspec struct: it is made, written and read for every event, in a tenth of a dataclass's time.

    id             unique in the log; a repeat is the same event. `<incarnation>-<counter>`, or derived from an input (see `derived_id`)
    source         name of the process that published it
    type           the message's type name, such as `rlgpt.skill.tried.v1`
    topic          what consumers subscribe to, such as `skill.tried`
    data           the body, msgpack
    time           RFC 3339, UTC, microseconds
    subject        the run
    correlationid  id of the event that began the exchange; causationid: of the event this one answers
    traceparent    W3C trace context, if the publisher traces
    """

    id: str
    source: str
    type: str
    topic: str
    data: bytes
    time: str = ""
    subject: str = ""
    correlationid: str = ""
    causationid: str = ""
    traceparent: str = ""

    def message(self) -> Message:
        """The typed body. Raises UnknownMessage, or pydantic.ValidationError naming the field and its value."""
        kind = message_class(self.type)
        try:
            body = unpack(self.data)
        except (msgspec.MsgspecError, ValueError, RecursionError):  # no msgpack, or no UTF-8 in it
            body = self.data  # which no message class takes for its fields
        message: Message = kind.__pydantic_validator__.validate_python(body)  # `model_validate` less its many arguments
        return message


def now() -> str:
    """RFC 3339, UTC, with microseconds."""
    second, microsecond = divmod(time.time_ns() // 1000, 1_000_000)
    return f"{_second(second)}.{microsecond:06d}Z"


@functools.lru_cache(maxsize=4)
def _second(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def derived_id(seq: int, consumer: str, key: str | int) -> str:
    """Id of what `consumer` publishes when it handles event number `seq`.

    Handling the event again, after a crash or on another process that shares the consumer, gives the same id, so the broker drops the
    repeat. The log's own numbers keep it short however long the chain of causes, where `<input id>/<n>` would grow with every link.
    """
    return f"{seq}/{consumer}/{key}"


def consumer_of(source: str) -> str:
    """The role name behind a process name: several processes that share the work of `trainer` are `trainer-1`, `trainer-2`, ..."""
    return re.sub(r"-\d+$", "", source)


def fresh_ids() -> Iterator[str]:
    """`<incarnation>-<counter>`: unique, and ascending within a process, which the journal's index likes (see docs/protocol.md)."""
    incarnation = secrets.token_hex(6)
    return (f"{incarnation}-{n}" for n in itertools.count(1))


def seal(message: Message, *, id: str, source: str, subject: str = "", cause: Envelope | None = None) -> Envelope:
    """Put a message into its envelope, as an answer to `cause` if there is one."""
    data = pack(message.__pydantic_serializer__.to_python(message, mode="json"))  # `model_dump` less its many arguments: half the time
    if cause is None:
        return Envelope(id, source, message.TYPE, message.TOPIC, data, now(), subject, id)
    return Envelope(
        id=id,
        source=source,
        type=message.TYPE,
        topic=message.TOPIC,
        data=data,
        time=now(),
        subject=subject or cause.subject,
        correlationid=cause.correlationid or cause.id,
        causationid=cause.id,
        traceparent=cause.traceparent,
    )
