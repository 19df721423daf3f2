"""Slot processes: started on demand, lent to one player at a time, kept for the next, restarted when they die. Not thread-safe."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgpack

from .processes import kill_tree

PACKET = 1 << 16
_KEPT = frozenset(
    [
        "PATH",
        "HOME",
        "USER",
        "LOGNAME",
        "LANG",
        "TZ",
        "TMPDIR",
        "DISPLAY",
        "XAUTHORITY",
        "WAYLAND_DISPLAY",
        "XDG_RUNTIME_DIR",
        "XDG_CACHE_HOME",
        "JAVA_HOME",
        "LD_LIBRARY_PATH",
        "MUJOCO_GL",
    ]
)


class HostFailed(Exception):
    """A host cannot be started; the text says why."""


class Slot:
    """One process, seen from its starter.

    idle      it waits for a player; `lent`: it has one; `fresh`: it never had one
    released  when its last player left, time.monotonic()
    why       what became of it, "" while it lives
    """

    def __init__(self, python: str, config: dict[str, Any], variables: Mapping[str, str]) -> None:
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115
        command = [python, "-s", "-B", str(Path(__file__).resolve().parent), "slot", str(theirs.fileno())]
        try:
            with theirs:
                self.process = subprocess.Popen(
                    command,
                    env={**{name: value for name, value in os.environ.items() if name in _KEPT}, **variables},
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=self._errors,
                    pass_fds=[theirs.fileno()],
                    start_new_session=True,
                )
        except OSError as error:
            self._control.close()
            self._errors.close()
            raise HostFailed(f"the host's Python {python!r} cannot be started: {error}") from None
        self._control.send(msgpack.packb(config))
        self.idle, self.lent, self.fresh, self.why = True, False, True, ""
        self.released = 0.0

    def fileno(self) -> int:
        return self._control.fileno()

    def take(self) -> socket.socket:
        """A player's end of a new connection."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            with theirs:
                socket.send_fds(self._control, [b"p"], [theirs.fileno()])
        except OSError:
            ours.close()
            raise
        self.idle, self.lent, self.fresh = False, True, False
        return ours

    def look(self) -> bool:
        """Hear what the process says of itself; whether it lives."""
        while not self.why and select.select([self._control], [], [], 0)[0]:
            try:
                packet = self._control.recv(PACKET)
            except OSError:
                packet = b""
            if not packet:
                self.end(self._last_words())
                return False
            message = msgpack.unpackb(packet, raw=False)
            if "lost" in message:
                self.end(str(message["lost"]))
            self.idle = self.idle or bool(message.get("idle"))
        return not self.why

    def end(self, why: str) -> None:
        """End the process and what it started."""
        if self.why:
            return
        self.why = why
        self._control.close()
        kill_tree(self.process.pid)
        self.process.wait()
        self._errors.close()

    def close(self, patience_s: float = 5.0) -> None:
        """End it in good order: its environment may clean up."""
        if self.why:
            return
        self._control.shutdown(socket.SHUT_RDWR)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(patience_s)
        self.end("it was closed")

    def _last_words(self) -> str:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(1)
        code = self.process.returncode
        self._errors.seek(max(0, self._errors.seek(0, os.SEEK_END) - 2000))
        said = self._errors.read().decode("utf-8", "replace").strip()
        how = "it does not answer" if code is None else f"it ended with status {code}"
        return f"{how}{'; its last words: ' + said if said else ''}"


class Lease:
    """A slot lent to a player. `end` is the player's: hand it on, then close this copy of it."""

    def __init__(self, slot: Slot) -> None:
        self._slot, self.end = slot, slot.take()

    def lost(self) -> str:
        """Why the host is gone; "" while it lives."""
        self._slot.look()
        return self._slot.why

    def release(self) -> None:
        """The player has gone."""
        self.end.close()
        if self._slot.lent:
            self._slot.lent, self._slot.released = False, time.monotonic()


class Slots:
    """Processes of one interpreter that hold one environment each.

    python      path of the interpreter
    name        the environment, as `adapter.Adapter` takes it; `kwargs` likewise
    path        folders to import from
    variables   environment variables, beside the few that every process needs
    start_s     seconds until it has to be made
    settle_s    the longest a step or reset may take: a slot whose player left in the middle of one is given that time, then ended
    most        processes at most, None: as many as are asked for
    """

    def __init__(
        self,
        python: str,
        name: str,
        kwargs: Mapping[str, Any],
        *,
        path: Sequence[str] = (),
        variables: Mapping[str, str] | None = None,
        start_s: float = 120.0,
        settle_s: float = 60.0,
        most: int | None = None,
    ) -> None:
        self._python, self._variables, self._settle_s, self._most = python, dict(variables or {}), settle_s, most
        self._config = {"id": name, "kwargs": dict(kwargs), "path": list(path), "start_s": start_s}
        self.slots: list[Slot] = []

    def free(self) -> bool:
        """Whether a slot is idle, or there is room for one more. Slots that do not settle are ended here."""
        self.slots = [slot for slot in self.slots if slot.look()]
        for slot in self._settling():
            if time.monotonic() - slot.released > self._settle_s:
                slot.end(f"it went on for {self._settle_s:g} s after its player was gone")
                self.slots.remove(slot)
        return self._most is None or len(self.slots) < self._most or any(slot.idle and not slot.lent for slot in self.slots)

    def lease(self) -> Lease:
        """Lend a slot; its environment may still be being made. May wait for slots that settle, unless `free`. Raises HostFailed."""
        while True:
            free = self.free()
            idle = [slot for slot in self.slots if slot.idle and not slot.lent]
            if not free and not self._settling():
                raise HostFailed(f"all {self._most} slots are taken")
            # Where nobody counts the slots, one that settles is worth waiting for: another Java is dearer.
            if free and not idle and (self._most is not None or not self._settling()):
                idle = [Slot(self._python, self._config, self._variables)]
                self.slots += idle
            if idle:
                try:
                    return Lease(idle[0])
                except OSError:  # it has just ended
                    idle[0].look()
                    idle[0].end(idle[0].why or "it closed its connection")
                    if idle[0].fresh:
                        raise HostFailed(idle[0].why) from None
                    continue
            select.select(self._settling(), [], [], 0.1)

    def _settling(self) -> list[Slot]:
        """Slots that still finish what a player who is gone had asked of them."""
        return [slot for slot in self.slots if not slot.lent and not slot.idle]

    def close(self) -> None:
        """End every slot."""
        for slot in self.slots:
            if not slot.why:
                with contextlib.suppress(OSError):
                    slot._control.shutdown(socket.SHUT_RDWR)
        for slot in self.slots:
            slot.close()
        self.slots = []
