"""Processes for the chaos tests of the bus: `python bus_process.py ROLE ADDRESS ...`, run and killed by test_bus_chaos.py."""

from __future__ import annotations

import dataclasses
import resource
import sys
import threading
import time
from pathlib import Path

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
    client.start(30)
    while True:
        batch = [note("job", next(ids), name) for _ in range(5)]
        client.publish(*batch, timeout_s=60)
        print("\n".join(one.id for one in batch), flush=True)


def worker(address: str, name: str, seconds: str, touch_s: str = "") -> None:
    """Handles jobs as an agent does: publish the result under a derived id, then acknowledge. Prints what it begins."""
    client = BusClient(address, name)
    client.start(30)
    jobs = client.subscribe("work", ["model.asked"], credit=1, max_attempts=100, touch_s=float(touch_s) if touch_s else None)
    while True:
        job = jobs.get(None)
        print("begin", job.seq, job.attempt, time.time(), flush=True)
        time.sleep(float(seconds))
        result = dataclasses.replace(note("result", derived_id(job.seq, "work", 0), name), topic="result")
        try:
            client.publish(result, lease=job, timeout_s=60)
        except StaleLease:
            print("stale", job.seq, job.attempt, flush=True)
            continue
        job.ack()
        print("end", job.seq, job.attempt, time.time(), flush=True)


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
