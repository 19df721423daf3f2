"""Shrinking the journal of a finished run."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from pathlib import Path

from rlgpt.bus import segments
from rlgpt.bus.archive import advice
from rlgpt.bus.errors import JournalFailed
from rlgpt.bus.journal import Journal


def compact(path: Path, *, drop: Iterable[str] = ()) -> int:
    """Join the many small segments of a quiet run, remove the events of the `drop` topics (exact names), and give the space back.

    Returns how many events were removed. Numbers stay as they are, and a removed event's id stays known: published again, it is still a
    repeat. Raises JournalInUse while a broker has the journal open, JournalFailed.
    """
    journal = Journal(path)
    try:
        db, dropped = journal._db, frozenset(drop)
        db.execute("BEGIN IMMEDIATE")
        before = _count(db)
        db.execute("CREATE TABLE compacted (seq INTEGER PRIMARY KEY, count INTEGER NOT NULL, content BLOB NOT NULL)")
        # The newest event stays whatever it is: its number is where a resumed log goes on.
        kept = (row for row in _rows(db) if row[1] not in dropped or row[0] == journal.head)
        db.executemany("INSERT INTO compacted VALUES (?, ?, ?)", segments.pack_sparse(kept))
        db.execute("DROP TABLE segments")
        db.execute("ALTER TABLE compacted RENAME TO segments")
        removed = before - _count(db)
        db.execute("COMMIT")
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        db.execute("VACUUM")
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return removed
    except (sqlite3.Error, ValueError) as error:
        raise JournalFailed(f"journal {path} cannot be compacted: {error}. {advice(error)}") from error
    finally:
        journal.close()


def _rows(db: sqlite3.Connection) -> Iterator[segments.Row]:
    for seq, content in db.execute("SELECT seq, content FROM segments ORDER BY seq"):
        yield from segments.unpack(seq, content)


def _count(db: sqlite3.Connection) -> int:
    return sum(len(segments.unpack(seq, content)) for seq, content in db.execute("SELECT seq, content FROM segments"))
