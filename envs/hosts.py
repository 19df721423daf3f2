"""The parent's side of hosted environments: who lends connections to workers, and knows what became of a host.

A worker that loses its host cannot make itself another connection, behind its lock; it is replaced like any worker that is lost, and the
reason told is the one known here, not the one the worker gives.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Protocol

from rlgpt.bus.task import Environment, Host
from rlgpt.envs.errors import HostLost
from rlgpt.envs.handle import Lease
from rlgpt.envs.hosting.slots import HostFailed, Slots
from rlgpt.envs.venvs import interpreter


class Hosts(Protocol):
    """Lends slots of one environment."""

    def lease(self) -> Lease:
        """Raises HostLost."""

    def close(self) -> None:
        """End, or leave, every slot."""


class LocalHosts:
    """Processes of this machine."""

    def __init__(self, environment: Environment, host: Host) -> None:
        # Another interpreter has its own libraries; ours would only get into its way.
        folders = [str(Path(folder).absolute()) for folder in (*host.path, ".")]
        ours = [] if host.python else [entry for entry in sys.path if entry]
        self._slots = Slots(
            interpreter(host.python) if host.python else sys.executable,
            environment.id,
            environment.kwargs,
            path=[*folders, *ours],
            variables=host.variables,
            start_s=host.start_s,
            settle_s=max(host.step_s, host.reset_s),
        )

    def lease(self) -> Lease:
        try:
            return self._slots.lease()
        except HostFailed as failed:
            raise HostLost(str(failed)) from None

    def close(self) -> None:
        self._slots.close()


def open_hosts(environment: Environment) -> Hosts | None:
    """Who hosts this environment; None where workers hold it themselves. Raises HostLost where an address cannot be used."""
    host = environment.host
    if host is None:
        return None
    if not host.address:
        return LocalHosts(environment, host)
    from rlgpt.envs.hosting.curve import needs_keys
    from rlgpt.envs.relay import Relay

    if needs_keys(host.address) and not host.keys:
        raise HostLost(f"environment.host.address {host.address} is not on this machine, so that it needs keys: set environment.host.keys")
    return Relay(environment, host)


def grace_s(environment: Environment, slots: int) -> float:
    """Seconds that a worker may wait for its hosts beyond its own deadline: one start, and a step and a reset of each of its slots."""
    host = environment.host
    return 0.0 if host is None else host.start_s + slots * (host.step_s + host.reset_s + 10.0)
