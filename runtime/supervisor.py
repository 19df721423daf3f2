"""Keeps the processes of a run alive: starts them, notices when one dies or hangs, starts it again with back-off, and gives up in time."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import structlog

from rlgpt.runtime import logs
from rlgpt.runtime.child import Child, Spec, descendants, peak_kb
from rlgpt.runtime.process import BROKER, CANNOT_START, STOP_S
from rlgpt.runtime.run import RunFolder

FIRST_DELAY_S = 0.5
LONGEST_DELAY_S = 10.0
JOIN_S = 120.0
"""How long a process may take from its start until it is on the bus; imports take seconds, on a loaded machine many."""
LOST_S = 20.0
"""How long a process that runs may be lost to the bus before it counts as hung."""
STEADY_S = 300.0
"""After so long at work, earlier deaths are forgotten: a few over days are not a process that cannot run."""
MEASURE_S = 2.0

log = structlog.get_logger()


class GaveUp(Exception):
    """A process could not be kept running; the message says which, why, and what it said last."""


@dataclass
class Health:
    """A process through all its starts. Times are of the monotonic clock; peaks are KiB of resident memory.

    restarts  in all; strikes: those since it last worked for STEADY_S, which are what `processes.restarts` limits
    """

    spec: Spec
    child: Child | None = None
    started: float = 0.0
    due: float | None = 0.0
    joined: bool = False
    lost: float | None = None
    restarts: int = 0
    strikes: int = 0
    peak_kb: int = 0
    workers_peak_kb: int = 0

    @property
    def state(self) -> str:
        """starting, up, lost or down."""
        if self.child is None:
            return "down"
        if self.lost is not None:
            return "lost"
        return "up" if self.joined else "starting"


class Supervisor:
    """Starts and restarts from the thread that calls `tick`, which has to outlive the processes (see `die_with_parent`)."""

    def __init__(self, run: RunFolder, specs: Sequence[Spec], *, restarts: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.run = run
        self.restarts = restarts
        self.health = {spec.name: Health(spec) for spec in specs}
        self._clock = clock
        self._redactor = logs.redactor()
        self._measured = 0.0

    def joined(self, name: str, pid: int) -> None:
        """The bus welcomed this process. One of an earlier launch, in the log's history, has another pid."""
        health = self.health.get(name)
        if health and health.child is not None and health.child.pid == pid:
            health.joined, health.lost = True, None

    def left(self, name: str, reason: str) -> None:
        """The bus lost this process. It may come back by itself; a process that has died is noticed by `tick`."""
        health = self.health.get(name)
        if health and reason == "lost" and health.joined and health.lost is None:
            health.lost = self._clock()

    def tick(self) -> None:
        """Start what is due, notice what has died or hangs. Raises GaveUp."""
        now = self._clock()
        for health in self.health.values():
            if health.child is not None:
                self._check(health, health.child, now)
            elif health.due is not None and now >= health.due:
                self._start(health, now)
        if now - self._measured >= MEASURE_S:
            self.measure()
            self._measured = now

    def kill(self, name: str, why: str) -> None:
        """End a process that hangs; the next `tick` starts it again."""
        child = self.health[name].child
        if child is not None:
            log.error("process_hung", process=name, why=why)
            child.process.kill()

    def measure(self) -> None:
        """Keep the largest memory seen of every process, and of the workers below it."""
        for health in self.health.values():
            if health.child is not None:
                health.peak_kb = max(health.peak_kb, peak_kb(health.child.pid))
                health.workers_peak_kb = max(health.workers_peak_kb, sum(map(peak_kb, descendants(health.child.pid))))

    def stop(self, impatient: Callable[[], bool] = lambda: False) -> None:
        """End every process, the broker last, so that the others can say goodbye. Takes seconds at most; `impatient` kills at once."""
        self.measure()
        for wave in (
            [h for h in self.health.values() if h.spec.role != BROKER],
            [h for h in self.health.values() if h.spec.role == BROKER],
        ):
            _end([health.child for health in wave if health.child is not None], impatient)
            for health in wave:
                health.child, health.due = None, None

    def _start(self, health: Health, now: float) -> None:
        health.child = Child(health.spec, self.run, self._redactor)
        health.started, health.due, health.joined, health.lost = now, None, False, None
        log.info("process_launched", process=health.spec.name, pid=health.child.pid, restarts=health.restarts)

    def _check(self, health: Health, child: Child, now: float) -> None:
        status = child.exited()
        if status is not None:
            self._died(health, child, status, now)
        elif health.lost is not None and now - health.lost > LOST_S:
            self.kill(health.spec.name, f"no heartbeat for more than {LOST_S:g} s")
        elif health.spec.role != BROKER and not health.joined and now - health.started > JOIN_S:
            self.kill(health.spec.name, f"not on the bus {JOIN_S:g} s after its start")

    def _died(self, health: Health, child: Child, status: int, now: float) -> None:
        name = health.spec.name
        health.child = None
        why = _in_words(status)
        log.error("process_died", process=name, why=why, restarts=health.restarts, last_lines=list(child.last_lines))
        if now - health.started > STEADY_S:
            health.strikes = 0
        if status == CANNOT_START or health.strikes >= self.restarts:
            times = "it would fail again" if status == CANNOT_START else f"after {health.strikes} restarts (processes.restarts)"
            raise GaveUp(f"{name} {why}, {times}. {self._last_words(name, child)}")
        health.due = now + min(FIRST_DELAY_S * 2**health.strikes, LONGEST_DELAY_S)
        health.strikes += 1
        health.restarts += 1

    def _last_words(self, name: str, child: Child) -> str:
        """What a dead process said: its reason on stderr, else the last error in its log, and where to read more."""
        words = "\n    ".join(child.last_lines) or self._last_error(name) or "it said nothing"
        return f"What it said:\n    {words}\n  more: rlgpt tail {self.run.name} --role {name}"

    def _last_error(self, name: str) -> str:
        path = self.run.logs / f"{name}.jsonl"
        if not path.exists():
            return ""
        for line in reversed(path.read_text(encoding="utf-8", errors="replace").splitlines()[-50:]):
            if '"level": "error"' in line or '"level": "critical"' in line:
                try:
                    return str(json.loads(line).get("why") or json.loads(line).get("event"))
                except ValueError:
                    continue  # cut short by the death that is being explained
        return ""


def _end(children: Sequence[Child], impatient: Callable[[], bool]) -> None:
    for child in children:
        if child.exited() is None:
            child.process.terminate()
    until = time.monotonic() + STOP_S + 1.0
    while any(child.exited() is None for child in children):
        if time.monotonic() > until or impatient():
            break
        _wait_for_any(children, 0.1)
    for child in children:
        if child.exited() is None:
            log.warning("process_killed", process=child.spec.name, why="it did not stop when asked to")
            # Its session too: workers die with their parent, but a role may have started something else.
            os.killpg(child.pid, signal.SIGKILL)
            child.process.wait()


def _wait_for_any(children: Sequence[Child], timeout_s: float) -> None:
    running = next((child for child in children if child.exited() is None), None)
    if running is not None:
        try:
            running.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return


def _in_words(status: int) -> str:
    if status < 0:
        return f"was ended by {signal.Signals(-status).name}"
    return "cannot start" if status == CANNOT_START else f"ended with status {status}"
