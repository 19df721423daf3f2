"""Measures the bus: `python tests/benchmarks/bench_bus.py [--messages 50000] [--runs 3]`. Prints a Markdown table of medians.

Every figure is of typed messages of 1 KB, built and sealed by the publisher, validated by the receiver, on disk (fsync) before they are
acknowledged; broker, publisher and consumer are processes of their own. Runs of the settings are interleaved, so that a busy machine
harms all alike. CPU is that of all processes, from when the traffic begins; it is the steadiest figure.

    plain    one publisher, one consumer, ipc         curve    the same over tcp, encrypted, with keys
    replay   history to a late joiner                 latency  500 messages a second
    million  as plain, a million messages: what the broker's memory grows to
    1M, 3M   as plain, on a journal of one or three million events (1.2 and 3.5 GB), which is made first
"""

from __future__ import annotations

import argparse
import logging
import multiprocessing
import os
import resource
import signal
import socket
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path

import structlog

from rlgpt.bus.broker import Broker
from rlgpt.bus.client import BusClient
from rlgpt.bus.codec import encode
from rlgpt.bus.envelope import fresh_ids, seal
from rlgpt.bus.ids import Run
from rlgpt.bus.journal import Changes, Journal
from rlgpt.bus.messages import ModelAsked
from rlgpt.bus.security import ClientKeys, Security, make_broker, make_client

TEXT = "k" * 850  # makes an envelope of 1 KB
GROWN = {"1M": 1_000_000, "3M": 3_000_000}  # events there before
MILLION = 1_000_000
START_S = 120.0  # a broker looks its journal through before it serves it: a second or two a GB
SPAWN = multiprocessing.get_context("spawn")


def cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def message(number: int) -> ModelAsked:
    return ModelAsked(role="slow", key=TEXT, model="m", origin="live", outcome="answered", prompt_tokens=number)


def serve(address, journal, keys, pipe):
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    broker = Broker(address, journal, security=Security(keys) if keys else None)
    thread = threading.Thread(target=broker.run, args=(stop,))
    thread.start()
    broker.ready.wait(START_S)
    pipe.send(cpu_s())
    while not stop.wait(0.1):
        if pipe.poll():
            pipe.recv()
            pipe.send((cpu_s(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024))
    thread.join()


def grow(path, events):
    """A journal of so many events, by four publishers in turn."""
    journal = Journal(path)
    journal._db.execute("PRAGMA synchronous=OFF")
    body = encode(seal(message(0), id="grown-1", source="publisher"))
    for first in range(1, events + 1, 256):
        numbers = range(first, min(first + 256, events + 1))
        ids = [(Run(f"grown-{first // 256 % 4}-", first, len(numbers)), first)]
        journal.commit(Changes(events=[(number, "other", body) for number in numbers], ids=ids))
    journal.close()
    os.sync()  # the broker's own fsyncs must not pay for it


def connect(address, keys, name):
    client = BusClient(address, name, credentials=ClientKeys.load(keys / f"{name}.json") if keys else None)
    client.start()
    return client


def publish(address, keys, messages, per_s, pipe):
    client, ids = connect(address, keys, "publisher"), fresh_ids()
    pipe.send("ready")
    pipe.recv()
    began, cpu = time.time(), cpu_s()
    for number in range(messages):
        if per_s:
            delay = began + number / per_s - time.time()
            if delay > 0:
                time.sleep(delay)
        client.publish_nowait(seal(message(number), id=next(ids), source="publisher"))
    client.flush(120)
    pipe.send((began, cpu_s() - cpu))
    client.close()


def consume(address, keys, messages, how, pipe):
    client = connect(address, keys, "consumer")
    pipe.send("ready")
    pipe.recv()
    began, cpu, delays = time.time(), cpu_s(), []
    if how == "watch":
        reader = client.watch(["model.asked"], credit=4096)
    else:
        reader = client.subscribe("bench", ["model.asked"], start=client.head, credit=1024)
    for _ in range(messages):
        item = reader.get(120)
        item.envelope.message()
        if how != "watch":
            item.ack()
        if how == "latency":
            sent = time.time() - datetime_s(item.envelope.time)
            delays.append(sent * 1000)
    ended, cpu = time.time(), cpu_s() - cpu
    client.close()
    pipe.send((began, ended, cpu, delays))


def datetime_s(text: str) -> float:
    from datetime import datetime

    return datetime.fromisoformat(text).timestamp()


class Process:
    def __init__(self, target, *args):
        self.pipe, theirs = SPAWN.Pipe()
        self.process = SPAWN.Process(target=target, args=(*args, theirs))
        self.process.start()

    def ask(self):
        self.pipe.send("go")
        return self.pipe.recv()


def measure(setting, messages):
    """One run of one setting; returns its figures by name."""
    with tempfile.TemporaryDirectory(prefix="bench-bus-") as folder:
        keys = None
        address = f"ipc://{folder}/bus"
        if setting == "curve":
            keys = Path(folder) / "keys"
            make_broker(keys)
            make_client(keys, "publisher")
            make_client(keys, "consumer")
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", 0))
                address = f"tcp://127.0.0.1:{probe.getsockname()[1]}"
        if setting in GROWN:
            grow(Path(folder) / "journal.sqlite", GROWN[setting])
        broker = Process(serve, address, Path(folder) / "journal.sqlite", keys)
        idle_cpu = broker.pipe.recv()
        per_s, many = (500, 2500) if setting == "latency" else (0, MILLION if setting == "million" else messages)
        publisher = Process(publish, address, keys, many, per_s)
        consumer = Process(consume, address, keys, many, {"latency": "latency", "replay": "watch"}.get(setting, "work"))
        assert (publisher.pipe.recv(), consumer.pipe.recv()) == ("ready", "ready")
        if setting == "replay":
            publisher.ask()
            began, ended, cpu, _ = consumer.ask()
            figures = {"events/s": many / (ended - began), "client CPU us": cpu / many * 1e6}
        else:
            consumer.pipe.send("go")
            began, publisher_cpu = publisher.ask()
            _, ended, consumer_cpu, delays = consumer.pipe.recv()
            broker_cpu, rss = broker.ask()
            shares = {"publisher": publisher_cpu, "broker": broker_cpu - idle_cpu, "consumer": consumer_cpu}
            figures = {"msg/s": many / (ended - began), "CPU us/msg": sum(shares.values()) / many * 1e6}
            figures |= {f"{name} us": seconds / many * 1e6 for name, seconds in shares.items()}
            figures["broker MB"] = rss
            if delays:
                delays.sort()
                figures = {"p50 ms": delays[len(delays) // 2], "p99 ms": delays[len(delays) * 99 // 100]}
        os.kill(broker.process.pid, signal.SIGTERM)
        for process in (broker, publisher, consumer):
            process.process.join(20)
        return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--messages", type=int, default=50_000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--settings", nargs="*", default=["plain", "curve", "replay", "latency"])
    options = parser.parse_args()
    figures = {setting: [] for setting in options.settings}
    for _ in range(options.runs):
        for setting in options.settings:
            figures[setting].append(measure(setting, options.messages))
    cores, load = os.cpu_count(), os.getloadavg()[0]
    print(f"{options.messages} messages, median of {options.runs}, {cores} cores, load {load:.1f}, Python {sys.version.split()[0]}\n")
    print("| setting | figure | median | least | most |\n|---|---|---|---|---|")
    for setting, runs in figures.items():
        for name in runs[0]:
            values = [run[name] for run in runs]
            print(f"| {setting} | {name} | {statistics.median(values):,.1f} | {min(values):,.1f} | {max(values):,.1f} |")


if __name__ == "__main__":
    main()
