"""A slow consumer for minutes: `python tests/benchmarks/bench_bus_slow.py [--minutes 2]`. Prints the broker's memory over time.

A publisher sends typed messages of 1 KB at a steady rate; one consumer keeps up, another takes twenty a second and falls behind by all the
rest. The broker's memory has to stay flat: what a consumer has not taken waits in the journal. At the end the slow one hurries, and has
to get every event, in order.
"""

import argparse
import os
import signal
import tempfile
import threading
import time
from pathlib import Path

from bench_bus import SPAWN, connect, message, serve

from rlgpt.bus.envelope import fresh_ids, seal

SLOW_PER_S = 20
EVERY_S = 10
CREDIT = 64


def resident_mb(pid):
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def publish(client, per_s, seconds):
    """At a steady rate; returns how many."""
    ids, began, sent = fresh_ids(), time.monotonic(), 0
    while (passed := time.monotonic() - began) < seconds:
        while sent < passed * per_s:
            client.publish_nowait(seal(message(sent), id=next(ids), source="publisher"))
            sent += 1
        time.sleep(0.005)
    client.flush(60)
    return sent


def consume(subscription, per_s, ended, taken):
    """At most `per_s` a second (0: as fast as it can) until `ended`; `taken` grows by what it took."""
    while not ended.is_set():
        delivery = subscription.get(0.5)
        if delivery is not None:
            taken.append(delivery.envelope.message().prompt_tokens)
            delivery.ack()
            if per_s:
                ended.wait(1 / per_s)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=2.0)
    parser.add_argument("--per-s", type=int, default=2000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-bus-") as folder:
        address = f"ipc://{folder}/bus"
        pipe, theirs = SPAWN.Pipe()
        broker = SPAWN.Process(target=serve, args=(address, Path(folder) / "journal.sqlite", None, theirs))
        broker.start()
        pipe.recv()
        clients = {name: connect(address, None, name) for name in ("publisher", "quick", "slow")}
        ended, hurry, taken = threading.Event(), threading.Event(), {"quick": [], "slow": []}
        slow = clients["slow"].subscribe("slow", ["model.asked"], credit=CREDIT)
        quick = clients["quick"].subscribe("quick", ["model.asked"], credit=1024)
        threads = [
            threading.Thread(target=consume, args=(quick, 0, ended, taken["quick"])),
            threading.Thread(target=consume, args=(slow, SLOW_PER_S, hurry, taken["slow"])),
        ]
        sent = []
        threads.append(threading.Thread(target=lambda: sent.append(publish(clients["publisher"], options.per_s, options.minutes * 60))))
        for thread in threads:
            thread.start()
        print("| seconds | broker MB | quick took | slow took |\n|---|---|---|---|")
        began = time.monotonic()
        while threads[2].is_alive():
            passed = time.monotonic() - began
            print(f"| {passed:.0f} | {resident_mb(broker.pid):.1f} | {len(taken['quick']):,} | {len(taken['slow']):,} |", flush=True)
            threads[2].join(EVERY_S)
        hurry.set()
        threads[1].join()
        began, before = time.monotonic(), len(taken["slow"])
        while len(taken["slow"]) < sent[0] and (delivery := slow.get(30)) is not None:
            taken["slow"].append(delivery.envelope.message().prompt_tokens)
            delivery.ack()
        took = time.monotonic() - began
        while len(taken["quick"]) < sent[0] and time.monotonic() - began < 60:
            time.sleep(0.1)
        ended.set()
        threads[0].join()
        whole = all(numbers == list(range(sent[0])) for numbers in taken.values())
        behind = sent[0] - before
        print(
            f"\n{sent[0]:,} events in {options.minutes:g} min; then the slow one took the {behind:,} it was behind in {took:.1f} s "
            f"({behind / took:,.0f}/s); broker {resident_mb(broker.pid):.1f} MB; every event in order: {whole}"
        )
        for client in clients.values():
            client.close()
        os.kill(broker.pid, signal.SIGTERM)
        broker.join(20)
        raise SystemExit(0 if whole else 1)


if __name__ == "__main__":
    main()
