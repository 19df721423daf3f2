"""How events lie on disk: some hundred to a row, as one msgpack array of topics and one of envelopes.

A row for each event costs SQLite three times the CPU. Within a segment the numbers are consecutive; an event that was compacted away
leaves a nil. The segments of a compacted journal are compressed.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Sequence

import msgspec

EVENTS, BYTES = 256, 256 * 1024  # of one segment; a larger event is a segment of its own

LARGEST = 64 * 1024 * 1024  # no segment is: what claims to be larger when decompressed is damaged
ZLIB = b"\x78"  # first byte; that of an array of two is 0x92

Row = tuple[int, str, bytes]  # seq, topic, body (the envelope's bytes)

_pack = msgspec.msgpack.Encoder().encode
_unpack = msgspec.msgpack.Decoder(tuple[list[str], list[bytes | None]]).decode


def pack(rows: Sequence[Row]) -> Iterator[tuple[int, int, bytes]]:
    """Consecutive events as segments: first number, how many, content."""
    begin = 0
    while begin < len(rows):
        end, size = begin, 0
        for _, _, body in rows[begin : begin + EVENTS]:
            size += len(body)
            if size > BYTES and end > begin:
                break
            end += 1
        _, topics, bodies = zip(*rows[begin:end], strict=True)
        yield rows[begin][0], end - begin, _pack((topics, bodies))
        begin = end


def pack_sparse(rows: Iterable[Row]) -> Iterator[tuple[int, int, bytes]]:
    """Events of which some may be missing as compressed segments, with nil in their places."""
    some: list[Row] = []
    size = 0
    for row in rows:
        if some and (row[0] - some[0][0] >= EVENTS or size + len(row[2]) > BYTES):
            yield _filled(some)
            some, size = [], 0
        some.append(row)
        size += len(row[2])
    if some:
        yield _filled(some)


def _filled(rows: Sequence[Row]) -> tuple[int, int, bytes]:
    first = rows[0][0]
    count = rows[-1][0] - first + 1
    topics: list[str] = [""] * count
    bodies: list[bytes | None] = [None] * count
    for seq, topic, body in rows:
        topics[seq - first], bodies[seq - first] = topic, body
    return first, count, zlib.compress(_pack((topics, bodies)), 6)


def unpack(first: int, content: bytes) -> list[Row]:
    """The events of a segment. Raises ValueError if it is damaged."""
    try:
        topics, bodies = _unpack(_decompress(content) if content[:1] == ZLIB else content)
        rows = zip(range(first, first + len(bodies)), topics, bodies, strict=True)
        return [(seq, topic, body) for seq, topic, body in rows if body is not None]
    except (msgspec.MsgspecError, ValueError, TypeError, zlib.error) as error:
        raise ValueError(f"malformed: segment {first}: {error}") from None


def _decompress(content: bytes) -> bytes:
    unpacker = zlib.decompressobj()
    plain = unpacker.decompress(content, LARGEST)
    if not unpacker.eof:
        raise ValueError("compressed, without an end")
    return plain
