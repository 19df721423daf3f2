"""Entry of every role's process: `python -m rlgpt.runtime.process ROLE --run DIR --name NAME [--agent file.py:Class]`.

Exit status: 0 after a clean stop (SIGTERM, SIGINT), CANNOT_START where trying again is pointless, 1 for everything else. The reason of a
bad end is one line on stderr, and stands with its traceback in the process's log.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import ctypes
import importlib
import importlib.util
import inspect
import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import structlog

from rlgpt.runtime import logs
from rlgpt.runtime.run import RunFolder

if TYPE_CHECKING:
    from rlgpt.agents.agent import Agent

ROLES = {
    "slow": "rlgpt.agents.slow:Slow",
    "fast": "rlgpt.agents.fast:Fast",
    "solo": "rlgpt.agents.solo:Solo",
    "critic": "rlgpt.agents.critic:Critic",
    "rollout": "rlgpt.agents.rollout:Rollout",
    "trainer": "rlgpt.agents.trainer:Trainer",
}
"""Where each built-in role's class is; imported in that role's process alone."""

PLAYERS = ("rollout", "trainer")
"""Roles that play in environments, so that there is something to see."""
BROKER = "broker"
CANNOT_START = 78
"""EX_CONFIG of sysexits.h: a missing package, no such class. A supervisor need not try again."""
PARENT_WATCH_S = 1.0
STOP_S = 8
"""Seconds a process may take to stop once it was asked to; after that it ends without ado."""
LEAVE_S = 3.0
"""An attached process leaves when nobody has run the run for so long."""

_PR_SET_PDEATHSIG = 1


class CannotStart(Exception):
    """The process cannot do its work, and could not at a second try either; the message says why."""


def main(arguments: Sequence[str] | None = None) -> int:
    """What `python -m rlgpt.runtime.process` does."""
    parser = argparse.ArgumentParser(prog="rlgpt.runtime.process", description="One process of a run. The launcher starts these.")
    parser.add_argument("role", choices=[BROKER, *ROLES])
    parser.add_argument("--run", type=Path, required=True, metavar="DIR")
    parser.add_argument("--name", required=True)
    parser.add_argument("--agent", metavar="FILE.py:CLASS", help="this class instead of the role's own")
    parser.add_argument("--parent", type=int, metavar="PID", help="end when this process, which has to be the parent, does")
    given = parser.parse_args(arguments)
    if given.parent is not None:
        die_with_parent(given.parent)
    # `-P` keeps the folder we are in from standing first. A user's environments are found there all the same, after everything else.
    sys.path.append(str(Path.cwd()))
    return run_process(given.role, RunFolder(given.run.resolve()), given.name, agent=given.agent)


def run_process(
    role: str,
    run: RunFolder,
    name: str,
    *,
    agent: str | None = None,
    plain: bool = False,
    attached: bool = False,
    echo: IO[str] | None = None,
) -> int:
    """Be one process of a run until it is stopped; returns the exit status.

    agent  `file.py:Class` instead of the role's own
    plain  what `agent` names is a plain AutoGen agent, which is to be a critic
    echo   also show the log there, readable
    """
    logs.configure(run.logs / f"{name}.jsonl", run=run.name, role=role, name=name, echo=echo)
    log = structlog.get_logger()
    log.info("process_started", pid=os.getpid(), python=sys.version.split()[0])
    try:
        if role == BROKER:
            _broker(run)
        else:
            asyncio.run(_agent(run, name, partial(load_critic if plain else load_class, agent or ROLES[role]), attached=attached))
    except KeyboardInterrupt:
        log.info("process_interrupted")
    except CannotStart as error:
        log.critical("process_cannot_start", why=str(error))
        return _failed(role, name, str(error), CANNOT_START)
    except BaseException as error:
        if isinstance(error, SystemExit):
            raise
        cause = _first_cause(error)
        log.critical("process_failed", why=f"{type(cause).__name__}: {cause}", exc_info=True)
        return _failed(role, name, f"{type(cause).__name__}: {cause}", 1)
    log.info("process_stopped")
    return 0


def die_with_parent(parent: int) -> None:
    """From now on this process ends when its parent does, even if that is killed with SIGKILL."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    # The parent may have ended before the call above, and elsewhere than on Linux there is no such call.
    if os.getppid() != parent:
        os._exit(1)
    never = threading.Event()

    def watch() -> None:
        while os.getppid() == parent:
            never.wait(PARENT_WATCH_S)
        os._exit(1)

    threading.Thread(target=watch, name="parent-watch", daemon=True).start()


def load_class(where: str) -> type[Agent]:
    """The agent class of `package.module:Class` or `path/file.py:Class`; raises CannotStart.

    A file's folder comes first on the import path, so that it finds its neighbours as it would when run by itself.
    """
    from rlgpt.agents.agent import Agent

    module, module_name, class_name = _load(where)
    found = getattr(module, class_name, None)
    if not (inspect.isclass(found) and issubclass(found, Agent)):
        there = [n for n, v in vars(module).items() if inspect.isclass(v) and issubclass(v, Agent) and v.__module__ == module.__name__]
        what = "is not a subclass of rlgpt.agents.agent.Agent" if found is not None else "does not exist"
        raise CannotStart(f"{class_name} in {module_name} {what}; agents there: {', '.join(there) or 'none'}")
    return found


def load_critic(where: str) -> type[Agent]:
    """A critic that asks the plain AutoGen agent of `package.module:name` or `path/file.py:name`; raises CannotStart."""
    from rlgpt.agents.guest import critic_of

    module, module_name, name = _load(where)
    found = getattr(module, name, None)
    try:
        kind = critic_of(found)
    except Exception as error:
        raise CannotStart(f"{name} in {module_name} does not make an agent: {type(error).__name__}: {error}") from error
    if kind is None:
        what = "does not exist" if found is None else f"is a {type(found).__name__}"
        expected = "an autogen.beta.Agent, a ConversableAgent, or a function without arguments that makes one"
        raise CannotStart(f"{name} in {module_name} {what}; expected {expected}")
    for secret in kind.guest.secrets:
        logs.hide(secret)
    return kind


def _load(where: str) -> tuple[Any, str, str]:
    """The module of `where`, its name and the name after it."""
    module_name, _, name = where.rpartition(":")
    if not module_name:
        raise CannotStart(f"{where!r} names nothing in a file; expected file.py:Class, or file.py:agent")
    return (_load_file(Path(module_name)) if module_name.endswith(".py") else _import(module_name)), module_name, name


def _load_file(path: Path) -> Any:
    file = path.expanduser().resolve()
    if not file.is_file():
        raise CannotStart(f"no file {path} in {Path.cwd()}")
    sys.path.insert(0, str(file.parent))
    spec = importlib.util.spec_from_file_location(file.stem, file)
    if spec is None or spec.loader is None:
        raise CannotStart(f"{path} cannot be loaded as a Python module")
    module = importlib.util.module_from_spec(spec)
    sys.modules[file.stem] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise CannotStart(f"{path} cannot be imported: {type(error).__name__}: {error}") from error
    return module


def _import(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except Exception as error:
        raise CannotStart(f"{name} cannot be imported: {type(error).__name__}: {error}") from error


def _broker(run: RunFolder) -> None:
    from rlgpt.bus.broker import Broker
    from rlgpt.bus.security import Security

    stop = threading.Event()
    _on_stop_signals(stop.set)
    security = Security(run.keys) if run.keys.is_dir() else None
    Broker(run.bind, run.journal, security=security).run(stop)


async def _agent(run: RunFolder, name: str, load: Callable[[], type[Agent]], *, attached: bool) -> None:
    from rlgpt.agents.agent import Context, run_agent
    from rlgpt.runtime.glimpses import showing

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    # Before the imports, which take seconds: a stop during them is kept until the loop runs again.
    _on_stop_signals(lambda: loop.call_soon_threadsafe(stop.set))
    kind = load()
    context = Context(run=run.name, folder=run.path, address=run.address, name=name, attached=attached, credentials=run.credentials)
    try:
        agent = kind(context)
    except Exception as error:
        raise CannotStart(f"{kind.__name__} cannot be made: {type(error).__name__}: {error}") from error
    leaving = asyncio.ensure_future(_leave_with(run)) if attached and run.scenario.is_file() else None
    with showing(run.glimpses / name) if kind.role in PLAYERS else contextlib.nullcontext():
        await run_agent(agent, stop)
    if leaving is not None:
        leaving.cancel()


async def _leave_with(run: RunFolder) -> None:
    alone_s = 0.0
    while alone_s < LEAVE_S:
        await asyncio.sleep(0.5)
        alone_s = 0.0 if run.running else alone_s + 0.5
    structlog.get_logger().info("run_over")
    signal.raise_signal(signal.SIGTERM)


def _on_stop_signals(stop: Callable[[], object]) -> None:
    def handle(*_: object) -> None:
        signal.signal(signal.SIGALRM, late)
        signal.alarm(STOP_S)
        stop()

    def late(*_: object) -> None:
        # Work in a thread (a trial, an update of the network, a message to a broker that is gone) cannot be interrupted from Python.
        # Nothing is lost with it: it is leased, and whoever takes it over goes on from what is on disk.
        structlog.get_logger().warning("process_stopped_late", why=f"the work in hand did not end within {STOP_S} s, and is left to others")
        os._exit(0)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, handle)


def _first_cause(error: BaseException) -> BaseException:
    """The error inside a task group's wrapping."""
    while isinstance(error, BaseExceptionGroup) and error.exceptions:
        error = error.exceptions[0]
    return error


def _failed(role: str, name: str, why: str, status: int) -> int:
    sys.stderr.write(f"rlgpt {role} {name}: {' '.join(why.split())}\n")
    return status


if __name__ == "__main__":
    sys.exit(main())
