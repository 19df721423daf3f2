"""`rlgpt tail`: the logs of all processes of a run as one stream in the order of time, while it runs or long after."""

from __future__ import annotations

import heapq
import json
import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from datetime import time as time_of_day
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from rlgpt.runtime.run import RunFolder
from rlgpt.runtime.text import printable

LEVELS = ("debug", "info", "warning", "error", "critical")
POLL_S = 0.2
_COMMON = frozenset({"time", "level", "run", "role", "name", "event", "cause", "exception", "stack"})

Line = tuple[str, str, dict[str, Any]]
"""Time as text (RFC 3339 in UTC sorts as text), the raw line, its fields."""


@dataclass(frozen=True)
class Filter:
    """Which lines to show. Empty means all; `events` are names or patterns such as `skill_*`; `level` and what is worse."""

    roles: Sequence[str] = ()
    level: str = "debug"
    events: Sequence[str] = ()
    since: datetime | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "level", self.level.lower())
        if self.level not in LEVELS:
            raise ValueError(f"--level {self.level}: expected one of {', '.join(LEVELS)}")

    def passes(self, fields: dict[str, Any]) -> bool:
        level = str(fields.get("level", "info"))
        return (
            (not self.roles or fields.get("role") in self.roles or fields.get("name") in self.roles)
            and (level not in LEVELS or LEVELS.index(level) >= LEVELS.index(self.level))
            and (not self.events or any(fnmatchcase(str(fields.get("event", "")), pattern) for pattern in self.events))
            and (self.since is None or _time_of(fields) >= self.since)
        )


def since(text: str, now: datetime | None = None) -> datetime:
    """`30s`, `10m`, `2h`, `1d` ago; or a time such as 2026-01-31T12:00 or 12:00 (the last one there was), local unless it says otherwise.

    Raises ValueError.
    """
    at = now or datetime.now(UTC)
    ago = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd])", text.strip())
    if ago:
        unit = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}[ago[2]]
        return at - timedelta(**{unit: float(ago[1])})
    try:
        if re.fullmatch(r"\d{1,2}:\d{2}(:\d{2})?", text.strip()):
            clock = time_of_day.fromisoformat(text.strip().zfill(8 if text.count(":") == 2 else 5))
            today = datetime.combine(at.astimezone().date(), clock).astimezone(UTC)
            return today if today <= at else today - timedelta(days=1)
        return datetime.fromisoformat(text.strip()).astimezone(UTC)
    except ValueError:
        raise ValueError(
            f"--since {text}: expected a time span such as 30s, 10m, 2h, 1d, or a time such as 12:00 or 2026-01-31T12:00:00Z"
        ) from None


def history(run: RunFolder) -> Iterator[Line]:
    """Every line logged so far, merged by time."""
    return heapq.merge(*(_File(path).lines() for path in _files(run)), key=lambda line: line[0])


def follow(run: RunFolder, ended: Callable[[], bool] | None = None) -> Iterator[Line]:
    """History, then what is logged from now on, until nobody runs the run any more."""
    ended = ended or (lambda: not run.running)
    files: dict[Path, _File] = {}
    while True:
        # Asked before the files are read: what was logged before the end is then still seen.
        over = ended()
        for path in _files(run):
            files.setdefault(path, _File(path))
        yield from heapq.merge(*(file.lines() for file in files.values()), key=lambda line: line[0])
        if over:
            return
        time.sleep(POLL_S)


def readable(fields: dict[str, Any], *, color: bool = False) -> str:
    """One line for people: local time, process, event, fields; a traceback below it."""
    when = _time_of(fields).astimezone().strftime("%H:%M:%S.%f")[:-3]
    level = str(fields.get("level", "info"))
    rest = "  ".join(f"{name}={_value(value)}" for name, value in fields.items() if name not in _COMMON)
    event, name = str(fields.get("event", "")), str(fields.get("name", "?"))
    mark = "" if level in ("info", "debug") else f"{level.upper()} "
    trace = "".join(f"\n    {line}" for key in ("exception", "stack") for line in str(fields.get(key, "")).splitlines())
    if color:
        tint = {"warning": "33", "error": "31", "critical": "1;31"}.get(level, "1")
        return f"\x1b[2m{when}\x1b[0m \x1b[36m{name:<10}\x1b[0m \x1b[{tint}m{mark}{event}\x1b[0m  {rest}{trace}"
    return f"{when} {name:<10} {mark}{event}  {rest}".rstrip() + trace


def _value(value: Any) -> str:
    if isinstance(value, str):
        # Log lines hold text of models and of tracebacks; control characters there must not reach the terminal.
        clean = printable(value)
        return json.dumps(clean, ensure_ascii=False) if (not clean or re.search(r"[\s=\"]", clean)) else clean
    if isinstance(value, float):
        return f"{value:g}"
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list) else str(value)


def _time_of(fields: dict[str, Any]) -> datetime:
    try:
        return datetime.fromisoformat(str(fields.get("time"))).astimezone(UTC)
    except ValueError:
        return datetime.min.replace(tzinfo=UTC) + timedelta(days=1)


def _files(run: RunFolder) -> list[Path]:
    return sorted(run.logs.glob("*.jsonl"))


class _File:
    """One log file, read on from where the last reading stopped; a line still being written waits for its end."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.offset = 0
        self.last = ""

    def lines(self) -> Iterator[Line]:
        with self.path.open("rb") as file:
            file.seek(self.offset)
            for data in file:
                if not data.endswith(b"\n"):
                    return
                self.offset += len(data)
                text = data.decode("utf-8", "replace").rstrip("\n")
                if text:
                    yield self._line(text)

    def _line(self, text: str) -> Line:
        try:
            fields = json.loads(text)
        except ValueError:
            fields = None
        if not isinstance(fields, dict):
            # Cut short by a kill: it keeps its place after the line before it.
            fields = {"time": self.last, "level": "warning", "name": self.path.stem, "event": "unreadable_line", "line": text[:500]}
        self.last = str(fields.get("time", self.last))
        return self.last, text, fields
