"""What is on disk: one SQLite file, one transaction a turn.

    segments   the log itself: the number of the first event, how many, and the events (see `segments`)
    ids        which ids it has, as runs: ids `prefix` + `first`, `first` + 1, ... are the `count` events from `seq` on (see `ids`)
    consumers  a named consumer: its topics, `position` (every event up to it has been looked at) and `open`, the events up to `position`
               that are not settled: leased to a client, or waiting to be handed out again. All else up to `position` is settled.
    clients    who is here: name, session, role, host, pid, heartbeat
    dead       dead letters: events a consumer gave up on

Leases and settled events change in the same row of `consumers`, in the same transaction as the events of the turn: there is no moment
at which a leased job looks settled on disk.

Others read the file through `archive`.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import sqlite3
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Generator, Iterable, Iterator
from dataclasses import astuple, dataclass, field
from operator import itemgetter
from pathlib import Path
from typing import Any

import msgpack

from rlgpt.bus import segments
from rlgpt.bus.archive import FORMAT, advice, read
from rlgpt.bus.errors import JournalFailed, JournalInUse
from rlgpt.bus.ids import Run
from rlgpt.bus.segments import Row

PAGE = 256  # events read at a time
KEPT, KEPT_BYTES = 16, 1024 * 1024  # segments kept unpacked for slow consumers, and the largest of them
_seq = itemgetter(0)
OpenEntry = int | list[int]  # [seq, attempt, failures]; the seq alone at the first attempt

SCHEMA = """
CREATE TABLE segments (seq INTEGER PRIMARY KEY, count INTEGER NOT NULL, content BLOB NOT NULL);
CREATE TABLE ids (prefix TEXT NOT NULL, first INTEGER NOT NULL, count INTEGER NOT NULL, seq INTEGER NOT NULL,
                  PRIMARY KEY (prefix, first)) WITHOUT ROWID;
CREATE TABLE consumers (name TEXT PRIMARY KEY, topics TEXT NOT NULL, position INTEGER NOT NULL, max_attempts INTEGER NOT NULL,
                        open BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE clients (name TEXT PRIMARY KEY, session TEXT NOT NULL, role TEXT NOT NULL, host TEXT NOT NULL, pid INTEGER NOT NULL,
                      heartbeat_s REAL NOT NULL, present INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE dead (consumer TEXT NOT NULL, seq INTEGER NOT NULL, attempt INTEGER NOT NULL, failures INTEGER NOT NULL,
                   reason TEXT NOT NULL, PRIMARY KEY (consumer, seq)) WITHOUT ROWID;
"""


@dataclass(frozen=True, slots=True)
class ConsumerRow:
    """`open` is owner ("" while waiting) -> its entries."""

    name: str
    topics: tuple[str, ...]
    position: int
    max_attempts: int
    open: dict[str, list[OpenEntry]]


@dataclass(frozen=True, slots=True)
class ClientRow:
    name: str
    session: str
    role: str
    host: str
    pid: int
    heartbeat_s: float
    present: bool  # 0 or 1 in the table


@dataclass(frozen=True, slots=True)
class DeadRow:
    consumer: str
    seq: int
    attempt: int
    failures: int
    reason: str


@dataclass(slots=True)
class Changes:
    """What one turn writes. `ids` are those of `events`, with the number of the first; `revived` are dead letters put back."""

    events: list[Row] = field(default_factory=list)
    ids: list[tuple[Run, int]] = field(default_factory=list)
    consumers: list[ConsumerRow] = field(default_factory=list)
    clients: list[ClientRow] = field(default_factory=list)
    dead: list[DeadRow] = field(default_factory=list)
    revived: list[tuple[str, int]] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.events or self.consumers or self.clients or self.dead or self.revived)


class Journal:
    """The broker's side: the only writer. Every error becomes JournalFailed."""

    read = staticmethod(read)

    def __init__(self, path: Path) -> None:
        """Open or create. Raises JournalInUse if another broker has it open, JournalFailed if it cannot be read."""
        self.path = Path(path)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = _lock(self.path.with_name(self.path.name + ".lock"), self.path)
        self._unpacked: OrderedDict[int, list[Row]] = OrderedDict()
        try:
            self._db = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False, cached_statements=256)
            self.path.chmod(0o600)
            self._open()
            last = self._db.execute("SELECT seq, count FROM segments ORDER BY seq DESC LIMIT 1").fetchone()
            self.head: int = last[0] + last[1] - 1 if last else 0
        except (sqlite3.Error, JournalFailed) as error:
            os.close(self._lock)
            if isinstance(error, JournalFailed):
                raise
            raise JournalFailed(f"journal {self.path} cannot be opened: {error}. {advice(error)}") from error

    def _open(self) -> None:
        db = self._db
        # 16 KB pages save 2 us a row of 1 KB; they have to be chosen before the first table.
        db.execute("PRAGMA page_size=16384")
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("PRAGMA synchronous=FULL")
        # SQLite reads a file that was cut off as rows of nothing, without an error: look before serving it (about 1 s a GB).
        if (found := db.execute("PRAGMA quick_check(1)").fetchone()[0]) != "ok":
            raise sqlite3.DatabaseError(f"malformed: {found}")
        version = db.execute("PRAGMA user_version").fetchone()[0]
        if version == 0:  # new, or its maker was killed: the tables and the format appear together or not at all
            db.executescript(f"BEGIN IMMEDIATE; {SCHEMA} PRAGMA user_version={FORMAT}; COMMIT;")
        elif version != FORMAT:
            raise JournalFailed(f"journal {self.path} has format {version}; this version reads {FORMAT}")

    def commit(self, changes: Changes) -> None:
        """All of it or nothing, on disk (fsync) when this returns."""
        db = self._db
        try:
            db.execute("BEGIN IMMEDIATE")
            if changes.events:
                db.executemany("INSERT INTO segments VALUES (?, ?, ?)", segments.pack(changes.events))
                db.executemany("INSERT INTO ids VALUES (?, ?, ?, ?)", ((*run, seq) for run, seq in changes.ids))
                self.head = changes.events[-1][0]
            for row in changes.consumers:
                values = (row.name, json.dumps(row.topics), row.position, row.max_attempts, msgpack.packb(row.open))
                db.execute("INSERT OR REPLACE INTO consumers VALUES (?, ?, ?, ?, ?)", values)
            for client in changes.clients:
                db.execute("INSERT OR REPLACE INTO clients VALUES (?, ?, ?, ?, ?, ?, ?)", astuple(client))
            for dead in changes.dead:
                db.execute("INSERT OR REPLACE INTO dead VALUES (?, ?, ?, ?, ?)", astuple(dead))
            db.executemany("DELETE FROM dead WHERE consumer=? AND seq=?", changes.revived)
            db.execute("COMMIT")
        except sqlite3.Error as error:
            raise JournalFailed(f"journal {self.path} cannot be written: {error}. {advice(error)}") from error

    # ---------------------------------------------------------------- read by the core

    def page(self, after: int, limit: int = PAGE) -> list[Row]:
        """At most `limit` events after `after`, in order."""
        rows: list[Row] = []
        with self._reading(), contextlib.closing(self._segments(after)) as found:
            for segment in found:
                rows += segment[bisect_right(segment, after, key=_seq) :]
                if len(rows) >= limit:
                    break
        return rows[:limit]

    def body(self, seq: int) -> Row | None:
        rows = self.page(seq - 1, 1)
        return rows[0] if rows and rows[0][0] == seq else None

    def known(self, runs: Iterable[Run]) -> dict[str, int]:
        """Sequence numbers of those ids that are in the log."""
        found: dict[str, int] = {}
        query = "SELECT first, count, seq FROM ids WHERE prefix = ? AND first <= ? ORDER BY first DESC"
        with self._reading():
            for prefix, first, wanted in runs:
                last = first + wanted - 1
                with contextlib.closing(self._db.execute(query, (prefix, last))) as rows:
                    for begin, many, seq in rows:  # disjoint, the latest first
                        if begin + many <= first:
                            break
                        both = Run(prefix, max(begin, first), min(begin + many, last + 1) - max(begin, first))
                        found.update(zip(both.ids(), range(seq + both.first - begin, seq + many), strict=False))
        return found

    def consumers(self) -> list[ConsumerRow]:
        rows = self._select("SELECT name, topics, position, max_attempts, open FROM consumers")
        return [ConsumerRow(name, tuple(json.loads(topics)), at, most, msgpack.unpackb(held)) for name, topics, at, most, held in rows]

    def clients(self) -> list[ClientRow]:
        return [ClientRow(*row) for row in self._select("SELECT name, session, role, host, pid, heartbeat_s, present FROM clients")]

    def dead(self) -> list[DeadRow]:
        return [DeadRow(*row) for row in self._select("SELECT consumer, seq, attempt, failures, reason FROM dead ORDER BY seq, consumer")]

    def close(self) -> None:
        self._db.close()
        os.close(self._lock)

    def _segments(self, after: int) -> Generator[list[Row], None, None]:
        """Segments in order, from the one with event `after` + 1, or the one before it."""
        first = self._db.execute("SELECT max(seq) FROM segments WHERE seq <= ?", (after + 1,)).fetchone()[0] or 0
        if kept := self._unpacked.get(first):  # a slow consumer takes them from the same segment again and again
            yield kept
            first += 1
        with contextlib.closing(self._db.execute("SELECT seq, content FROM segments WHERE seq >= ? ORDER BY seq", (first,))) as found:
            for seq, content in found:
                rows = segments.unpack(seq, content)
                if len(content) <= KEPT_BYTES:
                    self._unpacked[seq] = rows
                    if len(self._unpacked) > KEPT:
                        self._unpacked.popitem(last=False)
                yield rows

    def _select(self, statement: str) -> list[Any]:
        with self._reading():
            return self._db.execute(statement).fetchall()

    @contextlib.contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, ValueError) as error:
            raise JournalFailed(f"journal {self.path} cannot be read: {error}. {advice(error)}") from error


def _lock(path: Path, journal: Path) -> int:
    """Held by a live broker and freed by the kernel when it dies, however it dies."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        raise JournalInUse(f"journal {journal} is being written by another broker; stop that one, or use another journal") from None
    return handle
