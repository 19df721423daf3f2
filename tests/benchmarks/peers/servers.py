"""The systems compared: what is installed, how a server is started for one run, which script its clients are."""

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
INSTALLED = HERE.parents[2] / "build" / "peers"
CLIENTS, AUTOGEN = INSTALLED / "clients" / "bin" / "python", INSTALLED / "autogen" / "bin" / "python"
START_S = 30.0


@dataclass(frozen=True)
class Peer:
    """
    safe     what survives a loss of power once the publisher was told that its message arrived
    command  of the server, given a folder of its own and a loopback port; it says where it is, and what options its clients need
    share    of the messages it is given: a slow one takes long enough with fewer
    """

    name: str
    safe: str
    script: str
    python: Path
    command: Callable
    program: str = ""
    share: float = 1.0

    @property
    def is_installed(self):
        return self.python.exists() and (not self.program or shutil.which(self.program) is not None)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _bus(folder, port):
    address = f"ipc://{folder}/bus"
    return [sys.executable, HERE / "bus_client.py", "serve", address, folder / "journal.sqlite", "-"], address, ["-"]


def _bus_curve(folder, port):
    from rlgpt.bus.security import make_broker, make_client

    keys, address = folder / "keys", f"tcp://127.0.0.1:{port}"
    make_broker(keys)
    for number in range(4):
        make_client(keys, f"publisher-{number}")
        make_client(keys, f"consumer-{number}")
    return [sys.executable, HERE / "bus_client.py", "serve", address, folder / "journal.sqlite", keys], address, [str(keys)]


def _redis(policy):
    def command(folder, port):
        plain = ["--bind", "127.0.0.1", "--save", "", "--dir", folder, "--auto-aof-rewrite-percentage", "0"]
        server = ["redis-server", "--port", port, "--appendonly", "yes", "--appendfsync", policy, *plain]
        return server, f"127.0.0.1:{port}", []

    return command


def _nats(folder, port):
    return ["nats-server", "-js", "-sd", folder, "-a", "127.0.0.1", "-p", port], f"127.0.0.1:{port}", []


def _autogen(folder, port):
    address = f"127.0.0.1:{port}"
    return [AUTOGEN, HERE / "autogen_client.py", "serve", address], address, []


OURS = Path(sys.executable)
PEERS = {
    "bus": Peer("rlgpt bus", "every message (fsync)", "bus_client.py", OURS, _bus),
    "bus-curve": Peer("rlgpt bus, CURVE on tcp", "every message (fsync)", "bus_client.py", OURS, _bus_curve),
    "redis-everysec": Peer(
        "Redis Streams, everysec", "all but the last second", "redis_client.py", CLIENTS, _redis("everysec"), "redis-server"
    ),
    "redis-always": Peer(
        "Redis Streams, always", "every message (fsync)", "redis_client.py", CLIENTS, _redis("always"), "redis-server", 0.5
    ),
    "nats": Peer("NATS JetStream, file", "no fsync a message", "nats_client.py", CLIENTS, _nats, "nats-server", 0.5),
    "autogen": Peer("AutoGen gRPC runtime", "nothing is stored", "autogen_client.py", AUTOGEN, _autogen, share=0.1),
}


@contextlib.contextmanager
def served(peer, folder):
    """Starts the server for one run; yields its process, its address and its clients' options."""
    port = free_port()
    command, address, options = peer.command(folder, port)
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen([str(part) for part in command], stdout=log, stderr=log, cwd=folder)
    try:
        _wait(process, address, folder / "server.log")
        yield process, address, options
    finally:
        process.terminate()
        process.wait(30)


def _wait(process, address, log):
    deadline = time.monotonic() + START_S
    while not _listens(address):
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"the server at {address} did not start: {log.read_text(errors='replace')[-2000:]}")
        time.sleep(0.05)


def _listens(address):
    if address.startswith("ipc://"):
        return os.path.exists(address.removeprefix("ipc://"))
    host, port = address.rpartition("//")[2].split(":")
    with socket.socket() as probe:
        return probe.connect_ex((host, int(port))) == 0
