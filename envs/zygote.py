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
from typing import Any

import structlog

from rlgpt.bus.task import Environment
from rlgpt.envs import errors, lockdown
from rlgpt.envs.description import Description
from rlgpt.envs.errors import WorkerDied
from rlgpt.envs.handle import Doorbells, Worker, plain
from rlgpt.envs.layout import Shape, size_of, views
from rlgpt.envs.limits import Limits
from rlgpt.envs.wire import Channel, WireError, pair

log = structlog.get_logger()

MAX_ANSWER = 4 << 20
READY_S = 30.0

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
    description  what the environment is
    step_s       seconds a step of it took at the start, roughly
    Raises EnvironmentUnavailable, EnvironmentUnsupported, SandboxUnavailable, SkillInvalid (an import) or WorkerDied.
    """

    def __init__(self, environment: Environment, *, limits: Limits | None = None, checked: bool = False) -> None:
        self.environment, self.limits = environment, limits or Limits()
        warning = lockdown.require(self.limits.unsafe)
        if warning:
            log.warning("sandbox_weak", why=warning)
        end, theirs = pair()
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115
        self._channel = Channel(end)
        with theirs:
            # -P: the folder we are in comes into the path by the parent's own path, not by itself. -B: nothing is written.
            self._process = subprocess.Popen(
                [sys.executable, "-s", "-P", "-B", "-m", "rlgpt.envs.worker", str(theirs.fileno())],
                env={**CLEAN, "PYTHONPATH": _import_path()},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=self._errors,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        try:
            self.description, self.step_s = self._begin(checked)
        except BaseException:
            self.close()
            raise

    def fork(self, shape: Shape, work: Mapping[str, Any], ready_s: float = READY_S) -> Worker:
        """A locked worker that has taken its work (see `work_for`). Raises SkillInvalid if it cannot, WorkerDied if it did not answer."""
        size = size_of(shape)
        end, theirs = pair()
        memory = os.memfd_create("rlgpt-worker", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        bells = Doorbells(*(os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC) for _ in range(2)))
        try:
            os.ftruncate(memory, size)
            # A worker that shrinks memory we have mapped would kill us with SIGBUS.
            fcntl.fcntl(memory, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL)
            pid = self._fork({"shape": asdict(shape), "size": size}, [theirs.fileno(), memory, bells.go, bells.done])
            worker = Worker(pid, Channel(end, MAX_ANSWER), views(shape, mmap.mmap(memory, size)), bells, self.reap)
        except BaseException:
            bells.close()
            end.close()
            raise
        finally:
            theirs.close()
            os.close(memory)
        try:
            worker.take(work, ready_s)
        except BaseException:
            worker.kill()
            raise
        return worker

    def reap(self, pid: int) -> int:
        """Wait status of a worker that has ended."""
        self._channel.send({"reap": pid}, 10)
        return int(self._channel.receive(10)["status"])

    def close(self) -> None:
        """End the zygote, and with it all of its workers."""
        self._channel.close()
        try:
            self._process.wait(2)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._errors.close()

    def __enter__(self) -> Zygote:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _begin(self, checked: bool) -> tuple[Description, float]:
        environment, limits = self.environment, self.limits
        config = environment.model_dump(exclude={"notes", "deterministic"})
        try:
            self._channel.send({**config, "checked": checked, **asdict(limits)}, limits.start_s)
            answer = self._channel.receive(limits.start_s)
        except TypeError as error:
            raise errors.EnvironmentUnavailable(f"environment {environment.id!r}: kwargs can only hold plain data: {error}") from None
        except WireError as error:
            raise WorkerDied(f"environment {environment.id!r} did not start: {error}; {self._last_words()}") from None
        if "failed" in answer:
            kind = getattr(errors, answer["failed"])
            raise kind(answer["text"])
        description = answer["description"]
        return Description(**{**description, "warnings": tuple(description["warnings"])}), float(answer["step_s"])

    def _fork(self, message: dict[str, Any], descriptors: list[int]) -> int:
        try:
            self._channel.send({"fork": True, **message}, 10)
            socket.send_fds(self._channel.socket, [b"+"], descriptors)
            return int(self._channel.receive(30)["pid"])
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


def work_for(
    skills: list[dict[str, Any]],
    success: str,
    *,
    shaping: str = "",
    gamma: float = 1.0,
    call_s: float = 10.0,
    fallbacks: list[Any] | None = None,
    disabled: list[int] | None = None,
) -> dict[str, Any]:
    """What a worker is sent to work with, see `runner.load`; `call_s` is the soft deadline of one call, seconds."""
    return {
        "skills": skills,
        "success": success,
        "shaping": shaping,
        "gamma": gamma,
        "call_s": call_s,
        "fallbacks": fallbacks or [],
        "disabled": disabled or [],
    }
