"""Clocks that jump. Nothing on the bus looks at the time of day, except to write it on an envelope for people to read."""

from __future__ import annotations

import re
import signal
import threading
import time
from collections import Counter
from datetime import datetime
from pathlib import Path

import pytest
from bus_process import note
from world import SOON, begun

import rlgpt.bus
from rlgpt.bus.broker import Broker

LOST = {"LOSE_THE_TIME_OF_DAY": "1"}


def test_wall_clocks_that_jump_by_months_change_nothing(world):
    world.broker(**LOST)
    world.start("publisher", "publisher", "publisher", **LOST)
    workers = ("worker-1", "worker-2")
    for name in workers:
        world.start(name, "worker", name, "0", "5", **LOST)
    world.wait(lambda: len(world.stored("result")) > 200, "no results")
    world.signal("broker", signal.SIGKILL)
    reached = len(world.lines("publisher"))
    world.broker(**LOST)
    world.wait(lambda: len(world.lines("publisher")) > reached + 100, "the publisher does not go on")
    world.signal("publisher", signal.SIGKILL)
    world.wait(lambda: len(world.stored("result")) == len(world.stored("model.asked")), "jobs without a result")
    jobs, results, attempts = world.events("model.asked"), world.stored("result"), begun(world, *workers)
    years = sorted({datetime.fromisoformat(job.time).year for job in jobs})
    # A delivery that the killed broker had noted, but not sent yet, comes as attempt 2 without ever having begun.
    repeated = sorted(seq for seq, times in Counter(seq for seq, _ in attempts).items() if times > 1)
    print(f"{len(jobs)} jobs dated {years[0]} to {years[-1]}, {len(results)} results, {len(repeated)} begun a second time")
    assert len(years) >= 2
    assert {line[0] for line in world.lines("publisher")} <= {job.id for job in jobs}
    assert len(results) == len(set(results)) == len(jobs)
    assert repeated == []
    assert set(world.left()) <= {("publisher", "lost")}


def test_machine_that_was_stopped_for_an_hour_has_lost_nobody(world):
    """The monotonic clock never goes back, but leaps where a virtual machine was paused."""
    leapt, stop = [0.0], threading.Event()
    broker = Broker(world.address, world.journal, clock=lambda: time.monotonic() + leapt[0])
    serving = threading.Thread(target=broker.run, args=(stop,))
    serving.start()
    try:
        assert broker.ready.wait(SOON)
        client = world.client("client")
        client.publish(note("first", "first", "client"))
        world.start("worker-1", "worker", "worker-1", "3", "60")
        world.wait(lambda: begun(world, "worker-1"), "the job does not begin")
        world.start("worker-2", "worker", "worker-2", "0", "60")
        world.wait(lambda: any(one.message().name == "worker-2" for one in world.events("agent.joined")), "the other does not come")
        for n in range(20):
            leapt[0] += 3600
            client.publish(note(f"{n}", f"more-{n}", "client"))
        world.wait(lambda: len(world.stored("result")) == 21, "jobs without a result")
        attempts = begun(world, "worker-1", "worker-2")
        print(f"20 leaps of an hour: {len(attempts)} attempts for 21 jobs, {len(world.left())} lost")
        assert {attempt for _, attempt in attempts} == {1}
        assert world.left() == []
        client.close()
    finally:
        stop.set()
        serving.join(SOON)


@pytest.mark.parametrize("path", sorted(Path(rlgpt.bus.__file__).parent.glob("*.py")), ids=lambda path: path.name)
def test_time_of_day_is_read_only_to_date_an_envelope(path):
    looks = re.findall(r"\btime\.time|\bdatetime\.(?:now|utcnow|today)", path.read_text())
    assert bool(looks) == (path.name == "envelope.py")
