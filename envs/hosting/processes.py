"""Ending processes with all that they started. An environment may start others in sessions of their own: Java under MineDojo does."""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path


def below(pid: int) -> list[int]:
    """Processes that descend from `pid`, the nearest first."""
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError, ValueError, IndexError):
            parent = int(entry.read_text().rpartition(")")[2].split()[1])
            parents.setdefault(parent, []).append(int(entry.parent.name))
    found = list(parents.get(pid, []))
    for child in found:  # grows as it goes
        found += parents.get(child, [])
    return found


def kill_below(pid: int) -> None:
    """End every process that descends from `pid`."""
    for child in below(pid):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(child, signal.SIGKILL)


def kill_tree(pid: int) -> None:
    """End `pid`, a child of this process that was not waited for yet, and all that it started."""
    under = below(pid)
    for one in (pid, *under):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(one, signal.SIGKILL)
