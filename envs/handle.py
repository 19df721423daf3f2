"""The parent's handle of one locked worker: talk to it, ring for a batch, end it, learn how it ended.

Nothing a worker says is believed unchecked: texts are bounded and freed of control characters here, arrays are checked in
`envs/batch.py`.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import structlog

from rlgpt.envs.errors import SkillInvalid, WorkerDied
from rlgpt.envs.layout import ANSWER, BUSY_SKILL, BUSY_SLOT, BUSY_STEPS, REQUEST, Views
from rlgpt.envs.wire import Channel, WireClosed, WireError, WireTimeout

log = structlog.get_logger()

OUT_OF_MEMORY = 70


@dataclass(frozen=True)
class Doorbells:
    """Non-blocking eventfds: `go` tells the worker to begin a batch, `done` tells the parent that it has ended.

    Non-blocking, because a worker could fill a blocking one, and with it stop the parent.
    """

    go: int
    done: int

    def close(self) -> None:
        os.close(self.go)
        os.close(self.done)


class Worker:
    """The parent's handle of one locked worker."""

    def __init__(self, pid: int, channel: Channel, memory: Views, bells: Doorbells, reap: Callable[[int], int]) -> None:
        """`reap` asks the worker's own parent, the zygote, for the wait status of a process that has ended."""
        self.pid, self._channel, self.views, self._bells, self._reap = pid, channel, memory, bells, reap
        self.done = bells.done
        # The zygote reaps only when told to, so that the id cannot have been given to another process yet.
        self.pidfd = os.pidfd_open(pid)
        self.locks: tuple[str, ...] = ()
        self._request = 0
        self._closed = False

    def take(self, work: Mapping[str, Any], ready_s: float) -> None:
        """Send skills and rules, wait until they are compiled. Raises SkillInvalid or WorkerDied."""
        answer = self.ask(dict(work), ready_s)
        if "invalid" in answer:
            line = answer.get("line")
            raise SkillInvalid(plain(answer["invalid"], 4000), line if isinstance(line, int) else None)
        locks = answer.get("ready")
        self.locks = tuple(plain(name, 40) for name in locks[:20]) if isinstance(locks, list) else ()

    def ask(self, message: dict[str, Any], timeout_s: float) -> dict[str, Any]:
        """A message and its answer. Raises WorkerDied; the worker is killed then."""
        try:
            self._channel.send(message, timeout_s)
            answer = self._channel.receive(timeout_s)
        except WireError as error:
            slow = f"no answer within {timeout_s:g} s" if isinstance(error, WireTimeout) else f"it sent what is no answer: {error}"
            raise WorkerDied(self.lost("" if isinstance(error, WireClosed) else slow)) from None
        if "died" in answer:
            raise WorkerDied(self.lost(f"it failed: {plain(answer['died'], 2000)}"))
        return answer

    def ring(self) -> None:
        """Begin the batch whose decisions have been written to `views`."""
        self._request += 1
        self.views.header[ANSWER], self.views.header[REQUEST] = 0, self._request
        try:
            os.eventfd_write(self._bells.go, 1)
        except BlockingIOError:
            log.warning("worker_filled_its_doorbell", pid=self.pid)  # nobody but the worker can have; it is rung all the same

    def answered(self) -> bool:
        """Whether the batch is done by the worker's own account; what it wrote is still to be checked."""
        try:
            os.eventfd_read(self.done)
        except BlockingIOError:
            return False
        return int(self.views.header[ANSWER]) == self._request

    def busy(self) -> tuple[int, int, int]:
        """Slot, skill and steps the worker says it is (or was) busy with; it may lie."""
        header = self.views.header
        return int(header[BUSY_SLOT]), int(header[BUSY_SKILL]), int(header[BUSY_STEPS])

    def lost(self, reason: str = "") -> str:
        """End a worker that went wrong; why, in words: `reason`, or else its own last words, or how its process ended."""
        last = reason or self._died()
        # A socket closes a moment before its process has ended; give it that moment, to learn its status.
        by_itself = not last and bool(select.select([self.pidfd], [], [], 0.2)[0])
        status = self.kill()
        return last or (_how(status) if by_itself else "it stopped answering")

    def kill(self) -> int:
        """End it now; its wait status. Nothing happens if it has been ended before."""
        if self._closed:
            return 0
        self._closed = True
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self.pidfd, signal.SIGKILL)
        select.select([self.pidfd], [], [], 10)
        try:
            status = self._reap(self.pid)
        except (WireError, KeyError, TypeError, ValueError):
            status = 0  # the zygote is gone, and took its workers along
        os.close(self.pidfd)
        self._bells.close()
        self._channel.close()
        return status

    def _died(self) -> str:
        try:
            text = self._channel.receive(0).get("died", "")
        except WireError:
            return ""
        return f"it failed: {plain(text, 2000)}" if text else ""


def plain(text: object, limit: int) -> str:
    """A worker's text, fit for a log or a terminal: a bounded string without control characters."""
    if not isinstance(text, str):
        return f"<{type(text).__name__}>"
    return "".join(character if character.isprintable() or character in "\n\t" else "�" for character in text[:limit])


def wait_readable(descriptors: Iterable[int], deadline: float) -> list[int]:
    """Those of the descriptors that have something to read, or [] at the deadline (of time.monotonic())."""
    poller = select.poll()
    for descriptor in descriptors:
        poller.register(descriptor, select.POLLIN)
    return [descriptor for descriptor, _ in poller.poll(max(0.0, deadline - time.monotonic()) * 1000)]


def _how(status: int) -> str:
    code = os.waitstatus_to_exitcode(status)
    if code == OUT_OF_MEMORY:
        return "it ran out of memory"
    if code == -signal.SIGKILL:
        return "it was killed from outside (SIGKILL), perhaps for memory"
    if code < 0:
        return f"it crashed ({signal.Signals(-code).name})"
    return f"it ended by itself with status {code}"
