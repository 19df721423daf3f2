"""Parent side of worker processes: start a zygote with a clean environment, fork workers from it, kill them, learn how they died.

A zygote notices that its parent is gone by its closed socket, and its workers die with it (PDEATHSIG), so that a
parent that is killed leaves no process behind.
"""

from __future__ import annotations

import contextlib
import fcntl
import mmap
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, cast

import structlog

from rlgpt.bus.task import Environment
from rlgpt.envs import errors, lockdown
from rlgpt.envs.description import Description
from rlgpt.envs.errors import HostLost, WorkerDied
from rlgpt.envs.handle import LEAD_S, Doorbells, Lease, Worker, plain
from rlgpt.envs.hosts import Hosts, grace_s, open_hosts
from rlgpt.envs.layout import Shape, size_of, views
from rlgpt.envs.learned import packed
from rlgpt.envs.limits import Limits
from rlgpt.envs.wire import Channel, WireError, pair

log = structlog.get_logger()

MAX_ANSWER = 4 << 20
READY_S = 30.0
ORDER_S = 60.0  # for what a zygote does at once; one that is gone is noticed at once, by its closed socket

# What a worker inherits of the parent's environment: nothing. One thread, because the process forks; fixed hashing, because
# the order of sets must not differ between a trial and its replay; no window, no sound.
CLEAN = {
    "PATH": "/usr/local/bin:/usr/bin:/bin",
    "LANG": "C.UTF-8",
    "HOME": "/nonexistent",
    "PYTHONHASHSEED": "0",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "SDL_VIDEODRIVER": "dummy",
    "SDL_AUDIODRIVER": "dummy",
    "PYGAME_HIDE_SUPPORT_PROMPT": "1",
}


class Zygote:
    """A process in which the environment is imported and made, and from which workers are forked in milliseconds.

    checked      have Gymnasium's checker look at it; its warnings are in `description`
    drawn        have it drawn once, so that its workers can draw it (see `envs/camera.py`)
    description  what the environment is
    step_s       seconds a step of it took at the start, roughly
    Raises EnvironmentUnavailable, EnvironmentUnsupported, SandboxUnavailable, SkillInvalid (an import) or WorkerDied.
    """

    def __init__(self, environment: Environment, *, limits: Limits | None = None, checked: bool = False, drawn: bool = False) -> None:
        self.environment, self.limits = environment, limits or Limits()
        warning = lockdown.require(self.limits.unsafe)
        if warning:
            log.warning("sandbox_weak", why=warning)
        self._hosts = open_hosts(environment)
        self._lease = self._hosts.lease() if self._hosts else None
        end, theirs = pair()
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115
        self._channel = Channel(end)
        inherited = [theirs.fileno(), *([self._lease.end.fileno()] if self._lease else [])]
        with theirs:
            # -P: the folder we are in comes into the path by the parent's own path, not by itself. -B: nothing is written.
            self._process = subprocess.Popen(
                [sys.executable, "-s", "-P", "-B", "-m", "rlgpt.envs.worker", *map(str, inherited)],
                env={**CLEAN, "PYTHONPATH": _import_path()},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=self._errors,
                pass_fds=inherited,
                start_new_session=True,
            )
        try:
            self.description, self.step_s = self._begin(checked, drawn)
        except BaseException:
            self.close()
            raise
        if self._lease:
            self._lease.release()  # the zygote has left it; workers have their own

    def fork(self, shape: Shape, work: Mapping[str, Any], ready_s: float = READY_S) -> Worker:
        """A locked worker that has taken its work (see `work_for`). Raises SkillInvalid if it cannot, WorkerDied if it did not answer."""
        size = size_of(shape)
        leases = self._borrow(shape.slots)
        end, theirs = pair()
        memory = os.memfd_create("rlgpt-worker", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        bells = Doorbells(*(os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC) for _ in range(2)))
        try:
            os.ftruncate(memory, size)
            # A worker that shrinks memory we have mapped would kill us with SIGBUS.
            fcntl.fcntl(memory, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL)
            pid = self._fork(
                {"shape": asdict(shape), "size": size},
                [theirs.fileno(), memory, bells.go, bells.done, *(lease.end.fileno() for lease in leases)],
            )
            leads, tries = bool(self.environment.lead), self.environment.lead_tries
            grace = grace_s(self.environment, shape.slots) + (shape.slots * tries * LEAD_S if leads else 0.0)
            worker = Worker(pid, Channel(end, MAX_ANSWER), views(shape, mmap.mmap(memory, size)), bells, self.reap, leases, grace, leads)
        except BaseException:
            bells.close()
            end.close()
            for lease in leases:
                lease.release()
            raise
        finally:
            theirs.close()
            os.close(memory)
            for lease in leases:
                lease.end.close()  # the worker has its own copy
        try:
            worker.take(work, ready_s)
        except BaseException:
            worker.kill()
            raise
        return worker

    def _borrow(self, slots: int) -> list[Lease]:
        """Hosted environments for a worker; none where it holds its own. Raises WorkerDied."""
        leases: list[Lease] = []
        try:
            for _ in range(slots if self._hosts else 0):
                leases.append(cast(Hosts, self._hosts).lease())
        except HostLost as lost:
            for lease in leases:
                lease.release()
            raise WorkerDied(f"no worker for {self.environment.id!r}: {lost}") from None
        return leases

    def reap(self, pid: int) -> int:
        """Wait status of a worker that has ended."""
        self._channel.send({"reap": pid}, ORDER_S)
        return int(self._channel.receive(ORDER_S)["status"])

    def close(self) -> None:
        """End the zygote, and with it all of its workers."""
        self._channel.close()
        try:
            self._process.wait(2)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._errors.close()
        if self._lease:
            self._lease.release()
        if self._hosts:
            self._hosts.close()

    def __enter__(self) -> Zygote:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _begin(self, checked: bool, drawn: bool) -> tuple[Description, float]:
        environment, limits = self.environment, self.limits
        config = config_of(environment)
        host = environment.host.model_dump(include={"start_s", "reset_s", "step_s"}) if environment.host else None
        start_s = limits.start_s + (environment.host.first_s if environment.host else 0.0)
        try:
            self._channel.send({**config, "checked": checked, "drawn": drawn, **asdict(limits), "start_s": start_s, "host": host}, start_s)
            answer = self._channel.receive(start_s)
        except TypeError as error:
            raise errors.EnvironmentUnavailable(f"environment {environment.id!r}: kwargs can only hold plain data: {error}") from None
        except WireError as error:
            raise WorkerDied(f"environment {environment.id!r} did not start: {error}; {self._last_words()}") from None
        lost = self._lease.lost() if self._lease and "failed" in answer else ""
        if lost:
            raise HostLost(f"environment {environment.id!r}: its host was lost: {plain(lost, 4000)}")
        if "failed" in answer:
            kind = getattr(errors, answer["failed"])
            raise kind(answer["text"])
        description = answer["description"]
        return Description(**{**description, "warnings": tuple(description["warnings"]), "toolkit": tuple(description["toolkit"])}), float(
            answer["step_s"]
        )

    def _fork(self, message: dict[str, Any], descriptors: list[int]) -> int:
        try:
            self._channel.send({"fork": True, **message}, ORDER_S)
            socket.send_fds(self._channel.socket, [b"+"], descriptors)
            return int(self._channel.receive(max(ORDER_S, self.limits.start_s))["pid"])  # the first of them makes the environments
        except (WireError, OSError) as error:
            raise WorkerDied(f"no worker for {self.environment.id!r}: {error}; {self._last_words()}") from None

    def _last_words(self) -> str:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(0.5)
        self._errors.seek(max(0, self._errors.seek(0, os.SEEK_END) - 2000))
        said = plain(self._errors.read().decode("utf-8", "replace").strip(), 2000)
        code = self._process.returncode
        state = "it is still running" if code is None else f"it ended with status {code}"
        return f"{state}{'; its last words: ' + said if said else ''}"


def _import_path() -> str:
    """Where a worker imports from: what we import from, and at last the folder we run in, for users' own environments."""
    paths = dict.fromkeys(os.path.abspath(path) for path in (*sys.path, "."))
    return os.pathsep.join(path for path in paths if os.pathsep not in path)


def config_of(environment: Environment) -> dict[str, Any]:
    """The environment as a worker is told of it; its host apart. Raises SkillInvalid where a learned skill's file is not there."""
    config = environment.model_dump(exclude={"notes", "host"})
    for told, lead in zip(config["lead"], environment.lead, strict=True):
        told["skills"], told["library"] = ([packed(skill) for skill in part] for part in (lead.skills, lead.library))
    return config


def work_for(
    skills: list[dict[str, Any]],
    success: str,
    *,
    shaping: str = "",
    success_reward: float = 0.0,
    gamma: float = 1.0,
    call_s: float = 10.0,
    fallbacks: list[Any] | None = None,
    disabled: list[int] | None = None,
    library: list[dict[str, Any]] | None = None,
    until_success: bool = True,
    look: bool = False,
    film: int = 0,
) -> dict[str, Any]:
    """What a worker is sent to work with, see `runner.load`; `call_s` is the soft deadline of one call, seconds.

    `library`: further skills, which those in `skills` may call.
    `until_success`: episodes end at the first success if the environment says so; False: they go on in any case.
    `film`: frames kept of every episode that a decision ends, see `envs/reel.py`.
    `look`: the worker looks for its next batch for a moment before it sleeps (`envs/patience.py`).
    """
    return {
        "skills": skills,
        "success": success,
        "shaping": shaping,
        "success_reward": success_reward,
        "gamma": gamma,
        "call_s": call_s,
        "fallbacks": fallbacks or [],
        "disabled": disabled or [],
        "library": library or [],
        "until_success": until_success,
        "look": look,
        "film": film,
    }
