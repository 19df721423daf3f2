"""Pictures as PNG files, by the standard library alone (RFC 2083): 8-bit RGB, no interlacing."""

from __future__ import annotations

import struct
import zlib

MAGIC = b"\x89PNG\r\n\x1a\n"
MEDIA_TYPE = "image/png"


def png(height: int, width: int, rgb: bytes) -> bytes:
    """A PNG file of `rgb`, rows of pixels of three bytes. Raises ValueError where the bytes are not as many as the sizes say."""
    if min(height, width) < 1 or len(rgb) != 3 * height * width:
        raise ValueError(f"{len(rgb)} bytes are no picture of {width} x {height} pixels")
    row = 3 * width
    # Each row begins with its filter: 0, none.
    rows = b"".join(b"\0" + rgb[start : start + row] for start in range(0, len(rgb), row))
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return MAGIC + _chunk(b"IHDR", header) + _chunk(b"IDAT", zlib.compress(rows, 9)) + _chunk(b"IEND", b"")


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
