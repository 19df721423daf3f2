"""What environments look like while a run goes on: files of the run, written by the processes that play, shown by the live view."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import structlog
from rich.color import Color
from rich.console import Group, RenderableType
from rich.style import Style
from rich.text import Text

from rlgpt.envs.glimpse import GLIMPSE_BYTES, LOOKOUT, PERIOD_S, Glimpse, Lookout, read
from rlgpt.runtime.text import short

log = structlog.get_logger()

LOOK_S = 1.0
NARROW = 24  # columns for words, however small the picture
WORDS_ROWS = 4


@contextlib.contextmanager
def showing(file: Path, lookout: Lookout = LOOKOUT, period_s: float = PERIOD_S) -> Iterator[None]:
    """Meanwhile, keep the newest glimpse of this process's workers in that file."""
    over = threading.Event()

    def keep() -> None:
        try:
            while not over.wait(period_s):
                if (glimpse := lookout.latest()) is not None:
                    write(file, glimpse)
        except OSError as error:
            log.warning("glimpses_not_written", file=str(file), why=error.strerror or str(error))

    thread = threading.Thread(target=keep, name="glimpses", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def write(file: Path, glimpse: Glimpse) -> None:
    """Completely or not at all; what is lost with the power is no loss, so that nothing waits for the disk."""
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_name(f".{file.name}.{os.getpid()}")
    partial.write_bytes(glimpse.packed(1))
    os.replace(partial, file)


@dataclass(frozen=True)
class Shown:
    """A glimpse as a terminal shows it, `width` columns."""

    drawn: RenderableType
    width: int
    title: str
    process: str


class Window:
    """Looks into the folder of glimpses now and then."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._due, self._seen = folder, 0.0, 0
        self._glimpse: Glimpse | None = None
        self._process, self._room = "", (0, 0)
        self._shown: Shown | None = None

    def look(self, columns: int, rows: int) -> Shown | None:
        """The newest glimpse of any process, to be shown in so much room; None before the first, or where there is too little."""
        now, room = time.monotonic(), (columns, rows)
        if now < self._due and room == self._room:
            return self._shown
        self._due = now + LOOK_S
        with contextlib.suppress(FileNotFoundError):  # a process may write another just now, or somebody remove the run
            if self._read() or room != self._room:
                self._shown = shown(self._glimpse, self._process, columns, rows) if self._glimpse else None
        self._room = room
        return self._shown

    def _read(self) -> bool:
        """Whether there was another."""
        files = list(self._folder.glob("[!.]*")) if self._folder.is_dir() else []
        newest = max(files, key=lambda file: file.stat().st_mtime_ns, default=None)
        if newest is None or (when := newest.stat().st_mtime_ns) == self._seen:
            return False
        with open(newest, "rb") as file:
            glimpse = read(file.read(GLIMPSE_BYTES))
        self._seen, self._process = when, newest.name
        self._glimpse = glimpse or self._glimpse
        return glimpse is not None


def shown(glimpse: Glimpse, process: str, columns: int, rows: int) -> Shown | None:
    """A picture of coloured half blocks, two pixels a character or half as many, and the words under it; None where it does not fit."""
    for large in (2, 1):
        width = max(glimpse.width * large, NARROW)
        left = min(WORDS_ROWS, rows - -(-glimpse.height * large // 2))
        if width <= columns and left >= 2:
            words = Text(short(glimpse.words, left * (width - 4)), style="dim")
            return Shown(Group(half_blocks(glimpse, large), words), width, f"seed {glimpse.seed}, step {glimpse.step:,}", process)
    return None


def half_blocks(glimpse: Glimpse, large: int = 1) -> Text:
    """Every pixel `large` times as wide and high."""
    row = max(3, 3 * glimpse.width)
    lines = [glimpse.rgb[at : at + row] for at in range(0, len(glimpse.rgb), row) for _ in range(large)]
    text = Text(no_wrap=True)
    for upper, lower in zip(lines[::2], [*lines[1::2], None], strict=False):
        if text:
            text.append("\n")
        for at in range(0, row, 3):
            below = Color.from_rgb(*lower[at : at + 3]) if lower else None
            text.append("▀" * large, Style(color=Color.from_rgb(*upper[at : at + 3]), bgcolor=below))
    return text
