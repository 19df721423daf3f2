"""A run on disk: one folder, `runs/<name>-<n>`, that holds everything a process needs to take part, and everything that stays.

scenario.yaml     the scenario as resolved            journal.sqlite   every event, in order
bus.json, keys/   the bus address, its keys (0600)    logs/            one JSON-lines file a process, and its stderr
launches.jsonl    when it ran, and what its processes weighed
transcript/ skills/ checkpoints/ tensorboard/         written by the agents
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import zmq

from rlgpt.bus.errors import Explained
from rlgpt.bus.security import make_broker, make_client

RUNS = "runs"
RUNS_VARIABLE = "RLGPT_RUNS"
SOCKET = "bus.sock"
LOCAL = "local"
"""Name of the key that the processes of the run's own machine use."""
# sockaddr_un holds 108 bytes, the final zero included, and libzmq refuses what does not fit.
MAX_SOCKET_PATH = 100


class RunFolderError(Explained):
    """A run folder that cannot be made, found, read or locked; the message says which and what to do."""


def runs_folder(given: Path | None = None) -> Path:
    """Where runs lie: `--runs`, else $RLGPT_RUNS, else ./runs."""
    return given or Path(os.environ.get(RUNS_VARIABLE) or RUNS)


@dataclass(frozen=True)
class RunFolder:
    """Paths of one run. The folder exists; what is in it depends on how far the run got."""

    path: Path

    @classmethod
    def create(cls, runs: Path, name: str) -> RunFolder:
        """Make the next free `runs/<name>-<n>`, readable by its owner alone; raises RunFolderError."""
        try:
            runs.mkdir(parents=True, exist_ok=True)
            taken = [number for folder in runs.iterdir() if (number := _number(folder.name, name))]
            number = max(taken, default=0) + 1
            while True:
                path = runs / f"{name}-{number}"
                try:
                    path.mkdir(mode=0o700)
                except FileExistsError:
                    number += 1  # another launch was quicker
                    continue
                break
            run = cls(path.resolve())
            for folder in (run.logs, run.transcript, run.skills, run.checkpoints, run.tensorboard):
                folder.mkdir()
        except OSError as error:
            raise RunFolderError(
                f"cannot write a run folder in {runs.absolute()}: {error.strerror or error}; "
                f"choose another place with --runs DIR or ${RUNS_VARIABLE}"
            ) from error
        return run

    @classmethod
    def find(cls, runs: Path, which: str) -> RunFolder:
        """The run called `which`: a folder's path, a name in `runs`, or `latest`; raises RunFolderError."""
        if which == "latest":
            newest = next(iter(listing(runs)), None)
            if newest is None:
                raise RunFolderError(f"no runs in {runs.absolute()} yet; `rlgpt launch mountain_car` makes one, --runs DIR looks elsewhere")
            return newest
        for path in (runs / which, Path(which)):
            if (path / "scenario.yaml").is_file():
                return cls(path.resolve())
        names = ", ".join(run.name for run in listing(runs)[:8]) or "none"
        raise RunFolderError(f"no run {which!r} in {runs.absolute()} (there: {names}); --runs DIR looks elsewhere")

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def scenario(self) -> Path:
        return self.path / "scenario.yaml"

    @property
    def journal(self) -> Path:
        return self.path / "journal.sqlite"

    @property
    def bus(self) -> Path:
        return self.path / "bus.json"

    @property
    def launches(self) -> Path:
        return self.path / "launches.jsonl"

    @property
    def logs(self) -> Path:
        return self.path / "logs"

    @property
    def transcript(self) -> Path:
        return self.path / "transcript"

    @property
    def recorded(self) -> Path:
        """The scenario's offline answers, copied here at launch."""
        return self.transcript / "recorded.jsonl"

    @property
    def skills(self) -> Path:
        return self.path / "skills"

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def tensorboard(self) -> Path:
        return self.path / "tensorboard"

    @property
    def glimpses(self) -> Path:
        """What environments looked like lately, a file a process: see `runtime/glimpses.py`."""
        return self.path / "glimpses"

    @property
    def keys(self) -> Path:
        """Key files of a bus on tcp; no such folder where the bus is a socket on this machine."""
        return self.path / "keys"

    @property
    def address(self) -> str:
        """Of the run's bus, for clients; raises RunFolderError."""
        return self._bus("address")

    @property
    def bind(self) -> str:
        """Of the run's bus, for the broker; raises RunFolderError."""
        return self._bus("bind")

    @property
    def credentials(self) -> Path | None:
        """The key file of this machine's processes, if the bus asks for one."""
        path = self.path / self._bus("keys") if self._bus("keys") else None
        return path if path and path.is_file() else None

    def _bus(self, field: str) -> str:
        try:
            return str(json.loads(self.bus.read_text(encoding="utf-8"))[field])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise RunFolderError(f"{self.bus} does not say where the run's bus is ({error}); was the run ever launched?") from error

    def write_address(self, tcp: str | None = None) -> str:
        """Where this run's bus is, kept in bus.json for the owner's eyes alone: an ipc socket of its own, or `tcp://HOST:PORT`, with keys.

        Returns the clients' address; raises RunFolderError.
        """
        if tcp is None:
            address = bind = f"ipc://{_socket_path(self.path)}"
        else:
            bind = tcp
            address = _reachable(tcp)
            make_broker(self.keys)
            make_client(self.keys, LOCAL, names=("*",), admin=True)
        self._write_bus({"address": address, "bind": bind, "keys": f"keys/{LOCAL}.json" if tcp else ""})
        return address

    @classmethod
    def remote(cls, runs: Path, address: str, credentials: Path) -> RunFolder:
        """A folder here for processes that work for a run on another machine: their logs, transcripts and checkpoints."""
        run = cls.create(runs, "attached")
        run._write_bus({"address": address, "bind": "", "keys": str(credentials.resolve())})
        return run

    def _write_bus(self, fields: dict[str, str]) -> None:
        fresh = self.path / "bus.json.new"
        fresh.unlink(missing_ok=True)
        with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            json.dump(fields, file)
        fresh.replace(self.bus)

    @property
    def running(self) -> bool:
        """Whether a launcher holds this run at the moment."""
        try:
            with self.path.joinpath("lock").open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except FileNotFoundError:
            return False
        except BlockingIOError:
            return True
        return False

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the run for this launcher; raises RunFolderError if another one does. The kernel lets go however the process ends."""
        with self.path.joinpath("lock").open("a+") as file:
            if not _flock(file):
                file.seek(0)
                holder = file.read().strip() or "?"
                raise RunFolderError(
                    f"{self.name} is running already (launcher: process {holder}), and its bus address {self.path / SOCKET} is in use; "
                    f"follow it with: rlgpt tail {self.name} --follow"
                )
            file.truncate(0)
            file.write(str(os.getpid()))
            file.flush()
            yield

    def note(self, **fields: Any) -> None:
        """Append a line to launches.jsonl."""
        with self.launches.open("a", encoding="utf-8") as file:
            file.write(json.dumps(fields) + "\n")

    def notes(self) -> list[dict[str, Any]]:
        """The lines of launches.jsonl; a line cut short by a power failure is left out."""
        if not self.launches.exists():
            return []
        lines = self.launches.read_text(encoding="utf-8").splitlines()
        return [fields for line in lines if (fields := _json_object(line)) is not None]


def listing(runs: Path) -> list[RunFolder]:
    """All runs of a folder, the newest first."""
    found = sorted(((file.stat().st_mtime_ns, file.parent) for file in runs.glob("*/scenario.yaml")), reverse=True)
    return [RunFolder(path.resolve()) for _, path in found]


def _flock(file: IO[str]) -> bool:
    """Take the lock. `running` holds it for a moment whenever somebody looks, so one refusal is not the answer."""
    for _ in range(10):
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(0.05)
        else:
            return True
    return False


def _number(folder: str, name: str) -> int | None:
    match = re.fullmatch(rf"{re.escape(name)}-(\d+)", folder)
    return int(match[1]) if match else None


def _json_object(line: str) -> dict[str, Any] | None:
    try:
        fields = json.loads(line)
    except ValueError:
        return None
    return fields if isinstance(fields, dict) else None


def _reachable(tcp: str) -> str:
    """The address under which a broker bound to `tcp` is reached on its own machine."""
    found = re.fullmatch(r"tcp://([0-9A-Za-z.\-]+|\*|\[[0-9a-fA-F:]+\]):(\d{1,5})", tcp)
    if not found or not 0 < int(found[2]) < 65_536:
        raise RunFolderError(f"--bus {tcp!r}: expected tcp://HOST:PORT, such as tcp://192.0.2.7:7000, or tcp://*:7000 for every interface")
    return f"tcp://127.0.0.1:{found[2]}" if found[1] in ("*", "0.0.0.0") else tcp  # noqa: S104


def try_to_bind(tcp: str) -> None:
    """Listen there for a moment. Raises RunFolderError where that cannot be done: not this machine's address, or in use."""
    _reachable(tcp)
    context = zmq.Context()
    try:
        with context.socket(zmq.ROUTER) as probe:
            probe.linger = 0
            probe.ipv6 = "[" in tcp
            probe.bind(tcp)
    except zmq.ZMQError as error:
        raise RunFolderError(f"--bus {tcp}: this machine cannot listen there: {error.strerror}; name one of its own addresses") from None
    finally:
        context.term()


def _socket_path(run: Path) -> Path:
    """In the run folder, or, where that path is too long for a socket, in a short folder that is the user's alone."""
    inside = run / SOCKET
    if len(os.fsencode(inside)) <= MAX_SOCKET_PATH:
        return inside
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    parents = [Path(runtime) / "rlgpt"] if runtime else []
    parents.append(Path(tempfile.gettempdir()) / f"rlgpt-{os.getuid()}")
    digest = hashlib.sha256(os.fsencode(run)).hexdigest()[:16]
    for parent in parents:
        outside = parent / f"{digest}.sock"
        if len(os.fsencode(outside)) > MAX_SOCKET_PATH:
            continue
        try:
            parent.mkdir(mode=0o700, exist_ok=True)
            status = parent.lstat()
        except OSError:
            continue  # the next folder may do; if none does, the error below names the run folder
        # In /tmp anybody may have made this folder first, to listen in.
        if status.st_uid == os.getuid() and not parent.is_symlink() and status.st_mode & 0o077 == 0:
            return outside
    raise RunFolderError(
        f"{inside} is too long for a socket ({MAX_SOCKET_PATH} bytes at most), and none of {', '.join(map(str, parents))} "
        f"is a private folder (mode 0700, owned by you); choose a shorter --runs DIR"
    )
