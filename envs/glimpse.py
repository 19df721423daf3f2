"""A small picture of what an environment looks like now, for whoever watches a run: drawn in a worker, told in its shared memory.

Once every PERIOD_S a worker draws the moment it is in: with the toolkit's `glimpse(obs, info)` where the card has one, else as the
observation or the environment's own render mode gives it. The parent copies and checks it, and believes in nothing but its size.
"""

from __future__ import annotations

import struct
import threading
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

EDGE = 48
"""Pixels: no glimpse is wider or higher."""
PERIOD_S = 2.0

# number of the glimpse (0: it is being written), seed, step, height, width, bytes of the words
_HEAD = struct.Struct("=6q")
WORDS = 240
"""Bytes of text beside it, UTF-8."""
GLIMPSE_BYTES = _HEAD.size + WORDS + 3 * EDGE * EDGE


@dataclass(frozen=True)
class Glimpse:
    """What was to be seen after `step` of the episode of `seed`: rgb is height * width * 3 bytes, none if there is no picture."""

    seed: int
    step: int
    height: int
    width: int
    rgb: bytes
    words: str

    def packed(self, number: int) -> bytes:
        """As bytes, at most GLIMPSE_BYTES; `read` takes them."""
        words = self.words.encode("utf-8", "replace")[:WORDS]
        head = _HEAD.pack(number, self.seed, self.step, self.height, self.width, len(words))
        return head + words.ljust(WORDS, b"\0") + self.rgb


def read(data: bytes) -> Glimpse | None:
    """The glimpse that `packed` made, or nothing, where these bytes are none (yet)."""
    if len(data) < _HEAD.size + WORDS:
        return None
    number, seed, step, height, width, size = _HEAD.unpack_from(data)
    if number <= 0 or not (0 <= height <= EDGE and 0 <= width <= EDGE and 0 <= size <= WORDS):
        return None
    begin = _HEAD.size + WORDS
    rgb = data[begin : begin + 3 * height * width]
    words = data[_HEAD.size : _HEAD.size + size].decode("utf-8", "replace")
    if len(rgb) != 3 * height * width or not (rgb or words):
        return None
    return Glimpse(seed, step, height, width, rgb, "".join(c if c.isprintable() else " " for c in words))


class Seen(Protocol):
    """A worker's handle, as far as it is looked at here."""

    def glimpse(self) -> bytes: ...


class Lookout:
    """The parent's side: the workers of this process that are open, of which the one that drew last is shown."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open = weakref.WeakKeyDictionary[Seen, bytes]()

    def add(self, worker: Seen) -> None:
        with self._lock:
            self._open[worker] = b""

    def remove(self, worker: Seen) -> None:
        with self._lock:
            self._open.pop(worker, None)

    def latest(self) -> Glimpse | None:
        """A glimpse that was not there at the last call, of the newest worker that has one."""
        with self._lock:
            workers: Sequence[tuple[Seen, bytes]] = list(self._open.items())[::-1]
        for worker, before in workers:
            data = worker.glimpse()
            found = read(data) if data[: _HEAD.size] != before else None
            if found is not None and worker.glimpse()[:8] == data[:8]:
                with self._lock:
                    if worker in self._open:
                        self._open[worker] = data[: _HEAD.size]
                return found
        return None


LOOKOUT = Lookout()
"""Of this process. Workers enter themselves (`envs/handle.py`)."""
