"""A journal as everybody but its broker sees it: read while it is written or after, and shrunk once nobody writes it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

from rlgpt.bus import segments
from rlgpt.bus.codec import decode
from rlgpt.bus.envelope import Envelope
from rlgpt.bus.errors import JournalFailed, Malformed

FORMAT = 2
PAGE, PAGE_BYTES = 256, 4 * 1024 * 1024  # segments read at a time, and their size


def read(path: Path, after: int = 0) -> Iterator[tuple[int, Envelope]]:
    """The events after `after`, up to the newest, from any process, while a broker writes or after it ended.

    None of a journal whose broker is making it at this moment, or was killed while it did. Raises JournalFailed.
    """
    db = open_for_reading(path)
    try:
        if db.execute("PRAGMA user_version").fetchone()[0] == 0:
            return
        begin = db.execute("SELECT max(seq) FROM segments WHERE seq <= ?", (after + 1,)).fetchone()[0] or 0
        while page := _page(db, begin):
            for first, content in page:
                for seq, _, body in segments.unpack(first, content):
                    if seq > after:
                        yield seq, decode(body)
            begin = page[-1][0] + 1
    except (sqlite3.Error, ValueError, Malformed) as error:
        raise JournalFailed(f"journal {path} cannot be read: {error}. {advice(error)}") from error
    finally:
        db.close()


def _page(db: sqlite3.Connection, begin: int) -> list[tuple[int, bytes]]:
    """Some segments: an open read transaction would keep the broker's write-ahead log from being recycled."""
    page, size = [], 0
    cursor = db.execute("SELECT seq, content FROM segments WHERE seq >= ? ORDER BY seq LIMIT ?", (begin, PAGE))
    for row in cursor:
        page.append(row)
        size += len(row[1])
        if size > PAGE_BYTES:
            break
    cursor.close()
    return page


def open_for_reading(path: Path) -> sqlite3.Connection:
    """A connection that cannot write; raises JournalFailed."""
    if not Path(path).exists():
        raise JournalFailed(f"there is no journal {path}")
    uri = Path(path).absolute().as_uri()
    try:
        db = sqlite3.connect(f"{uri}?mode=ro", uri=True)
        try:
            version = _version(db)
        except sqlite3.OperationalError:
            # Read-only folder and no write-ahead log beside it: nobody writes it, so SQLite may read it without one.
            if Path(f"{path}-wal").exists():
                raise
            db.close()
            db = sqlite3.connect(f"{uri}?immutable=1", uri=True)
            version = _version(db)
    except sqlite3.Error as error:
        raise JournalFailed(f"journal {path} cannot be opened: {error}. {advice(error)}") from error
    if version not in (0, FORMAT):
        db.close()
        raise JournalFailed(f"journal {path} has format {version}; this version reads {FORMAT}")
    return db


def _version(db: sqlite3.Connection) -> int:
    version: int = db.execute("PRAGMA user_version").fetchone()[0]
    db.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    return version


def advice(error: Exception) -> str:
    text = str(error)
    if "full" in text:
        return "Free some disk space; then start the broker again, nothing acknowledged is lost."
    if isinstance(error, ValueError | Malformed) or "malformed" in text or "not a database" in text:
        return "The file is damaged; restore it from a copy, or move it away to start an empty log."
    return "Check the disk and the file's permissions; then start the broker again."
