"""Look or sleep: waking a sleeping process takes some fifty microseconds, so that a short wait is better spent looking.

Who looks keeps a core busy. `envs/staffing.py` therefore lets a pool and its workers look only where each of them has a core, and
they look only as long as waits have been short lately.
"""

from __future__ import annotations

import time
from collections.abc import Callable

LONGEST_S = 0.0003  # who usually waits longer than that goes to sleep at once
_SHARE = 0.1  # of the latest wait in what is usual


class Patience:
    """How long one process looks for one thing before it sleeps. With `may_look` false it never looks."""

    def __init__(self, may_look: bool) -> None:
        self.may_look = may_look
        self.usual_s = LONGEST_S / 2

    def look(self, there: Callable[[], bool]) -> bool:
        """Whether `there()` became true while looking; call `waited` when the wait is over, in either case."""
        if not self.looks():
            return False
        end = time.perf_counter() + min(LONGEST_S, 3 * self.usual_s)
        while not there():
            if time.perf_counter() > end:
                return False
        return True

    def looks(self) -> bool:
        """Whether the next wait begins with looking."""
        return self.may_look and self.usual_s < LONGEST_S

    def waited(self, seconds: float) -> None:
        """A wait took so long, looking and sleeping together. One very long wait counts as a longish one."""
        self.usual_s += _SHARE * (min(seconds, 4 * LONGEST_S) - self.usual_s)
