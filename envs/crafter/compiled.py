"""How this package's functions are compiled: by numba, ahead of any call, kept in a cache that follows the sources.

Behind the lock nothing can be compiled (no executable memory), so that every function Python calls has an explicit signature, and is
compiled when its module is imported: some 20 s the first time, well under a second from then on.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import numba
from numba.core import config as _config

F = TypeVar("F", bound=Callable[..., Any])
config: Any = _config
_HERE = Path(__file__).parent


def _cache() -> Path | None:
    """A folder for compiled code of just these sources, None where nothing can be written.

    numba's own cache looks at the file a function is in, not at those of the functions it calls: after a change there, or an upgrade
    of numba, it would go on running old code.
    """
    digest = hashlib.sha256(numba.__version__.encode())
    for source in sorted(_HERE.glob("*.py")):
        text = source.read_bytes()
        if b"compiled import" in text or source.name in ("rules.py", "state.py"):
            digest.update(text)
    parent = _HERE / "__pycache__"
    folder = parent / f"numba-{digest.hexdigest()[:16]}"
    try:
        if not folder.is_dir():
            for old in parent.glob("numba-*"):
                shutil.rmtree(old, ignore_errors=True)
            folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return None
    return folder if os.access(folder, os.W_OK) else None


CACHE = _cache()


@contextlib.contextmanager
def _cached() -> Iterator[None]:
    before = config.CACHE_DIR
    config.CACHE_DIR = str(CACHE)
    try:
        yield
    finally:
        config.CACHE_DIR = before


def part(function: F) -> F:
    """A function that only compiled functions call; it becomes a part of theirs."""
    return numba.njit(function)  # type: ignore[no-any-return]


def entry(signature: Any) -> Callable[[Any], Any]:
    """A function that Python calls, compiled here and now for these types alone."""

    def compile_now(function: Any) -> Any:
        if CACHE is None:
            return numba.njit(signature)(function)
        with _cached():
            return numba.njit(signature, cache=True)(function)

    return compile_now
