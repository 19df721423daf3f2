"""Keys for a broker that can be reached over tcp: who may connect, under which names, on which topics.

CURVE encrypts and proves keys; libzmq asks the broker about each new connection (ZAP, https://rfc.zeromq.org/spec/27/), and the broker
looks the key up in an allow-list. The proven key comes with every frame (`User-Id`); names, sources and topics are checked against what it
was granted.

A folder of keys holds, all of mode 0600:

    broker.json     the broker's key pair
    allowed.json    the grants: names, public key, topics. Read again when it changes; revoking takes effect within a second
    NAME.json       one client's key pair and the broker's public key: the file to carry to its machine
"""

from __future__ import annotations

import contextlib
import fnmatch
import json
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import zmq
import zmq.utils.z85

from rlgpt.bus.consumer import covers
from rlgpt.bus.errors import Refused
from rlgpt.bus.gate import BROKER

RELOAD_S = 0.5  # how often the allow-list's file is looked at


@dataclass(frozen=True, slots=True)
class ClientKeys:
    """A client's key pair and the public key of the broker it trusts, in Z85."""

    public: str
    secret: str = field(repr=False)
    server: str

    @classmethod
    def load(cls, path: Path) -> ClientKeys:
        """Raises Refused if the file is missing, damaged, or readable by others."""
        return cls(**_read(path, ("public", "secret", "server")))

    def secure_client(self, dealer: zmq.Socket[bytes]) -> None:
        dealer.curve_publickey = self.public.encode()
        dealer.curve_secretkey = self.secret.encode()
        dealer.curve_serverkey = self.server.encode()


@dataclass(frozen=True, slots=True)
class Grant:
    """What a key may do.

    names      process names, `*` and `?` as in file names: `trainer-*`
    publish    topics it may publish to, subscribe: topics it may read; exact, `prefix.*` or `*`
    admin      may list and requeue dead letters
    """

    key: str
    names: tuple[str, ...]
    publish: tuple[str, ...] = ("*",)
    subscribe: tuple[str, ...] = ("*",)
    admin: bool = False


class Allowed:
    """The gate of a broker with keys, over the grants in `allowed.json`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._grants: dict[str, Grant] = {}
        self._stamp: tuple[int, int] | None = None
        self._looked = 0.0
        self.refresh(force=True)

    def refresh(self, *, force: bool = False) -> None:
        """Read the file again if it changed. Damaged or missing, it allows nobody."""
        now = time.monotonic()
        if not force and now - self._looked < RELOAD_S:
            return
        self._looked = now
        try:
            status = self._path.stat()
            stamp = (status.st_mtime_ns, status.st_ino)
            if stamp != self._stamp:
                self._grants, self._stamp = {grant.key: grant for grant in grants(self._path)}, stamp
        except (OSError, Refused):
            self._grants, self._stamp = {}, None

    def knows(self, key: str) -> bool:
        self.refresh(force=True)  # new connections are rare
        return key in self._grants

    def admit(self, user: str, name: str) -> str:
        self.refresh()
        grant = self._grants.get(user)
        if grant is None:
            return f"the key of {name!r} is not (or no longer) allowed"
        if name == BROKER or not any(fnmatch.fnmatchcase(name, pattern) for pattern in grant.names):
            return f"this key stands for the names {list(grant.names)}, not {name!r}"
        return ""

    def publish(self, user: str, name: str, source: str, topic: str) -> str:
        grant = self._grants.get(user)
        if source != name:
            return f"{name} may only publish under its own name as source, not as {source!r}"
        if grant is None or not any(covers(pattern, topic) for pattern in grant.publish):
            return f"the key of {name!r} may not publish to {topic!r}"
        return ""

    def subscribe(self, user: str, name: str, topics: Sequence[str]) -> str:
        grant = self._grants.get(user)
        for topic in topics:
            if grant is None or not any(covers(pattern, topic) for pattern in grant.subscribe):
                return f"the key of {name!r} may not read {topic!r}"
        return ""

    def administer(self, user: str, name: str) -> str:
        grant = self._grants.get(user)
        return "" if grant and grant.admin else f"the key of {name!r} may not administer the broker (its grant needs `admin`)"


class Security:
    """A broker's side: its key pair, and the gate."""

    def __init__(self, folder: Path) -> None:
        """`folder` as made by `make_broker`. Raises Refused if a file is missing, damaged, or readable by others."""
        pair = _read(folder / "broker.json", ("public", "secret"))
        self._public, self._secret = pair["public"], pair["secret"]
        grants(folder / "allowed.json")
        self.gate = Allowed(folder / "allowed.json")

    def secure_server(self, router: zmq.Socket[bytes]) -> None:
        router.curve_server = True
        router.curve_publickey = self._public.encode()
        router.curve_secretkey = self._secret.encode()
        router.setsockopt(zmq.ZAP_DOMAIN, b"rlgpt")

    @contextlib.contextmanager
    def guard(self, context: zmq.Context[zmq.Socket[bytes]]) -> Iterator[Guard]:
        """The ZAP socket; without it, libzmq would let every key in."""
        socket = context.socket(zmq.REP)
        socket.bind("inproc://zeromq.zap.01")
        try:
            yield Guard(socket, self.gate)
        finally:
            socket.close(linger=0)


class Guard:
    """Answers libzmq's question about each new connection, on the broker's own thread."""

    def __init__(self, socket: zmq.Socket[bytes], gate: Allowed) -> None:
        self.socket, self._gate = socket, gate

    def answer(self) -> None:
        """Every question that waits."""
        while self.socket.poll(0):
            version, request, _domain, _address, _identity, mechanism, *credentials = self.socket.recv_multipart()
            key = zmq.utils.z85.encode(credentials[0]).decode() if mechanism == b"CURVE" and len(credentials) == 1 else ""
            if version == b"1.0" and key and self._gate.knows(key):
                self.socket.send_multipart([b"1.0", request, b"200", b"OK", key.encode(), b""])
            else:
                self.socket.send_multipart([b"1.0", request, b"400", b"this key is not allowed", b"", b""])


# ---------------------------------------------------------------- files


def make_broker(folder: Path) -> None:
    """A key pair and an empty allow-list; keeps what is there already."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    if not (folder / "broker.json").exists():
        public, secret = zmq.curve_keypair()
        _write(folder / "broker.json", {"public": public.decode(), "secret": secret.decode()})
    if not (folder / "allowed.json").exists():
        _write(folder / "allowed.json", [])


def make_client(
    folder: Path,
    name: str,
    *,
    names: Sequence[str] | None = None,
    publish: Sequence[str] = ("*",),
    subscribe: Sequence[str] = ("*",),
    admin: bool = False,
) -> Path:
    """A key for a client, allowed to call itself `names` (default: `name`); returns its file. Raises Refused if the file exists."""
    path = folder / f"{name}.json"
    if path.exists() or name in ("broker", "allowed") or "/" in name or name.startswith("."):
        raise Refused(f"cannot make a key {path}: it exists, or is not a name for a file; revoke it first, or choose another name")
    server = _read(folder / "broker.json", ("public", "secret"))["public"]
    public, secret = zmq.curve_keypair()
    grant = Grant(public.decode(), tuple(names or (name,)), tuple(publish), tuple(subscribe), admin)
    _write(path, {"public": public.decode(), "secret": secret.decode(), "server": server})
    _write(folder / "allowed.json", [asdict(one) for one in [*grants(folder / "allowed.json"), grant]])
    return path


def revoke(folder: Path, name: str) -> None:
    """Take the key of `NAME.json` off the allow-list and remove the file. Raises Refused if there is none."""
    public = _read(folder / f"{name}.json", ("public", "secret", "server"))["public"]
    _write(folder / "allowed.json", [asdict(grant) for grant in grants(folder / "allowed.json") if grant.key != public])
    (folder / f"{name}.json").unlink()


def grants(path: Path) -> list[Grant]:
    """The allow-list. Raises Refused, naming the file, if it cannot be used."""
    rows = _load(path)
    try:
        return [
            Grant(row["key"], tuple(row["names"]), tuple(row["publish"]), tuple(row["subscribe"]), row["admin"] is True) for row in rows
        ]
    except (TypeError, KeyError) as error:
        raise Refused(f"{path} is not an allow-list: {type(error).__name__} {error}") from None


def _read(path: Path, fields: Sequence[str]) -> dict[str, str]:
    value = _load(path)
    if not isinstance(value, dict) or not all(isinstance(value.get(name), str) for name in fields):
        raise Refused(f"{path} is not a key file: it needs the fields {list(fields)}; make one with `rlgpt keys`")
    return {name: value[name] for name in fields}


def _load(path: Path) -> Any:
    try:
        if path.stat().st_mode & 0o077:
            raise Refused(f"{path} can be read by others; `chmod 600 {path}`, and make a new key if it may have been read")
        return json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise Refused(f"{path} cannot be read: {error}; make keys with `rlgpt keys`") from None


def _write(path: Path, value: Any) -> None:
    """Whole or not at all, and never readable by others."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "w") as file:
        json.dump(value, file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
