"""The parent's handle of one locked worker: talk to it, ring for a batch, end it, learn how it ended.

Nothing a worker says is believed unchecked: texts are bounded and freed of control characters here, arrays are checked in
`envs/batch.py`.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import structlog

from rlgpt.envs.errors import SkillInvalid, WorkerDied
from rlgpt.envs.glimpse import LOOKOUT
from rlgpt.envs.layout import ANSWER, BUSY_SKILL, BUSY_SLOT, BUSY_STEPS, HOST_WAITS, LEAD_STEPS, LEADS, REQUEST, Views
from rlgpt.envs.patience import Patience
from rlgpt.envs.wire import Channel, WireClosed, WireError, WireTimeout

log = structlog.get_logger()

OUT_OF_MEMORY = 70
LOOK_S = 0.3  # a worker that is late is looked at so often
STILL_S = 60.0  # the stages before an episode may go so long without an environment step
LEAD_S = 1200.0  # and one try of them may take so long


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


class Lease(Protocol):
    """A hosted environment, lent to one worker. `end` is the worker's connection."""

    end: socket.socket

    def lost(self) -> str:
        """Why the host is gone; "" while it lives."""

    def release(self) -> None:
        """The worker has gone."""


class Worker:
    """The parent's handle of one locked worker.

    leases      hosted environments it plays in
    grace_s     seconds it may be late, as long as it is these that it waits for, or stages before an episode are played
    leads       it may play such stages
    host_fault  why it lost one of them, once it did
    """

    def __init__(
        self,
        pid: int,
        channel: Channel,
        memory: Views,
        bells: Doorbells,
        reap: Callable[[int], int],
        leases: Sequence[Lease] = (),
        grace_s: float = 0.0,
        leads: bool = False,
    ) -> None:
        """`reap` asks the worker's own parent, the zygote, for the wait status of a process that has ended."""
        self._leases, self.grace_s, self.host_fault = tuple(leases), grace_s, ""
        self._seen, self._moved_at, self._leads = (0, 0, 0), 0.0, leads
        self.pid, self._channel, self.views, self._bells, self._reap = pid, channel, memory, bells, reap
        self.done = bells.done
        # The zygote reaps only when told to, so that the id cannot have been given to another process yet.
        self.pidfd = os.pidfd_open(pid)
        self.locks: tuple[str, ...] = ()
        self._request = 0
        self._closed = False
        self._header = memory.header.data
        self.patience = Patience(may_look=False)
        LOOKOUT.add(self)
        self._poller = select.poll()
        for descriptor in (self.done, self.pidfd):
            self._poller.register(descriptor, select.POLLIN)

    def take(self, work: Mapping[str, Any], ready_s: float) -> None:
        """Send skills and rules, wait until they are compiled. Raises SkillInvalid or WorkerDied."""
        answer = self.ask(dict(work), ready_s)
        if "invalid" in answer:
            line = answer.get("line")
            raise SkillInvalid(plain(answer["invalid"], 4000), line if isinstance(line, int) else None)
        locks = answer.get("ready")
        self.locks = tuple(plain(name, 40) for name in locks[:20]) if isinstance(locks, list) else ()
        self.patience.may_look = bool(work["look"])

    def ask(self, message: dict[str, Any], timeout_s: float) -> dict[str, Any]:
        """A message and its answer. Raises WorkerDied; the worker is killed then."""
        try:
            self._channel.send(message, timeout_s)
            answer = self._channel.receive(self._patience(timeout_s))
        except WireError as error:
            slow = f"no answer within {timeout_s:g} s" if isinstance(error, WireTimeout) else f"it sent what is no answer: {error}"
            raise WorkerDied(self.lost("" if isinstance(error, WireClosed) else slow)) from None
        if "died" in answer:
            raise WorkerDied(self.lost(f"it failed: {plain(answer['died'], 2000)}"))
        return answer

    def overdue(self, deadline: float) -> bool:
        """Whether a worker that has not answered by then (time.monotonic()) is given up.

        It is not while it waits for a host, or plays the stages before an episode; within `grace_s`. To be called every LOOK_S from the
        deadline on: that has to be seen, or to have come and gone since the last look.
        """
        now, header = time.monotonic(), self.views.header
        if now < deadline:
            return False
        before, self._seen = self._seen, (int(header[HOST_WAITS]), int(header[LEADS]), int(header[LEAD_STEPS]))
        if before != self._seen:
            self._moved_at = now
        for_host, leading = (self._seen[i] % 2 == 1 or self._seen[i] != before[i] for i in (0, 1))
        waits = (self._leases and for_host) or (self._leads and leading and now - self._moved_at < STILL_S)
        return now >= deadline + self.grace_s or not waits

    @property
    def lead_steps(self) -> int:
        """Environment steps it says it played before episodes, see `envs/lead.py`."""
        return max(0, int(self.views.header[LEAD_STEPS]))

    def ring(self) -> None:
        """Begin the batch whose decisions have been written to `views`."""
        self._request += 1
        self._header[ANSWER], self._header[REQUEST] = 0, self._request
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
        return bool(self._header[ANSWER] == self._request)

    def wait(self, until: float) -> bool:
        """Wait for the end of a batch, at most until then (time.monotonic()): whether the worker's process has ended."""
        begin = time.perf_counter() if self.patience.may_look else 0.0
        # What is seen in memory is only a reason not to sleep: the bell orders what the worker wrote before what we read.
        self.patience.look(self.seems_answered)
        ready = self._poller.poll(max(0.0, until - time.monotonic()) * 1000)
        if self.patience.may_look:
            self.patience.waited(time.perf_counter() - begin)
        return self.pidfd in dict(ready)

    def seems_answered(self) -> bool:
        """Whether the memory says so; `answered` has the last word."""
        return bool(self._header[ANSWER] == self._request)

    def busy(self) -> tuple[int, int, int]:
        """Slot, skill and steps the worker says it is (or was) busy with; it may lie."""
        header = self.views.header
        return int(header[BUSY_SLOT]), int(header[BUSY_SKILL]), int(header[BUSY_STEPS])

    def glimpse(self) -> bytes:
        """What it drew lately of its first environment, unchecked: see `envs/glimpse.py`."""
        return self.views.glimpse.tobytes()

    def lost(self, reason: str = "") -> str:
        """End a worker that went wrong; why, in words: `reason`, or else its own last words, or how its process ended."""
        last = reason or self._died()
        fault = next((why for lease in self._leases if (why := lease.lost())), "")
        if fault:
            last = self.host_fault = f"its host was lost: {plain(fault, 2000)}"
        elif self._leases and "HostLost: " in last:
            self.host_fault = last  # the worker's word alone; believed, since all it spares is a skill's count of lost workers
        # A socket closes a moment before its process has ended; give it that moment, to learn its status.
        by_itself = not last and bool(select.select([self.pidfd], [], [], 0.2)[0])
        status = self.kill()
        return last or (_how(status) if by_itself else "it stopped answering")

    def kill(self) -> int:
        """End it now; its wait status. Nothing happens if it has been ended before."""
        if self._closed:
            return 0
        self._closed = True
        LOOKOUT.remove(self)
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
        for lease in self._leases:
            lease.release()
        return status

    def _patience(self, timeout_s: float) -> float:
        """Wait for an answer as long as a host, or a beginning, may take; then the seconds left to read it, 0 if there is none."""
        deadline = time.monotonic() + timeout_s
        while (self._leases or self._leads) and not wait_readable([self._channel.fileno()], max(deadline, time.monotonic() + LOOK_S)):
            if self.overdue(deadline):
                return 0.0
        return timeout_s

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
