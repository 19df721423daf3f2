"""Runs a run: starts its processes, puts the task on the bus, watches until the loops end, and ends everything in order."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Literal

import structlog

from rlgpt.bus.client import BusClient, Watch
from rlgpt.bus.envelope import now, seal
from rlgpt.bus.errors import BusError, BusUnreachable
from rlgpt.bus.messages import AgentJoined, AgentLeft, BudgetSpent, Message, ReviewMissed, TaskSubmitted
from rlgpt.bus.parts import Card
from rlgpt.bus.security import ClientKeys
from rlgpt.runtime import logs
from rlgpt.runtime.child import peak_kb, roster
from rlgpt.runtime.process import BROKER
from rlgpt.runtime.run import RunFolder
from rlgpt.runtime.scenario import Scenario
from rlgpt.runtime.story import LAUNCHER, Story, read
from rlgpt.runtime.supervisor import LOST_S, GaveUp, Supervisor
from rlgpt.runtime.view import ProcessLine, View

TASK_ID = "task"
"""Id of TaskSubmitted in every run: a resumed launcher says it again, and the broker drops the repeat."""
REVIEWS = ("trial review", "plan review")
CONNECT_S = 60.0
POLL_S = 0.1
EVENTS_A_TURN = 500

EndedBy = Literal["finished", "interrupted", "gave_up"]
STATUS = {"target_reached": 0, "below_target": 1, "budget_spent": 3, "gave_up": 4}
INTERRUPTED = 130

log = structlog.get_logger()


def prepare(scenario: Scenario, runs: Path, bus: str | None = None) -> RunFolder:
    """A new run folder with the scenario as resolved and its recorded answers; `bus` as for `write_address`. Raises RunFolderError."""
    run = RunFolder.create(runs, scenario.task.name)
    run.write_address(bus)
    if scenario.transcript is not None:
        run.recorded.write_bytes(scenario.transcript)
    run.scenario.write_text(scenario.resolved(), encoding="utf-8")
    return run


class Launcher:
    """One launch of a run, new or resumed."""

    def __init__(self, run: RunFolder, scenario: Scenario, card: Card, view: View) -> None:
        self.run = run
        self.task = scenario.task
        self.card = card
        self.view = view
        self.story = Story()
        self.supervisor = Supervisor(run, roster(self.task), restarts=self.task.processes.restarts)
        self.attached: dict[str, str] = {}
        self.stops = 0
        self.history = read(run).seq
        self._heard = time.monotonic()
        self._budget_said = False
        self._waiting: dict[int, float] = {}
        self._missed: set[int] = set()

    def go(self) -> int:
        """Until the run ends, a process gives up, or a signal says stop; returns the exit status. Leaves no process behind."""
        with self.run.locked(), self._stop_signals():
            logs.configure(self.run.logs / f"{LAUNCHER}.jsonl", run=self.run.name, role=LAUNCHER, name=LAUNCHER)
            self.run.note(started=now(), pid=os.getpid())
            log.info("run_launched", pid=os.getpid(), folder=str(self.run.path), history=self.history)
            if self.history:
                self.view.note(f"resuming after event {self.history}")
            ended_by, why, status = self._until_the_end()
            log.info("run_left", ended_by=ended_by, why=why, status=status)
            self.run.note(ended=now(), ended_by=ended_by, why=why, processes=self._weights())
        return status

    def _until_the_end(self) -> tuple[EndedBy, str, int]:
        bus: BusClient | None = None
        try:
            self.supervisor.tick()
            bus = self._connect()
            if bus is not None:
                self._watch(bus)
        except (GaveUp, BusError) as error:
            log.critical("gave_up", why=str(error))
            return "gave_up", str(error), STATUS["gave_up"]
        finally:
            # A second Ctrl-C does not wait for anybody.
            before = self.stops
            self.supervisor.stop(impatient=lambda: self.stops > before)
            if bus is not None:
                bus.close(timeout_s=0.0)
            self.view.close()
        finished = self.story.state.finished
        if finished is None:
            return "interrupted", "by a signal", INTERRUPTED
        return "finished", finished.reason, STATUS[finished.outcome]

    def _connect(self) -> BusClient | None:
        """On the bus; None if a signal came first. The broker takes a moment to listen, and may have to be started again."""
        until = time.monotonic() + CONNECT_S
        while not self.stops:
            keys = self.run.credentials
            bus = BusClient(self.run.address, LAUNCHER, role=LAUNCHER, credentials=ClientKeys.load(keys) if keys else None)
            try:
                bus.start(timeout_s=1.0)
            except BusUnreachable as error:
                bus.close(timeout_s=0.0)
                self.supervisor.tick()
                if time.monotonic() > until:
                    raise GaveUp(f"the broker runs, but does not answer at {self.run.address}: {error}") from error
                continue
            return bus
        return None

    def _watch(self, bus: BusClient) -> None:
        task = TaskSubmitted(run=self.run.name, task=self.task, card=self.card)
        # Not `publish`, which waits: should the broker die at this moment, this thread has to start it again.
        bus.publish_nowait(seal(task, id=TASK_ID, source=LAUNCHER, subject=self.run.name))
        watch = bus.watch(("*",), after=0)
        while not self.stops and self.story.state.finished is None:
            self._take_events(watch)
            self.supervisor.tick()
            self._check_broker(bus)
            self._check_minutes(bus)
            self._check_reviews(bus)
            self.view.refresh(self.story, self._processes())

    def _take_events(self, watch: Watch) -> None:
        """What has come, at most so many at a time that the processes are not forgotten over a long history."""
        event = watch.get(timeout_s=POLL_S)
        for _ in range(EVENTS_A_TURN):
            if event is None:
                return
            self._heard = time.monotonic()
            message = self.story.take(event.seq, event.envelope)
            if message is not None:
                self._presence(message)
                if event.seq > self.history:
                    self.view.event(message, self.story)
            event = watch.get(timeout_s=0.0)

    def _presence(self, message: Message) -> None:
        if isinstance(message, AgentJoined):
            self.supervisor.joined(message.name, message.pid)
            if message.name not in self.supervisor.health and message.role != LAUNCHER:
                self.attached[message.name] = "attached"
                self.view.note(f"joined: {message.name} ({message.role}, process {message.pid} on {message.host})")
        elif isinstance(message, AgentLeft):
            self.supervisor.left(message.name, message.reason)
            if message.name in self.attached:
                self.attached[message.name] = "lost" if message.reason == "lost" else "left"

    def _check_broker(self, bus: BusClient) -> None:
        broker = self.supervisor.health[BROKER]
        broker.joined = bus.connected
        if broker.child is not None and bus.silent_s > LOST_S and time.monotonic() - broker.started > LOST_S:
            self.supervisor.kill(BROKER, f"it has not answered for {bus.silent_s:.0f} s")

    def _check_minutes(self, bus: BusClient) -> None:
        """Other budgets are noticed when something is spent; time also passes when nothing happens."""
        limit, state = self.task.budgets.minutes, self.story.state
        if limit is None or self._budget_said or state.submitted is None:
            return
        used = (state.spent.seconds + time.monotonic() - self._heard) / 60
        if used >= limit:
            self._budget_said = True
            log.info("budget_spent", budget="minutes", limit=limit, used=round(used, 2))
            message = BudgetSpent(budget="minutes", limit=limit, used=used)
            bus.publish_nowait(seal(message, id="budget/minutes", source=LAUNCHER, subject=self.run.name))

    def _check_reviews(self, bus: BusClient) -> None:
        """A review that nobody gives, an attached critic that has left say, is not waited for without end."""
        waiting = {seq for seq, what in self.story.state.awaiting.items() if what in REVIEWS}
        self._waiting = {seq: self._waiting.get(seq, time.monotonic()) for seq in waiting}
        for seq, since in self._waiting.items():
            waited = time.monotonic() - since
            if waited >= self.task.critic.patience_s and seq not in self._missed:
                self._missed.add(seq)
                log.warning("review_missed", seq=seq, waited_s=round(waited, 1), reviewers=self.task.critic.reviewers)
                message = ReviewMissed(seq=seq, waited_s=waited)
                bus.publish_nowait(seal(message, id=f"review-missed/{seq}", source=LAUNCHER, subject=self.run.name))

    def _processes(self) -> dict[str, ProcessLine]:
        health = self.supervisor.health
        lines = {name: ProcessLine(name, one.state, one.restarts, one.peak_kb) for name, one in health.items()}
        return lines | {name: ProcessLine(name, state) for name, state in self.attached.items() if state != "left"}

    def _weights(self) -> dict[str, dict[str, int]]:
        weights = {
            name: {"peak_kb": one.peak_kb, "workers_peak_kb": one.workers_peak_kb, "restarts": one.restarts}
            for name, one in self.supervisor.health.items()
        }
        return weights | {LAUNCHER: {"peak_kb": peak_kb(os.getpid()), "workers_peak_kb": 0, "restarts": 0}}

    @contextmanager
    def _stop_signals(self) -> Iterator[None]:
        def stop(_number: int, _frame: FrameType | None) -> None:
            self.stops += 1

        before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
