"""A broker, publishers and workers as real processes, for the chaos tests of the bus."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from rlgpt.bus.client import BusClient
from rlgpt.bus.envelope import Envelope
from rlgpt.bus.errors import JournalFailed
from rlgpt.bus.journal import Journal

SOON = 150.0


class World:
    """Processes of a test, and what they print."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.journal, self.address = folder, folder / "journal.sqlite", f"ipc://{folder}/bus"
        self.running: dict[str, subprocess.Popen] = {}

    def start(self, name: str, role: str, *arguments: str, **environment: str) -> subprocess.Popen:
        script = str(Path(__file__).with_name("bus_process.py"))
        with self.output(name).open("ab") as out, (self.folder / f"{name}.err").open("ab") as err:
            command = [sys.executable, script, role, self.address, *arguments]
            self.running[name] = subprocess.Popen(command, stdout=out, stderr=err, env={**os.environ, **environment})
        return self.running[name]

    def broker(self, *arguments: str, **environment: str) -> subprocess.Popen:
        return self.start("broker", "broker", str(self.journal), *arguments, **environment)

    def signal(self, name: str, number: int) -> None:
        self.running[name].send_signal(number)
        if number == signal.SIGKILL:
            self.running.pop(name).wait()

    def output(self, name: str) -> Path:
        return self.folder / f"{name}.out"

    def lines(self, name: str) -> list[list[str]]:
        """Whole lines: the last one may be cut by a kill."""
        text = self.output(name).read_text() if self.output(name).exists() else ""
        return [line.split() for line in text.splitlines(keepends=True) if line.endswith("\n")]

    def wait(self, condition, why: str) -> None:
        until = time.monotonic() + SOON
        while not condition():
            assert time.monotonic() < until, f"{why}: {[path.read_text()[-2000:] for path in self.folder.glob('*.err')]}"
            time.sleep(0.02)

    def client(self, name: str, **options) -> BusClient:
        client = BusClient(self.address, name, **options)
        client.start(SOON)
        return client

    def events(self, topic: str) -> list[Envelope]:
        """Of the journal; none while the broker is still making it."""
        try:
            return [envelope for _, envelope in Journal.read(self.journal) if envelope.topic == topic]
        except JournalFailed:
            return []

    def stored(self, topic: str) -> list[str]:
        return [envelope.id for envelope in self.events(topic)]

    def left(self) -> list[tuple[str, str]]:
        """Names and reasons of those who left."""
        return [(event.message().name, event.message().reason) for event in self.events("agent.left")]

    def memory_mb(self, name: str) -> float:
        """Resident memory of a process."""
        return int(Path(f"/proc/{self.running[name].pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6

    def end(self) -> None:
        for process in self.running.values():
            process.send_signal(signal.SIGCONT)
            process.kill()
            process.wait()


def begun(world: World, *workers: str) -> list[tuple[int, int]]:
    """(seq, attempt) of every job these workers have begun."""
    return [(int(line[1]), int(line[2])) for name in workers for line in world.lines(name) if line[0] == "begin"]
