"""Keys of a host that other machines reach: who may connect. The files are those of `rlgpt keys` (see `rlgpt/bus/security.py`).

A host's folder holds `broker.json`, its own pair, and `allowed.json`, the public keys that may connect; a player has one file with its own
pair and the host's public key. CURVE encrypts and proves keys; libzmq asks about each new connection (ZAP, https://rfc.zeromq.org/spec/27/).
"""

from __future__ import annotations

import ipaddress
import json
from pathlib import Path
from typing import Any

import zmq
import zmq.utils.z85

DOMAIN = b"rlgpt"
ZAP = "inproc://zeromq.zap.01"


class Refused(Exception):
    """A key file or an address that will not do; the text says why."""


def read(path: Path) -> Any:
    """A file of keys. Raises Refused if it is missing, damaged, or readable by others."""
    try:
        if path.stat().st_mode & 0o077:
            raise Refused(f"{path} can be read by others; `chmod 600 {path}`, and make a new key if it may have been read")
        return json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise Refused(f"{path} cannot be read: {error}") from None


def secure_server(router: Any, folder: Path) -> None:
    """Give a host's socket its key."""
    pair = read(folder / "broker.json")
    router.curve_server = True
    router.curve_publickey, router.curve_secretkey = pair["public"].encode(), pair["secret"].encode()
    router.setsockopt(zmq.ZAP_DOMAIN, DOMAIN)


def secure_client(dealer: Any, file: Path) -> None:
    """Give a player's socket its key, and the host's that it trusts."""
    keys = read(file)
    try:
        dealer.curve_publickey, dealer.curve_secretkey = keys["public"].encode(), keys["secret"].encode()
        dealer.curve_serverkey = keys["server"].encode()
    except (KeyError, TypeError, AttributeError):
        raise Refused(f"{file} is no player's key file: it needs public, secret and server") from None


class Guard:
    """Answers libzmq's question about each new connection. `socket` has to be polled, and `answer` called, where the host waits."""

    def __init__(self, context: Any, folder: Path) -> None:
        self._allowed = folder / "allowed.json"
        read(self._allowed)
        self.socket = context.socket(zmq.REP)
        self.socket.bind(ZAP)

    def answer(self) -> None:
        while self.socket.poll(0):
            version, request, _, _, _, mechanism, *credentials = self.socket.recv_multipart()
            key = zmq.utils.z85.encode(credentials[0]).decode() if mechanism == b"CURVE" and len(credentials) == 1 else ""
            if version == b"1.0" and key and key in self._keys():
                self.socket.send_multipart([b"1.0", request, b"200", b"OK", key.encode(), b""])
            else:
                self.socket.send_multipart([b"1.0", request, b"400", b"this key is not allowed", b"", b""])

    def _keys(self) -> list[str]:
        """The list as it is now: a key that was revoked gets no further connection."""
        try:
            return [str(grant["key"]) for grant in read(self._allowed)]
        except (Refused, TypeError, KeyError):
            return []


def needs_keys(address: str) -> bool:
    """Whether an address can be reached from another machine."""
    if address.startswith(("ipc://", "inproc://")):
        return False
    host = address.rpartition("://")[2].rpartition(":")[0].strip("[]")
    if host == "localhost":
        return False
    try:
        return not ipaddress.ip_address(host).is_loopback
    except ValueError:
        return True
