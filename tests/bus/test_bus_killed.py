"""kill -9 of a real broker process under load: nothing acknowledged is lost, everything is delivered."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time

import pytest

from rlgpt.bus.client import BusClient
from rlgpt.bus.envelope import fresh_ids, seal
from rlgpt.bus.journal import Journal
from rlgpt.bus.messages import ModelAsked

SOON = 100.0
BROKER = """
import pathlib, sys, threading
from rlgpt.bus.broker import Broker
Broker(sys.argv[1], pathlib.Path(sys.argv[2])).run(threading.Event())
"""


@pytest.fixture
def broker(tmp_path):
    """Starts and kills broker processes of one journal."""
    address, journal = f"ipc://{tmp_path}/bus", tmp_path / "journal.sqlite"
    running = []

    class Processes:
        def start(self):
            with (tmp_path / "broker.log").open("ab") as log:
                running.append(subprocess.Popen([sys.executable, "-c", BROKER, address, str(journal)], stdout=log, stderr=log))

        def kill(self):
            process = running.pop()
            process.send_signal(signal.SIGKILL)
            process.wait()

    processes = Processes()
    processes.address, processes.journal = address, journal
    processes.start()
    yield processes
    while running:
        processes.kill()


def test_nothing_acknowledged_is_lost_when_the_broker_is_killed_under_load(broker):
    publisher, worker = BusClient(broker.address, "publisher"), BusClient(broker.address, "worker")
    publisher.start(SOON)
    worker.start(SOON)
    work = worker.subscribe("work", ["model.asked"])
    ids, acknowledged, seen, attempts = fresh_ids(), [], [], []
    stop, done = threading.Event(), threading.Event()

    def publish():
        while not stop.is_set():
            batch = [
                seal(ModelAsked(role="slow", key=str(n), model="m", origin="live", outcome="answered"), id=next(ids), source="publisher")
                for n in range(10)
            ]
            publisher.publish(*batch, timeout_s=SOON)
            acknowledged.extend(one.id for one in batch)

    def handle():
        while not done.is_set():
            if delivery := work.get(0.1):
                seen.append(delivery.envelope.id)
                attempts.append(delivery.attempt)
                delivery.ack()

    threads = [threading.Thread(target=publish), threading.Thread(target=handle)]
    for thread in threads:
        thread.start()
    for _ in range(3):
        reached = len(acknowledged) + 500
        while len(acknowledged) < reached:
            assert threads[0].is_alive()
            stop.wait(0.01)
        broker.kill()
        broker.start()
    reached = len(acknowledged) + 500
    while len(acknowledged) < reached:
        assert threads[0].is_alive()
        stop.wait(0.01)
    stop.set()
    threads[0].join(SOON)
    stored = [envelope.id for _, envelope in Journal.read(broker.journal) if envelope.topic == "model.asked"]
    until = time.monotonic() + SOON
    while len(set(seen)) < len(stored) and time.monotonic() < until:
        done.wait(0.01)
    done.set()
    threads[1].join(SOON)
    publisher.close()
    worker.close()
    again = len(seen) - len(set(seen))
    print(f"{len(acknowledged)} acknowledged, {len(stored)} stored, {len(seen)} delivered, {again} of them again, 3 kills")
    assert set(acknowledged) <= set(stored)
    assert len(stored) == len(set(stored))
    assert set(seen) == set(stored)
