"""Runs of real processes, for tests about processes: small, offline, in a folder of their own."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from rlgpt.bus.envelope import Envelope
from rlgpt.bus.errors import JournalFailed
from rlgpt.bus.journal import Journal
from rlgpt.runtime.run import RunFolder
from rlgpt.runtime.story import Story, read

PATIENCE_S = 200.0
QUICK = ("mode=rl-only", "trainer.env_steps=1024", "trainer.rollout=32", "trainer.checkpoint_every=256", "evaluation.episodes=4")
"""Plain PPO for a moment, below the target: exit status 1."""
# A curve has 200 points: here one every 20,000 steps, so that the first is there after seconds, and the last after minutes.
ENDLESS = ("mode=rl-only", "trainer.env_steps=4000000", "trainer.rollout=32", "trainer.checkpoint_every=256", "evaluation.episodes=4")

# The background job of a shell ignores Ctrl-C, and so would all that it starts.
signal.signal(signal.SIGINT, signal.default_int_handler)


def sets(*overrides: str) -> list[str]:
    return [word for override in overrides for word in ("--set", override)]


def until(what: str, holds: Callable[[], object]) -> None:
    """Wait for something that happens in another process; fails with its name."""
    deadline = time.monotonic() + PATIENCE_S
    pause = threading.Event()
    while not holds():
        assert time.monotonic() < deadline, f"not within {PATIENCE_S:g} s: {what}"
        pause.wait(0.05)


def processes_of(run: Path) -> dict[int, str]:
    """Living processes that work for a run, by pid: command lines that name its folder, and what is below them."""
    found: dict[int, str] = {}
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            state, parent = (entry / "stat").read_text().rpartition(")")[2].split()[:2]
        except OSError:
            continue
        parents[int(entry.name)] = int(parent)
        if str(run) in command and "rlgpt.runtime.process" in command and state != "Z":
            found[int(entry.name)] = command
    grown = True
    while grown:
        below = {pid: f"below {parent}" for pid, parent in parents.items() if parent in found and pid not in found}
        grown = bool(below)
        found |= below
    return found


def pid_of(run: RunFolder, name: str) -> int:
    """Of the process of this name."""
    found = [pid for pid, command in processes_of(run.path).items() if f"--name {name} " in command]
    assert len(found) == 1, f"{name}: {found}"
    return found[0]


class Rlgpt:
    """The command line in a folder of its own; everything it started is ended with the test."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environ = {name: value for name, value in os.environ.items() if not name.startswith("RLGPT_")}
        self.started: list[subprocess.Popen[str]] = []

    def start(self, *arguments: str, cwd: Path | None = None) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", "from rlgpt.runtime.cli import main; main()", *arguments]
        pipe = subprocess.PIPE
        process = subprocess.Popen(
            command, cwd=cwd or self.folder, env=self.environ, stdin=subprocess.DEVNULL, stdout=pipe, stderr=subprocess.STDOUT, text=True
        )
        self.started.append(process)
        return process

    def __call__(self, *arguments: str, cwd: Path | None = None) -> tuple[int, str]:
        """Exit status, and what it said."""
        process = self.start(*arguments, cwd=cwd)
        output, _ = process.communicate(timeout=PATIENCE_S)
        return process.returncode, output

    def launch(self, *overrides: str, scenario: str = "mountain_car", bus: str | None = None) -> tuple[subprocess.Popen[str], RunFolder]:
        """A launch that has begun: its run folder and its launcher."""
        before = set(self.folder.glob("runs/*/lock"))
        process = self.start("launch", scenario, *sets(*overrides), *(("--bus", bus) if bus else ()))
        until("the run began", lambda: process.poll() is not None or set(self.folder.glob("runs/*/lock")) - before)
        assert process.poll() is None, process.communicate()[0]
        (lock,) = set(self.folder.glob("runs/*/lock")) - before
        return process, RunFolder(lock.parent.resolve())

    def end(self) -> None:
        for process in self.started:
            if process.poll() is None:
                process.kill()
                process.communicate()


def story(run: RunFolder) -> Story:
    return read(run)


def published(run: RunFolder, topic: str) -> list[Envelope]:
    """What is in the run's journal under a topic; nothing while the broker is still making the file."""
    try:
        return [envelope for _, envelope in Journal.read(run.journal) if envelope.topic == topic]
    except JournalFailed:
        return []


def learning(run: RunFolder) -> Callable[[], object]:
    """Whether the trainer has told of some learning."""
    return lambda: any(plan.curve for plan in read(run).state.plans.values())


def ready(run: RunFolder, name: str) -> Callable[[], object]:
    """Whether this process is on the bus."""
    log = run.logs / f"{name}.jsonl"
    return lambda: log.exists() and "agent_ready" in log.read_text()
