"""Compares the bus with its peers: `python tests/benchmarks/bench_bus_peers.py [--messages 30000] [--runs 5]`. Prints Markdown tables.

Install the peers first: `tests/benchmarks/install_peers.sh`. Those that are not installed are left out, by name.

Typed messages of 1 KB on loopback; the publisher builds each from its class, the consumer validates it (pydantic) and acknowledges it
where there is such a thing. Server, publishers and consumers are processes of their own. Runs are interleaved, in an order that turns, so
that a busy machine harms all alike: compare ratios, which are medians of each round's own ratio. CPU is that of all processes of a system
together, a message (in fan-out: a delivery); it is the steadiest figure. A delay runs from when a message was due to when it was handled.
"""

import argparse
import contextlib
import json
import os
import select
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "peers"))
from servers import HERE, PEERS, served

FANOUT = 4
PER_S, SECONDS = 500, 5
LIMIT_S = 120  # of one run
SHAPES = {"1->1": (1, 0), f"{FANOUT}->{FANOUT}": (FANOUT, 0), f"{PER_S}/s": (1, PER_S)}
TICKS = os.sysconf("SC_CLK_TCK")


class Process:
    """A publisher or consumer."""

    def __init__(self, peer, address, options, role, number, messages, per_s):
        name = f"{role.removesuffix('e')}er-{number}"  # publisher-0, consumer-0
        arguments = [role, address, name, messages, per_s]
        command = [peer.python, HERE / peer.script, *arguments, *options]
        self.process = subprocess.Popen([str(part) for part in command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    @property
    def pid(self):
        return self.process.pid

    def heard(self):
        if not select.select([self.process.stdout], [], [], LIMIT_S)[0]:
            raise RuntimeError(f"{self.process.args[1:4]} has not reported within {LIMIT_S} s")
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.process.args[1:4]} ended with status {self.process.wait()} before its report")
        return line.strip()

    def go(self):
        self.process.stdin.write("go\n")
        self.process.stdin.flush()

    def close(self):
        self.process.stdin.close()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()


def cpu_s(pid):
    """User and system time of a process and all its threads, seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def measure(peer, shape, messages):
    """One run; returns its figures by name."""
    os.sync()  # what a system that does not wait for the disk has left would be written during the next one's fsyncs
    many, per_s = SHAPES[shape]
    total = PER_S * SECONDS if per_s else max(many, int(messages * peer.share) // many * many)
    with contextlib.ExitStack() as cleanup:
        folder = Path(cleanup.enter_context(tempfile.TemporaryDirectory(prefix="bench-peers-")))
        server, address, options = cleanup.enter_context(served(peer, folder))
        processes = []
        for role, own in (("consume", total), ("publish", total // many)):
            for number in range(many):
                processes.append(Process(peer, address, options, role, number, own, per_s))
                cleanup.callback(processes[-1].close)
        for process in processes:
            assert process.heard() == "ready"
        pids = [server.pid, *(process.pid for process in processes)]
        before = sum(map(cpu_s, pids))
        for process in processes:
            process.go()
        reports = [json.loads(process.heard()) for process in processes]
        cpu = sum(map(cpu_s, pids)) - before
    consumed, published = reports[:many], reports[many:]
    deliveries = total * many
    if per_s:
        delays = sorted(consumed[0]["delays"])
        return {"p50 ms": delays[len(delays) // 2], "p99 ms": delays[len(delays) * 99 // 100]}
    took = max(report["ended"] for report in consumed) - min(report["began"] for report in published)
    return {"a second": deliveries / took, "CPU us": cpu / deliveries * 1e6}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--messages", type=int, default=30_000)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--peers", nargs="*", default=list(PEERS), choices=list(PEERS))
    parser.add_argument("--shapes", nargs="*", default=list(SHAPES), choices=list(SHAPES))
    options = parser.parse_args()
    present = [key for key in options.peers if PEERS[key].is_installed]
    missing = [PEERS[key].name for key in options.peers if key not in present]
    figures = {(key, shape): [] for key in present for shape in options.shapes}
    loads = []
    for turn in range(options.runs):
        for shape in options.shapes:
            for key in present[turn % len(present) :] + present[: turn % len(present)]:
                loads.append(os.getloadavg()[0])
                figures[key, shape].append(measure(PEERS[key], shape, options.messages))
    show(figures, present, options.shapes)
    print(
        f"\nMedians of n = {options.runs} interleaved runs, {options.messages} messages of 1 KB (Redis always and NATS half, "
        f"AutoGen a tenth), {os.cpu_count()} cores, load {min(loads):.1f} to {max(loads):.1f}, Python {sys.version.split()[0]}."
    )
    if missing:
        print(f"Left out, not installed (tests/benchmarks/install_peers.sh): {', '.join(missing)}.")


def show(figures, present, shapes):
    """A row for each system. "ours is" is the median of the bus's figure over that system's in the same round."""
    columns = [(shape, name) for shape in shapes for name in figures[present[0], shape][0]]
    heads = ["", "safe"]
    for shape, name in columns:
        heads += [f"{shape}: {name}"] + (["ours is"] if name == "a second" and "bus" in present else [])
    print("| " + " | ".join(heads) + " |\n|" + "---|" * len(heads))
    for key in present:
        cells = [PEERS[key].name, PEERS[key].safe]
        for shape, name in columns:
            values = [run[name] for run in figures[key, shape]]
            middle = statistics.median(values)
            cells.append(f"{middle:,.2f}" if name.endswith("ms") else f"{middle:,.0f}")
            if name == "a second" and "bus" in present:
                ours = [run[name] for run in figures["bus", shape]]
                cells.append(f"{statistics.median(a / b for a, b in zip(ours, values, strict=True)):.2f}x")
        print("| " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
