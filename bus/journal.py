"""What is on disk: one SQLite file, one transaction a turn.

    events     the log itself: seq, id, topic, body (the envelope's bytes as published)
    consumers  a named consumer: its topics, `position` (every event up to it has been looked at) and `open`, the events up to `position`
               that are not settled: leased to a client, or waiting to be handed out again. All else up to `position` is settled.
    clients    who is here: name, session, role, host, pid, heartbeat
    dead       dead letters: events a consumer gave up on

Leases and settled events change in the same row of `consumers`, in the same transaction as the events of the turn: there is no moment
at which a leased job looks settled on disk.
"""

from __future__ import annotations

import fcntl
import json
import os
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import astuple, dataclass, field
from pathlib import Path
from typing import Any

import msgpack

from rlgpt.bus.codec import decode
from rlgpt.bus.envelope import Envelope
from rlgpt.bus.errors import JournalFailed, JournalInUse

FORMAT = 1
PAGE = 256  # events read at a time
Row = tuple[int, str, bytes]  # seq, topic, body
OpenEntry = int | list[int]  # [seq, attempt, failures]; the seq alone at the first attempt

SCHEMA = """
CREATE TABLE IF NOT EXISTS events (seq INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, topic TEXT NOT NULL, body BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS consumers (name TEXT PRIMARY KEY, topics TEXT NOT NULL, position INTEGER NOT NULL, max_attempts INTEGER NOT NULL,
                                      open BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS clients (name TEXT PRIMARY KEY, session TEXT NOT NULL, role TEXT NOT NULL, host TEXT NOT NULL,
                                    pid INTEGER NOT NULL, heartbeat_s REAL NOT NULL, present INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS dead (consumer TEXT NOT NULL, seq INTEGER NOT NULL, attempt INTEGER NOT NULL, failures INTEGER NOT NULL,
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
    """What one turn writes. `revived` are dead letters put back, as (consumer, seq)."""

    events: list[tuple[int, str, str, bytes]] = field(default_factory=list)  # seq, id, topic, body
    consumers: list[ConsumerRow] = field(default_factory=list)
    clients: list[ClientRow] = field(default_factory=list)
    dead: list[DeadRow] = field(default_factory=list)
    revived: list[tuple[str, int]] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.events or self.consumers or self.clients or self.dead or self.revived)


class Journal:
    """The broker's side: the only writer. Every error becomes JournalFailed."""

    def __init__(self, path: Path) -> None:
        """Open or create. Raises JournalInUse if another broker has it open, JournalFailed if it cannot be read."""
        self.path = Path(path)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = _lock(self.path.with_name(self.path.name + ".lock"), self.path)
        try:
            self._db = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False, cached_statements=256)
            self.path.chmod(0o600)
            # 16 KB pages save 2 us a row of 1 KB; they have to be chosen before the first table.
            self._db.execute("PRAGMA page_size=16384")
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=FULL")
            # SQLite reads a file that was cut off as rows of nothing, without an error: look before serving it (about 1 s a GB).
            if (found := self._db.execute("PRAGMA quick_check(1)").fetchone()[0]) != "ok":
                raise sqlite3.DatabaseError(f"malformed: {found}")
            version = self._db.execute("PRAGMA user_version").fetchone()[0]
            if version not in (0, FORMAT):
                raise JournalFailed(f"journal {self.path} has format {version}; this version reads {FORMAT}")
            self._db.executescript(SCHEMA)
            self._db.execute(f"PRAGMA user_version={FORMAT}")
            self.head: int = self._db.execute("SELECT max(seq) FROM events").fetchone()[0] or 0
        except (sqlite3.Error, JournalFailed) as error:
            os.close(self._lock)
            if isinstance(error, JournalFailed):
                raise
            raise JournalFailed(f"journal {self.path} cannot be opened: {error}. {_advice(error)}") from error

    def commit(self, changes: Changes) -> None:
        """All of it or nothing, on disk (fsync) when this returns."""
        db = self._db
        try:
            db.execute("BEGIN IMMEDIATE")
            if changes.events:
                db.executemany("INSERT INTO events VALUES (?, ?, ?, ?)", changes.events)
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
            raise JournalFailed(f"journal {self.path} cannot be written: {error}. {_advice(error)}") from error

    # ---------------------------------------------------------------- read by the core

    def page(self, after: int, limit: int = PAGE) -> list[Row]:
        """At most `limit` events after `after`, in order."""
        return self._select("SELECT seq, topic, body FROM events WHERE seq > ? ORDER BY seq LIMIT ?", (after, limit))

    def body(self, seq: int) -> Row | None:
        rows = self._select("SELECT seq, topic, body FROM events WHERE seq = ?", (seq,))
        return rows[0] if rows else None

    def known(self, ids: Sequence[str]) -> dict[str, int]:
        """Sequence numbers of those ids that are in the log."""
        found: dict[str, int] = {}
        for first in range(0, len(ids), 256):
            some = ids[first : first + 256]
            # Rounded up to a power of two, so that SQLite's statement cache holds them all.
            room = 1 << (len(some) - 1).bit_length()
            marks = ",".join("?" * room)
            rows = self._select(f"SELECT id, seq FROM events WHERE id IN ({marks})", (*some, *[None] * (room - len(some))))  # noqa: S608 (marks only)
            found.update(rows)
        return found

    def consumers(self) -> list[ConsumerRow]:
        rows = self._select("SELECT name, topics, position, max_attempts, open FROM consumers", ())
        return [ConsumerRow(name, tuple(json.loads(topics)), at, most, msgpack.unpackb(held)) for name, topics, at, most, held in rows]

    def clients(self) -> list[ClientRow]:
        rows = self._select("SELECT name, session, role, host, pid, heartbeat_s, present FROM clients", ())
        return [ClientRow(*row) for row in rows]

    def dead(self) -> list[DeadRow]:
        return [
            DeadRow(*row) for row in self._select("SELECT consumer, seq, attempt, failures, reason FROM dead ORDER BY seq, consumer", ())
        ]

    def close(self) -> None:
        self._db.close()
        os.close(self._lock)

    def _select(self, statement: str, values: Sequence[Any]) -> list[Any]:
        try:
            return self._db.execute(statement, values).fetchall()
        except sqlite3.Error as error:
            raise JournalFailed(f"journal {self.path} cannot be read: {error}. {_advice(error)}") from error

    # ---------------------------------------------------------------- read by everybody else

    @staticmethod
    def read(path: Path, after: int = 0) -> Iterator[tuple[int, Envelope]]:
        """The events after `after`, up to the newest, from any process, while a broker writes or after it ended."""
        db = open_for_reading(path)
        try:
            while True:
                # A page at a time: an open read transaction would keep the broker's write-ahead log from being recycled.
                rows = db.execute("SELECT seq, body FROM events WHERE seq > ? ORDER BY seq LIMIT ?", (after, PAGE)).fetchall()
                if not rows:
                    return
                for seq, body in rows:
                    if type(body) is not bytes:
                        raise sqlite3.DatabaseError(f"malformed: event {seq} has no body")
                    yield seq, decode(body)
                after = rows[-1][0]
        except sqlite3.Error as error:
            raise JournalFailed(f"journal {path} cannot be read: {error}. {_advice(error)}") from error
        finally:
            db.close()


def open_for_reading(path: Path) -> sqlite3.Connection:
    """A connection that cannot write; raises JournalFailed."""
    if not Path(path).exists():
        raise JournalFailed(f"there is no journal {path}")
    uri = Path(path).absolute().as_uri()
    try:
        db = sqlite3.connect(f"{uri}?mode=ro", uri=True)
        try:
            db.execute("SELECT 1 FROM events LIMIT 1").fetchone()
        except sqlite3.OperationalError:
            # Read-only folder and no write-ahead log beside it: nobody writes it, so SQLite may read it without one.
            if Path(f"{path}-wal").exists():
                raise
            db.close()
            db = sqlite3.connect(f"{uri}?immutable=1", uri=True)
            db.execute("SELECT 1 FROM events LIMIT 1").fetchone()
    except sqlite3.Error as error:
        raise JournalFailed(f"journal {path} cannot be opened: {error}. {_advice(error)}") from error
    return db


def compact(path: Path, *, drop: Iterable[str] = ()) -> int:
    """Shrink the journal of a finished run: remove the events of the `drop` topics (exact names). Returns how many.

    Raises JournalInUse while a broker has it open.
    """
    journal = Journal(path)
    try:
        db = journal._db
        db.execute("BEGIN IMMEDIATE")
        # The newest event stays whatever it is: its number is where a resumed log goes on.
        removed = sum(db.execute("DELETE FROM events WHERE topic = ? AND seq < ?", (topic, journal.head)).rowcount for topic in drop)
        db.execute("COMMIT")
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        db.execute("VACUUM")
        return removed
    except sqlite3.Error as error:
        raise JournalFailed(f"journal {path} cannot be compacted: {error}. {_advice(error)}") from error
    finally:
        journal.close()


def _lock(path: Path, journal: Path) -> int:
    """Held by a live broker and freed by the kernel when it dies, however it dies."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        raise JournalInUse(f"journal {journal} is being written by another broker; stop that one, or use another journal") from None
    return handle


def _advice(error: sqlite3.Error) -> str:
    text = str(error)
    if "full" in text:
        return "Free some disk space; then start the broker again, nothing acknowledged is lost."
    if "malformed" in text or "not a database" in text:
        return "The file is damaged; restore it from a copy, or move it away to start an empty log."
    return "Check the disk and the file's permissions; then start the broker again."
