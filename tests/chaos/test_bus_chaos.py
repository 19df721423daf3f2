"""The bus under real faults: real processes, real signals, counts printed (`pytest -s`)."""

from __future__ import annotations

import os
import random
import shutil
import signal
import sqlite3
import threading
import time
from pathlib import Path

from bus_process import note
from world import SOON, begun

from rlgpt.bus.envelope import fresh_ids
from rlgpt.bus.errors import JournalFailed
from rlgpt.bus.journal import Journal


def test_random_kills_of_everything_lose_nothing_and_every_job_has_one_result(world):
    chance = random.Random(1)
    world.broker()
    starts = {"publisher": ("publisher", "publisher")} | {f"worker-{n}": ("worker", f"worker-{n}", "0.002") for n in (1, 2)}
    for name, arguments in starts.items():
        world.start(name, *arguments)
    kills = {"broker": 0, "publisher": 0, "worker-1": 0, "worker-2": 0}
    for _ in range(6):
        reached = len(world.lines("publisher")) + 30
        world.wait(lambda reached=reached: len(world.lines("publisher")) >= reached, "the publisher stands still")
        victim = chance.choice(sorted(kills))
        kills[victim] += 1
        world.signal(victim, signal.SIGKILL)
        world.broker() if victim == "broker" else world.start(victim, *starts[victim])
    world.signal("publisher", signal.SIGKILL)
    world.wait(lambda: len(world.stored("result")) == len(world.stored("model.asked")), "jobs without a result")
    jobs = world.stored("model.asked")
    acknowledged = {line[0] for line in world.lines("publisher")}
    results = world.stored("result")
    attempts = begun(world, "worker-1", "worker-2")
    print(f"kills {kills}: {len(acknowledged)} acknowledged, {len(jobs)} stored, {len(results)} results, {len(attempts)} attempts begun")
    assert acknowledged <= set(jobs)
    assert len(results) == len(set(results)) == len(jobs)


def test_job_of_a_killed_worker_is_elsewhere_within_seconds(world):
    world.broker()
    world.start("worker-1", "worker", "worker-1", "600")
    client = world.client("client")
    client.publish(note("job", "job", "client"))
    world.wait(lambda: begun(world, "worker-1"), "the job does not begin")
    world.start("worker-2", "worker", "worker-2", "0")
    world.signal("worker-1", signal.SIGKILL)
    killed = time.time()
    world.wait(lambda: begun(world, "worker-2"), "the job does not begin elsewhere")
    print(f"elsewhere after {float(world.lines('worker-2')[0][3]) - killed:.1f} s")
    assert begun(world, "worker-2")[0][1] == 2
    client.close()


def test_broker_and_worker_killed_together_lose_no_job_and_start_none_twice(world):
    world.broker()
    for n in (1, 2):
        world.start(f"worker-{n}", "worker", f"worker-{n}", "6")
    client = world.client("client")
    [first, second] = client.publish(note("a", "a", "client"), note("b", "b", "client"))
    world.wait(lambda: len(begun(world, "worker-1", "worker-2")) == 2, "the jobs do not begin")
    [(mine, _)] = begun(world, "worker-1")
    world.signal("broker", signal.SIGKILL)
    world.signal("worker-1", signal.SIGKILL)
    world.broker()
    world.start("worker-3", "worker", "worker-3", "0")
    everybody = ("worker-1", "worker-2", "worker-3")
    world.wait(lambda: len(begun(world, *everybody)) == 3, "the dead worker's job does not begin elsewhere")
    world.wait(lambda: len(world.stored("result")) == 2, "not both jobs have their result")
    attempts = sorted(begun(world, *everybody))
    print(f"attempts begun: {attempts}")
    other = second if mine == first else first
    assert attempts == sorted([(mine, 1), (mine, 2), (other, 1)])
    client.close()


def test_frozen_worker_loses_its_job_and_its_late_result_is_refused(world):
    world.broker()
    world.start("worker-1", "worker", "worker-1", "1")
    client = world.client("client")
    client.publish(note("job", "job", "client"))
    world.wait(lambda: begun(world, "worker-1"), "the job does not begin")
    world.signal("worker-1", signal.SIGSTOP)
    world.start("worker-2", "worker", "worker-2", "0")
    world.wait(lambda: begun(world, "worker-2"), "the job does not begin elsewhere")
    world.wait(lambda: world.stored("result"), "no result")
    world.signal("worker-1", signal.SIGCONT)
    world.wait(lambda: ["stale", str(begun(world, "worker-1")[0][0]), "1"] in world.lines("worker-1"), "the late result was not refused")
    assert len(world.stored("result")) == 1
    client.close()


def test_frozen_broker_costs_nobody_his_job(world):
    world.broker()
    world.start("worker-1", "worker", "worker-1", "8")
    client = world.client("client")
    client.publish(note("job", "job", "client"))
    world.wait(lambda: begun(world, "worker-1"), "the job does not begin")
    world.start("worker-2", "worker", "worker-2", "0")
    world.wait(
        lambda: any(envelope.topic == "agent.joined" and b"worker-2" in envelope.data for _, envelope in Journal.read(world.journal)), ""
    )
    world.signal("broker", signal.SIGSTOP)
    world.wait(lambda: client.silent_s > 5, "the broker is not silent")
    assert not client.connected
    world.signal("broker", signal.SIGCONT)
    world.wait(lambda: world.stored("result"), "no result")
    assert begun(world, "worker-2") == []
    client.close()


def test_full_disk_stops_the_broker_and_nothing_acknowledged_is_lost(world):
    broker = world.broker("3000000")
    world.start("publisher", "publisher", "publisher")
    assert broker.wait(SOON) != 0
    error = (world.folder / "broker.err").read_text()
    assert "JournalFailed" in error
    acknowledged = [line[0] for line in world.lines("publisher")]
    world.broker()
    world.wait(lambda: len(world.lines("publisher")) > len(acknowledged), "the publisher does not go on")
    world.signal("publisher", signal.SIGKILL)
    print(f"{len(acknowledged)} acknowledged before the disk was full")
    assert {line[0] for line in world.lines("publisher")} <= set(world.stored("model.asked"))


def test_journal_cut_anywhere_is_whole_up_to_some_event_or_refused(world, tmp_path):
    chance, outcomes = random.Random(2), {"whole": 0, "refused": 0}
    world.broker()
    client, ids = world.client("client"), fresh_ids()
    for batch in range(40):
        client.publish(*(note("x" * 200, next(ids), "client") for _ in range(50)))
        if batch == 20:  # half of it in the database, half in the write-ahead log
            with sqlite3.connect(world.journal) as db:
                db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    world.signal("broker", signal.SIGKILL)
    files = [path for path in (world.journal, Path(f"{world.journal}-wal")) if path.exists()]
    for number in range(40):
        copy = tmp_path / f"copy-{number}"
        copy.mkdir()
        for path in files:
            shutil.copy(path, copy / path.name)
        cut = copy / chance.choice(files).name
        os.truncate(cut, chance.randrange(cut.stat().st_size))
        try:
            journal = Journal(copy / "journal.sqlite")
            numbers = [seq for seq, _ in Journal.read(copy / "journal.sqlite")]
            assert numbers == list(range(1, journal.head + 1))
            outcomes["whole"] += 1
            journal.close()
        except JournalFailed:
            outcomes["refused"] += 1
        shutil.rmtree(copy)
    print(f"40 cuts: {outcomes}")
    assert all(outcomes.values())
    client.close(0.1)


def test_slow_consumer_costs_the_broker_no_memory(world):
    broker = world.broker()
    client, slow, ids = world.client("client"), world.client("slow"), fresh_ids()
    jobs = slow.subscribe("slow", ["model.asked"], credit=16)

    def publish(events: int) -> float:
        for _ in range(events):
            client.publish_nowait(note("x" * 4000, next(ids), "client"))
        client.flush(SOON)
        return int(Path(f"/proc/{broker.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6

    warm = publish(20_000)
    jobs.get(SOON)
    after = publish(20_000)
    print(f"broker RSS {warm:.0f} MB after 20,000 events of 4 KB, {after:.0f} MB after 40,000, a consumer at the first of them")
    assert after - warm < 25
    client.close()
    slow.close()


def test_a_hundred_clients_all_get_everything(world):
    world.broker()
    clients = []
    lock = threading.Lock()

    def connect(n: int) -> None:
        client = world.client(f"client-{n}")
        watch = client.watch(["model.asked"])
        with lock:
            clients.append((client, watch))

    threads = [threading.Thread(target=connect, args=(n,)) for n in range(100)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SOON)
    assert len(clients) == 100
    for n, (client, _) in enumerate(clients):
        client.publish(note(str(n), f"from-{n}", client.name))
    got = [[watch.get(SOON).envelope.id for _ in range(100)] for _, watch in clients]
    assert all(one == got[0] for one in got)
    print("100 clients, 10,000 deliveries, one order")
    for client, _ in clients:
        client.close()
