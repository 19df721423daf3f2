"""Files that exist completely or not at all, and reading what an artifact names."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import unquote, urlsplit


def fetch(uri: str, most: int) -> bytes:
    """What lies at a uri, on this machine or where fsspec reads. Raises OSError, ImportError, and ValueError: more than `most` bytes."""
    parts = urlsplit(uri)
    if parts.scheme in ("", "file"):
        with open(unquote(parts.path), "rb") as file:
            data = file.read(most + 1)
    else:
        import fsspec  # workers read this module too, and have no use for it

        with fsspec.open(uri, "rb") as remote:
            data = bytes(remote.read(most + 1))
    if len(data) > most:
        raise ValueError(f"more than {most} bytes")
    return data


def write_whole(path: Path, data: bytes) -> None:
    """Write a file that exists completely or not at all, also after a power cut."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    with open(partial, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    os.replace(partial, path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)  # the rename itself is only durable once the folder is
    finally:
        os.close(folder)
