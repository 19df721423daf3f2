"""Processes for the chaos tests of the bus: `python bus_process.py ROLE ADDRESS ...`, run, killed and frozen through world.py."""

from __future__ import annotations

import os
import random
import resource
import sys
import threading
import time
from datetime import datetime, timedelta
from pathlib import Path

import msgspec

from rlgpt.bus import envelope
from rlgpt.bus.broker import Broker
from rlgpt.bus.client import BusClient, StaleLease
from rlgpt.bus.envelope import derived_id, fresh_ids, seal
from rlgpt.bus.messages import ModelAsked


def note(text: str, id: str, source: str):
    return seal(ModelAsked(role="slow", key=text, model="m", origin="live", outcome="answered"), id=id, source=source)


def broker(address: str, journal: str, file_limit: str = "") -> None:
    if file_limit:  # a full disk, near enough: writes beyond it fail
        import signal

        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(file_limit), int(file_limit)))
    Broker(address, Path(journal)).run(threading.Event())


def publisher(address: str, name: str) -> None:
    """Publishes for ever; prints the id of every acknowledged event."""
    client, ids = BusClient(address, name), fresh_ids()
    client.start(150)
    while True:
        batch = [note("job", next(ids), name) for _ in range(5)]
        client.publish(*batch, timeout_s=150)
        print("\n".join(one.id for one in batch), flush=True)


def worker(address: str, name: str, seconds: str, touch_s: str = "", credit: str = "1") -> None:
    """Handles jobs as an agent does: publish the result under a derived id, then acknowledge. Prints what it begins.

    `seconds` a job takes; "5:0": 5 at its first attempt, none at any later one.
    """
    client = BusClient(address, name)
    client.start(150)
    touch = float(touch_s) if touch_s else None
    takes = [float(part) for part in seconds.split(":")]
    jobs = client.subscribe("work", ["model.asked"], credit=int(credit), max_attempts=100, touch_s=touch)
    while True:
        job = jobs.get(None)
        print("begin", job.seq, job.attempt, time.time(), flush=True)
        time.sleep(takes[min(job.attempt, len(takes)) - 1])
        result = msgspec.structs.replace(note("result", derived_id(job.seq, "work", 0), name), topic="result")
        try:
            client.publish(result, lease=job, timeout_s=150)
        except StaleLease:
            print("stale", job.seq, job.attempt, flush=True)
            continue
        job.ack()
        print("end", job.seq, job.attempt, time.time(), flush=True)


def watcher(address: str, name: str) -> None:
    """Prints the number of every job it sees."""
    client = BusClient(address, name)
    client.start(150)
    watch = client.watch(["model.asked"])
    while True:
        print(watch.get(None).seq, flush=True)


def lose_the_time_of_day() -> None:
    """From now on this process's wall clock jumps, by up to a year in either direction, at every look."""
    chance, real = random.Random(), time.time

    class Jumping(datetime):
        @classmethod
        def now(cls, tz=None):
            return super().now(tz) + timedelta(days=chance.uniform(-365, 365))

    vars(envelope)["datetime"] = Jumping
    time.time = lambda: real() + chance.uniform(-3e7, 3e7)
    time.time_ns = lambda: int(time.time() * 1e9)


if __name__ == "__main__":
    if "LOSE_THE_TIME_OF_DAY" in os.environ:
        lose_the_time_of_day()
    globals()[sys.argv[1]](*sys.argv[2:])
